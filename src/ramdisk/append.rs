//! What a patch asks of a ramdisk. None of it unpacks a gzip ramdisk only to append to it, nor
//! anything else where the format tells its length.

use std::io::{self, Read};
use std::ops::Range;

use memchr::memmem;

use super::cpio::{self, Reader, leading_zeros};
use super::segment::{Entries, Piece, identify};
use super::source::{Source, lift};
use super::{Error, Limits, lz4, normalise};
use crate::bootfile;
use crate::compression::{self, Format, xz};

/// FNAME in the gzip header of the segment that `vfioboot` appends.
pub const GZIP_NAME: &str = "vfioboot";
/// The fixed part of a gzip header with a name: magic, method, the one flag; then ten bytes in
/// all before the name.
const GZIP_START: [u8; 4] = [0x1f, 0x8b, 8, 8];
const GZIP_HEADER: usize = 10;
/// How many places that look like something are looked at more closely.
const CANDIDATES: usize = 64;
/// A gzip member of so many bytes is unpacked to find where it ends.
const CHEAP: usize = 4 << 20;
/// What our own segment unpacks to at most, in bytes.
const OURS_MAX: u64 = 512 << 20;

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
    /// Zero bytes that the *unpacked* segment must start with. The kernel unpacks one lz4_legacy
    /// segment after another as one stream, in which headers are at multiples of 4.
    pub lead_in: usize,
}

/// The zero bytes that make a raw cpio segment after `len` bytes of ramdisk start at a multiple
/// of 4.
pub fn append_padding(len: usize) -> usize {
    len.next_multiple_of(4) - len
}

/// The format of the last segment; none for a raw archive and for an empty ramdisk.
///
/// Raw archives, lz4_legacy and zstd are walked by their headers, xz by its index unless another
/// format follows it; lzma, bzip2 and the lz4 frame format are unpacked to find where they end. A gzip member is taken for the last segment
/// unless something after it looks like one in another format; only then is it unpacked.
///
/// # Errors
/// [`Error::Junk`] for bytes the kernel would stop at, [`Error::Compressed`] and [`Error::Cpio`]
/// for damaged segments.
pub fn last_format(ramdisk: &[u8]) -> Result<Option<Format>, Error> {
    Ok(skim(ramdisk)?.last().and_then(|last| last.format))
}

/// Where a segment can be appended to `ramdisk`; costs what [`last_format`] costs.
///
/// # Errors
/// As [`last_format`].
pub fn append_point(ramdisk: &[u8]) -> Result<AppendPoint, Error> {
    let segments = skim(ramdisk)?;
    let format = segments.last().and_then(|last| last.format);
    let end = ramdisk.len();
    Ok(match (format, segments.last()) {
        (Some(Format::Lz4Legacy), Some(last)) => {
            let chain = segments.iter().rev().scan(last.range.end, |next, segment| {
                let linked = segment.format == format && segment.range.end == *next;
                *next = segment.range.start;
                linked.then_some(segment)
            });
            let unpacked: u64 =
                chain.map(|segment| lz4::unpacked(&ramdisk[segment.range.clone()])).sum();
            after_lz4_legacy(last.range.end, unpacked)
        }
        (None, _) => AppendPoint { format, offset: end, padding: append_padding(end), lead_in: 0 },
        _ => AppendPoint { format, offset: end, padding: 0, lead_in: 0 },
    })
}

/// The point after a chain of lz4_legacy streams that ends at `offset` and unpacks to `unpacked`
/// bytes modulo 4.
pub(super) fn after_lz4_legacy(offset: usize, unpacked: u64) -> AppendPoint {
    let lead_in = (unpacked.next_multiple_of(4) - unpacked) as usize;
    AppendPoint { format: Some(Format::Lz4Legacy), offset, padding: 0, lead_in }
}

