//! Compression as the kernel's unpackers want it.

use std::io::{self, Write};
use std::num::NonZeroU64;

use super::{Format, lz4_legacy};

/// Compress `bytes` into one stream that the kernel's unpacker takes: xz with CRC32 (the only
/// check `lib/xz` knows), lz4_legacy in blocks of 8 MiB, zstd with a window of at most 8 MiB.
/// The same bytes in give the same bytes out.
///
/// `name` goes into the gzip header as the file name (FNAME, the one optional field that
/// `lib/decompress_inflate.c` skips); other formats have no place for it.
///
/// # Errors
/// None that input can cause; writing to memory does not fail.
pub fn encode(format: Format, bytes: &[u8], name: Option<&str>) -> io::Result<Vec<u8>> {
    match format {
        Format::Gzip => {
            let mut builder = flate2::GzBuilder::new().mtime(0);
            if let Some(name) = name {
                builder = builder.filename(name);
            }
            let mut encoder = builder.write(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Format::Lz4Legacy => Ok(lz4_legacy::encode(bytes)),
        Format::Lz4Frame => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(bytes)?;
            encoder.finish().map_err(io::Error::other)
        }
        Format::Xz => {
            let mut options = lzma_rust2::XzOptions::with_preset(6);
            options.lzma_options.dict_size = dictionary(bytes.len());
            options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
            // The kernel's initramfs unpacker takes any number of blocks; one is plainest.
            options.set_block_size(None::<NonZeroU64>);
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options)?;
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Format::Lzma => {
            // Its dictionary of 8 MiB is part of what others take for the magic.
            let options = lzma_rust2::LzmaOptions::with_preset(6);
            let size = Some(bytes.len() as u64);
            let mut encoder = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, size)?;
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Format::Zstd => zstd::bulk::compress(bytes, 12),
        Format::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
    }
}

/// A dictionary as large as the input is all an encoder can use, and the unpacker must have
/// that much memory; 8 MiB at most, as `xz -6`.
fn dictionary(length: usize) -> u32 {
    (length.clamp(4096, 8 << 20) as u32).next_power_of_two()
}
