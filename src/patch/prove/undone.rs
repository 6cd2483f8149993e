//! The undo records in the results give the originals.

use super::read_back::ReadBack;
use super::report::Undone;
use super::unproven::Unproven;
use crate::bootset::BootSet;
use crate::patch::error::Error;
use crate::patch::materialise::{STEP, equal};
use crate::patch::unpatch::{record_of, undo_of};

/// Prove it. The originals are at hand, so their bytes are compared: that shows the SHA-256, too.
///
/// # Errors
/// [`Error::NotProven`].
pub(super) fn prove(originals: &BootSet<'_>, read: &ReadBack<'_>) -> Result<Vec<Undone>, Error> {
    let first = read.changed.first().map(|index| originals.images()[*index].kind());
    let record = match (record_of(&read.set), first) {
        (Ok(Some(record)), _) => record,
        (_, Some(image)) => return Err(Unproven::Undo { image }.into()),
        (_, None) => return Ok(Vec::new()),
    };
    let pairs = undo_of(&read.set, &record)?;
    let mut undone = Vec::new();
    for index in &read.changed {
        let (original, (patched, undo)) = (&originals.images()[*index], &pairs[*index]);
        let unproven = || Unproven::Undo { image: original.kind() };
        let undo = undo.ok_or_else(unproven)?;
        let output = undo.rebuild(patched).ok_or_else(unproven)?;
        let mut left = Some(original.file());
        output.each(|piece| {
            for piece in piece.chunks(STEP) {
                let split = left.and_then(|left| left.split_at_checked(piece.len()));
                let same = split.filter(|(own, _)| equal(originals, own, piece));
                left = same.map(|(_, rest)| rest);
            }
        });
        let sha256 = original.sha256();
        if !left.is_some_and(<[u8]>::is_empty) || undo.original_sha256() != sha256 {
            return Err(unproven().into());
        }
        undone.push(Undone { image: *index, sha256 });
    }
    Ok(undone)
}
