//! Reads the patched images back before they are written.
//!
//! The results are parsed again, as files that nobody has seen, and must show what a patch promises.
//! What they do not show is refused. Of a ramdisk that has grown only the new bytes are unpacked:
//! the others are compared with the original, which was unpacked before.
//!
//! | file | subject |
//! |---|---|
//! | `report` | what was shown |
//! | `unproven` | what was not |
//! | `read_back` | the set of the results |
//! | `expected`, `files` | the files of the patch: the kernel finds each, with its content |
//! | `kept` | everything else that the kernel unpacks: the same as before |
//! | `sections` | all other parts of the images: the same bytes |
//! | `words` | the command line: our words are in effect, no other is lost |
//! | `undone` | the undo records: each gives the original |
//! | `metadata` | AVB's metadata: what the plan says |
//! | `again` | the same promises read out of the results alone |
//! | `steps` | each image flashed alone, and one after the other: the device boots |

pub(crate) mod again;
pub(crate) mod expected;
mod files;
mod kept;
mod metadata;
mod read_back;
pub(crate) mod report;
mod sections;
mod steps;
mod undone;
pub(crate) mod unproven;
mod words;

use read_back::ReadBack;
use report::Proof;

use super::context::Context;
use super::error::Error;
use super::parts::Parts;
use super::rewrite::Rewritten;

/// Prove the images of `rewritten`, which were made from `set`.
///
/// # Errors
/// [`Error::NotProven`]; [`Error::Ramdisk`] for names that take too much memory.
pub(crate) fn prove(
    set: &Context<'_, '_>,
    parts: &Parts<'_>,
    rewritten: &Rewritten<'_>,
) -> Result<Proof, Error> {
    let bytes = read_back::materialise(set.set, rewritten);
    let read = ReadBack::read(set.set, &bytes, rewritten)?;
    sections::prove(set.set, &read, parts)?;
    let files = files::prove(&read, rewritten)?;
    let shadowed = kept::planned(parts);
    let unchanged = kept::prove(set.set, &read, &shadowed)?;
    let words = words::prove(set, &read, parts)?;
    let undo = undone::prove(set.set, &read)?;
    let avb = metadata::prove(set.set, &read, rewritten)?;
    let steps = steps::prove(set, &read, parts)?;
    Ok(Proof { files, shadowed, unchanged, words, undo, avb, steps })
}
