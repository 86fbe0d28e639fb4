//! Pictures against Pillow's answers (`testdata/make.py`), and pictures that are damaged on purpose.

use crate::host::image::{Image, decode};
use crate::host::preprocess::Recipe;
use crate::host::{Kind, resize};

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../../testdata/", $name)).as_slice()
    };
}

const PNG: [(&str, &[u8], &[u8]); 6] = [
    ("rgb", file!("rgb.png"), file!("rgb_png.rgb")),
    ("rgba", file!("rgba.png"), file!("rgba_png.rgb")),
    ("grey", file!("grey.png"), file!("grey_png.rgb")),
    ("grey_alpha", file!("grey_alpha.png"), file!("grey_alpha_png.rgb")),
    ("palette", file!("palette.png"), file!("palette_png.rgb")),
    ("bits1", file!("bits1.png"), file!("bits1_png.rgb")),
];

const JPEG: [(&str, &[u8], &[u8]); 4] = [
    ("rgb", file!("rgb.jpg"), file!("rgb_jpg.rgb")),
    ("halved", file!("halved.jpg"), file!("halved_jpg.rgb")),
    ("progressive", file!("progressive.jpg"), file!("progressive_jpg.rgb")),
    ("grey", file!("grey.jpg"), file!("grey_jpg.rgb")),
];

fn recipe(resize: Option<usize>, width: usize, height: usize) -> Recipe<'static> {
    Recipe { resize, width, height, bgr: false, scale: 255.0, mean: [0.0; 3], std: [1.0; 3], mean_tensor: None }
}

