//! The contributions to a patch, and what each shows in the plan.

use super::assignment::Assignment;
use super::context::Context;
use super::contribution::Contribution;
use super::error::Error;
use super::hook::choose::Hook;
use super::initramfs_files::InitramfsFiles;
use super::insertion::Insertion;
use super::modules::contribute::Modules;
use super::modules::plan::ModulePlan;
use super::options::Options;
use super::parameters::cmdline::{self, Placement};
use super::rc::contribute::RcPlan;
use super::report::KernelReport;
use super::warning::Warning;
use super::{hook, kernel_check, modules, parameters, rc};
use crate::bootset::Spot;
use crate::image::{ImageKind, SectionName};

/// Everything that is decided before an image is rewritten.
pub(crate) struct Parts<'a> {
    /// The images that change.
    pub assignment: Assignment,
    /// The point at which the segment is inserted.
    pub insertion: Insertion<'a>,
    /// How the kernel starts the runtime.
    pub hook: Hook,
    /// The modules.
    pub modules: ModulePlan,
    /// The kernel.
    pub kernel: KernelReport,
    /// The rc files.
    pub rc: RcPlan,
    /// The image that takes the kernel parameters.
    pub placement: Placement<'a>,
    /// All contributions.
    pub all: Contribution,
}

impl<'a> Parts<'a> {
    /// Compute every contribution and add them up.
    ///
    /// # Errors
    /// Why a patch is not possible.
    pub(crate) fn collect(set: &Context<'_, 'a>, options: &Options<'_>) -> Result<Self, Error> {
        let assignment = Assignment::choose(set)?;
        let Modules { plan: modules, contribution: from_modules, present } =
            modules::contribute::contribute(set, options)?;
        let kernel = kernel_check::check(set.kernel, present);
        let spot = Spot { image: assignment.carrier, fragment: assignment.fragment };
        let inventory = set.inventory(spot);
        let carrier = &set.images[assignment.carrier];
        let insertion = Insertion::find(carrier, &assignment, inventory)?;
        kernel_check::require(set.kernel, insertion.point.format)?;
        let files = InitramfsFiles::new(*set, spot);
        let (hook, from_hook) =
            hook::contribute::contribute(options.hook, set, &assignment, &files)?;
        let from_parameters = parameters::contribute::contribute(
            set,
            &options.devices,
            kernel.recommended,
            options.iommu,
            &options.parameters,
        )?;
        let (rc, from_rc) = rc::contribute::contribute(set, &files, &options.rc)?;

        let mut all = Contribution::of_warnings(kernel.warnings);
        all.add(from_modules);
        all.add(Contribution::of_warnings(two_generic_ramdisks(set)));
        all.add(Contribution::of_warnings(unpacking_stops(set, spot)));
        all.add(from_hook);
        all.add(from_parameters);
        parameters::contribute::check_against(&options.parameters, all.line_edit())?;
        let mut placement = cmdline::place(set, &assignment, &hook, all.line_edit())?;
        all.warnings.append(&mut placement.warnings);
        all.add(from_rc);
        let kernel = kernel.report;
        Ok(Parts { assignment, insertion, hook, modules, kernel, rc, placement, all })
    }
}

/// The bootloader chooses between two generic ramdisks.
fn two_generic_ramdisks(set: &Context<'_, '_>) -> Option<Warning> {
    let has = |kind| {
        let image = set.find(kind).map(|index| &set.images[index]);
        image.is_some_and(|image| image.section(SectionName::Ramdisk).is_some())
    };
    (has(ImageKind::Boot) && has(ImageKind::InitBoot)).then_some(Warning::TwoGenericRamdisks)
}

/// The kernel stops before the end of the ramdisk `carrier`.
fn unpacking_stops(set: &Context<'_, '_>, carrier: Spot) -> Option<Warning> {
    let (spot, stop) = set.initramfs().stop_before_end_of(carrier)?;
    Some(Warning::UnpackingStops { image: set.images[spot.image].kind(), stop })
}
