//! The originals of patched images.

use std::ops::Range;

use super::error::Error;
use super::remove::words;
use super::undo::{ImageUndo, UndoRecord};
use crate::bootset::{BootSet, Ramdisk, Role};
use crate::cmdline::Cmdline;
use crate::image::{Image, ImageKind, Output, SectionName};

/// The originals of a patched set; None for an image that was not changed.
///
/// # Errors
/// [`Error::NotPatched`], [`Error::CarrierMissing`], [`Error::RecordLost`],
/// [`Error::SiblingMissing`], [`Error::Undo`], [`Error::UndoRecord`].
pub fn unpatch<'a>(set: &BootSet<'a>) -> Result<Vec<Option<Output<'a>>>, Error> {
    let record = require_record(set)?;
    let pairs = undo_of(set, &record)?;
    pairs
        .into_iter()
        .map(|(image, undo)| match undo.map(|undo| (undo, undo.restore(image))) {
            // The original was put back meanwhile.
            Some((undo, Err(_))) if image.sha256() == undo.original_sha256() => Ok(None),
            restored => restored.map(|(_, output)| output).transpose(),
        })
        .collect()
}

/// The record of a patched set.
///
/// # Errors
/// [`Error::NotPatched`], [`Error::CarrierMissing`], [`Error::RecordLost`], [`Error::UndoRecord`].
fn require_record(set: &BootSet<'_>) -> Result<UndoRecord, Error> {
    let patched = || set.images().iter().find(|image| names_our_runtime(image));
    record_of(set)?.ok_or_else(|| match patched() {
        Some(image) if has_generic_ramdisk(set) => Error::RecordLost(image.kind()),
        Some(image) => Error::CarrierMissing(image.kind()),
        None => Error::NotPatched,
    })
}

/// Whether the ramdisk is there that every boot loads, so that no other image can have the record.
fn has_generic_ramdisk(set: &BootSet<'_>) -> bool {
    let mut ramdisks = set.ramdisks().iter();
    ramdisks.any(|own| set.images()[own.spot.image].kind() != ImageKind::VendorBoot)
}

/// The images, and how to undo those that the patch changed.
///
/// # Errors
/// [`Error::SiblingMissing`].
pub(super) fn undo_of<'s, 'a>(
    set: &'s BootSet<'a>,
    record: &'s UndoRecord,
) -> Result<Vec<(&'s Image<'a>, Option<&'s ImageUndo>)>, Error> {
    let left_alone = left_alone(set, record);
    let pairs = std::iter::zip(set.images(), left_alone);
    let pairs =
        pairs.map(|(image, left_alone)| (image, record.image(image).filter(|_| !left_alone)));
    let pairs: Vec<_> = pairs.collect();
    let given = |undo: &ImageUndo| {
        pairs.iter().any(|(_, own)| own.is_some_and(|own| std::ptr::eq(own, undo)))
    };
    match record.images.iter().find(|undo| !given(undo)) {
        Some(missing) => Err(Error::SiblingMissing(missing.kind)),
        None => Ok(pairs),
    }
}

/// Which images no patch changes, if the record could match the wrong one: with two images of a kind,
/// and with a vendor_kernel_boot, which has the kind of vendor_boot. The record of a recovery image
/// that was patched alone applies to it.
pub(super) fn left_alone(set: &BootSet<'_>, record: &UndoRecord) -> Vec<bool> {
    let images = set.images();
    let in_doubt = |image: &Image<'_>| {
        let several = images.iter().filter(|other| other.kind() == image.kind()).count() > 1;
        record.image(image).is_some() && (several || image.kind() == ImageKind::VendorBoot)
    };
    match images.iter().any(in_doubt) {
        true => set.roles().iter().map(|role: &Role| role.left_alone().is_some()).collect(),
        false => vec![false; images.len()],
    }
}

