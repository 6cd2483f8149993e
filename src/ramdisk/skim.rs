//! What the headers of a ramdisk's segments tell without unpacking them: where ours is, and where one
//! can be appended.
//!
//! Raw archives, lz4_legacy and zstd are walked by their headers, xz by its index. gzip, lzma, bzip2
//! and the LZ4 frame format do not tell where they end; of them our own gzip member is known by the
//! name in its header. Everything else costs a pass over the ramdisk ([`Inventory`]).

use std::ops::Range;

use memchr::memmem;

use super::append::AppendPoint;
use super::cpio::{self, Reader, leading_zeros};
use super::inventory::Inventory;
use super::ours::{self, Form, OURS_MAX, Ours, Sequence, is_directory, is_undo};
use super::segment::{Entries, Piece, identify};
use super::source::{SegmentSource, lift};
use super::{Error, Limits, NoCollector, lz4};
use crate::compression::lz4_legacy::Lz4LegacyReader;
use crate::compression::{self, Format, xz};

/// FNAME in the gzip header of the segment that `vfioboot` appends.
pub(crate) const GZIP_NAME: &str = "vfioboot";
/// The fixed part of a gzip header with a name: magic, method, the one flag; then ten bytes in
/// all before the name.
const GZIP_START: [u8; 4] = [0x1f, 0x8b, 8, 8];
const GZIP_HEADER: usize = 10;
/// How many gzip members with our name are looked at.
const CANDIDATES: usize = 64;
/// Where a segment can be appended to `ramdisk`. Unpacks it only where a format does not tell where
/// it ends.
///
/// # Errors
/// [`Error::Junk`] for bytes the kernel would stop at, [`Error::Compressed`] and [`Error::Cpio`]
/// for damaged segments.
pub fn append_point(ramdisk: &[u8]) -> Result<AppendPoint, Error> {
    let Some(segments) = walk(ramdisk)? else {
        return Inventory::read(ramdisk, Limits::default(), &mut NoCollector)?.append_point();
    };
    let format = segments.last().and_then(|last| last.format);
    Ok(match (format, segments.last()) {
        (Some(Format::Lz4Legacy), Some(last)) => {
            let chain = segments.iter().rev().scan(last.range.end, |next, segment| {
                let linked = segment.format == format && segment.range.end == *next;
                *next = segment.range.start;
                linked.then_some(segment)
            });
            let unpacked =
                chain.map(|segment| lz4::unpacked(&ramdisk[segment.range.clone()])).sum();
            AppendPoint::after_lz4_legacy(last.range.end, unpacked)
        }
        _ => AppendPoint::at_end(format, ramdisk.len()),
    })
}

/// The segment that `vfioboot` appended: the last one that holds the entry `vfioboot/undo`. What
/// follows it, if anything, is for others to judge. None also when the ramdisk is damaged.
pub fn find_ours(ramdisk: &[u8]) -> Option<Range<usize>> {
    let ours = match skim_ours(ramdisk) {
        Skim::Ours(ours) => Some(ours),
        Skim::None => None,
        Skim::Unknown => Inventory::read(ramdisk, Limits::default(), &mut NoCollector).ok()?.ours(),
    };
    ours.map(|ours| ours.range)
}

/// What the headers tell about our segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Skim {
    /// It is here.
    Ours(Ours),
    /// There is none, or the ramdisk is damaged.
    None,
    /// The ramdisk has to be unpacked to know.
    Unknown,
}

