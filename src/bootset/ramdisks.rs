//! The ramdisks of the images, and where each is.

use std::sync::{Arc, OnceLock};

use serde::Serialize;

use super::mark::PatchMark;
use crate::bootfile::UNDO_FILE;
use crate::image::{FragmentType, Image, SectionName};
use crate::modules::{ModuleFiles, ModuleRequest};
use crate::ramdisk::kind::Survey;
use crate::ramdisk::{
    self, AppendPoint, Entries, Inventory, Limits, NoCollector, RamdiskKind, skims_cheaply,
};

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

/// A ramdisk of the set. It is unpacked once, when somebody first asks what is in it.
#[derive(Debug)]
pub struct Ramdisk<'a> {
    /// Where it is.
    pub spot: Spot,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The name of the fragment; empty for a ramdisk that is none.
    pub name: &'a [u8],
    /// Which boots load it; None for a ramdisk that is not a fragment.
    pub fragment: Option<FragmentType>,
    request: Arc<OnceLock<ModuleRequest>>,
    contents: OnceLock<Contents>,
    modules: OnceLock<Gathered>,
    mark: OnceLock<Option<PatchMark>>,
}

/// What the pass over a ramdisk gives.
#[derive(Debug)]
struct Contents {
    inventory: Result<Inventory, ramdisk::Error>,
    modules: Option<ModuleFiles>,
}

/// The modules of a ramdisk from a pass of their own.
#[derive(Debug)]
struct Gathered(ModuleFiles);

impl Ramdisk<'_> {
    fn contents(&self) -> &Contents {
        self.contents.get_or_init(|| match self.request.get() {
            None => {
                let inventory = Inventory::read(self.bytes, Limits::default(), &mut NoCollector);
                Contents { inventory, modules: None }
            }
            Some(request) => {
                let mut modules = ModuleFiles::new(request.clone());
                let inventory = Inventory::read(self.bytes, Limits::default(), &mut modules);
                Contents { inventory, modules: Some(modules) }
            }
        })
    }

    /// What is in it.
    ///
    /// # Errors
    /// Damage, as [`ramdisk::Ramdisk::parse`] reports it.
    pub fn inventory(&self) -> Result<&Inventory, &ramdisk::Error> {
        self.contents().inventory.as_ref()
    }

    /// What it is.
    ///
    /// # Errors
    /// As [`Ramdisk::inventory`].
    pub fn survey(&self) -> Result<&Survey, &ramdisk::Error> {
        self.inventory().map(Inventory::survey)
    }

    /// It is of this kind.
    pub fn is(&self, kind: RamdiskKind) -> bool {
        self.survey().is_ok_and(|survey| survey.kinds.has(kind))
    }

    /// Its modules; of a damaged ramdisk those before the damage. Costs another pass over the
    /// ramdisk where nobody asked for modules before the first ([`super::BootSet::request_modules`]).
    pub fn modules(&self) -> &ModuleFiles {
        match &self.contents().modules {
            Some(modules) => modules,
            None => {
                let Gathered(modules) = self.modules.get_or_init(|| {
                    let mut modules = ModuleFiles::new(ModuleRequest::default());
                    // The first pass has reported damage.
                    let _ = Inventory::read(self.bytes, Limits::default(), &mut modules);
                    Gathered(modules)
                });
                modules
            }
        }
    }

    /// Where a segment can be appended.
    ///
    /// # Errors
    /// As [`ramdisk::append_point`].
    pub fn append_point(&self) -> Result<AppendPoint, ramdisk::Error> {
        match self.contents.get().map(|contents| &contents.inventory) {
            Some(Ok(inventory)) => inventory.append_point(),
            // What is damaged can be appended to where its format tells where it ends.
            Some(Err(_)) | None => ramdisk::append_point(self.bytes),
        }
    }

    /// The undo record of the segment that a patch appended. One that is too large for a record
    /// comes back empty.
    ///
    /// # Errors
    /// Damage in the segment.
    pub(crate) fn undo_record(&self) -> Result<Option<Vec<u8>>, ramdisk::Error> {
        let skims = self.contents.get().is_none() && skims_cheaply(self.bytes);
        let inventory = if skims { None } else { self.inventory().ok() };
        match inventory.map(|own| (own.ours(), own.undo_record())) {
            Some((None, _)) => Ok(None),
            Some((Some(_), Some(record))) => Ok(Some(record.to_vec())),
            // Not kept, or not read.
            Some((Some(range), None)) => record_in(&self.bytes[range]),
            None => match ramdisk::find_ours(self.bytes) {
                Some(range) => record_in(&self.bytes[range]),
                None => Ok(None),
            },
        }
    }

    /// The mark of the patch that this ramdisk carries.
    pub fn mark(&self) -> Option<&PatchMark> {
        let record = || self.undo_record().ok().flatten();
        self.mark.get_or_init(|| PatchMark::parse(&record()?)).as_ref()
    }
}

/// Far more than any record takes: headers and odd padding in hex.
const MAX_UNDO_RECORD: u32 = 16 << 20;

/// The undo record in the segment that a patch appended. One that is too large for a record comes
/// back empty.
fn record_in(segment: &[u8]) -> Result<Option<Vec<u8>>, ramdisk::Error> {
    let name = ramdisk::normalise(UNDO_FILE.as_bytes());
    let mut entries = Entries::of_segment(segment, Limits::default());
    while let Some(entry) = entries.next_entry()? {
        if ramdisk::normalise(entry.path()) == name {
            let mut record = Vec::new();
            if entry.header.filesize <= MAX_UNDO_RECORD {
                entries.copy_data(&mut record)?;
            }
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// All of them: of a vendor_boot its fragments, of any other image the ramdisk section. `request`
/// is what the passes take of modules.
pub(super) fn of<'a>(
    images: &[Image<'a>],
    request: &Arc<OnceLock<ModuleRequest>>,
) -> Vec<Ramdisk<'a>> {
    let mut ramdisks = Vec::new();
    for (image, own) in images.iter().enumerate() {
        let mut add = |number, fragment, name, bytes| {
            ramdisks.push(Ramdisk {
                spot: Spot { image, fragment: number },
                bytes,
                name,
                fragment,
                request: Arc::clone(request),
                contents: OnceLock::new(),
                modules: OnceLock::new(),
                mark: OnceLock::new(),
            });
        };
        let fragments = own.fragments();
        for (number, fragment) in fragments.iter().enumerate() {
            add(Some(number), Some(fragment.kind), fragment.name, fragment.bytes);
        }
        if let (true, Some(bytes)) = (fragments.is_empty(), own.section(SectionName::Ramdisk)) {
            add(None, None, &[], bytes);
        }
    }
    ramdisks
}
