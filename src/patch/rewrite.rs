//! The images of a set, rewritten.

use std::ops::Range;

use super::assignment::Decision;
use super::avb::changes;
use super::avb::outlook::Outlook;
use super::avb::signing::Signing;
use super::avb::vbmeta_image::{self, Written};
use super::context::Context;
use super::contribution::Contribution;
use super::edit::{Change, PlannedEdit, SegmentChange};
use super::error::Error;
use super::hook::original::Original;
use super::insertion::{Insertion, Sections};
use super::options::Options;
use super::parts::Parts;
use super::prove::expected::{ExpectedFile, expected};
use super::segment::Segment;
use super::undo::{ImageUndo, UndoRecord};
use super::warning::Warning;
use crate::bootfile::{BootFile, DeviceSpec};
use crate::bootset::Spot;
use crate::image::{DerivedPolicy, Edit, Header, Image, Output, Rebuilt};

/// The images that change, with the details for the plan.
pub(crate) struct Rewritten<'a> {
    /// In order: the one with the runtime first, vbmeta.img last.
    pub images: Vec<RewrittenImage<'a>>,
    /// The segments in them.
    pub segments: Vec<PlacedSegment>,
    /// All changes.
    pub edits: Vec<PlannedEdit>,
    /// Possible problems with them.
    pub warnings: Vec<Warning>,
    /// What devices do with the result.
    pub outlook: Option<Outlook>,
    /// What is signed.
    pub signing: Signing<'a>,
}

/// An image that changes.
pub(crate) struct RewrittenImage<'a> {
    /// Its index in the set.
    pub index: usize,
    /// Why it changes.
    pub decision: Decision,
    /// The patched file.
    pub output: Output<'a>,
    /// Bytes of the image proper.
    pub content_size: u64,
}

/// A segment in a patched image.
#[derive(Clone, Debug)]
pub(crate) struct PlacedSegment {
    /// Its ramdisk.
    pub spot: Spot,
    /// Where the segment is in the section, with the zeros around it.
    pub range: Range<usize>,
    /// The files in it.
    pub files: Vec<ExpectedFile>,
}

/// An image that will be rewritten; a bare ramdisk has no header to edit.
struct RewriteTarget<'a> {
    index: usize,
    decision: Decision,
    edit: Option<Edit<'a>>,
}

/// Rewrite the images of a set with everything in `parts`.
///
/// # Errors
/// Why a patch is not possible.
pub(crate) fn rewrite<'a>(
    set: &Context<'_, 'a>,
    parts: &Parts<'a>,
    options: &Options<'a>,
) -> Result<Rewritten<'a>, Error> {
    let mut targets = targets(set, parts);
    let indices: Vec<usize> = targets.iter().map(|target| target.index).collect();
    let signing = Signing::choose(set, &indices, &options.avb)?;
    for target in &mut targets {
        if let Some(edit) = &mut target.edit {
            edit.avb = signing.policy(&set.images[target.index]);
        }
    }
    let vbmetas: Vec<usize> = signing.vbmetas.iter().map(|own| own.index).collect();
    let mut rewritten = Rewritten {
        images: Vec::new(),
        segments: Vec::new(),
        edits: Vec::new(),
        warnings: Vec::new(),
        outlook: Outlook::of(&signing, set.images),
        signing,
    };
    let mut grown = Vec::new();
    for (insertion, boot, files) in segments(parts, options) {
        let home = boot.is_some();
        let vbmetas = if home { &vbmetas[..] } else { &[] };
        let undo = undo_record(set, parts, &targets, vbmetas, insertion)?;
        let runtime = options.runtimes.for_arch(set.kernel.arch())?;
        let segment = Segment { runtime, boot: boot.as_ref(), undo: &undo, parts: files };
        let mut bytes = segment.pack(&insertion.point)?;
        insertion.keep_alignment(&mut bytes);
        rewritten.segments.push(PlacedSegment {
            spot: insertion.spot,
            range: insertion.offset..insertion.offset + bytes.len(),
            files: expected(&segment)?,
        });
        rewritten.edits.extend(edits(parts, insertion, bytes.len(), home));
        let image = insertion.spot.image;
        grown.push((image, insertion.sections(&set.images[image], bytes)?));
    }
    for target in targets {
        let own = grown.iter().position(|(image, _)| *image == target.index);
        let sections = own.map(|own| grown.swap_remove(own).1).unwrap_or_default();
        let image = &set.images[target.index];
        rewritten.add(image, target, sections)?;
    }
    rewritten.sign(set)?;
    Ok(rewritten)
}