/// As [`find_ours`], but unpacks nothing except what may be our own segment.
pub(crate) fn skim_ours(ramdisk: &[u8]) -> Skim {
    let segments = match walk(ramdisk) {
        Ok(Some(segments)) => segments,
        Ok(None) => {
            let ours = last_named_member(ramdisk);
            let form = Form::Stream(Format::Gzip);
            return ours.map_or(Skim::Unknown, |range| Skim::Ours(Ours { range, form }));
        }
        Err(_) => return Skim::None,
    };
    let ours = segments.iter().rev().find_map(|segment| {
        let Range { start, end } = segment.range;
        let bytes = &ramdisk[start..end];
        let (range, form) = match segment.format {
            None => (start + ours_in_raw(bytes)?..end, Form::Raw),
            Some(Format::Lz4Legacy) => {
                let (own, form) = ours_in_lz4_legacy(bytes)?;
                (start + own.start..start + own.end, form)
            }
            // Only our own segment is worth unpacking: it starts with its directory.
            Some(format) => {
                let form = Form::Stream(format);
                let source = form.source(bytes).ok()?;
                let alone = is_ours(source).is_ok_and(|ours| ours.is_some_and(|(_, last)| last));
                alone.then_some((start..end, form))?
            }
        };
        Some(Ours { range, form })
    });
    ours.map_or(Skim::None, Skim::Ours)
}

/// A segment as far as it is known without unpacking.
struct Skimmed {
    range: Range<usize>,
    format: Option<Format>,
}

/// The segments; None where one does not tell where it ends.
fn walk(ramdisk: &[u8]) -> Result<Option<Vec<Skimmed>>, Error> {
    let limits = Limits::default();
    let mut segments: Vec<Skimmed> = Vec::new();
    let mut position = 0;
    loop {
        position += leading_zeros(&ramdisk[position..]);
        let rest = &ramdisk[position..];
        if rest.is_empty() {
            return Ok(Some(segments));
        }
        if segments.len() >= limits.segments {
            return Err(Error::TooMany { what: "segments", limit: limits.segments });
        }
        let after_raw = segments.last().is_some_and(|last| last.format.is_none());
        let (format, length) = match identify(rest, position, after_raw) {
            Piece::Junk(reason) => return Err(Error::Junk { offset: position, reason }),
            Piece::Raw => (None, raw_length(rest, position)?),
            Piece::Compressed(format) => {
                let length = stream_length(format, rest)
                    .map_err(|source| Error::Compressed { offset: position, source })?;
                let Some(length) = length else { return Ok(None) };
                (Some(format), length)
            }
        };
        // No stream is empty; were one, the walk would not end.
        let range = position..position + length.clamp(1, rest.len());
        position = range.end;
        segments.push(Skimmed { range, format });
    }
}

/// The length of the raw archive that `rest` starts with, its TRAILER included.
fn raw_length(rest: &[u8], offset: usize) -> Result<usize, Error> {
    let mut reader = Reader::new(SegmentSource::Raw(rest));
    let mut walk = || {
        while reader.peek()? == Some(b'0') {
            match reader.next_entry()? {
                Some(entry) if !entry.is_trailer() => {}
                _ => break,
            }
        }
        Ok(())
    };
    walk().map_err(|error| lift(error, offset, &Limits::default()))?;
    Ok(usize::try_from(reader.entry_end()).unwrap_or(usize::MAX).min(rest.len()))
}

/// The length of the compressed stream that `rest` starts with, where its format tells.
fn stream_length(format: Format, rest: &[u8]) -> Result<Option<usize>, compression::Error> {
    let corrupt = |consumed, reason: &str| compression::Error::Corrupt {
        format,
        consumed,
        produced: 0,
        reason: reason.to_owned(),
    };
    match format {
        Format::Lz4Legacy => {
            let length = lz4::length(rest);
            length.map(Some).ok_or_else(|| corrupt(rest.len(), "the last block is cut short"))
        }
        Format::Zstd => zstd::zstd_safe::find_frame_compressed_size(rest)
            .map(Some)
            .map_err(|code| corrupt(0, zstd::zstd_safe::get_error_name(code))),
        Format::Xz => Ok(xz::length(rest)),
        // Any other is unpacked to find its end.
        _ => Ok(None),
    }
}

/// Our gzip segment, where nothing but padding follows it.
fn last_named_member(ramdisk: &[u8]) -> Option<Range<usize>> {
    named_members(ramdisk).find_map(|start| {
        let limits = Limits { unpacked: OURS_MAX, ..Limits::default() };
        let mut entries = Entries::starting_at(ramdisk, start, limits);
        let mut ours = false;
        while let Some(entry) = entries.next_entry().ok()? {
            ours |= is_undo(entry.path());
        }
        let rest = entries.into_ramdisk();
        let [segment] = rest.segments.as_slice() else { return None };
        // A copy of our segment that is a file's data (say, a patched image within a ramdisk) is
        // followed by something else.
        (ours && rest.trailing.is_none()).then(|| segment.range.clone())
    })
}

