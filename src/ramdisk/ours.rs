//! The segment that a patch appends: the names by which it is known, and its undo record.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use super::cpio::{self, FIRST_INO, Header, Reader, leading_zeros};
use super::source::{SegmentSource, lift};
use super::{Error, Limits, components};
use crate::bootfile::{BOOT_FILE, UNDO_FILE};
use crate::compression::{self, Format};

/// What our own segment unpacks to at most, in bytes.
pub(super) const OURS_MAX: u64 = 512 << 20;

/// The segment that a patch appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ours {
    /// Where it is in the ramdisk.
    pub range: Range<usize>,
    pub(super) form: Form,
}

/// What a segment of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An archive that is not compressed.
    Raw,
    /// A stream.
    Stream(Format),
    /// Blocks that continue an lz4_legacy stream.
    Blocks,
}

impl Form {
    /// The unpacked bytes of the segment `bytes`.
    pub(super) fn source(self, bytes: &[u8]) -> Result<SegmentSource<'_>, compression::Error> {
        match self {
            Form::Raw => Ok(SegmentSource::Raw(bytes)),
            Form::Stream(format) => SegmentSource::compressed(format, bytes, OURS_MAX),
            Form::Blocks => Ok(SegmentSource::lz4_legacy_blocks(bytes, OURS_MAX)),
        }
    }
}

impl Ours {
    /// How it is compressed.
    pub(super) fn format(&self) -> Option<Format> {
        match self.form {
            Form::Raw => None,
            Form::Stream(format) => Some(format),
            Form::Blocks => Some(Format::Lz4Legacy),
        }
    }

    /// The undo record in this segment of `ramdisk`; empty if it has more than `max` bytes.
    ///
    /// # Errors
    /// Damage in the segment.
    pub(crate) fn undo_record(&self, ramdisk: &[u8], max: u32) -> Result<Option<Vec<u8>>, Error> {
        let start = self.range.start;
        let failed = |error| lift(error, start, &Limits::default());
        let source = self.form.source(&ramdisk[self.range.clone()]);
        let source = source.map_err(|source| Error::Compressed { offset: start, source })?;
        let mut reader = reader(source).map_err(|error| failed(cpio::Error::Io(error)))?;
        while let Some(entry) = reader.next_entry().map_err(failed)? {
            if is_undo(entry.path()) {
                let mut record = Vec::new();
                if entry.header.filesize <= max {
                    let read = reader.read_to_end(&mut record);
                    read.map_err(|error| failed(cpio::Error::Io(error)))?;
                }
                return Ok(Some(record));
            }
        }
        Ok(None)
    }
}

/// A reader of our archive. In the middle of an lz4_legacy stream it may start with up to three
/// zeros: see [`super::AppendPoint::lead_in`]. The phase puts its first header at a multiple of 4.
pub(super) fn reader(mut source: SegmentSource<'_>) -> io::Result<Reader<SegmentSource<'_>>> {
    let zeros = leading_zeros(source.fill_buf()?) as u64;
    Ok(Reader::with_phase(source, (4 - zeros % 4) % 4))
}

/// This is the undo record, whose segment is ours.
pub(super) fn is_undo(path: &[u8]) -> bool {
    components(path).eq(components(UNDO_FILE.as_bytes()))
}

/// This is the directory of the undo record, the first entry of our segment.
pub(super) fn is_directory(path: &[u8]) -> bool {
    components(path).eq(components(UNDO_FILE.as_bytes()).take(1))
}

/// This is a file that every patch leaves: the undo record or the boot file.
pub(super) fn is_mark(path: &[u8]) -> bool {
    is_undo(path) || components(path).eq(components(BOOT_FILE.as_bytes()))
}

/// Whether entries are those of one archive of ours, from its first on: their inode numbers count up,
/// and the names of one file follow each other. A tool that sorts our files among others numbers them
/// anew.
pub(super) struct Sequence(u32);

impl Sequence {
    /// The sequence that starts with this entry, our directory.
    pub(super) fn starting(first: &Header) -> Option<Self> {
        (first.ino == FIRST_INO).then_some(Sequence(FIRST_INO))
    }

    /// Whether this entry is the next.
    pub(super) fn goes_on(&mut self, next: &Header) -> bool {
        let before = std::mem::replace(&mut self.0, next.ino);
        matches!(next.ino.wrapping_sub(before), 0 | 1)
    }
}
