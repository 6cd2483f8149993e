//! The AVB footer: the last 64 bytes of a partition, which say where the image ends and where
//! its vbmeta blob is. `AvbFooter` of AOSP's `external/avb/libavb/avb_footer.h`, big-endian.

use std::io::Cursor;
use std::ops::Range;

use binrw::{BinRead, BinWrite, binrw};

use super::super::Problem;
use super::super::wire::wire;
use super::VbmetaHeader;

const MAGIC: &[u8; 4] = b"AVBf";

wire! {
    /// The footer's fields.
    #[binrw]
    #[brw(big, magic = b"AVBf")]
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AvbFooter, AvbFooterAt from MAGIC.len() => {
        /// Major version, 1.
        pub version_major: u32,
        /// Minor version, 0.
        pub version_minor: u32,
        /// Size of the image without padding, vbmeta and footer, in bytes.
        pub original_image_size: u64,
        /// Offset of the vbmeta blob, in bytes from the start of the partition.
        pub vbmeta_offset: u64,
        /// Size of the vbmeta blob in bytes.
        pub vbmeta_size: u64,
        reserved: [u8; 28],
    }
}

impl AvbFooter {
    /// Size of the footer in bytes.
    pub(crate) const SIZE: usize = Self::AT.end;
    /// Alignment of the vbmeta blob in avbtool, in bytes.
    pub(crate) const BLOB_ALIGNMENT: u64 = 4096;

    /// Find the footer at the end of `file`, and its problems. A footer that points outside the file
    /// is a problem and None, because libavb rejects it too.
    pub(in crate::image) fn find(file: &[u8]) -> (Option<Self>, Vec<Problem>) {
        let Some(start) = file.len().checked_sub(Self::SIZE) else { return (None, Vec::new()) };
        let Ok(footer) = Self::read(&mut Cursor::new(&file[start..])) else {
            return (None, Vec::new());
        };
        let problem =
            |field, at, message| (None, vec![Problem { field, offset: start + at, message }]);
        let end = footer.vbmeta_offset.checked_add(footer.vbmeta_size);
        if end.is_none_or(|end| end > start as u64) {
            let message = format!(
                "the vbmeta blob of {} bytes at {} does not end before the AVB footer at {start}",
                footer.vbmeta_size, footer.vbmeta_offset
            );
            return problem("avb_footer.vbmeta_offset", Self::AT.vbmeta_offset, message);
        }
        if footer.original_image_size > footer.vbmeta_offset {
            let message = format!(
                "is {}, expected at most vbmeta_offset, {}",
                footer.original_image_size, footer.vbmeta_offset
            );
            return problem(
                "avb_footer.original_image_size",
                Self::AT.original_image_size,
                message,
            );
        }
        if !file[footer.vbmeta_range()].starts_with(VbmetaHeader::MAGIC) {
            let message = format!("expected \"AVB0\" at {}", footer.vbmeta_offset);
            return problem("avb_footer.vbmeta_offset", Self::AT.vbmeta_offset, message);
        }
        (Some(footer), Vec::new())
    }

    /// The range of the vbmeta blob; inside the file for the footer of an
    /// [`Image`](crate::image::Image).
    pub fn vbmeta_range(&self) -> Range<usize> {
        let start = self.vbmeta_offset as usize;
        start..start + self.vbmeta_size as usize
    }

    /// The 64 bytes.
    pub(in crate::image) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::with_capacity(Self::SIZE));
        let written = self.write(&mut bytes);
        debug_assert!(written.is_ok());
        bytes.into_inner()
    }
}