/// Whether [`find_ours`] unpacks nothing but what may be our own segment.
pub fn skims_cheaply(ramdisk: &[u8]) -> bool {
    match Format::detect(ramdisk) {
        None => true,
        // Our segment is found by its name.
        Some(Format::Gzip) => ramdisk.len() > CHEAP,
        Some(format) => format.tells_length(),
    }
}

/// The segment that `vfioboot` appended: the last one that holds the entry `vfioboot/undo`. What
/// follows it, if anything, is for others to judge.
///
/// A gzip segment is found by the name in its header and unpacked to be sure; no segment before
/// it is unpacked where its format tells its length. None also when the ramdisk is damaged.
pub fn find_ours(ramdisk: &[u8]) -> Option<Range<usize>> {
    let segments = skim(ramdisk).ok()?;
    for segment in segments.iter().rev() {
        let ours = match segment.end {
            End::Assumed => find_ours_gzip(ramdisk, segment.range.clone()),
            End::Exact if segment.format.is_none() => {
                let start = ours_in_raw(&ramdisk[segment.range.clone()]);
                start.map(|start| segment.range.start + start..segment.range.end)
            }
            // Only our own segment is worth unpacking, and it comes after another; alone, it
            // starts with its directory.
            End::Exact => {
                let alone = segment.range.start == 0;
                holds_undo(segment.format, &ramdisk[segment.range.clone()], alone)
                    .then(|| segment.range.clone())
            }
        };
        if ours.is_some() {
            return ours;
        }
    }
    None
}

