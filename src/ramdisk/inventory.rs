//! Everything that is asked of a ramdisk, out of one pass over it.

use std::ops::Range;
use std::sync::OnceLock;

use super::append::{AppendPoint, after_lz4_legacy, append_padding};
use super::cpio::{Entry, FileType, Header, NAME_MAX};
use super::kind::{Classification, Kinds, Survey};
use super::tree::{self, Found, Tree};
use super::{Entries, Error, Limits, Reach, Segment, Trailing, normalise};
use crate::bootfile::UNDO_FILE;
use crate::compression::Format;

/// The data of files of these names is kept: somebody asks for it when a ramdisk is patched.
const KEPT: &[&str] = &[
    "init",
    "init.real",
    "default.prop",
    "prop.default",
    ".backup/.magisk",
    "vfioboot/undo",
    "vfioboot/boot.toml",
];
/// And of files whose names end so.
const KEPT_SUFFIXES: &[&str] = &[".rc", ".prop"];
/// The largest file that is kept, and all of them together, in bytes.
const KEPT_MAX: u32 = 4 << 20;
const KEPT_TOTAL: usize = 8 << 20;
/// Bookkeeping of an entry besides its name, in bytes; counted against [`Limits::metadata`].
const ENTRY_COST: usize = 96;

/// Takes the data of files out of the pass over a ramdisk.
pub trait Collector {
    /// Whether the data of the regular file at `path` (no `/` at its start) is wanted.
    fn wants(&self, path: &str, size: u32) -> bool;
    /// Take it.
    fn take(&mut self, path: &str, data: &[u8]);
}

/// A collector that wants nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCollector;

impl Collector for NoCollector {
    fn wants(&self, _: &str, _: u32) -> bool {
        false
    }

    fn take(&mut self, _: &str, _: &[u8]) {}
}

/// The entries of a ramdisk, what it is, and the data of its small files.
#[derive(Debug)]
pub struct Inventory {
    /// Length of the ramdisk, in bytes.
    size: usize,
    limits: Limits,
    survey: Survey,
    segments: Vec<Extent>,
    trailing: Option<Trailing>,
    reach: Reach,
    records: Vec<Record>,
    /// There were more names than [`Limits::metadata`] allows.
    truncated: bool,
    tree: OnceLock<Tree>,
}

/// An entry of the ramdisk, unchanged.
#[derive(Debug)]
struct Record {
    /// As the kernel reads it.
    path: Vec<u8>,
    header: Header,
    trailer: bool,
    /// Where its header starts in the unpacked segment, in bytes.
    offset: u64,
    segment: usize,
    /// The target of a symbolic link, or a small file's data.
    data: Option<Vec<u8>>,
}

/// A segment of a ramdisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where it is in the ramdisk.
    pub range: Range<usize>,
    /// How it is compressed; None for a raw archive.
    pub compression: Option<Format>,
    /// Its length unpacked, in bytes.
    pub unpacked: u64,
    /// What its unpacked bytes begin at in the stream of the kernel, modulo 4.
    pub(crate) phase: u64,
}

impl Extent {
    fn of(segment: &Segment<'_>) -> Self {
        let Segment { range, compression, unpacked, phase, .. } = segment;
        Extent {
            range: range.clone(),
            compression: *compression,
            unpacked: *unpacked,
            phase: *phase,
        }
    }
}

impl Record {
    /// The entry for a tree.
    fn node(&self) -> tree::Node<'_> {
        let symlink = self.header.file_type() == FileType::Symlink;
        let target = self.data.as_deref().filter(|_| symlink).unwrap_or_default();
        tree::Node { path: &self.path, header: &self.header, trailer: self.trailer, target }
    }
}

