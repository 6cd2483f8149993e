//! The ramdisks of the images, and where each is.

use std::sync::OnceLock;

use serde::Serialize;

use super::PatchMark;
use crate::bootfile::UNDO_FILE;
use crate::image::{FragmentType, Image, SectionName};
use crate::ramdisk::kind::Survey;
use crate::ramdisk::{self, Entries, Limits, RamdiskKind};

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

/// A ramdisk of the set.
#[derive(Debug)]
pub struct Ramdisk<'a> {
    /// Where it is.
    pub spot: Spot,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Which boots load it; None for a ramdisk that is not a fragment.
    pub fragment: Option<FragmentType>,
    survey: OnceLock<Result<Survey, ramdisk::Error>>,
    mark: OnceLock<Option<PatchMark>>,
}

impl Ramdisk<'_> {
    /// What it is.
    ///
    /// # Errors
    /// Damage, as [`ramdisk::Ramdisk::parse`] reports it.
    pub fn survey(&self) -> Result<&Survey, &ramdisk::Error> {
        self.survey.get_or_init(|| Survey::read(self.bytes, Limits::default())).as_ref()
    }

    /// It is of this kind.
    pub fn is(&self, kind: RamdiskKind) -> bool {
        self.survey().is_ok_and(|survey| survey.kinds.has(kind))
    }

    /// The mark of the patch that this ramdisk carries.
    pub fn mark(&self) -> Option<&PatchMark> {
        let record = || undo_record(self.bytes).ok().flatten();
        self.mark.get_or_init(|| PatchMark::parse(&record()?)).as_ref()
    }
}

/// Far more than any record takes: headers and odd padding in hex.
const MAX_UNDO_RECORD: u32 = 16 << 20;

/// The undo record of the segment that a patch appended to a ramdisk. One that is too large for a
/// record comes back empty.
///
/// # Errors
/// Damage in the segment.
pub(crate) fn undo_record(bytes: &[u8]) -> Result<Option<Vec<u8>>, ramdisk::Error> {
    let Some(range) = ramdisk::find_ours(bytes) else { return Ok(None) };
    let segment = &bytes[range];
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

/// All of them: of a vendor_boot its fragments, of any other image the ramdisk section.
pub(super) fn of<'a>(images: &[Image<'a>]) -> Vec<Ramdisk<'a>> {
    let mut ramdisks = Vec::new();
    for (image, own) in images.iter().enumerate() {
        let mut add = |fragment, kind, bytes| {
            let (survey, mark) = (OnceLock::new(), OnceLock::new());
            let spot = Spot { image, fragment };
            ramdisks.push(Ramdisk { spot, bytes, fragment: kind, survey, mark });
        };
        let fragments = own.fragments();
        for (number, fragment) in fragments.iter().enumerate() {
            add(Some(number), Some(fragment.kind), fragment.bytes);
        }
        if let (true, Some(bytes)) = (fragments.is_empty(), own.section(SectionName::Ramdisk)) {
            add(None, None, bytes);
        }
    }
    ramdisks
}
