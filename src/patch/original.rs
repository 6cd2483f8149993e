//! The originals that a patch of patched images starts from: patches never stack.

use super::error::Error;
use super::materialise::copy;
use super::remove::remove;
use super::undo::UndoRecord;
use super::unpatch::{self, changed_since, is_patched, record_of};
use crate::bootset::{BootSet, File, Original};
use crate::image::{ImageKind, Output};

/// What a patch of patched images starts from.
pub(crate) struct Start<'s> {
    /// The originals, or the images with the earlier patch taken out.
    pub set: BootSet<'s>,
    /// Those that are not the original byte for byte.
    pub inexact: Vec<ImageKind>,
}

/// The set to start from, if the images of `set` are patched. Their bytes live as long as `set`.
///
/// # Errors
/// As [`unpatch::unpatch`] and [`remove`].
pub(crate) fn of<'s>(set: &'s BootSet<'_>) -> Result<Option<Start<'s>>, Error> {
    if !is_patched(set)? {
        return Ok(None);
    }
    let originals = set.originals(|| restore(set))?;
    let files = originals.iter().enumerate().map(|(index, original)| {
        let bytes = original.as_ref().map_or(set.images()[index].file(), |own| &own.bytes);
        File::new(set.name(index), bytes)
    });
    let restored = BootSet::new(files)?;
    let same = restored.images().len() == set.images().len();
    let exact = originals.iter().flatten().all(|original| original.exact);
    if let (Some(record), true, true) = (record_of(set)?, exact, same) {
        let undone = std::iter::zip(restored.images(), originals);
        for (image, _) in undone.filter(|(_, original)| original.is_some()) {
            // Restoring has compared its digest.
            let undo = record.image(image);
            undo.into_iter().for_each(|undo| image.set_sha256(undo.original_sha256()));
        }
        take_over(&restored, set, originals, &record);
    }
    let inexact = std::iter::zip(set.images(), originals);
    let inexact = inexact.filter(|(_, own)| own.as_ref().is_some_and(|own| !own.exact));
    let inexact = inexact.map(|(image, _)| image.kind()).collect();
    Ok(Some(Start { set: restored, inexact }))
}

/// Ramdisks that were unpacked to find the patch are not unpacked again.
fn take_over(
    restored: &BootSet<'_>,
    set: &BootSet<'_>,
    originals: &[Option<Original>],
    record: &UndoRecord,
) {
    for (own, patched) in std::iter::zip(restored.ramdisks(), set.ramdisks()) {
        let image = &set.images()[patched.spot.image];
        let cut = match &originals[patched.spot.image] {
            None => Some(0..0),
            Some(_) => record.image(image).and_then(|undo| undo.cut(image, patched.section)),
        };
        if let (Some(cut), true) = (cut, own.spot == patched.spot) {
            own.take_over(patched, &cut);
        }
    }
}

fn restore(set: &BootSet<'_>) -> Result<Vec<Option<Original>>, Error> {
    let original = |output: &Output<'_>, exact| Original { bytes: copy(set, output), exact };
    if changed_since(set)?.is_none() {
        match unpatch::unpatch(set) {
            Ok(originals) => {
                let originals = originals.iter().map(Option::as_ref);
                return Ok(originals.map(|own| own.map(|own| original(own, true))).collect());
            }
            // Another program changed the images, or put other ones in their place.
            Err(Error::Undo { .. } | Error::RecordLost(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let removed = remove(set)?;
    let removed = removed.iter().map(Option::as_ref);
    Ok(removed.map(|own| own.map(|own| original(&own.output, own.exact))).collect())
}
