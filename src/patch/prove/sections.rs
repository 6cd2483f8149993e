//! All parts of the images that the patch does not name have the same bytes as before.

use super::read_back::ReadBack;
use super::unproven::Unproven;
use crate::bootset::BootSet;
use crate::image::{Header, Image, SectionName};
use crate::patch::error::Error;
use crate::patch::materialise::equal;
use crate::patch::parts::Parts;

/// Prove it. The ramdisks that grow are proven entry by entry.
///
/// # Errors
/// [`Error::NotProven`].
pub(super) fn prove(
    originals: &BootSet<'_>,
    read: &ReadBack<'_>,
    parts: &Parts<'_>,
) -> Result<(), Error> {
    let line = parts.placement.edit.as_ref().map(|edit| edit.index);
    for index in &read.changed {
        let (before, now) = (&originals.images()[*index], &read.set.images()[*index]);
        let grows = |section| {
            let image =
                parts.insertions().any(|own| own.spot.image == *index && own.section == section);
            let table = section == SectionName::VendorRamdiskTable;
            image || table && parts.insertions().any(|own| own.spot.image == *index)
        };
        for section in sections(before).chain(sections(now)) {
            if grows(section) || (section == SectionName::Cmdline && line == Some(*index)) {
                continue;
            }
            let same = match (before.section(section), now.section(section)) {
                (Some(before), Some(now)) => equal(originals, before, now),
                (None, None) => true,
                _ => false,
            };
            if !same {
                return Err(Unproven::Section { image: before.kind(), section }.into());
            }
        }
    }
    Ok(())
}

fn sections(image: &Image<'_>) -> impl Iterator<Item = SectionName> {
    let fields = image.header().map(Header::sections).unwrap_or_default();
    fields.into_iter().map(|field| field.section)
}
