//! What the headers of a ramdisk's segments tell without unpacking them: where ours is, and where one
//! can be appended.
//!
//! Raw archives, lz4_legacy and zstd are walked by their headers, xz by its index. gzip, lzma, bzip2
//! and the LZ4 frame format do not tell where they end; of them our own gzip member is known by the
//! name in its header. Everything else costs a pass over the ramdisk ([`Inventory`]).

use std::io::{self, BufRead};
use std::ops::Range;

use memchr::memmem;

use super::append::AppendPoint;
use super::cpio::{self, Reader, leading_zeros};
use super::inventory::Inventory;
use super::ours::{is_directory, is_undo};
use super::segment::{Entries, Piece, identify};
use super::source::{SegmentSource, lift};
use super::{Error, Limits, NoCollector, lz4};
use crate::compression::{self, Format, xz};

/// FNAME in the gzip header of the segment that `vfioboot` appends.
pub(crate) const GZIP_NAME: &str = "vfioboot";
/// The fixed part of a gzip header with a name: magic, method, the one flag; then ten bytes in
/// all before the name.
const GZIP_START: [u8; 4] = [0x1f, 0x8b, 8, 8];
const GZIP_HEADER: usize = 10;
/// How many gzip members with our name are looked at.
const CANDIDATES: usize = 64;
/// What our own segment unpacks to at most, in bytes.
const OURS_MAX: u64 = 512 << 20;

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
    match skim_ours(ramdisk) {
        Skim::Ours(range) => Some(range),
        Skim::None => None,
        Skim::Unknown => Inventory::read(ramdisk, Limits::default(), &mut NoCollector).ok()?.ours(),
    }
}

/// What the headers tell about our segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Skim {
    /// It is here.
    Ours(Range<usize>),
    /// There is none, or the ramdisk is damaged.
    None,
    /// The ramdisk has to be unpacked to know.
    Unknown,
}

/// As [`find_ours`], but unpacks nothing except what may be our own segment.
pub(crate) fn skim_ours(ramdisk: &[u8]) -> Skim {
    let segments = match walk(ramdisk) {
        Ok(Some(segments)) => segments,
        Ok(None) => return last_named_member(ramdisk).map_or(Skim::Unknown, Skim::Ours),
        Err(_) => return Skim::None,
    };
    let ours = segments.iter().rev().find_map(|segment| {
        let (range, bytes) = (segment.range.clone(), &ramdisk[segment.range.clone()]);
        match segment.format {
            None => Some(range.start + ours_in_raw(bytes)?..range.end),
            // Only our own segment is worth unpacking, and it comes after another; alone, it starts
            // with its directory.
            Some(format) => holds_undo(format, bytes, range.start == 0).then_some(range),
        }
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
    let (mut start, mut ours) = (None, None);
    while let Ok(Some(entry)) = reader.next_entry() {
        if is_directory(entry.path()) {
            start = usize::try_from(entry.offset).ok();
        } else if is_undo(entry.path()) {
            ours = start;
        }
    }
    ours
}

/// Does the segment hold our undo record? With `first`, only if its first entry is ours too.
fn holds_undo(format: Format, segment: &[u8], first: bool) -> bool {
    let Ok(source) = SegmentSource::compressed(format, segment, OURS_MAX) else { return false };
    search_undo(source, first).unwrap_or(false)
}

fn search_undo(source: SegmentSource<'_>, first: bool) -> Result<bool, cpio::Error> {
    let (source, phase) = after_lead_in(source)?;
    let mut reader = Reader::with_phase(source, phase);
    let mut entry = reader.next_entry()?;
    if first && entry.as_ref().is_some_and(|entry| !is_directory(entry.path())) {
        return Ok(false);
    }
    while let Some(here) = entry {
        if is_undo(here.path()) {
            return Ok(true);
        }
        entry = reader.next_entry()?;
    }
    Ok(false)
}

/// A segment in the middle of an lz4_legacy chain may start with up to three zeros: see
/// [`AppendPoint::lead_in`]. The phase that puts its first header at a multiple of 4.
fn after_lead_in(mut source: SegmentSource<'_>) -> io::Result<(SegmentSource<'_>, u64)> {
    let zeros = leading_zeros(source.fill_buf()?);
    Ok((source, (4 - zeros as u64 % 4) % 4))
}
