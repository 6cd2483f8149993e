//! Everything that is asked of a ramdisk, out of one pass over it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::append::AppendPoint;
use super::cpio::{FileType, Header, leading_zeros};
use super::kind::{Kinds, Survey};
use super::ours::{self, Form, Ours, Sequence, is_directory, is_undo};
use super::pass::{Before, Collector, NoCollector, Pass, Record};
use super::segment::Extent;
use super::tree::{self, Tree, TreeEntry};
use super::{Entries, Error, Limits, Reach, Trailing, Unpacker};
use crate::compression::{Budget, Format, LZ4_LEGACY_MAGIC};

/// The entries of a ramdisk, what it is, and the data of its small files.
#[derive(Debug)]
pub(crate) struct Inventory {
    /// Length of the ramdisk, in bytes.
    size: usize,
    limits: Limits,
    survey: Survey,
    segments: Vec<Extent>,
    trailing: Option<Trailing>,
    /// The entries of the pass; the first `count` are of this ramdisk.
    all: Arc<Vec<Record>>,
    count: usize,
    /// There were more names than [`Limits::metadata`] allows.
    truncated: bool,
    before: Option<Before>,
    tree: OnceLock<Tree>,
}

impl Inventory {
    /// Unpack a ramdisk once. Memory: the names, and the small files that are kept.
    ///
    /// # Errors
    /// As [`super::Ramdisk::parse`]; `collector` has then taken what comes before the damage.
    pub(crate) fn read(
        bytes: &[u8],
        limits: Limits,
        collector: &mut dyn Collector,
    ) -> Result<Self, Error> {
        // What is not compressed costs work, too, above all if table entries name it many times.
        Budget::take(bytes.len() as u64)?;
        let mut entries = Entries::new(bytes, limits);
        let mut pass = Pass::default();
        pass.run(&mut entries, limits, collector)?;
        let layout = entries.into_ramdisk();
        Ok(Inventory {
            size: bytes.len(),
            limits,
            survey: pass.classification.finish(),
            segments: layout.segments.iter().map(Extent::of).collect(),
            trailing: layout.trailing,
            count: pass.records.len(),
            all: Arc::new(pass.records),
            truncated: pass.truncated,
            before: pass.before,
            tree: OnceLock::new(),
        })
    }

    /// The inventory of the same ramdisk without `cut`: our segment and the padding before it. Also
    /// the number of entries that are left. None where only another pass could tell.
    pub(crate) fn original(&self, cut: &Range<usize>) -> Option<(Self, usize)> {
        let (Ours { range: ours, form }, before) = (self.ours()?, self.before.as_ref()?);
        let (number, others) = (self.segments.len().checked_sub(1)?, before.entries);
        let last = &self.segments[number];
        let mut segments = self.segments[..number].to_vec();
        if let (Form::Blocks, Some((at, unpacked))) = (form, before.start) {
            segments.push(Extent { range: last.range.start..at, unpacked, ..last.clone() });
        }
        let own = others.checked_sub(1).and_then(|last| self.records().get(last));
        let begins = self.records().get(others)?.segment == number
            && own.is_none_or(|own| own.segment < segments.len());
        let end = segments.last().map_or(0, |last| last.range.end);
        let whole = (end.max(last.range.start), last.range.end) == (ours.start, ours.end)
            && (end..=ours.start).contains(&cut.start)
            && (ours.end..=self.size).contains(&cut.end);
        let original = Inventory {
            size: self.size - cut.len(),
            limits: self.limits,
            survey: before.survey.clone(),
            segments,
            trailing: None,
            all: Arc::clone(&self.all),
            count: others,
            truncated: false,
            before: None,
            tree: OnceLock::new(),
        };
        (begins && whole && !self.truncated).then_some((original, others))
    }

