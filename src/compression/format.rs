//! The table of compression formats. A new format is a row here, and a decoder and an encoder in
//! `codec.rs`.

/// The magic of [`Format::Lz4Legacy`], little-endian in the file.
pub const LZ4_LEGACY_MAGIC: u32 = 0x184c_2102;

/// What is known about a format, apart from how to decode and encode it.
struct Row {
    name: &'static str,
    suffix: &'static str,
    magic: &'static [u8],
    /// What else has to be true of bytes that begin with the magic.
    plausible: fn(&[u8]) -> bool,
    rd_symbol: Option<&'static str>,
    zboot: &'static [&'static str],
}

/// Declares [`Format`] and its table together, so that each variant has a row.
macro_rules! formats {
    ($($(#[$meta:meta])* $variant:ident $row:tt)*) => {
        /// A compression format, recognised by its magic.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Format {
            $($(#[$meta])* $variant,)*
        }

        const TABLE: &[(Format, Row)] = &[$((Format::$variant, Row $row),)*];
    };
}

formats! {
    /// RFC 1952 with deflate.
    Gzip {
        name: "gzip",
        suffix: "gz",
        magic: &[0x1f, 0x8b, 8],
        plausible: |_| true,
        rd_symbol: Some("RD_GZIP"),
        zboot: &["gzip"],
    }
    /// The format of `lz4 -l`: blocks of at most 8 MiB, no end mark. The only LZ4 that the kernel
    /// unpacks.
    Lz4Legacy {
        name: "lz4_legacy",
        suffix: "lz4",
        magic: &LZ4_LEGACY_MAGIC.to_le_bytes(),
        plausible: |_| true,
        rd_symbol: Some("RD_LZ4"),
        zboot: &["lz4"],
    }
    /// The LZ4 frame format. The kernel does not unpack it.
    Lz4Frame {
        name: "lz4",
        suffix: "lz4",
        magic: &0x184d_2204_u32.to_le_bytes(),
        plausible: |_| true,
        rd_symbol: None,
        zboot: &[],
    }
    /// `.xz`.
    Xz {
        name: "xz",
        suffix: "xz",
        magic: b"\xfd7zXZ\0",
        plausible: |_| true,
        rd_symbol: Some("RD_XZ"),
        zboot: &["xz", "xzkern"],
    }
    /// `.lzma` ("alone"). It has no real magic: the dictionary and the size have to be plausible too.
    Lzma {
        name: "lzma",
        suffix: "lzma",
        magic: &[0x5d, 0],
        plausible: is_lzma,
        rd_symbol: Some("RD_LZMA"),
        zboot: &["lzma"],
    }
    /// Zstandard.
    Zstd {
        name: "zstd",
        suffix: "zst",
        magic: &0xfd2f_b528_u32.to_le_bytes(),
        plausible: |_| true,
        rd_symbol: Some("RD_ZSTD"),
        zboot: &["zstd", "zstd22"],
    }
    /// bzip2.
    Bzip2 {
        name: "bzip2",
        suffix: "bz2",
        magic: b"BZh",
        plausible: is_bzip2,
        rd_symbol: Some("RD_BZIP2"),
        zboot: &[],
    }
}

impl Format {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Format> {
        TABLE.iter().map(|(format, _)| *format)
    }

    /// The format that `bytes` start with, by magic.
    pub fn detect(bytes: &[u8]) -> Option<Format> {
        let begins = |row: &Row| bytes.starts_with(row.magic) && (row.plausible)(bytes);
        TABLE.iter().find(|(_, row)| begins(row)).map(|(format, _)| *format)
    }

    /// The format that the header of an EFI zboot image names (`EFI_ZBOOT_COMP_TYPE` of the kernel's
    /// `Makefile.zboot`).
    pub(crate) fn from_zboot(name: &str) -> Option<Format> {
        TABLE.iter().find(|(_, row)| row.zboot.contains(&name)).map(|(format, _)| *format)
    }

    /// The name users and the kernel's Kconfig know it by.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The suffix of file names, without the dot.
    pub(crate) fn suffix(self) -> &'static str {
        self.row().suffix
    }

    /// The symbol that lets the kernel unpack an initramfs in this format (`init/Kconfig`,
    /// `usr/Kconfig`); none for the LZ4 frame format, which it cannot unpack.
    pub fn rd_symbol(self) -> Option<&'static str> {
        self.row().rd_symbol
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize].1
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A properties byte of `5d` (lc=3 lp=0 pb=2, what every known encoder writes), a dictionary of a
/// plausible size and an uncompressed size that is unknown (all ones) or below 2^40.
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

/// After the magic comes the block size, then the mark of a block or of the end of the stream.
fn is_bzip2(bytes: &[u8]) -> bool {
    matches!(
        bytes.get(3..10),
        Some(
            [b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59]
                | [b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90]
        )
    )
}
