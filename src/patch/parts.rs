//! The contributions to a patch, and what each shows in the plan.

use super::assignment::Assignment;
use super::context::Context;
use super::contribution::Contribution;
use super::division::Division;
use super::error::Error;
use super::hook::choose::Hook;
use super::initramfs_files::InitramfsFiles;
use super::insertion::Insertion;
use super::modules::contribute::Modules;
use super::modules::plan::ModulePlan;
use super::options::Options;
use super::parameters::cmdline::{self, Placement};
use super::place::Places;
use super::rc::contribute::RcPlan;
use super::report::KernelReport;
use super::unfit::Unfit;
use super::warning::Warning;
use super::{hook, kernel_check, modules, parameters, rc};
use crate::image::{ImageKind, SectionName};

/// Everything that is decided before an image is rewritten.
pub(crate) struct Parts<'a> {
    /// The images that change.
    pub assignment: Assignment,
    /// The point at which the segment with the runtime is inserted.
    pub insertion: Insertion<'a>,
    /// The point at which a second segment is inserted, and its files.
    pub late: Option<(Insertion<'a>, Contribution)>,
    /// How the kernel starts the runtime.
    pub hook: Hook,
    /// The modules.
    pub modules: ModulePlan,
    /// The kernel.
    pub kernel: KernelReport,
    /// Why no guest can use the devices.
    pub unfit: Vec<Unfit>,
    /// The rc files.
    pub rc: RcPlan,
    /// The image that takes the kernel parameters.
    pub placement: Placement<'a>,
    /// All contributions.
    pub all: Contribution,
}

impl<'a> Parts<'a> {
    /// The points at which segments are inserted.
    pub(crate) fn insertions(&self) -> impl Iterator<Item = &Insertion<'a>> {
        let late = self.late.iter().map(|(insertion, _)| insertion);
        std::iter::once(&self.insertion).chain(late)
    }

    /// Compute every contribution and add them up.
    ///
    /// # Errors
    /// Why a patch is not possible.
    pub(crate) fn collect(set: &Context<'_, 'a>, options: &Options<'_>) -> Result<Self, Error> {
        let places = Places::find(set)?;
        let Modules { plan: modules, contribution: from_modules, present } =
            modules::contribute::contribute(set, options)?;
        let check = kernel_check::check(set, present);
        let files = InitramfsFiles::new(*set);
        let (hook, from_hook) = hook::contribute::contribute(options.hook, set, &places, &files)?;
        let mut assignment = Assignment::choose(set, &places, hook.kind)?;
        let from_parameters = parameters::contribute::contribute(
            set,
            &options.devices,
            check.recommended.clone(),
            options.iommu,
            &options.parameters,
        )?;
        let (rc, from_rc) = rc::contribute::contribute(set, &files, &options.rc)?;

        let mut all = Contribution::of_warnings(check.warnings.clone());
        all.add(from_modules);
        all.add(Contribution::of_warnings(two_generic_ramdisks(set, &assignment)));
        all.add(from_hook);
        all.add(from_parameters);
        parameters::contribute::check_against(&options.parameters, all.line_edit())?;
        let mut placement = cmdline::place(set, &assignment, &hook, all.line_edit())?;
        all.warnings.append(&mut placement.warnings);
        all.add(from_rc);
        let Division { home, late } = Division::of(set, &places, assignment.home, &mut all)?;
        assignment.home = home;
        let insertion = Insertion::find(set, home)?;
        kernel_check::require(set.kernel, insertion.point.format)?;
        let late = late.map(|late| Ok::<_, Error>((Insertion::find(set, late.place)?, late.files)));
        let late = late.transpose()?;
        let line = placement.edit.as_ref().map(|own| {
            let line = own.edit.header.cmdline();
            (own.index, String::from_utf8_lossy(&line).into_owned())
        });
        let (kernel, unfit) = check.of_result(set, line);
        Ok(Parts { assignment, insertion, late, hook, modules, kernel, unfit, rc, placement, all })
    }
}

/// The bootloader chooses between two generic ramdisks, and the patch is in one of them.
fn two_generic_ramdisks(set: &Context<'_, '_>, assignment: &Assignment) -> Option<Warning> {
    let has = |kind| {
        let image = set.find(kind).map(|index| &set.images[index]);
        image.is_some_and(|image| image.section(SectionName::Ramdisk).is_some())
    };
    let patched = set.images[assignment.home.spot.image].kind() == ImageKind::InitBoot;
    (patched && has(ImageKind::Boot) && has(ImageKind::InitBoot))
        .then_some(Warning::TwoGenericRamdisks)
}
