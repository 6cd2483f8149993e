//! Where a ramdisk's segments start and end, and their entries in order.
//!
//! Follows `unpack_to_rootfs` and `flush_buffer` in `init/initramfs.c` and `unlz4` in
//! `lib/decompress_unlz4.c`.

use std::fmt;
use std::io::{Read, Write};
use std::ops::Range;

use super::cpio::{self, Entry, Reader, SkippedFor, leading_zeros};
use super::source::{SegmentSource, lift};
use super::{Error, Limits};
use crate::compression::Format;

/// A ramdisk taken apart. Segments, padding and trailing bytes tile the input exactly: see
/// [`Ramdisk::tiles`].
#[derive(Debug)]
pub struct Ramdisk<'a> {
    /// The segments, in order.
    pub segments: Vec<Segment<'a>>,
    /// The runs of zeros before, between and after segments.
    pub padding: Vec<Range<usize>>,
    /// What is left where the kernel finds nothing it knows.
    pub trailing: Option<Trailing>,
}

/// One run of archives that is compressed as a whole, or one raw archive.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    /// Where it is in the ramdisk.
    pub range: Range<usize>,
    /// How it is compressed; none for a raw archive.
    pub compression: Option<Format>,
    /// Its bytes, unchanged.
    pub bytes: &'a [u8],
    /// Its length unpacked, in bytes.
    pub unpacked: u64,
    /// Entries without TRAILERs.
    pub entries: u64,
    /// TRAILERs.
    pub(crate) trailers: u64,
    /// Whether an archive in it ends with a TRAILER.
    pub has_trailer: bool,
    /// Whether the kernel gets here.
    pub reach: Reach,
    /// See [`Reader::with_phase`].
    pub(crate) phase: u64,
    /// Whether its last entry has its padding. To the kernel a stream without is "junk at the end of
    /// compressed archive", and it unpacks nothing after it.
    pub whole: bool,
}

/// A segment of a ramdisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where it is in the ramdisk.
    pub range: Range<usize>,
    /// How it is compressed; None for a raw archive.
    pub compression: Option<Format>,
    /// Its length unpacked, in bytes.
    pub unpacked: u64,
    /// Whether the kernel gets here.
    pub reach: Reach,
    /// What its unpacked bytes begin at in the stream of the kernel, modulo 4.
    pub(crate) phase: u64,
    /// Whether its last entry has its padding.
    pub(crate) whole: bool,
}

impl Extent {
    pub(super) fn of(segment: &Segment<'_>) -> Self {
        let Segment { range, compression, unpacked, reach, phase, whole, .. } = segment;
        Extent {
            range: range.clone(),
            compression: *compression,
            unpacked: *unpacked,
            reach: *reach,
            phase: *phase,
            whole: *whole,
        }
    }
}

/// Whether the kernel's unpacker gets to a segment.
///
/// lz4_legacy has no end mark: after a block, `unlz4` takes either its own magic or the size of
/// another block, and since Linux 5.14 a size of zero as the end. Anything else is "data
/// corrupted", and nothing after it is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// It does.
    Always,
    /// Only a newer kernel (5.14 or a stable branch with the same fix) does: zero padding comes
    /// between an lz4_legacy stream and what follows.
    NewerKernels,
    /// It does not: a segment in another format follows an lz4_legacy stream directly, or the first
    /// stream is empty.
    Never,
}

/// Bytes at the end of a ramdisk that no segment starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailing {
    /// From where, to the end of the ramdisk.
    pub range: Range<usize>,
    /// What the kernel would say.
    pub reason: &'static str,
}

/// What follows an lz4_legacy stream in LG's images.
const LG_SIZE: &str = "the unpacked size, which lz4_lg (LG's form of lz4_legacy) has at its end: the kernel unpacks nothing after it (compress the ramdisk again with lz4 -l)";

/// A piece of a ramdisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tile {
    /// The segment with this index.
    Segment(usize),
    /// Zeros.
    Padding,
    /// See [`Trailing`].
    Trailing,
}