    /// The inventory of the same ramdisk with the bytes `inserted` in it, of which `ramdisk` are all:
    /// only those are unpacked. None where only a pass over all of it could tell.
    ///
    /// # Errors
    /// Damage in the inserted bytes.
    pub(crate) fn grown(
        &self,
        ramdisk: &[u8],
        inserted: &Range<usize>,
        collector: &mut dyn Collector,
    ) -> Result<Option<Self>, Error> {
        let before = self.segments.partition_point(|own| own.range.end <= inserted.start);
        let (head, tail) = self.segments.split_at(before);
        let Some(format) = head.last().and_then(|last| last.compression) else { return Ok(None) };
        if self.truncated || self.trailing.is_some() {
            return Ok(None);
        }
        let mut walk = Replay::default();
        if !head.iter().all(|own| walk.segment(own, 0).is_some()) {
            return Ok(None);
        }
        let zeros = leading_zeros(&ramdisk[inserted.clone()]);
        let start = inserted.start + zeros;
        let phase = walk.unpacker.begin(start, start - walk.end, Some(format));
        let entries = self.entries_in(before);
        let mut shifted = Shifted { collector, by: entries };
        let piece = &ramdisk[start..inserted.end];
        let Some((pass, mut own)) = read_piece(format, piece, phase, self.limits, &mut shifted)?
        else {
            return Ok(None);
        };
        own.range = start..start + own.range.end;
        own.reach = walk.unpacker.reach();
        walk.unpacker.end(&own, own.range.clone());
        walk.end = own.range.end;
        let mut segments = [head, &[own]].concat();
        for segment in tail {
            let Some(moved) = walk.segment(segment, inserted.len()) else { return Ok(None) };
            segments.push(moved);
        }
        let (first, last) = self.records().split_at(entries);
        let numbered = |records: &[Record], more: usize| -> Vec<Record> {
            let number = |own: &Record| Record { segment: own.segment + more, ..own.clone() };
            records.iter().map(number).collect()
        };
        let mut all = first.to_vec();
        all.extend(numbered(&pass.records, before));
        all.extend(numbered(last, 1));
        Ok(Some(Inventory {
            size: ramdisk.len(),
            limits: self.limits,
            survey: self.survey.clone(),
            segments,
            trailing: None,
            count: all.len(),
            all: Arc::new(all),
            truncated: pass.truncated,
            before: None,
            tree: OnceLock::new(),
        }))
    }

    /// The numbers of the entries that `grown` has more, from the offset `at` of the ramdisk on; None
    /// if the others are not the same.
    pub(crate) fn entries_added(&self, grown: &Inventory, at: usize) -> Option<Range<usize>> {
        let before = self.segments.partition_point(|own| own.range.end <= at);
        let (first, last) = self.records().split_at(self.entries_in(before));
        let more = grown.count.checked_sub(self.count)?;
        let records = grown.records();
        let end = first.len() + more;
        let same = |(own, other): (&Record, &Record)| {
            (&own.path, own.header, &own.data) == (&other.path, other.header, &other.data)
        };
        let kept = records[..first.len()].iter().chain(records.get(end..)?);
        let same = std::iter::zip(kept, first.iter().chain(last)).all(same);
        (same && !grown.truncated).then_some(first.len()..end)
    }

    fn records(&self) -> &[Record] {
        &self.all[..self.count]
    }

    /// The entries in order, TRAILERs included.
    ///
    /// # Errors
    /// [`Error::TooMany`] where the names take more than [`Limits::metadata`].
    pub(crate) fn entries(&self) -> Result<&[Record], Error> {
        match self.truncated {
            true => Err(Error::too_many_names(self.limits.metadata)),
            false => Ok(self.records()),
        }
    }

    /// The header and the data of the entry of this number. Files that are not kept cost another pass
    /// over `ramdisk`, whose inventory this is.
    ///
    /// # Errors
    /// As [`super::Ramdisk::parse`].
    pub(crate) fn file(
        &self,
        ramdisk: &[u8],
        number: usize,
    ) -> Result<Option<(Header, Vec<u8>)>, Error> {
        match self.records().get(number) {
            Some(Record { header, data: Some(data), .. }) => Ok(Some((*header, data.clone()))),
            Some(Record { header, .. }) if header.filesize == 0 => Ok(Some((*header, Vec::new()))),
            _ => tree::read_entry(ramdisk, number as u64, self.limits),
        }
    }

    /// What it is.
    pub(crate) fn survey(&self) -> &Survey {
        &self.survey
    }

    /// What it is, alone.
    pub(crate) fn into_survey(self) -> Survey {
        self.survey
    }

    /// The segments, in order.
    pub(crate) fn segments(&self) -> &[Extent] {
        &self.segments
    }

    /// What is left where the kernel finds nothing it knows.
    pub(crate) fn trailing(&self) -> Option<&Trailing> {
        self.trailing.as_ref()
    }

    /// The file tree that the kernel makes of the entries.
    ///
    /// # Errors
    /// [`Error::TooMany`] where the names take more than [`Limits::metadata`].
    pub(crate) fn tree(&self) -> Result<&Tree, Error> {
        if self.truncated {
            return Err(Error::too_many_names(self.limits.metadata));
        }
        let reach = self.segments.last().map_or(Reach::Always, |last| last.reach);
        Ok(self.tree.get_or_init(|| Tree::of(self.records().iter().map(node), reach)))
    }

