//! The originals that a patch of patched images starts from: patches never stack.

use std::io::{self, Write};

use super::error::Error;
use super::unpatch::{self, changed_since, is_patched, record_of};
use crate::bootset::{BootSet, File};
use crate::image::Output;

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
    let restored = BootSet::new(files)?;
    if let Some(record) = record_of(set)? {
        let undone = std::iter::zip(restored.images(), originals);
        for (image, _) in undone.filter(|(_, original)| original.is_some()) {
            // Restoring has compared it.
            let undo = record.image(image.kind());
            undo.into_iter().for_each(|undo| image.set_sha256(undo.original_sha256()));
        }
    }
    Ok(Some(restored))
}

fn restore(set: &BootSet<'_>) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let originals = unpatch::unpatch(set)?;
    let copies = originals.iter().map(|original| original.as_ref().map(|own| copy(set, own)));
    Ok(copies.collect())
}

/// The bytes of an original. The patched images leave the memory meanwhile: nobody reads them
/// afterwards.
fn copy(set: &BootSet<'_>, original: &Output<'_>) -> Vec<u8> {
    let mut copy = Copy { set, bytes: Vec::with_capacity(original.size() as usize) };
    // Writing to a vector does not fail.
    let written = original.write_to(&mut copy);
    debug_assert!(written.is_ok());
    copy.bytes
}

struct Copy<'c, 'a> {
    set: &'c BootSet<'a>,
    bytes: Vec<u8>,
}

impl Write for Copy<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        /// So much of an image is in memory twice.
        const STEP: usize = 4 << 20;
        let step = &bytes[..bytes.len().min(STEP)];
        self.set.release_pages();
        self.bytes.extend_from_slice(step);
        Ok(step.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