impl<'a> Ramdisk<'a> {
    /// Take a ramdisk apart: reads every entry's header and unpacks (but does not keep) every
    /// compressed segment, the only way to find where it ends.
    ///
    /// # Errors
    /// [`Error::Compressed`] and [`Error::Cpio`] for damaged segments, [`Error::TooLarge`] and
    /// [`Error::TooMany`] past the limits. Bytes that no segment starts with are no error but
    /// [`Ramdisk::trailing`].
    pub fn parse(bytes: &'a [u8], limits: Limits) -> Result<Self, Error> {
        let mut entries = Entries::new(bytes, limits);
        while entries.next_entry()?.is_some() {}
        Ok(entries.into_ramdisk())
    }

    /// Whether lz4_legacy streams come last, and after them only the size that they unpack to.
    fn ends_with_lg_size(&self, input: &[u8]) -> bool {
        let streams = self.segments.iter().rev();
        let streams = streams.take_while(|own| own.compression == Some(Format::Lz4Legacy));
        let unpacked: u64 = streams.map(|own| own.unpacked).sum();
        let end = self.segments.last().map_or(0, |last| last.range.end);
        let Some((size, rest)) = input.get(end..).and_then(<[u8]>::split_first_chunk) else {
            return false;
        };
        let only = leading_zeros(rest) == rest.len();
        only && unpacked > 0 && u64::from(u32::from_le_bytes(*size)) == unpacked
    }

    /// Every byte of the ramdisk, in order: ranges without gap or overlap.
    pub fn tiles(&self) -> Vec<(Range<usize>, Tile)> {
        let segments =
            self.segments.iter().enumerate().map(|(i, s)| (s.range.clone(), Tile::Segment(i)));
        let padding = self.padding.iter().map(|range| (range.clone(), Tile::Padding));
        let trailing = self.trailing.iter().map(|t| (t.range.clone(), Tile::Trailing));
        let mut tiles: Vec<_> = segments.chain(padding).chain(trailing).collect();
        tiles.sort_by_key(|(range, _)| range.start);
        tiles
    }
}

/// What the bytes at one place are to the kernel.
pub(super) enum Piece {
    /// A raw cpio header.
    Raw,
    /// A compressed stream.
    Compressed(Format),
    /// Neither, and why.
    Junk(&'static str),
}

/// Look at `rest`, non-empty and not starting with a zero, at `offset` of the ramdisk.
pub(super) fn identify(rest: &[u8], offset: usize, after_raw: bool) -> Piece {
    const UNALIGNED: &str =
        "broken padding: what follows a raw cpio archive must start at a multiple of 4";
    if after_raw && !offset.is_multiple_of(4) {
        return Piece::Junk(UNALIGNED);
    }
    match rest {
        [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] if offset.is_multiple_of(4) => Piece::Raw,
        [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => {
            Piece::Junk("a raw cpio header must start at a multiple of 4")
        }
        [b'0', b'7', b'0', b'7', b'0', b'7', ..] => {
            Piece::Junk("a cpio archive in the old portable format, expected newc")
        }
        _ => match Format::detect(rest) {
            Some(format) => Piece::Compressed(format),
            None => Piece::Junk("neither a cpio header nor a compression format that is known"),
        },
    }
}

/// The entries of a ramdisk, over all segments, as a stream. [`Read`] gives the data of the
/// entry that [`Entries::next_entry`] gave last.
///
/// Memory: one decompression window, a 64 KiB buffer, one entry.
pub struct Entries<'a> {
    input: &'a [u8],
    limits: Limits,
    position: usize,
    budget: u64,
    open: Option<Open<'a>>,
    found: Ramdisk<'a>,
    unpacker: Unpacker,
    ignored: Vec<Ignored>,
    /// Nothing has been read, and nothing comes before: the first stream begins with a header.
    fresh: bool,
}

/// An entry that the kernel skips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The start of its name.
    pub name: Vec<u8>,
    /// Why.
    pub reason: SkippedFor,
}

