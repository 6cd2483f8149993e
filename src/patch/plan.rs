//! The plan: what a patch changes, where and why, as data; and the bytes to write.

use serde::Serialize;

use super::advice::Advice;
use super::assignment::Decision;
use super::avb::outlook::Outlook;
use super::context::Context;
use super::edit::PlannedEdit;
use super::error::Error;
use super::hook::choose::Hook;
use super::modules::plan::ModulePlan;
use super::next::Next;
use super::options::Options;
use super::original::{self, Start};
use super::parameters;
use super::parameters::iommu::IommuMode;
use super::parameters::parameter::PlannedParameter;
use super::parts::Parts;
use super::prove;
use super::prove::report::Proof;
use super::rc::contribute::RcPlan;
use super::report::KernelReport;
use super::rewrite::{self, RewrittenImage};
use super::unfit::Unfit;
use super::warning::Warning;
use crate::bootset::{BootSet, Flow, FlowKind, Role};
use crate::image::{Image, ImageKind, Output};

/// A patch, computed and not yet written.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Plan<'a> {
    /// How a device with these images boots.
    pub flow: Flow,
    /// What is changed.
    pub edits: Vec<PlannedEdit>,
    /// Possible problems.
    pub warnings: Vec<Warning>,
    /// How the kernel starts the runtime.
    pub hook: Hook,
    /// The added kernel parameters, each with its purpose.
    #[serde(rename = "words")]
    pub parameters: Vec<PlannedParameter>,
    /// What the host's own devices have of the IOMMU.
    pub iommu: IommuMode,
    /// What runs at boot, what could go wrong, how to undo it.
    pub advice: Advice,
    /// The kernel of the plan, and the result of its audit.
    pub kernel: KernelReport,
    /// Why no guest can use the devices, whatever is written: evidence, not doubt. Empty as a rule.
    pub unfit: Vec<Unfit>,
    /// The modules that are loaded, the program that loads them, and other drivers that match the
    /// devices.
    pub modules: ModulePlan,
    /// rc files, and the service that starts guests after boot.
    pub rc: RcPlan,
    /// Kernel parameters that the bootloader's configuration needs, because no image can carry them.
    #[serde(rename = "words_for_bootloader")]
    pub parameters_for_bootloader: Vec<String>,
    /// What the patched images showed when they were read back.
    pub proof: Proof,
    /// How the patched images get onto the device.
    pub next: Next,
    /// What devices do with the result; None if no image uses AVB.
    pub avb: Option<Outlook>,
    /// The images in the order they were given.
    pub images: Vec<PlannedImage<'a>>,
}

/// One image of the set.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PlannedImage<'a> {
    /// What kind of image it is.
    pub kind: ImageKind,
    /// What it is for.
    pub role: Role,
    /// Why it is changed, or why not.
    pub decision: Decision,
    /// Size of the file in bytes.
    pub size_before: u64,
    /// Size of the patched file in bytes; the same if nothing changes.
    pub size_after: u64,
    /// Bytes of the image proper, without padding to the partition, vbmeta and footer.
    pub content_size: u64,
    /// The patched file; None if the image does not change.
    #[serde(skip)]
    pub output: Option<Output<'a>>,
}

impl PlannedImage<'_> {
    fn unchanged(image: &Image<'_>, role: Role) -> Self {
        let size = image.file().len() as u64;
        let decision = match (role.left_alone(), role) {
            (Some(reason), _) => Decision::LeftAlone(reason),
            (None, Role::Boot) => Decision::NotTheActiveImage,
            (None, Role::VendorBoot) => Decision::UnpackedBefore,
            (None, Role::InitBoot) => Decision::NoCmdline,
            (None, _) => Decision::NothingToChange,
        };
        PlannedImage {
            kind: image.kind(),
            role,
            decision,
            size_before: size,
            size_after: size,
            content_size: size,
            output: None,
        }
    }
}

/// Compute a patch. For images that are already patched it starts from the originals; where another
/// program has changed them since, from what [`remove()`](super::remove()) gives.
///
/// # Errors
/// [`Error`], each with what to do about it.
pub fn plan<'s>(set: &'s BootSet<'_>, options: &Options<'s>) -> Result<Plan<'s>, Error> {
    set.request_modules(options.modules.request());
    for ramdisk in set.ramdisks() {
        // One pass reads everything, also of the original if the ramdisk is patched. The code that
        // needs a damaged one reports it.
        let _ = ramdisk.inventory();
    }
    match original::of(set)? {
        Some(Start { set, inexact }) => {
            let mut plan = plan_unpatched(&set, options)?;
            let started_over = inexact.into_iter().map(|image| Warning::StartedOver { image });
            plan.warnings.splice(0..0, started_over);
            Ok(plan)
        }
        None => plan_unpatched(set, options),
    }
}

fn plan_unpatched<'a>(set: &BootSet<'a>, options: &Options<'a>) -> Result<Plan<'a>, Error> {
    set.request_modules(options.modules.request());
    let set = Context::new(set);
    set.active().try_for_each(|(_, image)| image.require_unsealed())?;
    parameters::contribute::check(&options.parameters)?;
    set.kernel.require_arch()?;
    let flow = set.flow();
    if flow.kind == FlowKind::LegacySystemAsRoot && flow.certain && !flow.ramdisk_runs {
        return Err(Error::LegacySystemAsRoot);
    }
    let parts = Parts::collect(&set, options)?;
    let rewritten = rewrite::rewrite(&set, &parts, options)?;
    let proof = prove::prove(&set, &parts, &rewritten)?;
    let changed: Vec<usize> = rewritten.images.iter().map(|image| image.index).collect();
    let next = Next::new(&set, &changed);
    let images = planned_images(&set, rewritten.images);
    let Parts { hook, kernel: report, unfit, modules, rc, all, placement, .. } = parts;
    Ok(Plan {
        edits: rewritten.edits,
        warnings: all.warnings.into_iter().chain(rewritten.warnings).collect(),
        advice: Advice::new(flow, &hook, &options.devices, &next),
        hook,
        parameters: all.parameters,
        iommu: options.iommu,
        kernel: report,
        unfit,
        modules,
        rc,
        parameters_for_bootloader: placement.for_bootloader,
        proof,
        next,
        avb: rewritten.outlook,
        images,
        flow: flow.clone(),
    })
}

/// All images of the set, including the rewritten ones.
fn planned_images<'a>(
    set: &Context<'_, 'a>,
    rewritten: Vec<RewrittenImage<'a>>,
) -> Vec<PlannedImage<'a>> {
    let pairs = std::iter::zip(set.images, &set.flow().roles);
    let mut images: Vec<PlannedImage<'a>> =
        pairs.map(|(image, role)| PlannedImage::unchanged(image, *role)).collect();
    for RewrittenImage { index, decision, output, content_size } in rewritten {
        let image = &mut images[index];
        (image.decision, image.content_size) = (decision, content_size);
        image.size_after = output.size();
        image.output = Some(output);
    }
    images
}