/// The first image of a patched set whose command line or ramdisk was changed after the patch: undoing
/// the patch would lose that change, too.
///
/// # Errors
/// As [`record_of`].
pub fn changed_since(set: &BootSet<'_>) -> Result<Option<ImageKind>, Error> {
    let Some(record) = record_of(set)? else { return Ok(None) };
    let left_alone = left_alone(set, &record);
    let mut images = std::iter::zip(set.images(), left_alone).enumerate();
    let changed = images.find(|(index, (image, left_alone))| {
        let undo = record.image(image).filter(|_| !left_alone);
        undo.is_some_and(|undo| is_changed(set, *index, undo))
    });
    Ok(changed.map(|(_, (image, _))| image.kind()))
}

/// Whether the original of this image can be had from it, byte for byte; None for an image that no
/// patch changed.
///
/// # Errors
/// As [`record_of`].
pub fn has_original(set: &BootSet<'_>, image: usize) -> Result<Option<bool>, Error> {
    let Some(record) = record_of(set)? else { return Ok(None) };
    let left_alone = left_alone(set, &record)[image];
    let image = &set.images()[image];
    let undo = record.image(image).filter(|_| !left_alone);
    Ok(undo.map(|undo| undo.restore(image).is_ok()))
}

pub(super) fn is_changed(set: &BootSet<'_>, index: usize, undo: &ImageUndo) -> bool {
    let image = &set.images()[index];
    let inserted = undo.inserted(image);
    inserted.is_some_and(|(section, range)| !is_ours(set, index, section, range))
        || undo.cmdline_changed(image)
}

/// Whether the bytes of a section are the segment and zeros only.
fn is_ours(set: &BootSet<'_>, image: usize, section: SectionName, range: Range<usize>) -> bool {
    let own = set.ramdisks().iter().filter(|own| own.spot.image == image && own.section == section);
    let mut segments = own.filter_map(|own| {
        let ours = own.ours()?.range;
        Some(own.offset + ours.start..own.offset + ours.end)
    });
    let ours = segments.find(|ours| range.start <= ours.start && ours.end <= range.end);
    let bytes = set.images()[image].section(section).unwrap_or_default();
    ours.is_some_and(|ours| {
        let around = bytes[range.start..ours.start].iter().chain(&bytes[ours.end..range.end]);
        around.into_iter().all(|byte| *byte == 0)
    })
}

/// Whether any image of the set is patched: has an undo record or a boot file, or starts our runtime.
///
/// # Errors
/// As [`record_of`].
pub fn is_patched(set: &BootSet<'_>) -> Result<bool, Error> {
    Ok(record_of(set)?.is_some()
        || set.images().iter().any(names_our_runtime)
        || set.ramdisks().iter().any(Ramdisk::is_marked))
}

/// The undo record of a patched set: in the segments that the patch appended, each of which has the
/// record of the images that it was patched with; or where a tool that rebuilt the ramdisk has put it.
///
/// # Errors
/// [`Error::UndoRecord`], [`Error::Ramdisk`] for damage.
pub fn record_of(set: &BootSet<'_>) -> Result<Option<UndoRecord>, Error> {
    let mut all: Option<UndoRecord> = None;
    for ramdisk in set.ramdisks() {
        let Some(bytes) = ramdisk.undo_record()? else { continue };
        let record = UndoRecord::parse(&bytes)?;
        match &mut all {
            None => all = Some(record),
            Some(all) => all.merge(record),
        }
    }
    if all.is_some() {
        return Ok(all);
    }
    let moved = set.ramdisks().iter().find_map(Ramdisk::moved_record);
    moved.map(UndoRecord::parse).transpose()
}

/// Whether the command line in the header of this image starts our runtime.
pub fn names_our_runtime(image: &Image<'_>) -> bool {
    let line = image.header().map(|header| Cmdline::new(header.cmdline()));
    line.is_some_and(|line| words::name_runtime(&line))
}
