//! The images of a set, rewritten.

use super::assignment::Decision;
use super::avb::changes;
use super::avb::outlook::Outlook;
use super::avb::signing::Signing;
use super::avb::vbmeta_image::{self, Written};

use super::context::Context;
use super::edit::{Change, PlannedEdit, SegmentChange};
use super::error::Error;
use super::hook::original::Original;
use super::insertion::Sections;
use super::options::Options;
use super::parts::Parts;
use super::segment::Segment;
use super::undo::{ImageUndo, UndoRecord};
use super::warning::Warning;
use crate::bootfile::{BootFile, DeviceSpec};
use crate::image::{DerivedPolicy, Edit, Header, Image, Output, Rebuilt};

/// The images that change, with the details for the plan.
pub(crate) struct Rewritten<'a> {
    /// In order: the one with the segment first, vbmeta.img last.
    pub images: Vec<RewrittenImage<'a>>,
    /// All changes.
    pub edits: Vec<PlannedEdit>,
    /// Possible problems with them.
    pub warnings: Vec<Warning>,
    /// What devices do with the result.
    pub outlook: Option<Outlook>,
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
    let undo = undo_record(set, parts, &targets, &signing)?;
    let segment = segment(set, parts, options, &undo)?;
    let mut rewritten = Rewritten {
        images: Vec::new(),
        edits: edits(parts, segment.len()),
        warnings: Vec::new(),
        outlook: Outlook::of(&signing, set.images),
    };
    let carrier = parts.assignment.carrier;
    let mut grown = Some(parts.insertion.sections(&set.images[carrier], segment)?);
    for target in targets {
        let sections = grown.take_if(|_| target.index == carrier).unwrap_or_default();
        let image = &set.images[target.index];
        rewritten.add(image, target, sections)?;
    }
    rewritten.sign(set, &signing)?;
    Ok(rewritten)
}

/// The images to rewrite, the one that carries the segment first.
fn targets<'a>(set: &Context<'_, 'a>, parts: &Parts<'a>) -> Vec<RewriteTarget<'a>> {
    let carrier = parts.assignment.carrier;
    let cmdline = parts.placement.edit.as_ref();
    let edit = match cmdline.filter(|cmdline| cmdline.index == carrier) {
        Some(cmdline) => Some(cmdline.edit.clone()),
        None => set.images[carrier].edit(),
    };
    let first = RewriteTarget { index: carrier, decision: parts.assignment.carrier_reason, edit };
    let other = cmdline.filter(|cmdline| cmdline.index != carrier).map(|cmdline| RewriteTarget {
        index: cmdline.index,
        decision: parts.assignment.cmdline_reason,
        edit: Some(cmdline.edit.clone()),
    });
    std::iter::once(first).chain(other).collect()
}

/// How to undo the patch. The records do not depend on the segment, which contains them.
fn undo_record(
    set: &Context<'_, '_>,
    parts: &Parts<'_>,
    targets: &[RewriteTarget<'_>],
    signing: &Signing<'_>,
) -> Result<UndoRecord, Error> {
    let insertion = &parts.insertion;
    let records = targets.iter().map(|target| {
        let image = &set.images[target.index];
        let edit = target.edit.as_ref();
        if target.index != parts.assignment.carrier {
            return Ok(ImageUndo::record(image, edit, &[], None));
        }
        let inserted = Some((insertion.section, insertion.offset as u64));
        Ok(ImageUndo::record(image, edit, &insertion.sections(image, vec![0])?, inserted))
    });
    let vbmetas = signing.vbmetas.iter();
    let vbmetas = vbmetas.map(|own| Ok(ImageUndo::record(&set.images[own.index], None, &[], None)));
    let records: Result<Vec<ImageUndo>, Error> = records.chain(vbmetas).collect();
    Ok(UndoRecord::new(records?))
}

fn segment(
    set: &Context<'_, '_>,
    parts: &Parts<'_>,
    options: &Options<'_>,
    undo: &UndoRecord,
) -> Result<Vec<u8>, Error> {
    let boot = BootFile {
        version: BootFile::VERSION,
        init: parts.hook.init.clone(),
        deadline_ms: options.deadline_ms,
        wait_ms: options.wait_ms,
        devices: options.devices.iter().map(DeviceSpec::to_string).collect(),
        shadows: parts.all.shadows.clone(),
        runtime_names: parts.all.runtime_names.clone(),
        modules: parts.all.boot_modules.clone(),
    };
    let runtime = options.runtimes.for_arch(set.kernel.arch())?;
    let segment = Segment { runtime, boot: &boot, undo, parts: &parts.all };
    let mut bytes = segment.pack(&parts.insertion.point)?;
    parts.insertion.keep_alignment(&mut bytes);
    Ok(bytes)
}

/// The changes that are known before the images are rewritten.
fn edits(parts: &Parts<'_>, segment_size: usize) -> Vec<PlannedEdit> {
    let image = parts.assignment.carrier;
    let segment = Change::Segment(SegmentChange {
        fragment: parts.assignment.fragment,
        ramdisk_size: parts.insertion.ramdisk.len(),
        format: parts.insertion.point.format,
        segment_size,
        hook: parts.hook.kind,
        hook_reason: parts.hook.reason.to_string(),
        init: parts.hook.init.clone(),
        original_size: parts.all.original.as_ref().map_or(0, Original::size),
    });
    let cmdline = parts.placement.edit.iter().map(|cmdline| cmdline.planned.clone());
    let others = std::iter::once(segment).chain(parts.all.changes.iter().cloned());
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
    fn sign(&mut self, set: &Context<'_, 'a>, signing: &Signing<'a>) -> Result<(), Error> {
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
    let wrapper = image.wrapper()?;
    let (loader, offset) = (wrapper.name(), wrapper.after_loader()?);
    Some(Warning::AfterLoader { image: image.kind(), loader, offset })
}

/// With a footer the file has the size of its partition and keeps it.
fn file_grows(image: &Image<'_>, rebuilt: &Rebuilt<'_>) -> Option<Warning> {
    let size = rebuilt.output.size();
    let by = size.saturating_sub(image.file().len() as u64);
    (by > 0 && rebuilt.avb.is_none()).then(|| Warning::FileGrows { image: image.kind(), by, size })
}
