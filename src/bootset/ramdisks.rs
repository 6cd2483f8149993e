//! The ramdisks of the images, and where each is.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use super::mark::PatchMark;
use crate::image::{FragmentType, Image, SectionName};
use crate::modules::{ModuleFiles, ModuleRequest};
use crate::ramdisk::kind::Survey;
use crate::ramdisk::{self, Collector, Inventory, Limits, NoCollector, Ours, RamdiskKind, Skim};

/// Where a ramdisk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Spot {
    /// Index of the image.
    pub image: usize,
    /// Index of the fragment in a vendor ramdisk; None for the only ramdisk of an image.
    pub fragment: Option<usize>,
}

impl std::fmt::Display for Spot {
    /// Its name within the image: `ramdisk`, `fragment 1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.fragment {
            None => f.pad("ramdisk"),
            Some(number) => write!(f, "fragment {number}"),
        }
    }
}

/// A ramdisk of the set. It is decompressed once, when its contents are first needed.
#[derive(Debug)]
pub struct Ramdisk<'a> {
    /// Where it is.
    pub spot: Spot,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The section that contains it.
    pub section: SectionName,
    /// Its offset in the section, in bytes.
    pub offset: usize,
    /// The name of the fragment; empty for a ramdisk that is not a fragment.
    pub name: &'a [u8],
    /// Which boots load it; None for a ramdisk that is not a fragment.
    pub fragment: Option<FragmentType>,
    request: Arc<OnceLock<ModuleRequest>>,
    /// Shared with the fragments that the table gives the same bytes.
    contents: Arc<OnceLock<Arc<Contents>>>,
    /// The modules from a pass of their own.
    modules: OnceLock<ModuleFiles>,
    mark: OnceLock<Option<PatchMark>>,
}

/// What the pass over a ramdisk gives.
#[derive(Debug)]
struct Contents {
    inventory: Result<Inventory, Arc<ramdisk::Error>>,
    modules: Option<ModuleFiles>,
}

impl Ramdisk<'_> {
    fn contents(&self) -> &Contents {
        self.contents.get_or_init(|| {
            Arc::new(match self.request.get() {
                None => {
                    let inventory = self.read(&mut NoCollector).map_err(Arc::new);
                    Contents { inventory, modules: None }
                }
                Some(request) => {
                    let mut modules = ModuleFiles::new(request.clone());
                    let inventory = self.read(&mut modules).map_err(Arc::new);
                    Contents { inventory, modules: Some(modules) }
                }
            })
        })
    }

    fn read(&self, collector: &mut dyn Collector) -> Result<Inventory, ramdisk::Error> {
        Inventory::read(self.bytes, Limits::default(), collector)
    }

    /// Its contents.
    ///
    /// # Errors
    /// Damage, as [`ramdisk::Ramdisk::parse`] reports it.
    pub(crate) fn inventory(&self) -> Result<&Inventory, &Arc<ramdisk::Error>> {
        self.contents().inventory.as_ref()
    }

    /// Its kind, judged by its contents.
    ///
    /// # Errors
    /// As `Ramdisk::inventory`.
    pub fn survey(&self) -> Result<&Survey, &Arc<ramdisk::Error>> {
        self.inventory().map(Inventory::survey)
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, kind: RamdiskKind) -> bool {
        self.survey().is_ok_and(|survey| survey.kinds.has(kind))
    }

    /// Its modules; for a damaged ramdisk those before the damage. Costs another pass over the
    /// ramdisk if the first pass did not collect modules ([`super::BootSet::request_modules`]).
    pub fn modules(&self) -> &ModuleFiles {
        match &self.contents().modules {
            Some(modules) => modules,
            None => self.modules.get_or_init(|| {
                let mut modules = ModuleFiles::new(ModuleRequest::default());
                // The first pass has reported damage.
                let _ = self.read(&mut modules);
                modules
            }),
        }
    }

    /// Reuse the contents of `patched`, which is this ramdisk plus the bytes `cut` of its section.
    pub(crate) fn take_over(&self, patched: &Ramdisk<'_>, cut: &Range<usize>) {
        let Some(contents) = patched.contents.get() else { return };
        let end = patched.offset + patched.bytes.len();
        let same = self.bytes.len() == patched.bytes.len();
        let original = if cut.is_empty() || end <= cut.start {
            (same && self.offset == patched.offset).then(|| Arc::clone(contents))
        } else if cut.end <= patched.offset {
            let moved = self.offset == patched.offset - cut.len();
            (same && moved).then(|| Arc::clone(contents))
        } else {
            let within = patched.offset <= cut.start && cut.end <= end;
            let shorter = self.bytes.len() + cut.len() == patched.bytes.len();
            let known = within && shorter && self.offset == patched.offset;
            let own = || cut.start - patched.offset..cut.end - patched.offset;
            known.then(|| contents.original(&own()).map(Arc::new)).flatten()
        };
        // The contents of this ramdisk have not been needed yet.
        original.into_iter().for_each(|original| drop(self.contents.set(original)));
    }

    /// Reuse the contents of a ramdisk with the same bytes.
    pub(crate) fn share(&self, same: &Ramdisk<'_>) {
        let Some(contents) = same.contents.get() else { return };
        if std::ptr::eq(self.bytes, same.bytes) || self.bytes == same.bytes {
            // Contents that are known already are the same.
            drop(self.contents.set(Arc::clone(contents)));
        }
    }

    /// Read this ramdisk, which is `original` with the bytes `inserted` in it. Where the format allows
    /// it only those are unpacked. Gives the numbers of the entries in them; None if the rest is
    /// not the same.
    ///
    /// # Errors
    /// As [`Ramdisk::inventory`].
    pub(crate) fn read_grown(
        &self,
        original: &Ramdisk<'_>,
        inserted: &Range<usize>,
        collector: &mut dyn Collector,
    ) -> Result<Option<Range<usize>>, Arc<ramdisk::Error>> {
        let Ok(before) = original.inventory() else { return Ok(None) };
        let (Some(head), Some(tail)) =
            (self.bytes.get(..inserted.start), self.bytes.get(inserted.end..))
        else {
            return Ok(None);
        };
        if !(original.bytes.len() == head.len() + tail.len()
            && original.bytes.starts_with(head)
            && original.bytes.ends_with(tail))
        {
            return Ok(None);
        }
        let grown = before.grown(self.bytes, inserted, collector).transpose();
        let grown = grown.unwrap_or_else(|| self.read(collector)).map_err(Arc::new)?;
        let new = before.entries_added(&grown, inserted.start);
        let contents = Contents { inventory: Ok(grown), modules: None };
        drop(self.contents.set(Arc::new(contents)));
        Ok(new)
    }

    /// The segment that a patch appended. A ramdisk whose contents are not known yet is decompressed
    /// only if its headers are not enough.
    pub(crate) fn ours(&self) -> Option<Ours> {
        if self.contents.get().is_none() {
            match ramdisk::skim_ours(self.bytes) {
                Skim::Ours(ours) => return Some(ours),
                Skim::None => return None,
                Skim::Unknown => {}
            }
        }
        match self.inventory() {
            Ok(inventory) => inventory.ours(),
            // Our segment may be intact although another one is damaged.
            Err(_) => match ramdisk::skim_ours(self.bytes) {
                Skim::Ours(ours) => Some(ours),
                Skim::None | Skim::Unknown => None,
            },
        }
    }

    /// The undo record of the segment that a patch appended. It is empty if the data is
    /// too large for a record.
    ///
    /// # Errors
    /// Damage in the segment.
    pub(crate) fn undo_record(&self) -> Result<Option<Vec<u8>>, ramdisk::Error> {
        let Some(ours) = self.ours() else { return Ok(None) };
        let read = self.contents.get().and_then(|contents| contents.inventory.as_ref().ok());
        match read.and_then(|inventory| inventory.ours().and(inventory.undo_record())) {
            Some(record) => Ok(Some(record.to_vec())),
            // Not kept, or not read.
            None => ours.undo_record(self.bytes, MAX_UNDO_RECORD),
        }
    }

    /// The undo record, wherever it is now: a tool that rebuilt the ramdisk has put it among the other
    /// files. Unpacks the ramdisk.
    pub(crate) fn moved_record(&self) -> Option<&[u8]> {
        self.inventory().ok()?.undo_record()
    }

    /// Whether a patch has left anything here that only a patch leaves. Unpacks the ramdisk.
    pub(crate) fn is_marked(&self) -> bool {
        self.inventory().is_ok_and(Inventory::is_marked)
    }

    /// The mark of the patch that this ramdisk carries.
    pub fn mark(&self) -> Option<&PatchMark> {
        let mark = || {
            // A caller that needs the mark needs the contents, too.
            let _ = self.contents();
            match self.undo_record().ok().flatten() {
                Some(record) => PatchMark::parse(&record, true),
                None => PatchMark::parse(self.moved_record()?, false),
            }
        };
        self.mark.get_or_init(mark).as_ref()
    }
}