    /// The file tree that the kernel makes of several ramdisks, one after the other; of each the
    /// number of entries that it gets to. `reach` is that of the last segment.
    /// [`TreeEntry::source`] counts over these entries.
    ///
    /// # Errors
    /// [`Limits::metadata`] of the first whose names take more than that.
    pub(crate) fn tree_of(
        inventories: &[(&Inventory, usize)],
        reach: Reach,
    ) -> Result<Tree, usize> {
        if let Some((own, _)) = inventories.iter().find(|(own, _)| own.truncated) {
            return Err(own.limits.metadata);
        }
        let records = inventories.iter().flat_map(|(own, count)| own.records().iter().take(*count));
        Ok(Tree::of(records.map(node), reach))
    }

    /// The number of entries in the first `segments` segments.
    pub(crate) fn entries_in(&self, segments: usize) -> usize {
        self.records().partition_point(|record| record.segment < segments)
    }

    /// The header of the entry of this number.
    pub(crate) fn header(&self, entry: usize) -> Option<&Header> {
        self.records().get(entry).map(|record| &record.header)
    }

    /// The header and the data of what [`Tree::find`] gave. Files that are not kept cost another
    /// pass over `ramdisk`, whose inventory this is.
    ///
    /// # Errors
    /// As [`super::Ramdisk::parse`].
    pub(crate) fn entry(
        &self,
        ramdisk: &[u8],
        found: &TreeEntry,
    ) -> Result<Option<(Header, Vec<u8>)>, Error> {
        match usize::try_from(found.source) {
            Ok(number) => self.file(ramdisk, number),
            Err(_) => Ok(None),
        }
    }

    /// Where a segment can be put after the first `segments` segments.
    ///
    /// # Errors
    /// As [`Inventory::append_point`], where these are all.
    pub(crate) fn append_point_after(&self, segments: usize) -> Result<AppendPoint, Error> {
        match self.segments.get(..segments).unwrap_or_default() {
            [.., last] if segments < self.segments.len() => Ok(match last.compression {
                Some(Format::Lz4Legacy) => {
                    AppendPoint::after_lz4_legacy(last.range.end, (last.phase + last.unpacked) % 4)
                }
                format => AppendPoint::at_end(format, last.range.end),
            }),
            _ => self.append_point(),
        }
    }

    /// Where a segment can be appended.
    ///
    /// # Errors
    /// [`Error::Junk`] for bytes at which the kernel would stop.
    pub(crate) fn append_point(&self) -> Result<AppendPoint, Error> {
        if let Some(trailing) = &self.trailing {
            return Err(Error::Junk { offset: trailing.range.start, reason: trailing.reason });
        }
        Ok(match self.segments.last() {
            Some(last) if last.compression == Some(Format::Lz4Legacy) => {
                AppendPoint::after_lz4_legacy(last.range.end, (last.phase + last.unpacked) % 4)
            }
            last => AppendPoint::at_end(last.and_then(|last| last.compression), self.size),
        })
    }

    /// The segment that a patch appended, as [`super::find_ours`] finds it. A tool that made one archive
    /// of everything keeps our files in it, and then there is none.
    pub(crate) fn ours(&self) -> Option<Ours> {
        if self.trailing.is_some() {
            return None;
        }
        let records = self.records();
        let Range { start: first, end: after } = self.numbers_of_ours()?;
        let number = records[first].segment;
        let segment = self.segments.get(number)?;
        let Range { start, end } = segment.range;
        match segment.compression {
            // After an archive without a TRAILER ours continues the same segment.
            None => {
                let start = start + usize::try_from(records[first].offset).ok()?;
                Some(Ours { range: start..end, form: Form::Raw })
            }
            Some(Format::Lz4Legacy) => {
                let before = self.before.as_ref().filter(|before| before.entries == first)?;
                let ((from, _), to) = (before.start?, before.end?);
                let form = match from == start {
                    true => Form::Stream(Format::Lz4Legacy),
                    false => Form::Blocks,
                };
                Some(Ours { range: from..to, form })
            }
            Some(format) => {
                let around = [records[..first].last(), records.get(after)];
                let more = around.into_iter().flatten().any(|record| record.segment == number);
                let form = Form::Stream(format);
                (!more).then(|| Ours { range: segment.range.clone(), form })
            }
        }
    }

