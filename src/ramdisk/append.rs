//! The point at which a segment can be appended to a ramdisk.

use crate::compression::Format;
use crate::compression::lz4_legacy::MAGIC;

/// Where and how a segment can be appended so that every kernel from 4.9 on unpacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendPoint {
    /// The last segment's format, which the new one must have too: none is a raw archive.
    pub format: Option<Format>,
    /// Where the padding and then the segment go, in bytes from the start of the ramdisk. The
    /// end, except before the zero padding that follows an lz4_legacy stream.
    pub offset: usize,
    /// Zero bytes to put before the segment: for a raw archive, which must start at a multiple
    /// of 4. Never any after lz4_legacy: kernels before 5.14 take a zero for a block.
    pub padding: usize,
    /// Zero bytes that the *unpacked* segment must start with. Blocks of lz4_legacy continue the
    /// stream before them, in which headers are at multiples of 4.
    pub lead_in: usize,
}

impl AppendPoint {
    /// The point after `ramdisk` bytes, the last of which are padding; `last` is their last segment's
    /// format.
    pub(super) fn at_end(last: Option<Format>, ramdisk: usize) -> Self {
        let padding = if last.is_none() { append_padding(ramdisk) } else { 0 };
        AppendPoint { format: last, offset: ramdisk, padding, lead_in: 0 }
    }

    /// `stream`, which is a whole one in [`AppendPoint::format`], as it goes here. lz4_legacy has no
    /// end mark, so its blocks continue the stream before them. A second magic would be legal, but
    /// not every program reads on there, and magiskboot takes the ramdisk for another format.
    pub fn continuing(&self, mut stream: Vec<u8>) -> Vec<u8> {
        if self.format == Some(Format::Lz4Legacy) {
            stream.drain(..size_of_val(&MAGIC));
        }
        stream
    }

    /// The point after a chain of lz4_legacy streams that ends at `offset` and unpacks to `unpacked`
    /// bytes modulo 4.
    pub(super) fn after_lz4_legacy(offset: usize, unpacked: u64) -> Self {
        let lead_in = (unpacked.next_multiple_of(4) - unpacked) as usize;
        AppendPoint { format: Some(Format::Lz4Legacy), offset, padding: 0, lead_in }
    }
}

/// The zero bytes that make a raw cpio segment after `len` bytes of ramdisk start at a multiple
/// of 4.
pub fn append_padding(len: usize) -> usize {
    len.next_multiple_of(4) - len
}