impl Inventory {
    /// Unpack a ramdisk once. Memory: the names, and the small files that are kept.
    ///
    /// # Errors
    /// As [`super::Ramdisk::parse`]; `collector` has then taken what comes before the damage.
    pub fn read(
        bytes: &[u8],
        limits: Limits,
        collector: &mut dyn Collector,
    ) -> Result<Self, Error> {
        let mut entries = Entries::new(bytes, limits);
        let mut pass = Pass::default();
        while let Some(entry) = entries.next_entry()? {
            let data = pass.data(&entry, &mut entries, collector)?;
            pass.record(entry, entries.segment(), data, limits);
        }
        let reach = entries.reach();
        let layout = entries.into_ramdisk();
        Ok(Inventory {
            size: bytes.len(),
            limits,
            survey: pass.classification.finish(),
            segments: layout.segments.iter().map(Extent::of).collect(),
            trailing: layout.trailing,
            reach,
            records: pass.records,
            truncated: pass.truncated,
            tree: OnceLock::new(),
        })
    }

    /// What it is.
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// What it is, alone.
    pub fn into_survey(self) -> Survey {
        self.survey
    }

    /// The segments, in order.
    pub fn segments(&self) -> &[Extent] {
        &self.segments
    }

    /// What is left where the kernel finds nothing it knows.
    pub fn trailing(&self) -> Option<&Trailing> {
        self.trailing.as_ref()
    }

    /// Does it have an entry of this name? Leading `/` and `./` do not count, links are not
    /// followed.
    pub fn has_entry(&self, name: &[u8]) -> bool {
        let name = normalise(name);
        let files = self.records.iter().filter(|record| !record.trailer);
        files.into_iter().any(|record| normalise(&record.path) == name)
    }

    /// The names of all entries, unchanged and in order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        let files = self.records.iter().filter(|record| !record.trailer);
        files.map(|record| record.path.as_slice())
    }

    /// The file tree that the kernel makes of the entries.
    ///
    /// # Errors
    /// [`Error::TooMany`] where the names take more than [`Limits::metadata`].
    pub fn tree(&self) -> Result<&Tree, Error> {
        if self.truncated {
            return Err(Error::too_many_names(self.limits.metadata));
        }
        Ok(self.tree.get_or_init(|| Tree::of(self.records.iter().map(Record::node), self.reach)))
    }

    /// The file tree that the kernel makes of several ramdisks, one after the other; `reach` is
    /// that of the last segment. [`Found::source`] counts over all of them.
    ///
    /// # Errors
    /// [`Limits::metadata`] of the first whose names take more than that.
    pub fn tree_of(inventories: &[&Inventory], reach: Reach) -> Result<Tree, usize> {
        if let Some(own) = inventories.iter().find(|own| own.truncated) {
            return Err(own.limits.metadata);
        }
        Ok(Tree::of(inventories.iter().flat_map(|own| &own.records).map(Record::node), reach))
    }

    /// How many entries there are, TRAILERs included.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// It has no entries.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The header and the data of what [`Tree::find`] gave. Files that are not kept cost another
    /// pass over `ramdisk`, whose inventory this is.
    ///
    /// # Errors
    /// As [`super::Ramdisk::parse`].
    pub fn entry(&self, ramdisk: &[u8], found: &Found) -> Result<Option<(Header, Vec<u8>)>, Error> {
        let record = usize::try_from(found.source).ok().and_then(|n| self.records.get(n));
        match record {
            Some(Record { header, data: Some(data), .. }) => Ok(Some((*header, data.clone()))),
            Some(Record { header, .. }) if header.filesize == 0 => Ok(Some((*header, Vec::new()))),
            _ => tree::read_entry(ramdisk, found.source, self.limits),
        }
    }

    /// Where a segment can be appended.
    ///
    /// # Errors
    /// [`Error::Junk`] for bytes at which the kernel would stop.
    pub fn append_point(&self) -> Result<AppendPoint, Error> {
        if let Some(trailing) = &self.trailing {
            return Err(Error::Junk { offset: trailing.range.start, reason: trailing.reason });
        }
        let end = self.size;
        let format = self.segments.last().and_then(|last| last.compression);
        Ok(match self.segments.last() {
            Some(last) if format == Some(Format::Lz4Legacy) => {
                after_lz4_legacy(last.range.end, (last.phase + last.unpacked) % 4)
            }
            _ if format.is_none() => {
                AppendPoint { format, offset: end, padding: append_padding(end), lead_in: 0 }
            }
            _ => AppendPoint { format, offset: end, padding: 0, lead_in: 0 },
        })
    }

    /// The segment that a patch appended, as [`super::find_ours`] finds it.
    pub fn ours(&self) -> Option<Range<usize>> {
        if self.trailing.is_some() {
            return None;
        }
        let undo = normalise(UNDO_FILE.as_bytes());
        let last = self.records.iter().rposition(|record| normalise(&record.path) == undo)?;
        let number = self.records[last].segment;
        let segment = self.segments.get(number)?;
        let before = &self.records[..last];
        let own = before.iter().filter(|record| record.segment == number);
        let directory = undo.split(|byte| *byte == b'/').next().unwrap_or_default();
        let ours = |record: &&Record| normalise(&record.path) == directory;
        if segment.compression.is_none() {
            // After an archive without a TRAILER ours continues the same segment.
            let start = own.rev().find(ours)?.offset;
            return Some(segment.range.start + usize::try_from(start).ok()?..segment.range.end);
        }
        // A tool that made one segment of everything keeps our files in it.
        let alone = segment.range.start > 0 || own.clone().next().is_some_and(|first| ours(&first));
        alone.then(|| segment.range.clone())
    }

    /// The data of the last undo record, where [`Inventory::ours`] is.
    pub fn undo_record(&self) -> Option<&[u8]> {
        self.ours()?;
        let undo = normalise(UNDO_FILE.as_bytes());
        let mut records = self.records.iter().rev();
        records.find(|record| normalise(&record.path) == undo)?.data.as_deref()
    }
}