    /// The numbers of the entries of an archive of ours, its TRAILER included.
    pub(crate) fn numbers_of_ours(&self) -> Option<Range<usize>> {
        let records = self.records();
        let undo = records.iter().rposition(|record| is_undo(&record.path))?;
        let first = records[..undo].iter().rposition(|record| is_directory(&record.path))?;
        let mut sequence = Sequence::starting(&records[first].header)?;
        let segment = records[first].segment;
        let mut rest = records[first + 1..].iter().take_while(|record| record.segment == segment);
        let count = 1 + rest.by_ref().take_while(|record| !record.trailer).count();
        let end = first + count;
        let all = records[first + 1..end].iter().all(|record| sequence.goes_on(&record.header));
        let trailer = records.get(end).is_some_and(|record| record.trailer);
        (all && undo < end).then(|| first..end + usize::from(trailer))
    }

    /// The data of the last undo record, wherever it is, if it is kept.
    pub(crate) fn undo_record(&self) -> Option<&[u8]> {
        let mut records = self.records().iter().rev();
        records.find(|record| is_undo(&record.path))?.data.as_deref()
    }

    /// Whether a patch has left anything that only a patch leaves.
    pub(crate) fn is_marked(&self) -> bool {
        self.records().iter().any(|record| ours::is_mark(&record.path))
    }
}

/// The entry for a tree.
fn node(record: &Record) -> tree::Node<'_> {
    let symlink = record.header.file_type() == FileType::Symlink;
    let target = record.data.as_deref().filter(|_| symlink).unwrap_or_default();
    tree::Node { path: &record.path, header: &record.header, trailer: record.trailer, target }
}

impl Survey {
    /// Read a ramdisk, in one pass.
    ///
    /// # Errors
    /// As [`super::Ramdisk::parse`].
    pub(crate) fn read(ramdisk: &[u8], limits: Limits) -> Result<Self, Error> {
        Ok(Inventory::read(ramdisk, limits, &mut NoCollector)?.into_survey())
    }
}

/// Classify a ramdisk, reading `init` and the originals that were put aside.
///
/// # Errors
/// As [`super::Ramdisk::parse`].
pub fn classify_ramdisk(ramdisk: &[u8], limits: Limits) -> Result<Kinds, Error> {
    Ok(Survey::read(ramdisk, limits)?.kinds)
}

/// The segments of a ramdisk as the kernel takes them, one after the other.
#[derive(Default)]
struct Replay {
    unpacker: Unpacker,
    /// Where the last one ends.
    end: usize,
}

impl Replay {
    /// The next segment, which was `shift` bytes further in front; None if the kernel takes it in
    /// another way here.
    fn segment(&mut self, own: &Extent, shift: usize) -> Option<Extent> {
        let range = own.range.start + shift..own.range.end + shift;
        let raw = own.compression.is_none() || self.unpacker.after_raw();
        let phase = self.unpacker.begin(range.start, range.start - self.end, own.compression);
        if phase != own.phase || (raw && !range.start.is_multiple_of(4)) {
            return None;
        }
        let reach = self.unpacker.reach();
        self.unpacker.end(own, range.clone());
        self.end = range.end;
        Some(Extent { range, reach, ..own.clone() })
    }
}

/// A collector for entries before which there are others.
struct Shifted<'c> {
    collector: &'c mut dyn Collector,
    by: usize,
}

impl Collector for Shifted<'_> {
    fn wants(&self, path: &str, size: u32) -> bool {
        self.collector.wants(path, size)
    }

    fn take(&mut self, entry: usize, path: &str, data: &[u8]) {
        self.collector.take(self.by + entry, path, data);
    }
}

/// Read the segment that is all of `piece`, apart from zeros at its end. None if it is not one.
/// Blocks of lz4_legacy may have no magic: they continue the stream before them.
fn read_piece(
    format: Format,
    piece: &[u8],
    phase: u64,
    limits: Limits,
    collector: &mut dyn Collector,
) -> Result<Option<(Pass, Extent)>, Error> {
    let magic = LZ4_LEGACY_MAGIC.to_le_bytes();
    let continues = format == Format::Lz4Legacy && !piece.starts_with(&magic);
    let stream = match continues {
        true => Cow::Owned([&magic, piece].concat()),
        false => Cow::Borrowed(piece),
    };
    let mut entries = Entries::continuing(&stream, phase, limits);
    let mut pass = Pass::default();
    pass.run(&mut entries, limits, collector)?;
    let layout = entries.into_ramdisk();
    let ([segment], None) = (layout.segments.as_slice(), &layout.trailing) else { return Ok(None) };
    if segment.compression != Some(format) || segment.range.start > 0 {
        return Ok(None);
    }
    let mut extent = Extent::of(segment);
    extent.range.end -= if continues { magic.len() } else { 0 };
    extent.phase = phase;
    Ok(Some((pass, extent)))
}
