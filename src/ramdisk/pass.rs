//! The pass over a ramdisk: unpacks it once and notes everything that is asked later.

use super::cpio::{Entry, FileType, Header};
use super::kind::{Classification, Survey};
use super::ours;
use super::{Entries, Error, Limits, normalise};
use crate::root_manager::patched_ramdisks;

/// The data of files of these names is kept, because a patch asks for it; so is that of what root
/// managers leave ([`PatchedRamdisk::keeps`](crate::root_manager::PatchedRamdisk::keeps)).
const KEPT: &[&str] =
    &["init", "default.prop", "prop.default", "vfioboot/undo", "vfioboot/boot.toml"];
/// And of files whose names end so.
const KEPT_SUFFIXES: &[&str] = &[".rc", ".prop"];
/// The largest file that is kept, and all of them together, in bytes.
const KEPT_MAX: u32 = 4 << 20;
const KEPT_TOTAL: usize = 8 << 20;
/// Bookkeeping of an entry besides its name, in bytes; counted against [`Limits::metadata`].
const ENTRY_COST: usize = 96;
/// How often the state before a segment of ours is noted. A patched ramdisk has one.
const MAX_NOTES: usize = 4;

/// Takes the data of files out of the pass over a ramdisk.
pub(crate) trait Collector {
    /// Whether the data of the regular file at `path` (no `/` at its start) is wanted.
    fn wants(&self, path: &str, size: u32) -> bool;
    /// Take it. `entry` is the number of the entry in the ramdisk, TRAILERs counted.
    fn take(&mut self, entry: usize, path: &str, data: &[u8]);
}

/// A collector that wants nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NoCollector;

impl Collector for NoCollector {
    fn wants(&self, _: &str, _: u32) -> bool {
        false
    }

    fn take(&mut self, _: usize, _: &str, _: &[u8]) {}
}

/// An entry of the ramdisk, unchanged.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// As the kernel reads it.
    pub path: Vec<u8>,
    pub header: Header,
    pub trailer: bool,
    /// Where its header starts in the unpacked segment, in bytes.
    pub offset: u64,
    pub segment: usize,
    /// The target of a symbolic link, or a small file's data.
    pub data: Option<Vec<u8>>,
}

/// The ramdisk as it was before an entry that may be the first of our segment.
#[derive(Debug)]
pub(super) struct Before {
    /// How many entries there were.
    pub entries: usize,
    /// What it was.
    pub survey: Survey,
    /// In an lz4_legacy stream: where the block begins that begins with the entry, and what the blocks
    /// before it unpack to.
    pub start: Option<(usize, u64)>,
    /// In an lz4_legacy stream: where the block ends that ends with the next TRAILER.
    pub end: Option<usize>,
    trailer: bool,
}

/// What a pass has gathered so far.
#[derive(Default)]
pub(super) struct Pass {
    pub classification: Classification,
    pub records: Vec<Record>,
    /// There were more names than [`Limits::metadata`] allows.
    pub truncated: bool,
    /// The last that was noted.
    pub before: Option<Before>,
    notes: usize,
    /// Entries so far, also those without a record.
    entries: usize,
    cost: usize,
    kept: usize,
}

impl Pass {
    /// Read all entries; what comes before damage is noted.
    pub(crate) fn run(
        &mut self,
        entries: &mut Entries<'_>,
        limits: Limits,
        collector: &mut dyn Collector,
    ) -> Result<(), Error> {
        while let Some(entry) = entries.next_entry()? {
            let data = self.data(&entry, entries, collector)?;
            self.record(entry, entries.segment(), data, limits);
        }
        Ok(())
    }

    /// Show the entry's data to whoever wants it; gives what is kept of it.
    fn data(
        &mut self,
        entry: &Entry,
        entries: &mut Entries<'_>,
        collector: &mut dyn Collector,
    ) -> Result<Option<Vec<u8>>, Error> {
        if entry.is_trailer() {
            if let Some(before) = self.before.as_mut().filter(|before| !before.trailer) {
                (before.trailer, before.end) = (true, entries.block_end(entry));
            }
            return Ok(None);
        }
        let name = normalise(entry.path());
        let size = entry.header.filesize;
        if ours::is_directory(&name) && self.notes < MAX_NOTES {
            self.notes += 1;
            let survey = self.classification.clone().finish();
            let start = entries.block_start(entry);
            let (number, end, trailer) = (self.entries, None, false);
            self.before = Some(Before { entries: number, survey, start, end, trailer });
        }
        self.classification.name(&name, entry.file_type());
        if entry.file_type() == FileType::Symlink {
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
            collector.take(self.entries, path, &data);
        }
        Ok(Some(data).filter(|_| keeps))
    }

    fn keeps(&self, path: &str, size: u32) -> bool {
        let fits = size <= KEPT_MAX && self.kept + size as usize <= KEPT_TOTAL;
        fits && (KEPT_SUFFIXES.iter().any(|suffix| path.ends_with(suffix))
            || KEPT.contains(&path)
            || patched_ramdisks().any(|(_, own)| own.keeps(path)))
    }

    fn record(&mut self, entry: Entry, segment: usize, data: Option<Vec<u8>>, limits: Limits) {
        let kept = data.as_ref().map_or(0, Vec::len);
        self.entries += 1;
        self.kept += kept;
        self.cost += ENTRY_COST + entry.name.len();
        self.truncated |= self.cost > limits.metadata;
        if self.truncated {
            return;
        }
        let (trailer, length) = (entry.is_trailer(), entry.path().len());
        let Entry { offset, header, name: mut path, .. } = entry;
        path.truncate(length);
        self.records.push(Record { path, header, trailer, offset, segment, data });
    }
}