impl Survey {
    /// Read a ramdisk, in one pass.
    ///
    /// # Errors
    /// As [`super::Ramdisk::parse`].
    pub fn read(ramdisk: &[u8], limits: Limits) -> Result<Self, Error> {
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

/// What a pass has gathered so far.
#[derive(Default)]
struct Pass {
    classification: Classification,
    records: Vec<Record>,
    cost: usize,
    kept: usize,
    truncated: bool,
}

impl Pass {
    /// Show the entry's data to whoever wants it; gives what is kept of it.
    fn data(
        &mut self,
        entry: &Entry,
        entries: &mut Entries<'_>,
        collector: &mut dyn Collector,
    ) -> Result<Option<Vec<u8>>, Error> {
        if entry.is_trailer() {
            return Ok(None);
        }
        let name = normalise(entry.path());
        let size = entry.header.filesize;
        self.classification.name(&name, entry.file_type());
        if entry.file_type() == FileType::Symlink && size <= NAME_MAX {
            let mut target = Vec::new();
            entries.copy_data(&mut target)?;
            return Ok(Some(target));
        }
        let (FileType::Regular, Ok(path)) = (entry.file_type(), str::from_utf8(&name)) else {
            return Ok(None);
        };
        let keeps = self.keeps(path, size);
        let collects = collector.wants(path, size);
        if !keeps && !collects && !self.classification.reads_whole(path, size) {
            // Programs are large: they stream through.
            if let Some(mut search) = self.classification.search(path) {
                entries.copy_data(&mut search)?;
                self.classification.searched(path, &search);
            }
            return Ok(None);
        }
        let mut data = Vec::new();
        entries.copy_data(&mut data)?;
        self.classification.data(path, &data);
        if collects {
            collector.take(path, &data);
        }
        Ok(Some(data).filter(|_| keeps))
    }

    fn keeps(&self, path: &str, size: u32) -> bool {
        let suffixed = KEPT_SUFFIXES.iter().any(|suffix| path.ends_with(suffix));
        let fits = size <= KEPT_MAX && self.kept + size as usize <= KEPT_TOTAL;
        (suffixed || KEPT.contains(&path)) && fits
    }

    fn record(&mut self, entry: Entry, segment: usize, data: Option<Vec<u8>>, limits: Limits) {
        let kept = data.as_ref().map_or(0, Vec::len);
        self.kept += kept;
        self.cost += ENTRY_COST + entry.name.len();
        self.truncated |= self.cost > limits.metadata;
        if self.truncated {
            return;
        }
        self.records.push(Record {
            path: entry.path().to_vec(),
            trailer: entry.is_trailer(),
            header: entry.header,
            offset: entry.offset,
            segment,
            data,
        });
    }
}
