//! The originals that a patch of patched images starts from: patches never stack.

use super::error::Error;
use super::unpatch::{self, changed_since, is_patched};
use crate::bootset::{BootSet, File};

/// The set of originals, if the images of `set` are patched. Their bytes live as long as `set`.
///
/// # Errors
/// [`Error::ChangedSincePatch`]; otherwise as [`unpatch::unpatch`].
pub fn of<'s>(set: &'s BootSet<'_>) -> Result<Option<BootSet<'s>>, Error> {
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
    Ok(Some(BootSet::new(files)?))
}

fn restore(set: &BootSet<'_>) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let originals = unpatch::unpatch(set)?;
    Ok(originals.iter().map(|original| original.as_ref().map(|o| o.to_vec())).collect())
}
