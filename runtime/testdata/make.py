"""Makes the pictures of this folder and what Pillow makes of them. Needs Pillow 13; run it in this folder.

NAME.{png,jpg} beside NAME.rgb (what Pillow decodes, as RGB bytes); resize.bin: for each case of CASES the input's
RGB bytes, then the bytes after resizing the shorter side and cropping the centre.
"""
import PIL
from PIL import Image

assert PIL.__version__.startswith("13."), PIL.__version__

# width, height, side (0: no resize), crop width, crop height
CASES = [
    (40, 30, 16, 13, 13),
    (30, 40, 16, 16, 16),
    (13, 11, 32, 32, 32),
    (17, 17, 17, 17, 17),
    (101, 60, 7, 7, 7),
    (29, 31, 20, 11, 20),
    (9, 7, 0, 12, 5),
    (6, 5, 5, 8, 8),
    (1, 1, 3, 3, 3),
    (64, 48, 13, 12, 12),
    (50, 20, 19, 19, 19),
]


def pattern(width, height, seed):
    """Smooth waves with noise on top: neither pass nor rounding can hide."""
    state, out = seed, bytearray()
    for y in range(height):
        for x in range(width):
            for c in range(3):
                state = (state * 1103515245 + 12345) % 2**31
                wave = (x * (7 + c) * 255 // width // 3 + y * (5 - c) * 255 // height // 2) % 256
                out.append((wave + (state >> 16) % 64) % 256)
    return bytes(out)


def resized(image, side):
    w, h = image.size
    if side == 0 or min(w, h) == side:
        return image
    to = (side, side * h // w) if w <= h else (side * w // h, side)
    return image.resize(to, Image.Resampling.BILINEAR)


def cropped(image, cw, ch):
    w, h = image.size
    padded = Image.new("RGB", (max(w, cw), max(h, ch)))
    padded.paste(image, (max(cw - w, 0) // 2, max(ch - h, 0) // 2))
    w, h = padded.size
    left, top = round((w - cw) / 2), round((h - ch) / 2)
    return padded.crop((left, top, left + cw, top + ch))


with open("resize.bin", "wb") as f:
    for i, (w, h, side, cw, ch) in enumerate(CASES):
        image = Image.frombytes("RGB", (w, h), pattern(w, h, i + 1))
        f.write(image.tobytes() + cropped(resized(image, side), cw, ch).tobytes())

rgb = Image.frombytes("RGB", (23, 17), pattern(23, 17, 99))
smooth = Image.frombytes("RGB", (4, 3), pattern(4, 3, 98)).resize((43, 37), Image.Resampling.BICUBIC)
alpha = Image.frombytes("RGB", (23, 17), pattern(23, 17, 97)).convert("L")
files = {
    "rgb.png": (rgb, {}),
    "rgba.png": (Image.merge("RGBA", (*rgb.split(), alpha)), {}),
    "grey.png": (rgb.convert("L"), {}),
    "grey_alpha.png": (Image.merge("LA", (rgb.convert("L"), alpha)), {}),
    "palette.png": (rgb.quantize(16), {}),
    "bits1.png": (rgb.convert("1"), {}),
    "rgb.jpg": (smooth, dict(quality=90, subsampling=0)),
    "halved.jpg": (smooth, dict(quality=90, subsampling=2)),
    "progressive.jpg": (smooth, dict(quality=80, progressive=True)),
    "grey.jpg": (smooth.convert("L"), dict(quality=90)),
}
for name, (image, options) in files.items():
    image.save(name, optimize=True, **options)
    stem = name.replace(".", "_")
    open(f"{stem}.rgb", "wb").write(Image.open(name).convert("RGB").tobytes())

smooth.convert("CMYK").save("cmyk.jpg", quality=90)
Image.frombytes("I;16", (5, 4), bytes(range(40))).save("grey16.png")
