//! JPEG, PNG and PPM to RGB bytes.
//!
//! Nothing is allocated for a picture before its header passed the limits. Grey becomes RGB by copying, alpha is
//! dropped; CMYK and 16-bit pictures are refused.

use super::{Error, Kind};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use zune_core::bit_depth::BitDepth;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_png::PngDecoder;
use zune_png::error::PngDecodeErrors;

/// Most pixels of a picture.
pub const MAX_PIXELS: u64 = 64_000_000;
/// Most bytes that a PNG's data may unpack to: more than any picture within the limit on pixels.
const MAX_INFLATED_BYTES: usize = 512 << 20;
/// Most passes over a progressive JPEG: real files have about ten, hostile ones thousands.
const MAX_SCANS: usize = 100;

/// An RGB picture, rows from the top, 3 bytes a pixel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

/// Decodes a picture, whatever format its first bytes say it is.
pub fn decode(bytes: &[u8]) -> Result<Image, Error> {
    match bytes {
        [] => Err(Error::new(Kind::Invalid, "the file is empty")),
        [0xff, 0xd8, 0xff, ..] => jpeg(bytes),
        [0x89, b'P', b'N', b'G', ..] => png(bytes),
        [b'P', b'5' | b'6', ..] => ppm(bytes),
        [b'P', b'1'..=b'7', ..] => {
            Err(Error::new(Kind::Unsupported, "this PNM form is not read").help("save it as P5 or P6"))
        }
        _ => Err(Error::new(Kind::Invalid, "not a picture: neither JPEG, PNG nor PPM")
            .at(0)
            .help("give a picture of one of these kinds, or a .npy array")),
    }
}

fn checked_pixels(width: u64, height: u64) -> Result<u64, Error> {
    match width.checked_mul(height) {
        Some(0) => Err(Error::new(Kind::Invalid, format!("the picture is {width}x{height}"))),
        Some(pixels) if pixels <= MAX_PIXELS => Ok(pixels),
        _ => Err(Error::new(Kind::Limit, format!("{width}x{height} pixels are more than the limit of 64 million"))
            .help("make it smaller first")),
    }
}

/// `pixels` of `channels` bytes each, as RGB.
fn to_rgb(pixels: Vec<u8>, channels: usize) -> Vec<u8> {
    match channels {
        1 => pixels.iter().flat_map(|&grey| [grey; 3]).collect(),
        2 => pixels.as_chunks::<2>().0.iter().flat_map(|&[grey, _]| [grey; 3]).collect(),
        4 => pixels.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect(),
        _ => pixels,
    }
}

fn options() -> DecoderOptions {
    // Strict: a truncated picture is an error, not a grey area.
    DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(MAX_PIXELS as usize)
        .set_max_height(MAX_PIXELS as usize)
        .inflate_set_limit(MAX_INFLATED_BYTES)
        .jpeg_set_max_scans(MAX_SCANS)
        .png_set_decode_animated(false)
}

fn jpeg(bytes: &[u8]) -> Result<Image, Error> {
    let damaged = |e: DecodeErrors| match e {
        DecodeErrors::Unsupported(scheme) => {
            Error::new(Kind::Unsupported, format!("JPEG of a kind that is not read: {scheme:?}"))
                .help("save it as a baseline or progressive JPEG")
        }
        DecodeErrors::ExhaustedData | DecodeErrors::IoErrors(_) => truncated("JPEG", bytes),
        e => Error::new(Kind::Invalid, format!("damaged JPEG: {}", one_line(&e.to_string()))),
    };
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options());
    decoder.decode_headers().map_err(damaged)?;
    let info = decoder.info().ok_or_else(|| truncated("JPEG", bytes))?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    checked_pixels(width as u64, height as u64)?;
    let channels = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => 1,
        Some(ColorSpace::YCbCr | ColorSpace::RGB) => 3,
        _ => {
            return Err(Error::new(Kind::Unsupported, "CMYK pictures are not read").help("convert it to RGB"));
        }
    };
    let out = if channels == 1 { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options().jpeg_set_out_colorspace(out));
    let pixels = decoder.decode().map_err(damaged)?;
    finish("JPEG", bytes, width, height, pixels, channels)
}