/// The segments: where each goes, the configuration of the runtime for the one that has it, the other
/// files.
fn segments<'p, 'a>(
    parts: &'p Parts<'a>,
    options: &Options<'_>,
) -> Vec<(&'p Insertion<'a>, Option<BootFile>, &'p Contribution)> {
    let files = || std::iter::once(&parts.all).chain(parts.late.iter().map(|(_, files)| files));
    let boot = BootFile {
        version: BootFile::VERSION,
        init: parts.hook.init.clone(),
        deadline_ms: options.deadline_ms,
        wait_ms: options.wait_ms,
        devices: options.devices.iter().map(DeviceSpec::to_string).collect(),
        shadows: parts.all.shadows.clone(),
        runtime_names: files().flat_map(|own| own.runtime_names.iter().cloned()).collect(),
        modules: parts.all.boot_modules.clone(),
    };
    let home = (&parts.insertion, Some(boot), &parts.all);
    let late = parts.late.as_ref().map(|(insertion, files)| (insertion, None, files));
    std::iter::once(home).chain(late).collect()
}

/// The images to rewrite, the one with the runtime first.
fn targets<'a>(set: &Context<'_, 'a>, parts: &Parts<'a>) -> Vec<RewriteTarget<'a>> {
    let home = parts.insertion.spot.image;
    let late = parts.late.as_ref().map(|(insertion, _)| insertion.spot.image);
    let cmdline = parts.placement.edit.as_ref().map(|cmdline| cmdline.index);
    let reasons = [
        (Some(home), parts.assignment.carrier_reason),
        (late, Decision::UnpackedAfter),
        (cmdline, parts.assignment.cmdline_reason),
    ];
    let mut targets: Vec<RewriteTarget<'a>> = Vec::new();
    for (index, decision) in reasons {
        let Some(index) = index.filter(|index| targets.iter().all(|own| own.index != *index))
        else {
            continue;
        };
        let edited = parts.placement.edit.as_ref().filter(|cmdline| cmdline.index == index);
        let edit = match edited {
            Some(cmdline) => Some(cmdline.edit.clone()),
            None => set.images[index].edit(),
        };
        targets.push(RewriteTarget { index, decision, edit });
    }
    targets
}