/// Where gzip members that have our name may start, the last one first.
fn named_members(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let names = memmem::rfind_iter(bytes, GZIP_NAME.as_bytes());
    let starts = names.filter_map(|at| at.checked_sub(GZIP_HEADER));
    let members = starts.filter(|start| {
        let (header, name) = bytes[*start..].split_at(GZIP_HEADER);
        header.starts_with(&GZIP_START) && name.get(GZIP_NAME.len()) == Some(&0)
    });
    members.take(CANDIDATES)
}

/// Where ours starts in a raw archive: after one that ends without a TRAILER it is not a segment of
/// its own but goes on in the same archive.
fn ours_in_raw(segment: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(SegmentSource::Raw(segment));
    let mut begun: Option<(usize, Sequence)> = None;
    let mut ours = None;
    while let Ok(Some(entry)) = reader.next_entry() {
        if is_directory(entry.path()) {
            let start = usize::try_from(entry.offset).ok();
            begun = start.zip(Sequence::starting(&entry.header));
            ours = None;
        } else if let (Some((start, sequence)), false) = (&mut begun, entry.is_trailer()) {
            if !sequence.goes_on(&entry.header) {
                (begun, ours) = (None, None);
            } else if is_undo(entry.path()) {
                ours = Some(*start);
            }
        }
    }
    ours
}

/// Where ours is in a stream: it begins and ends with a block.
fn ours_in_lz4_legacy(stream: &[u8]) -> Option<(Range<usize>, Form)> {
    let starts: Vec<usize> = lz4::blocks(stream).collect();
    starts.into_iter().rev().filter(|at| starts_with_directory(stream, *at)).find_map(|at| {
        let (start, form) = match at {
            lz4::FIRST_BLOCK => (0, Form::Stream(Format::Lz4Legacy)),
            at => (at, Form::Blocks),
        };
        let (end, _) = is_ours(form.source(&stream[start..]).ok()?).ok()??;
        Some((start..start + end?, form))
    })
}

/// Whether the block at `at` starts with our directory.
fn starts_with_directory(stream: &[u8], at: usize) -> bool {
    // Zeros, a header and the name; and room for the decoder.
    let mut start = [0; 512];
    let Some(start) = lz4::start_of_block(stream, at, &mut start) else { return false };
    let start = &start[leading_zeros(start).min(3)..];
    let entry = Reader::new(SegmentSource::Raw(start)).next_entry();
    entry.is_ok_and(|entry| entry.is_some_and(|entry| is_directory(entry.path())))
}

/// Whether an archive that starts with our directory is at the start of `source`, with an undo record
/// in it. Gives where the block of lz4_legacy ends that ends with its TRAILER, and whether nothing
/// comes after that.
fn is_ours(source: SegmentSource<'_>) -> Result<Option<(Option<usize>, bool)>, cpio::Error> {
    let mut reader = ours::reader(source)?;
    let first = reader.next_entry()?.filter(|entry| is_directory(entry.path()));
    let Some(mut sequence) = first.and_then(|entry| Sequence::starting(&entry.header)) else {
        return Ok(None);
    };
    let mut undo = false;
    while let Some(entry) = reader.next_entry()? {
        if !entry.is_trailer() && !sequence.goes_on(&entry.header) {
            return Ok(None);
        }
        undo |= is_undo(entry.path());
        if entry.is_trailer() {
            let ended = reader.get_ref().lz4_legacy().and_then(Lz4LegacyReader::ended);
            let ended = ended.filter(|(_, unpacked)| *unpacked == entry.end());
            let end = ended.map(|(at, _)| at);
            let last = end.is_some() || reader.next_entry()?.is_none();
            return Ok(undo.then_some((end, last)));
        }
    }
    Ok(undo.then_some((None, true)))
}