/// Maximum number of such entries that are noted.
const MAX_IGNORED: usize = 1024;

/// The segment being read.
struct Open<'a> {
    segment: Segment<'a>,
    reader: Reader<SegmentSource<'a>>,
    /// The TRAILER of a raw archive was read.
    ended: bool,
}

/// What comes directly before.
#[derive(Clone, Copy, Debug, Default)]
enum Chain {
    /// The start, or a stream that knows its own end.
    #[default]
    None,
    /// A raw archive.
    Raw,
    /// An lz4_legacy stream that ends at `end`; with those directly before it, it unpacks to
    /// `phase` bytes modulo 4.
    Lz4Legacy { end: usize, phase: u64 },
}

/// The state of the kernel's unpacker between two segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unpacker {
    chain: Chain,
    reach: Reach,
    /// No segment came yet.
    fresh: bool,
    /// The last stream leaves it waiting for more of an archive: see [`Segment::whole`].
    waits: bool,
    /// It gave up for that.
    stopped: bool,
}

impl Default for Unpacker {
    fn default() -> Self {
        Unpacker {
            chain: Chain::None,
            reach: Reach::Always,
            fresh: true,
            waits: false,
            stopped: false,
        }
    }
}

impl Unpacker {
    /// Whether the kernel gets to the segment that began last.
    pub(crate) fn reach(&self) -> Reach {
        self.reach
    }

    /// A raw archive comes directly before.
    pub(crate) fn after_raw(&self) -> bool {
        matches!(self.chain, Chain::Raw)
    }

    /// A segment begins at `start`, after `zeros` bytes of padding. Gives the phase of its unpacked
    /// bytes.
    pub(crate) fn begin(&mut self, start: usize, zeros: usize, compression: Option<Format>) -> u64 {
        if let Chain::Lz4Legacy { end, phase } = self.chain
            && end == start
            && compression == Some(Format::Lz4Legacy)
        {
            return phase;
        }
        if self.waits {
            (self.stopped, self.reach) = (true, Reach::Never);
        }
        let Chain::Lz4Legacy { .. } = self.chain else { return 0 };
        // One to three zeros do not make a block size of zero.
        let here = if zeros >= 4 { Reach::NewerKernels } else { Reach::Never };
        self.reach = self.reach.max(here);
        0
    }

    /// Whether it gave up after a stream, before the segment that began last.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// The segment that began last is `own`, at `range`.
    pub(crate) fn end(&mut self, own: &Extent, range: Range<usize>) {
        let Extent { compression, unpacked, whole, .. } = *own;
        // At first it waits for a header.
        self.fresh &= unpacked == 0;
        let still = self.waits && unpacked == 0;
        self.waits = compression.is_some() && (self.fresh || !whole || still);
        let end = range.end;
        self.chain = match (compression, self.chain) {
            (None, _) => Chain::Raw,
            (Some(Format::Lz4Legacy), Chain::Lz4Legacy { end: before, phase })
                if before == range.start =>
            {
                Chain::Lz4Legacy { end, phase: (phase + unpacked) % 4 }
            }
            (Some(Format::Lz4Legacy), _) => Chain::Lz4Legacy { end, phase: unpacked % 4 },
            (Some(_), _) => Chain::None,
        };
    }
}

impl<'a> Entries<'a> {
    /// The entries of `input`.
    pub fn new(input: &'a [u8], limits: Limits) -> Self {
        Entries { fresh: true, ..Self::starting_at(input, 0, limits) }
    }

    /// The entries of `segment`, before which the kernel has unpacked a stream: if both are
    /// lz4_legacy, the unpacked bytes begin at `phase` modulo 4.
    pub(super) fn continuing(segment: &'a [u8], phase: u64, limits: Limits) -> Self {
        let mut entries = Self::starting_at(segment, 0, limits);
        if phase > 0 {
            entries.unpacker.chain = Chain::Lz4Legacy { end: 0, phase };
        }
        entries
    }