#[test]
fn png_is_exact() {
    for (name, bytes, expected) in PNG {
        let image = decode(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((image.width, image.height), (23, 17), "{name}");
        assert!(image.pixels == expected, "{name}: other pixels than Pillow");
    }
}

#[test]
fn jpeg_is_within_rounding() {
    // Decoders may differ by rounding in the inverse transform and in the colour conversion.
    for (name, bytes, expected) in JPEG {
        let image = decode(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((image.width, image.height), (43, 37), "{name}");
        let most = image.pixels.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(most <= Some(4), "{name}: differs by {most:?}");
    }
}

#[test]
fn resize_and_crop_equal_pillow() {
    // Width, height, shorter side (0: no resize), crop: as in make.py.
    const CASES: [[usize; 5]; 11] = [
        [40, 30, 16, 13, 13],
        [30, 40, 16, 16, 16],
        [13, 11, 32, 32, 32],
        [17, 17, 17, 17, 17],
        [101, 60, 7, 7, 7],
        [29, 31, 20, 11, 20],
        [9, 7, 0, 12, 5],
        [6, 5, 5, 8, 8],
        [1, 1, 3, 3, 3],
        [64, 48, 13, 12, 12],
        [50, 20, 19, 19, 19],
    ];
    let mut rest = file!("resize.bin");
    for [width, height, side, crop_width, crop_height] in CASES {
        let (pixels, expected);
        (pixels, rest) = rest.split_at(3 * width * height);
        (expected, rest) = rest.split_at(3 * crop_width * crop_height);
        let image = Image { width, height, pixels: pixels.to_vec() };
        let got = recipe((side > 0).then_some(side), crop_width, crop_height).crop(&image);
        assert!(got == expected, "{width}x{height} to {side}, crop {crop_width}x{crop_height}");
    }
    assert!(rest.is_empty());
}

#[test]
fn extreme_shapes_are_resized() {
    for (width, height) in [(1, 70_000), (70_000, 1), (3, 40_000), (65_535, 2)] {
        let image = Image { width, height, pixels: vec![77; 3 * width * height] };
        let got = recipe(Some(256), 24, 24).crop(&image);
        assert!(got.iter().all(|&p| p == 77), "{width}x{height}");
    }
    assert_eq!(resize::shorter_side_to(256, 500, 375), (341, 256));
    assert_eq!(resize::shorter_side_to(256, 375, 500), (256, 341));
}

#[test]
fn normalising_keeps_the_order_of_operations() {
    let mut r = recipe(None, 2, 1);
    (r.mean, r.std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let image = Image { width: 2, height: 1, pixels: vec![1, 2, 3, 253, 254, 255] };
    let mut x = [0.0; 6];
    r.apply(&image, &mut x);
    let expected = |v: f32, c: usize| (v / 255.0 - r.mean[c]) / r.std[c];
    assert_eq!(
        x,
        [expected(1., 0), expected(253., 0), expected(2., 1), expected(254., 1), expected(3., 2), expected(255., 2)]
    );

    // BGR: the statistics are in the order of the input.
    (r.bgr, r.scale, r.mean, r.std) = (true, 1.0, [103.939, 116.779, 123.68], [1.0; 3]);
    r.apply(&image, &mut x);
    assert_eq!(x, [3. - 103.939, 255. - 103.939, 2. - 116.779, 254. - 116.779, 1. - 123.68, 253. - 123.68]);

    // A mean of each pixel and channel.
    let mean: Vec<f32> = (0..6).map(|i| i as f32 / 10.0).collect();
    (r.bgr, r.scale, r.mean_tensor) = (false, 255.0, Some(mean.as_slice()));
    r.apply(&image, &mut x);
    let expected: Vec<f32> = [1.0f32, 253., 2., 254., 3., 255.].iter().zip(&mean).map(|(v, m)| v / 255.0 - m).collect();
    assert_eq!(x[..], expected[..]);
}

#[test]
fn unsupported_pictures_say_what_to_do() {
    for (bytes, word) in [(file!("cmyk.jpg"), "CMYK"), (file!("grey16.png"), "16-bit")] {
        let error = decode(bytes).expect_err("is refused");
        assert_eq!(error.kind, Kind::Unsupported);
        assert!(error.what.contains(word) && error.help.is_some(), "{error}");
    }
    for (bytes, kind) in [
        (b"".as_slice(), Kind::Invalid),
        (b"hello", Kind::Invalid),
        (b"P3\n1 1 255 0 0 0", Kind::Unsupported),
        (b"P6 1 1 65535\n000000", Kind::Unsupported),
        (b"P6 1 1 100\n000", Kind::Unsupported),
        (b"P6 0 1 255\n", Kind::Invalid),
        (b"P6 2 2 255\n123", Kind::Invalid),
        (b"P6 99999999999999999999 1 255\n", Kind::Invalid),
        (b"P6 4294967296 4294967296 255\n", Kind::Limit),
        (b"P6 64000001 1 255\n", Kind::Limit),
        (b"P6 #", Kind::Invalid),
    ] {
        assert_eq!(decode(bytes).expect_err("is refused").kind, kind, "{:?}", String::from_utf8_lossy(bytes));
    }
    let grey = decode(b"P5 # with a comment\n2 1\n255\n\x07\xff").expect("is read");
    assert_eq!(grey.pixels, [7, 7, 7, 255, 255, 255]);
}

/// A PNG and a JPEG that claim to be huge.
#[test]
fn limits_hold_before_pixels_are_decoded() {
    let mut bomb = file!("rgb.png").to_vec();
    bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let crc = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(decode(&bomb).expect_err("is refused").kind, Kind::Limit);

    // Start of frame of a JPEG: marker, length, precision, then height and width.
    let mut bomb = file!("rgb.jpg").to_vec();
    let sof = bomb.windows(2).position(|w| w == [0xff, 0xc0]).expect("a baseline frame");
    bomb[sof + 5..sof + 9].copy_from_slice(&[0xff; 4]);
    assert_eq!(decode(&bomb).expect_err("is refused").kind, Kind::Limit);
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 != 0 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

#[test]
fn every_truncation_is_an_error() {
    for (name, bytes, _) in PNG.into_iter().chain(JPEG) {
        // The last bytes are the end marker and a checksum: without them the pixels are whole.
        for len in 0..bytes.len() - 16 {
            let result = decode(&bytes[..len]);
            assert!(result.is_err(), "{name}: the first {len} of {} bytes gave a picture", bytes.len());
        }
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let mut seed = 1u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    let (mut pictures, mut errors) = (0, 0);
    for (_, bytes, _) in PNG.into_iter().chain(JPEG) {
        for _ in 0..400 {
            let mut damaged = bytes.to_vec();
            for _ in 0..1 + random() % 4 {
                let at = random() % damaged.len();
                damaged[at] = random() as u8;
            }
            match decode(&damaged) {
                Ok(image) => {
                    assert_eq!(image.pixels.len(), 3 * image.width * image.height);
                    pictures += 1;
                }
                Err(_) => errors += 1,
            }
        }
    }
    assert!(pictures > 100 && errors > 100, "{pictures} pictures, {errors} errors: the damage tests nothing");
}
