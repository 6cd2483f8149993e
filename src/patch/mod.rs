//! Plan a patch, apply it, undo it.
//!
//! [`plan()`] computes everything as data; writing [`PlannedImage::output`] is all that is left
//! to do. A patch appends one cpio segment to the ramdisk and adds words to the command line;
//! kernel, original ramdisk and dtb stay byte-identical. [`unpatch`] gives the originals back.
//!
//! | file | subject |
//! |---|---|
//! | `plan` | what is changed, where and why |
//! | `active` | the images that a patch may change |
//! | `advice` | what could go wrong with it, and how to undo it |
//! | `draft` | the plan's edits and warnings in words |
//! | `target` | which of several images gets what |
//! | `place` | where in them the segment goes |
//! | `words` | the words for the command line |
//! | `avb` | what becomes of AVB's metadata, and what devices do with it |
//! | `hook` | how the kernel comes to start the runtime |
//! | `rc` | rc files of Android's init, where the boot flow honours them |
//! | `segment` | the appended segment |
//! | `undo` | the undo record |
//! | `kernel_facts` | what the kernel says, and whether that allows the patch |
//! | `runtime`, `modules` | the executable and the modules to put in |

mod active;
mod advice;
mod avb;
mod draft;
mod error;
mod hook;
mod kernel_facts;
mod modules;
mod place;
mod plan;
mod rc;
mod runtime;
mod segment;
mod target;
mod undo;
mod words;

pub use crate::bootset::{Flow, FlowKind, Role};
pub use advice::Advice;
pub use avb::{AvbMode, AvbOptions, Outlook, Prospect};
pub use error::Error;
pub use hook::{Hook, HookChoice, HookKind};
pub use kernel_facts::KernelFacts;
pub use modules::{ListEdit, LoadedBy, ModuleOptions, ModulePlan, PlannedDriver, PlannedModule};
pub use plan::{Options, Plan, PlannedEdit, PlannedImage, plan};
pub use rc::{PlannedFile, RcFile, RcOptions, RcPlace, RcPlan};
pub use runtime::{Runtime, Runtimes};
pub use undo::{ImageUndo, UndoRecord};
pub use words::PlannedWord;

use crate::bootfile::{RUNTIME, UNDO_FILE};
use crate::bootset::BootSet;
use crate::cmdline::Cmdline;
use crate::image::{Image, ImageKind, Output, SectionName};
use crate::ramdisk;

/// The originals of a patched set, each None where that image was not changed.
///
/// # Errors
/// [`Error::NotPatched`], [`Error::CarrierMissing`], [`Error::SiblingMissing`],
/// [`Error::Undo`], [`Error::UndoRecord`].
pub fn unpatch<'a>(images: &[Image<'a>]) -> Result<Vec<Option<Output<'a>>>, Error> {
    let Some(record) = record_of(images)? else {
        let patched = images.iter().find(|image| names_our_runtime(image));
        return Err(match patched {
            Some(image) => Error::CarrierMissing(image.kind()),
            None => Error::NotPatched,
        });
    };
    let roles = roles_for(images, &record);
    let given = |kind| {
        let mut pairs = std::iter::zip(images, &roles);
        pairs.any(|(image, role)| image.kind() == kind && role.left_alone().is_none())
    };
    if let Some(missing) = record.images.iter().find(|image| !given(image.kind)) {
        return Err(Error::SiblingMissing(missing.kind));
    }
    let restore = |(image, role): (&Image<'a>, &Role)| {
        let undo = record.image(image.kind()).filter(|_| role.left_alone().is_none());
        undo.map(|undo| undo.restore(image)).transpose()
    };
    std::iter::zip(images, &roles).map(restore).collect()
}

/// The first image of a patched set whose command line or ramdisk is not as the patch left it:
/// undoing the patch would lose that change too.
///
/// # Errors
/// As [`record_of`].
pub fn changed_since(images: &[Image<'_>]) -> Result<Option<ImageKind>, Error> {
    let Some(record) = record_of(images)? else { return Ok(None) };
    let changed = |(image, role): &(&Image<'_>, &Role)| {
        let undo = record.image(image.kind()).filter(|_| role.left_alone().is_none());
        let Some(undo) = undo else { return false };
        let grown = undo.inserted(image).is_some_and(|(_, bytes)| {
            // The segment and zeros: nothing else is ours.
            ramdisk::find_ours(bytes).is_none_or(|ours| {
                let around = bytes[..ours.start].iter().chain(&bytes[ours.end..]);
                around.into_iter().any(|byte| *byte != 0)
            })
        });
        grown || undo.cmdline_changed(image)
    };
    let roles = roles_for(images, &record);
    Ok(std::iter::zip(images, &roles).find(changed).map(|(image, _)| image.kind()))
}

/// The roles, where the record could be taken for that of an image that no patch changes: of two
/// of a kind, and of a vendor_kernel_boot, which has vendor_boot's. A recovery image that was
/// patched by itself is what the record is for.
fn roles_for(images: &[Image<'_>], record: &UndoRecord) -> Vec<Role> {
    let in_doubt = |image: &Image<'_>| {
        let several = images.iter().filter(|other| other.kind() == image.kind()).count() > 1;
        record.image(image.kind()).is_some() && (several || image.kind() == ImageKind::VendorBoot)
    };
    match images.iter().any(in_doubt) {
        true => BootSet::from_images(images).roles().to_vec(),
        // The kind of each image tells enough.
        false => images.iter().map(|_| Role::Boot).collect(),
    }
}

/// Whether any image of the set is patched: carries an undo record or starts our runtime.
pub fn is_patched(images: &[Image<'_>]) -> Result<bool, Error> {
    Ok(record_of(images)?.is_some() || images.iter().any(names_our_runtime))
}

/// The undo record in one of the ramdisks.
pub fn record_of(images: &[Image<'_>]) -> Result<Option<UndoRecord>, Error> {
    for image in images {
        for ramdisk in ramdisks(image) {
            let Some(range) = ramdisk::find_ours(ramdisk) else { continue };
            if let Some(bytes) = undo_entry(&ramdisk[range])? {
                return UndoRecord::parse(&bytes).map(Some);
            }
        }
    }
    Ok(None)
}

/// The bytes of `vfioboot/undo` in our segment.
fn undo_entry(segment: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let name = ramdisk::normalise(UNDO_FILE.as_bytes());
    let mut entries = ramdisk::Entries::of_segment(segment, ramdisk::Limits::default());
    while let Some(entry) = entries.next_entry()? {
        if ramdisk::normalise(entry.path()) == name {
            if entry.header.filesize > MAX_UNDO_RECORD {
                return Err(Error::UndoRecord(format!("it has {} bytes", entry.header.filesize)));
            }
            let mut bytes = Vec::new();
            entries.copy_data(&mut bytes)?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Far more than any record takes: headers and odd padding in hex.
const MAX_UNDO_RECORD: u32 = 16 << 20;

fn ramdisks<'a>(image: &Image<'a>) -> Vec<&'a [u8]> {
    let generic = image.section(SectionName::Ramdisk);
    let fragments = image.fragments().into_iter().map(|fragment| fragment.bytes);
    generic.into_iter().chain(fragments).collect()
}

fn names_our_runtime(image: &Image<'_>) -> bool {
    let line = image.header().map(|header| Cmdline::new(header.cmdline()));
    line.is_some_and(|line| line.value("rdinit") == Some(RUNTIME.as_bytes()))
}