/// How to undo the patch of the image at `insertion`, and with the runtime also of the images without
/// a segment. The records do not depend on the segment, which contains them.
fn undo_record(
    set: &Context<'_, '_>,
    parts: &Parts<'_>,
    targets: &[RewriteTarget<'_>],
    vbmetas: &[usize],
    insertion: &Insertion<'_>,
) -> Result<UndoRecord, Error> {
    let home = insertion.spot == parts.insertion.spot;
    let late = parts.late.as_ref().map(|(late, _)| late.spot.image);
    let own = targets.iter().filter(|target| match home {
        true => late != Some(target.index),
        false => target.index == insertion.spot.image,
    });
    let records = own.map(|target| {
        let image = &set.images[target.index];
        let edit = target.edit.as_ref();
        if target.index != insertion.spot.image {
            return Ok(ImageUndo::record(image, edit, &[], None));
        }
        let inserted = Some((insertion.section, insertion.offset as u64));
        Ok(ImageUndo::record(image, edit, &insertion.sections(image, vec![0])?, inserted))
    });
    let vbmetas = vbmetas.iter();
    let vbmetas = vbmetas.map(|index| Ok(ImageUndo::record(&set.images[*index], None, &[], None)));
    let records: Result<Vec<ImageUndo>, Error> = records.chain(vbmetas).collect();
    Ok(UndoRecord::new(records?))
}

/// The changes that are known before the images are rewritten: those of the segment at `insertion`,
/// and with the runtime all others.
fn edits(
    parts: &Parts<'_>,
    insertion: &Insertion<'_>,
    segment_size: usize,
    home: bool,
) -> Vec<PlannedEdit> {
    let image = insertion.spot.image;
    let segment = Change::Segment(SegmentChange {
        fragment: insertion.spot.fragment,
        ramdisk_size: insertion.ramdisk.len(),
        format: insertion.point.format,
        segment_size,
        runtime: home,
        hook: parts.hook.kind,
        hook_reason: parts.hook.reason.to_string(),
        init: parts.hook.init.clone(),
        original_size: parts.all.original.as_ref().map_or(0, Original::size),
    });
    let cmdline = parts.placement.edit.iter().filter(|_| home);
    let cmdline = cmdline.map(|cmdline| cmdline.planned.clone());
    // Files that other programs read are in the last segment.
    let others = parts.all.changes.iter().filter(|_| !home || parts.late.is_none()).cloned();
    let others = std::iter::once(segment).chain(others);
    cmdline.chain(others.map(|change| PlannedEdit { image, change })).collect()
}

impl<'a> Rewritten<'a> {
    fn add(
        &mut self,
        image: &Image<'a>,
        target: RewriteTarget<'a>,
        sections: Sections<'a>,
    ) -> Result<(), Error> {
        let RewriteTarget { index, decision, edit } = target;
        let Some(mut edit) = edit else {
            let chunks = sections.into_iter().flat_map(|(_, chunks)| chunks).collect();
            let output = image.wrap(Output::from_chunks(chunks), DerivedPolicy::KeepRight)?;
            let content_size = output.size();
            self.images.push(RewrittenImage { index, decision, output, content_size });
            return Ok(());
        };
        edit.sections = sections;
        let rebuilt = image.rebuild(edit)?;
        let changes = new_id(image, &rebuilt).into_iter().chain(changes::of(image, &rebuilt));
        self.edits.extend(changes.map(|change| PlannedEdit { image: index, change }));
        self.warnings.extend(after_loader(image).into_iter().chain(file_grows(image, &rebuilt)));
        let Rebuilt { output, content_size, .. } = rebuilt;
        self.images.push(RewrittenImage { index, decision, output, content_size });
        Ok(())
    }

    /// Write the vbmeta images for the others, where they change.
    fn sign(&mut self, set: &Context<'_, 'a>) -> Result<(), Error> {
        let signing = &self.signing;
        let of = |index| self.images.iter().find(|image| image.index == index);
        let written = |index| {
            let image = of(index)?;
            Some(Written { output: &image.output, content_size: image.content_size })
        };
        let vbmetas = vbmeta_image::build(signing, set.images, written)?;
        let content_size = |index| of(index).map_or(0, |image| image.content_size);
        self.warnings.extend(signing.warnings(set.images, content_size));
        for vbmeta in vbmetas {
            self.edits.push(vbmeta.planned);
            self.images.push(RewrittenImage {
                index: vbmeta.index,
                decision: Decision::Digests,
                content_size: set.images[vbmeta.index].file().len() as u64,
                output: vbmeta.output,
            });
        }
        Ok(())
    }
}

fn new_id(image: &Image<'_>, rebuilt: &Rebuilt<'_>) -> Option<Change> {
    let (before, after) = (image.header().and_then(Header::id)?, rebuilt.header.id()?);
    // Of 32 bytes SHA-1 has the first 20.
    let hex = |id: &[u8; 32]| base16ct::lower::encode_string(&id[..20]);
    (before != after).then(|| Change::Id { before: hex(before), after: hex(after) })
}

fn after_loader(image: &Image<'_>) -> Option<Warning> {
    let (loader, offset) = image.wrapper()?.loader()?;
    Some(Warning::AfterLoader { image: image.kind(), loader, offset })
}

/// With a footer the file has the size of its partition and keeps it.
fn file_grows(image: &Image<'_>, rebuilt: &Rebuilt<'_>) -> Option<Warning> {
    let size = rebuilt.output.size();
    let by = size.saturating_sub(image.file().len() as u64);
    (by > 0 && rebuilt.avb.is_none()).then(|| Warning::FileGrows { image: image.kind(), by, size })
}
