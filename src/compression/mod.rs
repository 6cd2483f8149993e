//! Compressed streams as kernels and bootloaders know them: detect, decode, encode.
//!
//! Sits below both [`crate::ramdisk`] and [`crate::kernel`], which share it.

mod decoder;
mod encoder;
pub mod lz4_legacy;
mod parts;
pub(crate) mod xz;

pub use decoder::{Decoder, decode_all};
pub use encoder::encode;
pub use parts::{Known, encode_around, part};

/// A compression format, told by its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// RFC 1952, magic `1f 8b`.
    Gzip,
    /// The format of `lz4 -l`: magic `0x184C2102`, then blocks of at most 8 MiB, no end mark.
    /// The only LZ4 that the kernel unpacks.
    Lz4Legacy,
    /// The LZ4 frame format, magic `0x184D2204`. The kernel does not unpack it.
    Lz4Frame,
    /// `.xz`, magic `fd 37 7a 58 5a 00`.
    Xz,
    /// `.lzma` ("alone"), recognised by its properties byte and dictionary size.
    Lzma,
    /// Zstandard, magic `0xFD2FB528`.
    Zstd,
    /// bzip2, magic `BZh`.
    Bzip2,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 7] = [
        Format::Gzip,
        Format::Lz4Legacy,
        Format::Lz4Frame,
        Format::Xz,
        Format::Lzma,
        Format::Zstd,
        Format::Bzip2,
    ];

    /// The format that `bytes` start with, by magic.
    pub fn detect(bytes: &[u8]) -> Option<Format> {
        match bytes {
            [0x1f, 0x8b, 8, ..] => Some(Format::Gzip),
            [0x02, 0x21, 0x4c, 0x18, ..] => Some(Format::Lz4Legacy),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Format::Lz4Frame),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Format::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Format::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => {
                Some(Format::Bzip2)
            }
            _ if is_lzma(bytes) => Some(Format::Lzma),
            _ => None,
        }
    }

    /// The name users and the kernel's Kconfig know it by.
    pub fn name(self) -> &'static str {
        match self {
            Format::Gzip => "gzip",
            Format::Lz4Legacy => "lz4_legacy",
            Format::Lz4Frame => "lz4",
            Format::Xz => "xz",
            Format::Lzma => "lzma",
            Format::Zstd => "zstd",
            Format::Bzip2 => "bzip2",
        }
    }

    /// The symbol that lets the kernel unpack an initramfs in this format (`init/Kconfig`,
    /// `usr/Kconfig`); none for the LZ4 frame format, which it cannot unpack.
    pub fn rd_symbol(self) -> Option<&'static str> {
        match self {
            Format::Gzip => Some("RD_GZIP"),
            Format::Lz4Legacy => Some("RD_LZ4"),
            Format::Lz4Frame => None,
            Format::Xz => Some("RD_XZ"),
            Format::Lzma => Some("RD_LZMA"),
            Format::Zstd => Some("RD_ZSTD"),
            Format::Bzip2 => Some("RD_BZIP2"),
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// `.lzma` has no magic: a properties byte of `5d` (lc=3 lp=0 pb=2, what every known encoder
/// writes), a dictionary of a plausible size and an uncompressed size that is unknown (all
/// ones) or below 2^40.
fn is_lzma(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<13>() else { return false };
    let [props, d0, d1, d2, d3, size @ ..] = *header;
    let dictionary = u32::from_le_bytes([d0, d1, d2, d3]);
    let size = u64::from_le_bytes(size);
    let plausible = dictionary.is_power_of_two()
        || dictionary
            .checked_sub(dictionary & dictionary.wrapping_neg())
            .is_some_and(|high| high.is_power_of_two() && dictionary - high == high / 2);
    props == 0x5d && plausible && dictionary >= 4096 && (size == u64::MAX || size < 1 << 40)
}

/// A compressed stream that could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream is damaged or ends early.
    #[error("{format} stream: {reason} (after {consumed} bytes of it, {produced} unpacked)")]
    Corrupt {
        /// The format it claims to be.
        format: Format,
        /// Compressed bytes read until then.
        consumed: usize,
        /// Bytes unpacked until then.
        produced: u64,
        /// What the decoder says.
        reason: String,
    },
    /// More output than the caller allows.
    #[error("{format} stream unpacks to more than {limit} bytes, the limit")]
    TooLarge {
        /// The format.
        format: Format,
        /// The limit in bytes.
        limit: u64,
    },
}