    /// The entries from `position` of `input` on, where a segment or padding starts.
    pub(super) fn starting_at(input: &'a [u8], position: usize, limits: Limits) -> Self {
        Entries {
            input,
            limits,
            position,
            budget: limits.unpacked,
            open: None,
            found: Ramdisk { segments: Vec::new(), padding: Vec::new(), trailing: None },
            unpacker: Unpacker::default(),
            ignored: Vec::new(),
            fresh: false,
        }
    }

    /// The next entry, TRAILERs included; none at the end of the ramdisk.
    ///
    /// # Errors
    /// As [`Ramdisk::parse`].
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            if self.open.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some(open) = &mut self.open else { return Ok(None) };
            let entry = open.next_entry();
            match entry.map_err(|error| lift(error, open.segment.range.start, &self.limits))? {
                Some(entry) => match entry.header.skipped() {
                    Some(reason) if self.ignored.len() < MAX_IGNORED => {
                        let name = open.reader.skipped_name().to_vec();
                        self.ignored.push(Ignored { name, reason });
                    }
                    Some(_) => {}
                    None => return Ok(Some(entry)),
                },
                None => self.close()?,
            }
        }
    }

    /// Copy the data of the last entry to `out`; gives its length in bytes.
    ///
    /// # Errors
    /// As [`Ramdisk::parse`]; [`Error::Io`] when `out` fails.
    pub fn copy_data(&mut self, out: &mut dyn Write) -> Result<u64, Error> {
        let left = self.open.as_ref().map_or(0, |open| open.reader.left());
        // One byte at least, so that a read of no bytes is the end.
        let mut buffer = vec![0; left.clamp(1, 64 << 10) as usize];
        let mut copied = 0;
        loop {
            let count = self.read(&mut buffer).map_err(|error| {
                let offset = self.open.as_ref().map_or(0, |open| open.segment.range.start);
                lift(cpio::Error::Io(error), offset, &self.limits)
            })?;
            if count == 0 {
                return Ok(copied);
            }
            out.write_all(&buffer[..count])?;
            copied += count as u64;
        }
    }

    /// The entries so far that the kernel skips; [`Entries::next_entry`] does, too.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }

    /// The index of the segment that the last entry is in.
    pub fn segment(&self) -> usize {
        self.found.segments.len().saturating_sub(usize::from(self.open.is_none()))
    }

    /// Whether the kernel gets to the last entry.
    pub(crate) fn reach(&self) -> Reach {
        self.unpacker.reach
    }

    /// Where the block of lz4_legacy begins whose first header the last entry has, and what the blocks
    /// before it unpack to. The first block begins with its stream.
    pub(super) fn block_start(&self, entry: &Entry) -> Option<(usize, u64)> {
        let open = self.open.as_ref()?;
        let (at, unpacked) = open.reader.get_ref().lz4_legacy()?.begun();
        let at = if unpacked == 0 { 0 } else { at };
        // Up to three zeros may come first.
        let first = (unpacked..unpacked + 4).contains(&entry.offset);
        first.then_some((open.segment.range.start + at, unpacked))
    }

    /// Where the block of lz4_legacy ends that ends with the last entry.
    pub(super) fn block_end(&self, entry: &Entry) -> Option<usize> {
        let open = self.open.as_ref()?;
        let (at, unpacked) = open.reader.get_ref().lz4_legacy()?.ended()?;
        (unpacked == entry.end()).then_some(open.segment.range.start + at)
    }

    /// What was found. Complete after [`Entries::next_entry`] gave none.
    pub fn into_ramdisk(self) -> Ramdisk<'a> {
        self.found
    }

    /// Open the segment at the current position. False at the end.
    fn open_next(&mut self) -> Result<bool, Error> {
        let rest = self.input.get(self.position..).unwrap_or_default();
        let zeros = leading_zeros(rest);
        let start = self.position + zeros;
        if zeros > 0 {
            self.found.padding.push(self.position..start);
            self.position = start;
        }
        let rest = &rest[zeros..];
        if rest.is_empty() {
            return Ok(false);
        }
        let (compression, source) = match identify(rest, start, self.unpacker.after_raw()) {
            Piece::Junk(reason) => {
                let reason =
                    if self.found.ends_with_lg_size(self.input) { LG_SIZE } else { reason };
                self.found.trailing = Some(Trailing { range: start..self.input.len(), reason });
                self.position = self.input.len();
                return Ok(false);
            }
            Piece::Raw => (None, SegmentSource::Raw(rest)),
            Piece::Compressed(format) => {
                let source = SegmentSource::compressed(format, rest, self.budget)
                    .map_err(|source| Error::Compressed { offset: start, source })?;
                (Some(format), source)
            }
        };
        if self.found.segments.len() >= self.limits.segments {
            return Err(Error::TooMany { what: "segments", limit: self.limits.segments });
        }
        let phase = self.unpacker.begin(start, zeros, compression);
        let segment = Segment {
            range: start..start,
            compression,
            bytes: &[],
            unpacked: 0,
            entries: 0,
            trailers: 0,
            has_trailer: false,
            reach: self.unpacker.reach,
            phase,
            whole: true,
        };
        let mut reader = Reader::with_phase(source, phase);
        if self.fresh && compression.is_some() {
            let first = reader.begins_with_header();
            first.map_err(|error| lift(error, start, &self.limits))?;
        }
        self.open = Some(Open { segment, reader, ended: false });
        Ok(true)
    }

    /// The open segment is read: note where it ends.
    fn close(&mut self) -> Result<(), Error> {
        let Some(Open { mut segment, reader, .. }) = self.open.take() else { return Ok(()) };
        let start = segment.range.start;
        let available = self.input.len() - start;
        let length = match reader.get_ref() {
            // The padding after the last entry may be missing.
            SegmentSource::Raw(_) => {
                segment.unpacked = reader.entry_end().min(available as u64);
                segment.unpacked as usize
            }
            SegmentSource::Compressed(source) => {
                let source = source.get_ref();
                segment.unpacked = source.produced();
                self.budget = self.budget.saturating_sub(source.produced());
                segment.whole = reader.entry_end() <= source.produced();
                source.consumed()
            }
        };
        // A stream always takes something, or the walk would not end.
        if length == 0 {
            let source = cpio::Error::Truncated { entry: String::new(), offset: 0, what: "stream" };
            return Err(Error::Cpio { offset: start, source });
        }
        let end = start + length.min(available);
        segment.range = start..end;
        self.fresh &= segment.unpacked == 0;
        self.unpacker.end(&Extent::of(&segment), start..end);
        segment.bytes = &self.input[start..end];
        self.position = end;
        self.found.segments.push(segment);
        Ok(())
    }
}

impl Open<'_> {
    fn next_entry(&mut self) -> Result<Option<Entry>, cpio::Error> {
        if self.segment.compression.is_none() {
            // A raw archive ends with its TRAILER, or where no further header follows.
            let more = !self.ended && self.reader.peek()? == Some(b'0');
            if !more {
                return Ok(None);
            }
        }
        let entry = self.reader.next_entry()?;
        if let Some(entry) = entry.as_ref().filter(|entry| entry.is_unpacked()) {
            let trailer = entry.is_trailer();
            self.segment.has_trailer |= trailer;
            self.segment.entries += u64::from(!trailer);
            self.segment.trailers += u64::from(trailer);
            self.ended = trailer;
        }
        Ok(entry)
    }
}

/// The data of the current entry.
impl Read for Entries<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.open {
            Some(open) => open.reader.read(out),
            None => Ok(0),
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tile::Segment(index) => write!(f, "segment {index}"),
            Tile::Padding => f.write_str("padding"),
            Tile::Trailing => f.write_str("trailing bytes"),
        }
    }
}
