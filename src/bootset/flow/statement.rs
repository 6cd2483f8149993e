//! A statement about the flow and its evidence.

use serde::Serialize;

use crate::bootset::ramdisks::Ramdisk;
use crate::ramdisk::RamdiskKind;

/// A fact about the flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// `kind`, `recovery`, `root_manager`, `patched` or `image`.
    pub about: &'static str,
    /// For people.
    pub text: String,
    /// Its evidence.
    pub evidence: Vec<Evidence>,
}

/// A place in the images that proves a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Index of the image.
    pub image: usize,
    /// Where in it: `ramdisk`, `fragment 1`, `cmdline`, `kernel`…
    pub place: String,
    /// The ramdisk entry or the kernel parameter.
    pub what: String,
}

impl Evidence {
    pub(super) fn new(image: usize, place: &str, what: &str) -> Self {
        Evidence { image, place: place.to_owned(), what: what.to_owned() }
    }

    pub(super) fn at(ramdisk: &Ramdisk<'_>, what: &str) -> Self {
        Evidence::new(ramdisk.spot.image, &ramdisk.spot.to_string(), what)
    }
}

/// The entry that shows that the ramdisk is of this kind.
pub(super) fn evidence(ramdisk: &Ramdisk<'_>, kind: RamdiskKind) -> Option<Evidence> {
    let findings = ramdisk.survey().ok()?.kinds.findings();
    let finding = findings.iter().find(|finding| finding.kind == kind)?;
    Some(Evidence::at(ramdisk, &finding.evidence))
}