impl Contents {
    /// The contents of the same ramdisk without the bytes `cut`.
    fn original(&self, cut: &Range<usize>) -> Option<Self> {
        let (inventory, entries) = self.inventory.as_ref().ok()?.original(cut)?;
        let modules = self.modules.as_ref().map(|modules| modules.before(entries));
        Some(Contents { inventory: Ok(inventory), modules })
    }
}

/// Far more than the headers and the padding of any record take in hex.
const MAX_UNDO_RECORD: u32 = 16 << 20;

/// All ramdisks: the fragments of a vendor_boot, the ramdisk section of any other image. `request`
/// says which modules the passes collect.
pub(super) fn of<'a>(
    images: &[Image<'a>],
    request: &Arc<OnceLock<ModuleRequest>>,
) -> Vec<Ramdisk<'a>> {
    let mut ramdisks = Vec::new();
    let mut known: HashMap<Range<*const u8>, Arc<OnceLock<Arc<Contents>>>> = HashMap::new();
    for (image, own) in images.iter().enumerate() {
        let mut add = |number, section, offset, fragment, name, bytes: &'a [u8]| {
            let contents = Arc::clone(known.entry(bytes.as_ptr_range()).or_default());
            ramdisks.push(Ramdisk {
                spot: Spot { image, fragment: number },
                bytes,
                section,
                offset,
                name,
                fragment,
                request: Arc::clone(request),
                contents,
                modules: OnceLock::new(),
                mark: OnceLock::new(),
            });
        };
        let fragments = own.fragments();
        for (number, fragment) in fragments.iter().enumerate() {
            let (kind, section) = (Some(fragment.kind), SectionName::VendorRamdisk);
            add(Some(number), section, fragment.offset, kind, fragment.name, fragment.bytes);
        }
        if let (true, Some(bytes)) = (fragments.is_empty(), own.section(SectionName::Ramdisk)) {
            add(None, SectionName::Ramdisk, 0, None, &[], bytes);
        }
    }
    ramdisks
}