/// Does the ramdisk have an entry of this name? Leading `/` and `./` do not count, links are not
/// followed. Stops at the first hit.
///
/// # Errors
/// As [`super::Ramdisk::parse`], for what comes before the hit.
pub fn has_entry(ramdisk: &[u8], name: &[u8]) -> Result<bool, Error> {
    let name = normalise(name);
    let mut entries = Entries::new(ramdisk, Limits::default());
    while let Some(entry) = entries.next_entry()? {
        if !entry.is_trailer() && normalise(entry.path()) == name {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A segment as far as it is known without unpacking.
struct Skimmed {
    range: Range<usize>,
    format: Option<Format>,
    end: End,
}

/// How an end is known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// From the segment itself.
    Exact,
    /// A gzip member with perhaps more of them after it, up to the end of the ramdisk.
    Assumed,
}

/// The segments, with as little work as their formats allow.
fn skim(ramdisk: &[u8]) -> Result<Vec<Skimmed>, Error> {
    let limits = Limits::default();
    let mut segments: Vec<Skimmed> = Vec::new();
    let mut position = 0;
    // What once spoke against assuming comes after all that follows too: looking again for each
    // of many small members would cost their number times the ramdisk.
    let mut assume = true;
    loop {
        let rest = &ramdisk[position..];
        position += leading_zeros(rest);
        let rest = &ramdisk[position..];
        if rest.is_empty() {
            return Ok(segments);
        }
        if segments.len() >= limits.segments {
            return Err(Error::TooMany { what: "segments", limit: limits.segments });
        }
        let after_raw = segments.last().is_some_and(|last| last.format.is_none());
        let format = match identify(rest, position, after_raw) {
            Piece::Junk(reason) => return Err(Error::Junk { offset: position, reason }),
            Piece::Raw => None,
            Piece::Compressed(format) => Some(format),
        };
        assume = assume && (format != Some(Format::Gzip) || may_be_assumed(rest));
        let (length, end) = match format {
            None => (raw_length(rest, position)?, End::Exact),
            Some(Format::Gzip) if assume => (rest.len(), End::Assumed),
            Some(format) => {
                let length = stream_length(format, rest, limits.unpacked)
                    .map_err(|source| Error::Compressed { offset: position, source })?;
                (length, End::Exact)
            }
        };
        // No stream is empty; were one, the walk would not end.
        let range = position..position + length.clamp(1, rest.len());
        position = range.end;
        segments.push(Skimmed { range, format, end });
    }
}

/// The length of the raw archive that `rest` starts with, its TRAILER included.
fn raw_length(rest: &[u8], offset: usize) -> Result<usize, Error> {
    let mut reader = Reader::new(Source::Raw(rest));
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

/// The length of the compressed stream that `rest` starts with.
fn stream_length(format: Format, rest: &[u8], limit: u64) -> Result<usize, compression::Error> {
    match format {
        Format::Lz4Legacy => lz4::length(rest).ok_or_else(|| compression::Error::Corrupt {
            format,
            consumed: rest.len(),
            produced: 0,
            reason: "the last block is cut short".into(),
        }),
        Format::Zstd => zstd::zstd_safe::find_frame_compressed_size(rest).map_err(|code| {
            compression::Error::Corrupt {
                format,
                consumed: 0,
                produced: 0,
                reason: zstd::zstd_safe::get_error_name(code).into(),
            }
        }),
        _ => {
            let walked = (format == Format::Xz).then(|| xz::length(rest)).flatten();
            if let Some(length) = walked {
                return Ok(length);
            }
            let mut decoder = compression::Decoder::new(format, rest)?;
            let copied = io::copy(&mut decoder.by_ref().take(limit), &mut io::sink());
            let copied = copied.map_err(|error| decoder.error(&error))?;
            if copied == limit {
                return Err(compression::Error::TooLarge { format, limit });
            }
            Ok(decoder.consumed())
        }
    }
}

/// Whether the gzip member that `rest` starts with may be taken to end where `rest` does: it is
/// too large to unpack it only for that, and nothing speaks against it.
fn may_be_assumed(rest: &[u8]) -> bool {
    rest.len() > CHEAP
        && (ends_like_gzip(rest) || without_ours(rest).is_some_and(ends_like_gzip))
        && !others_follow(rest)
}

/// What comes before a member of ours that goes to the end of `rest`: what may be assumed of a
/// ramdisk may be assumed when it is patched, too.
fn without_ours(rest: &[u8]) -> Option<&[u8]> {
    let start = named_members(rest).next()?;
    let length = stream_length(Format::Gzip, &rest[start..], OURS_MAX).ok()?;
    let behind = &rest[start + length..];
    (leading_zeros(behind) == behind.len()).then_some(&rest[..start])
}

/// Are the last bytes, but for zero padding, the length of an archive that a member of this size
/// can unpack to? Archives have a multiple of 4 bytes, deflate packs 1032 to 1 at best.
fn ends_like_gzip(rest: &[u8]) -> bool {
    let zeros = rest.iter().rev().take_while(|byte| **byte == 0).count();
    (0..=zeros.min(4)).any(|kept| {
        let member = &rest[..rest.len() - zeros + kept];
        let Some((_, isize)) = member.split_last_chunk::<4>() else { return false };
        let unpacked = u64::from(u32::from_le_bytes(*isize));
        let packed = member.len() as u64;
        unpacked.is_multiple_of(4) && (packed / 2..packed * 1032).contains(&unpacked)
    })
}

/// Does anything in the gzip member `rest` or after it look like a segment in another format?
/// Compressed data holds a short magic by chance now and then; that costs time, not truth.
fn others_follow(rest: &[u8]) -> bool {
    /// All magics are looked for in this much before going on: it stays in the processor's cache.
    const BLOCK: usize = 64 << 10;
    let others = Format::all().filter(|format| *format != Format::Gzip).map(Some);
    let mut searches: Vec<_> = others
        .chain([None])
        .map(|format| {
            let magic = match format {
                // two bytes are found too often; every encoder takes a dictionary of 64 KiB or more
                Some(Format::Lzma) => &[0x5d, 0, 0],
                Some(format) => format.magic(),
                None => b"07070",
            };
            (format, magic.len(), memmem::Finder::new(magic), 0)
        })
        .collect();
    (0..rest.len()).step_by(BLOCK).any(|start| {
        searches.iter_mut().any(|(format, length, finder, candidates)| {
            let end = rest.len().min(start + BLOCK + *length - 1);
            finder.find_iter(&rest[start..end]).any(|at| {
                *candidates += 1;
                // Beyond what chance gives, unpacking is cheaper than looking at each.
                *candidates > CANDIDATES || begins(*format, &rest[start + at..])
            })
        })
    })
}

/// Does `bytes`, which has the magic of `format`, begin a segment in it? None for a raw archive.
fn begins(format: Option<Format>, bytes: &[u8]) -> bool {
    match format {
        None => matches!(bytes.get(5), Some(b'1' | b'2')),
        Some(Format::Lz4Legacy) => lz4::chain_to_end(bytes),
        Some(Format::Zstd) => zstd::zstd_safe::find_frame_compressed_size(bytes).is_ok(),
        other => Format::detect(bytes) == other,
    }
}

/// Our gzip segment within `range`, which starts with a gzip member.
fn find_ours_gzip(ramdisk: &[u8], range: Range<usize>) -> Option<Range<usize>> {
    let bytes = &ramdisk[range.clone()];
    named_members(bytes).find_map(|start| {
        let length = stream_length(Format::Gzip, &bytes[start..], OURS_MAX).ok()?;
        let start = range.start + start;
        let whole = start..start + length;
        let ours = holds_undo(Some(Format::Gzip), &ramdisk[whole.clone()], false)
            && segments_to_end(ramdisk, whole.end);
        ours.then_some(whole)
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
    let undo = normalise(bootfile::UNDO_FILE.as_bytes());
    let directory = undo.split(|byte| *byte == b'/').next().unwrap_or_default();
    let mut reader = Reader::new(Source::Raw(segment));
    let (mut start, mut found) = (None, None);
    while let Ok(Some(entry)) = reader.next_entry() {
        let path = normalise(entry.path());
        if path == directory {
            start = usize::try_from(entry.offset).ok();
        } else if path == undo {
            found = start;
        }
    }
    found
}

/// Do whole segments and padding go from `position` to the end? A copy of our segment that is a
/// file's data (say, a patched image within a ramdisk) is followed by something else.
fn segments_to_end(ramdisk: &[u8], position: usize) -> bool {
    let mut entries = Entries::starting_at(ramdisk, position, Limits::default());
    loop {
        match entries.next_entry() {
            Ok(Some(_)) => {}
            Ok(None) => return entries.into_ramdisk().trailing.is_none(),
            Err(_) => return false,
        }
    }
}

/// Does the segment hold our undo record? With `first`, only if its first entry is ours too.
fn holds_undo(format: Option<Format>, segment: &[u8], first: bool) -> bool {
    let source = match format {
        None => Ok(Source::Raw(segment)),
        Some(format) => Source::compressed(format, segment, OURS_MAX),
    };
    let Ok(source) = source else { return false };
    search_undo(source, first).unwrap_or(false)
}

fn search_undo(source: Source<'_>, first: bool) -> Result<bool, cpio::Error> {
    let undo = normalise(bootfile::UNDO_FILE.as_bytes());
    let directory = normalise(bootfile::UNDO_FILE.split('/').nth(1).unwrap_or_default().as_bytes());
    let (source, phase) = after_lead_in(source)?;
    let mut reader = Reader::with_phase(source, phase);
    let mut entry = reader.next_entry()?;
    if first && entry.as_ref().is_some_and(|entry| !normalise(entry.path()).starts_with(&directory))
    {
        return Ok(false);
    }
    while let Some(here) = entry {
        if normalise(here.path()) == undo {
            return Ok(true);
        }
        entry = reader.next_entry()?;
    }
    Ok(false)
}

/// A segment in the middle of an lz4_legacy chain may start with up to three zeros: see
/// [`AppendPoint::lead_in`]. The phase that puts its first header at a multiple of 4.
fn after_lead_in(mut source: Source<'_>) -> io::Result<(Source<'_>, u64)> {
    use std::io::BufRead;
    let zeros = leading_zeros(source.fill_buf()?);
    Ok((source, (4 - zeros as u64 % 4) % 4))
}
