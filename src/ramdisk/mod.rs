//! Ramdisks: segments, newc cpio, kinds.
//!
//! A ramdisk is what `unpack_to_rootfs` in the kernel's `init/initramfs.c` makes of the bytes
//! that the bootloader hands over: a list of [`Segment`]s, each raw or compressed on its own,
//! with zero padding between them, each holding newc cpio archives. Later entries overwrite
//! earlier ones.
//!
//! | module | subject |
//! |---|---|
//! | [`cpio`] | newc entries, read as a stream and written |
//! | `segment` | where segments start and end; every entry of a ramdisk in order |
//! | `pass` | the pass over a ramdisk that unpacks it once |
//! | `inventory` | all that is asked of a ramdisk, out of that pass |
//! | `append` | where a segment can be appended |
//! | `skim` | where ours is, and where one can be appended, without unpacking |
//! | `ours` | the names by which our segment is known, and its undo record |
//! | [`tree`] | the file tree that the kernel makes of the entries |
//! | [`edit`] | add and remove entries, everything else byte for byte |
//! | [`extract`] | entries as files, never outside of one directory |
//! | [`kind`], `signs` | what sort of ramdisk this is, with the evidence; the signs of each |
//!
//! Reading streams: memory is one decompression window, one buffer and the entry at hand, and
//! never depends on how large the ramdisk says it is. What must be kept for all entries (the
//! tree) and what is unpacked in all is bounded by [`Limits`].

use std::borrow::Cow;

pub(crate) mod append;
pub mod cpio;
pub mod edit;
mod error;
pub mod extract;
pub(crate) mod inventory;
pub mod kind;
mod limits;
mod lz4;
mod ours;
mod pass;
pub(crate) mod segment;
mod signs;
mod skim;
mod source;
pub mod tree;

pub use append::AppendPoint;
pub use append::append_padding;
pub use error::Error;
pub(crate) use inventory::Inventory;
pub use inventory::classify_ramdisk;
pub use kind::RamdiskKind;
pub use limits::Limits;
pub(crate) use ours::Ours;
pub(crate) use pass::{Collector, NoCollector, Record};
pub use segment::Trailing;
pub(crate) use segment::Unpacker;
pub use segment::{Entries, Ignored, Ramdisk, Reach, Segment, Tile};
pub(crate) use signs::renewed_by;
pub(crate) use skim::{GZIP_NAME, Skim, skim_ours};
pub use skim::{append_point, find_ours};

/// The parts of a path as the kernel sees it from `/`: empty parts and `.` mean nothing.
fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// `path` with no leading `/` or `./`, no empty parts and no trailing `/`: `./sbin//init` and
/// `/sbin/init` name the same file. `..` is kept.
pub(crate) fn normalise(path: &[u8]) -> Cow<'_, [u8]> {
    let mut parts = path.split(|byte| *byte == b'/');
    if parts.all(|part| !part.is_empty() && part != b".") {
        return Cow::Borrowed(path);
    }
    let parts: Vec<&[u8]> = components(path).collect();
    Cow::Owned(parts.join(&b'/'))
}
