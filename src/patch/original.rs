//! The originals that a patch of patched images starts from: patches never stack.

use super::error::Error;
use super::materialise::copy;
use super::undo::UndoRecord;
use super::unpatch::{self, changed_since, is_patched, record_of};
use crate::bootset::{BootSet, File};

/// The set of originals, if the images of `set` are patched. Their bytes live as long as `set`.
///
/// # Errors
/// [`Error::ChangedSincePatch`]; otherwise as [`unpatch::unpatch`].
pub(crate) fn of<'s>(set: &'s BootSet<'_>) -> Result<Option<BootSet<'s>>, Error> {
    if !is_patched(set)? {
        return Ok(None);
    }
    if let Some(kind) = changed_since(set)? {
        return Err(Error::ChangedSincePatch(kind));
    }
    let originals = set.originals(|| restore(set))?;
    let files = originals.iter().enumerate().map(|(index, original)| {
        let bytes = original.as_deref().unwrap_or(set.images()[index].file());
        File::new(set.name(index), bytes)
    });
    let restored = BootSet::new(files)?;
    if let (Some(record), true) = (record_of(set)?, restored.images().len() == set.images().len()) {
        let undone = std::iter::zip(restored.images(), originals);
        for (image, _) in undone.filter(|(_, original)| original.is_some()) {
            // Restoring has compared its digest.
            let undo = record.image(image.kind());
            undo.into_iter().for_each(|undo| image.set_sha256(undo.original_sha256()));
        }
        take_over(&restored, set, originals, &record);
    }
    Ok(Some(restored))
}

/// Ramdisks that were unpacked to find the patch are not unpacked again.
fn take_over(
    restored: &BootSet<'_>,
    set: &BootSet<'_>,
    originals: &[Option<Vec<u8>>],
    record: &UndoRecord,
) {
    for (own, patched) in std::iter::zip(restored.ramdisks(), set.ramdisks()) {
        let image = &set.images()[patched.spot.image];
        let cut = match &originals[patched.spot.image] {
            None => Some(0..0),
            Some(_) => record.image(image.kind()).and_then(|undo| undo.cut(image, patched.section)),
        };
        if let (Some(cut), true) = (cut, own.spot == patched.spot) {
            own.take_over(patched, &cut);
        }
    }
}

fn restore(set: &BootSet<'_>) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let originals = unpatch::unpatch(set)?;
    let copies = originals.iter().map(|original| original.as_ref().map(|own| copy(set, own)));
    Ok(copies.collect())
}
