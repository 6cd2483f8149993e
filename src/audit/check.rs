//! The audit of a set of images: what is known of its kernel, held against every rule.

mod kernel;
mod modules;

use std::collections::{BTreeMap, BTreeSet};

use super::content;
use super::error::{CheckError, Problem};
use super::files::{File, Files};
use super::run::{self, Audited, Subject};
use super::sources::{self, Named};
use super::{CmdlinePart, Facts, Finding, Level, Origin, Profile, Provenance, Verdict, evaluate};
use crate::image::{Image, ImageKind};
use crate::kernel::KernelConfig;

pub use kernel::KernelFile;
pub use modules::{GivenModules, ModulesError};

/// What is asked of a check, the same for every set of a run.
#[derive(Debug)]
pub struct Options<'a> {
    /// The rules.
    pub profile: Profile,
    /// Rules down to this level decide.
    pub fail_on: Level,
    /// The config of the kernel, which counts instead of the one embedded in it.
    pub config: Option<(KernelConfig, Provenance)>,
    /// The kernel command line, instead of the one that the images give.
    pub cmdline: Option<String>,
    /// All modules there are beside the kernel; None when only the images tell.
    pub modules: Option<GivenModules<'a>>,
}

impl Options<'_> {
    /// Everything comes from the images, and what is required decides.
    pub fn new(profile: Profile) -> Self {
        Options { profile, fail_on: Level::Required, config: None, cmdline: None, modules: None }
    }
}

/// Hold a set of images against the rules.
///
/// # Errors
/// [`CheckError`] when there is nothing to check or not enough of it can be read.
pub fn check(files: &Files<'_>, options: &Options<'_>) -> Result<Audited, CheckError> {
    let (subject, mut facts, mut problems) = read(files.main, options)?;
    require_rules(&options.profile, &facts)?;
    match &options.cmdline {
        Some(line) => {
            facts.set_cmdline(vec![CmdlinePart { origin: Origin::Given, text: line.clone() }]);
        }
        None => add_cmdlines(&mut facts, &mut problems, files),
    }
    if let Some(modules) = &options.modules {
        modules.tell(&mut facts, &mut problems);
    }
    let mut report = evaluate(&options.profile, &facts);
    // Ramdisks are unpacked only where their modules can decide something.
    if report.with(Verdict::Unknown).next().is_some() {
        modules::add_from_images(&mut facts, &mut problems, files)?;
        report = evaluate(&options.profile, &facts);
    }
    if subject != Subject::Config && report.findings.iter().any(Finding::by_module) {
        modules::link(&mut facts, &options.profile, options.modules.as_ref(), files)?;
        report = evaluate(&options.profile, &facts);
    }
    // A packed config and an embedded one have no lines to show.
    let lines = match content::is_config(files.main.bytes) {
        true => run::lines(&report, files.main.bytes),
        false => BTreeMap::new(),
    };
    Ok(Audited {
        subject,
        facts: facts.outline(),
        report,
        problems,
        fail_on: options.fail_on,
        known: BTreeSet::new(),
        lines,
    })
}

/// What the kernel or the config says about itself.
fn read(
    main: File<'_>,
    options: &Options<'_>,
) -> Result<(Subject, Facts, Vec<Problem>), CheckError> {
    let Some(text) = content::config_text(main.bytes)? else {
        let about = kernel::read(main.bytes, main.name, options.config.as_ref())?;
        return Ok((Subject::Kernel(about.summary), about.facts, about.problems));
    };
    if options.config.is_some() {
        return Err(CheckError::TwoConfigs);
    }
    let mut facts = Facts::default();
    facts.set_config(KernelConfig::parse(&text)?, Provenance::File(main.name.to_owned()));
    Ok((Subject::Config, facts, Vec::new()))
}

fn require_rules(profile: &Profile, facts: &Facts) -> Result<(), CheckError> {
    match facts.arch {
        Some(arch) if !profile.covers(arch) => Err(CheckError::Architecture {
            arch,
            profile: profile.name.to_string(),
            covered: profile.arch.to_vec(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Join the command line as bootloaders do: vendor_boot's, boot's (which is there already), and
/// what AVB's descriptors add.
fn add_cmdlines(facts: &mut Facts, problems: &mut Vec<Problem>, files: &Files<'_>) {
    let boot = facts.cmdline.take().map(|text| (Origin::Boot(files.main.name.to_owned()), text));
    let images: Vec<_> =
        files.all().filter_map(|file| Some((file.name, Image::parse(file.bytes).ok()?))).collect();
    let named: Vec<_> = images.iter().map(|(file, image)| Named { file, image }).collect();
    let vendor = named.iter().filter(|named| named.image.kind() == ImageKind::VendorBoot);
    let mut parts = sources::of_headers(&vendor.copied().collect::<Vec<_>>());
    parts.extend(boot.map(|(origin, text)| CmdlinePart { origin, text }));
    let avb = sources::of_avb(&named);
    parts.extend(avb.parts);
    problems.extend(avb.notes.into_iter().map(Problem::Avb));
    if !parts.is_empty() {
        facts.set_cmdline(parts);
    }
}
