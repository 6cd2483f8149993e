//! Streams made of parts that were compressed separately: what is known when the program is built
//! need not be compressed when it runs.
//!
//! A part unpacks without the bytes before it, and the unpackers of the kernel read the whole as
//! one stream.
//!
//! | format | a part is | |
//! |---|---|---|
//! | gzip | deflate blocks up to a byte boundary, none of them final | RFC 1951, 3.2.3 |
//! | lz4_legacy | blocks with their sizes | each unpacks by itself |
//! | xz | a stream, whose blocks are taken over | `xz-file-format.txt`, 3 |
//! | zstd | blocks, none of them the last | RFC 8878, 3.1.1.2 |
//!
//! bzip2 has no byte boundaries between its blocks, and one range coder runs through all of an
//! lzma stream. Unpacking such a ramdisk takes many times longer than compressing the runtime.

use std::io::{self, Write};
use std::ops::Range;

use super::{Format, encode, lz4_legacy, xz};

/// Bytes within a longer input whose compressed part is known.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// Where they are in the input.
    pub range: Range<usize>,
    /// What [`part`] made of them.
    pub part: &'a [u8],
}

/// `bytes` as a part of any stream in `format`; None for formats without parts. The same bytes in
/// give the same bytes out.
///
/// # Errors
/// None that input can cause; writing to memory does not fail.
pub fn part(format: Format, bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    Ok(match format {
        Format::Gzip => Some(deflate(bytes, flate2::Compression::best(), false)?),
        Format::Lz4Legacy => Some(lz4_legacy::encode_blocks(bytes)),
        Format::Xz => Some(encode(format, bytes, None)?),
        Format::Zstd => Some(zstd_blocks(encode(format, bytes, None)?)?),
        // Any other is compressed as a whole.
        _ => None,
    })
}

/// As [`encode`], with the part of `known` taken over where the format has parts.
///
/// # Errors
/// As [`encode`]; [`io::ErrorKind::InvalidData`] for a part that [`part`] did not make.
pub fn encode_around(
    format: Format,
    bytes: &[u8],
    known: &Known<'_>,
    name: Option<&str>,
) -> io::Result<Vec<u8>> {
    let Known { range, part } = known;
    let (before, after) = (&bytes[..range.start], &bytes[range.end..]);
    match format {
        Format::Gzip => {
            let mut stream = gzip_header(name);
            let level = flate2::Compression::new(6);
            stream.extend(deflate(before, level, false)?);
            stream.extend_from_slice(part);
            stream.extend(deflate(after, level, true)?);
            let mut crc = flate2::Crc::new();
            crc.update(bytes);
            stream.extend(crc.sum().to_le_bytes());
            stream.extend((bytes.len() as u32).to_le_bytes());
            Ok(stream)
        }
        Format::Lz4Legacy => {
            let magic = lz4_legacy::MAGIC.to_le_bytes();
            let [before, after] = [before, after].map(lz4_legacy::encode_blocks);
            Ok([&magic[..], &before, part, &after].concat())
        }
        Format::Xz => {
            let before = encode(format, before, None)?;
            let after = encode(format, after, None)?;
            xz::join(&[&before, part, &after]).ok_or_else(|| invalid("no xz stream"))
        }
        Format::Zstd => match zstd_frame(bytes.len(), before, part, after) {
            Some(frame) => Ok(frame),
            None => encode(format, bytes, name),
        },
        _ => encode(format, bytes, name),
    }
}

/// Deflate blocks, up to a byte boundary (an empty stored block, as `Z_SYNC_FLUSH` writes it) or
/// up to the final one.
fn deflate(bytes: &[u8], level: flate2::Compression, last: bool) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
    encoder.write_all(bytes)?;
    if last {
        return encoder.finish();
    }
    encoder.flush()?;
    let length = encoder.get_ref().len();
    let mut blocks = encoder.finish()?;
    blocks.truncate(length);
    Ok(blocks)
}

/// The header that [`encode`] writes.
fn gzip_header(name: Option<&str>) -> Vec<u8> {
    const DEFLATE: u8 = 8;
    const FNAME: u8 = 8;
    const UNKNOWN_SYSTEM: u8 = 255;
    let flags = if name.is_some() { FNAME } else { 0 };
    let mut header = vec![0x1f, 0x8b, DEFLATE, flags, 0, 0, 0, 0, 0, UNKNOWN_SYSTEM];
    if let Some(name) = name {
        header.extend_from_slice(name.as_bytes());
        header.push(0);
    }
    header
}

/// A zstd block's header: last, type and size in 24 bits.
const ZSTD_BLOCK: usize = 3;
const ZSTD_RAW: u32 = 0;
const ZSTD_RLE: u32 = 1;
/// What one block holds at most.
const ZSTD_BLOCK_MAX: usize = 128 << 10;

/// The blocks of a frame, none of them marked as the last.
fn zstd_blocks(mut frame: Vec<u8>) -> io::Result<Vec<u8>> {
    let start = zstd_header_len(&frame).ok_or_else(|| invalid("no zstd frame"))?;
    let mut at = start;
    loop {
        let cut = || invalid("a zstd frame that is cut short");
        let bytes = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<ZSTD_BLOCK>());
        let [low, middle, high] = bytes.ok_or_else(cut)?;
        let header = u32::from_le_bytes([*low, *middle, *high, 0]);
        *low &= !1;
        let size = if header >> 1 & 3 == ZSTD_RLE { 1 } else { (header >> 3) as usize };
        at += ZSTD_BLOCK + size;
        if header & 1 == 1 {
            return match at == frame.len() {
                true => Ok(frame.split_off(start)),
                // A checksum would be that of another content.
                false => Err(invalid("a zstd frame with a checksum")),
            };
        }
    }
}

/// The length of a frame's header (RFC 8878, 3.1.1.1).
fn zstd_header_len(frame: &[u8]) -> Option<usize> {
    let descriptor = *frame.get(4)?;
    let single = descriptor >> 5 & 1 == 1;
    let window = usize::from(!single);
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = match descriptor >> 6 {
        0 => usize::from(single),
        flag => 1 << flag,
    };
    Some(5 + window + dictionary + size)
}

/// One frame. What is around the part is stored as it is: a compressed block may go by the offsets
/// that the blocks before it used last (RFC 8878, 3.1.2.5), and neither the part nor what follows
/// it knows them. None where that, or the window, would be too large.
fn zstd_frame(size: usize, before: &[u8], part: &[u8], after: &[u8]) -> Option<Vec<u8>> {
    const STORED_MAX: usize = 64 << 10;
    const WINDOW_MAX: usize = 8 << 20;
    /// A content size of four bytes, and a window of that size.
    const DESCRIPTOR: u8 = 2 << 6 | 1 << 5;
    // Blocks are as large as the window at most, so a small one would bound them.
    if before.len() + after.len() > STORED_MAX || !(ZSTD_BLOCK_MAX..=WINDOW_MAX).contains(&size) {
        return None;
    }
    let stored = |bytes: &[u8], last: u32| -> Vec<u8> {
        let header = (bytes.len() as u32) << 3 | ZSTD_RAW << 1 | last;
        [&header.to_le_bytes()[..ZSTD_BLOCK], bytes].concat()
    };
    let mut frame = zstd::zstd_safe::MAGICNUMBER.to_le_bytes().to_vec();
    frame.push(DESCRIPTOR);
    frame.extend((size as u32).to_le_bytes());
    frame.extend(stored(before, 0));
    frame.extend_from_slice(part);
    frame.extend(stored(after, 1));
    Some(frame)
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
