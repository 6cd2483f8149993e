//! Takes a patch out of images that another program has changed since, and keeps the other's work.
//!
//! The undo record restores an original byte for byte, as long as nobody else changed the image. A tool
//! that rebuilt the ramdisk has made one archive of everything, and the original's bytes are gone. What
//! the patch added is known by its content, wherever it is now: it goes, and the files that it
//! shadowed come back.
//!
//! | file | subject |
//! |---|---|
//! | `files` | what becomes of the entries of a ramdisk |
//! | `words` | what becomes of a command line |
//! | `image` | an image with another line and other ramdisks |

mod files;
mod image;
pub(super) mod words;

use super::error::Error;
use super::undo::{ImageUndo, UndoRecord};
use super::unpatch::{is_changed, is_patched, left_alone, record_of};
use crate::bootset::BootSet;
use crate::cmdline::Cmdline;
use crate::image::{AvbChange, Image, ImageKind, Output};

/// An image without what a patch added.
#[derive(Debug)]
#[non_exhaustive]
pub struct Removed<'a> {
    /// The new file.
    pub output: Output<'a>,
    /// Whether it is the original, byte for byte.
    pub exact: bool,
    /// What happened to AVB's metadata.
    pub avb: Option<AvbChange>,
}

/// The images of a patched set without what the patch added; None for an image that has nothing of it.
/// An image that nobody else changed is its original.
///
/// # Errors
/// [`Error::NotPatched`]; [`Error::SiblingMissing`] for an image that names the runtime on its command
/// line; [`Error::InitLost`] where the original init is nowhere; [`Error::Ramdisk`] and
/// [`Error::Image`].
pub fn remove<'a>(set: &BootSet<'a>) -> Result<Vec<Option<Removed<'a>>>, Error> {
    // Without a readable record the names of the files are known all the same.
    let record = record_of(set).unwrap_or_default();
    if record.is_none() && !is_patched(set).unwrap_or(true) {
        return Err(Error::NotPatched);
    }
    if let Some(record) = &record {
        require_words(set, record)?;
    }
    let left_alone = record.as_ref().map(|record| left_alone(set, record)).unwrap_or_default();
    let undo = |index: usize| {
        let record = record.as_ref().filter(|_| !left_alone[index])?;
        record.image(&set.images()[index])
    };
    (0..set.images().len()).map(|index| of_image(set, index, undo(index))).collect()
}

/// Whoever flashes a ramdisk without the runtime must not keep a command line that names it.
fn require_words(set: &BootSet<'_>, record: &UndoRecord) -> Result<(), Error> {
    let given = |kind: ImageKind| set.images().iter().any(|image| image.kind() == kind);
    let names_runtime = |undo: &&ImageUndo| words::name_runtime(&Cmdline::new(undo.patched_line()));
    let mut missing = record.images.iter().filter(|undo| !given(undo.kind));
    match missing.find(names_runtime) {
        Some(undo) => Err(Error::SiblingMissing(undo.kind)),
        None => Ok(()),
    }
}

fn of_image<'a>(
    set: &BootSet<'a>,
    index: usize,
    undo: Option<&ImageUndo>,
) -> Result<Option<Removed<'a>>, Error> {
    let image: &Image<'a> = &set.images()[index];
    if let Some(undo) = undo {
        if image.sha256() == undo.original_sha256() {
            return Ok(None);
        }
        if let (false, Ok(output)) = (is_changed(set, index, undo), undo.restore(image)) {
            return Ok(Some(Removed { output, exact: true, avb: None }));
        }
    }
    let line = image.header().and_then(|header| words::without(undo, &header.cmdline()));
    let ramdisks = set.ramdisks().iter().filter(|own| own.spot.image == index);
    let mut changed = Vec::new();
    for ramdisk in ramdisks {
        if let Some(pieces) = files::without(ramdisk)? {
            changed.push((ramdisk, pieces));
        }
    }
    if line.is_none() && changed.is_empty() {
        return Ok(None);
    }
    let (output, avb) = image::rewritten(image, line, changed)?;
    Ok(Some(Removed { output, exact: false, avb }))
}