fn png(bytes: &[u8]) -> Result<Image, Error> {
    let damaged = |e: PngDecodeErrors| match e {
        PngDecodeErrors::IoErrors(_) => truncated("PNG", bytes),
        e => Error::new(Kind::Invalid, format!("damaged PNG: {}", one_line(&e.to_string()))),
    };
    let mut decoder = PngDecoder::new_with_options(ZCursor::new(bytes), options());
    decoder.decode_headers().map_err(damaged)?;
    let (width, height) = decoder.dimensions().ok_or_else(|| truncated("PNG", bytes))?;
    if decoder.depth() == Some(BitDepth::Sixteen) {
        return Err(
            Error::new(Kind::Unsupported, "16-bit pictures are not read").help("convert it to 8 bits a channel")
        );
    }
    checked_pixels(width as u64, height as u64)?;
    let channels = decoder.colorspace().map_or(0, |c| c.num_components());
    let pixels = decoder.decode_raw().map_err(damaged)?;
    finish("PNG", bytes, width, height, pixels, channels)
}

/// Binary PGM (P5) and PPM (P6): magic, width, height, greatest value, one white space, bytes.
fn ppm(bytes: &[u8]) -> Result<Image, Error> {
    let channels = if bytes[1] == b'5' { 1 } else { 3 };
    let mut at = 2;
    let mut number = || -> Result<u64, Error> {
        // White space and comments up to the number.
        loop {
            match bytes.get(at) {
                Some(b' ' | b'\t' | b'\r' | b'\n') => at += 1,
                Some(b'#') => at += bytes[at..].iter().position(|&b| b == b'\n').unwrap_or(bytes.len() - at),
                _ => break,
            }
        }
        let digits = bytes[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let text = core::str::from_utf8(&bytes[at..at + digits]).unwrap_or("");
        let value = text
            .parse()
            .map_err(|_| Error::new(Kind::Invalid, "a number is missing in the PPM header").at(at as u64))?;
        at += digits;
        Ok(value)
    };
    let (width, height, most) = (number()?, number()?, number()?);
    if most > 255 {
        return Err(
            Error::new(Kind::Unsupported, "16-bit pictures are not read").help("convert it to 8 bits a channel")
        );
    }
    if most != 255 {
        return Err(Error::new(Kind::Unsupported, format!("PPM with a greatest value of {most} is not read"))
            .help("scale it to 255"));
    }
    let pixels = checked_pixels(width, height)? as usize;
    let data = bytes.get(at + 1..).unwrap_or(&[]);
    let len_bytes = pixels * channels;
    if data.len() < len_bytes {
        return Err(Error::new(Kind::Invalid, format!("truncated PPM: {} of {len_bytes} bytes of pixels", data.len()))
            .at(bytes.len() as u64));
    }
    finish("PPM", bytes, width as usize, height as usize, data[..len_bytes].to_vec(), channels)
}

fn finish(
    format: &str,
    bytes: &[u8],
    width: usize,
    height: usize,
    pixels: Vec<u8>,
    channels: usize,
) -> Result<Image, Error> {
    if !(1..=4).contains(&channels) || pixels.len() != width * height * channels {
        return Err(truncated(format, bytes));
    }
    Ok(Image { width, height, pixels: to_rgb(pixels, channels) })
}

fn truncated(format: &str, bytes: &[u8]) -> Error {
    Error::new(Kind::Invalid, format!("truncated {format}: the data end too early")).at(bytes.len() as u64)
}

/// A decoder's message without quotes and line ends.
fn one_line(message: &str) -> String {
    message.trim().trim_matches('"').replace('\n', " ")
}
