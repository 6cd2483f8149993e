//! The audit of a set of images: evaluates every rule for its kernel.

mod kernel;
mod modules;
pub(super) mod relevant;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::content;
use super::error::{CheckError, Problem};
use super::evaluate::{Evaluation, Finding, evaluate};
use super::expand::{self, ExpandError};
use super::follow;
use super::report::{self, Report, Subject};
use super::tree::Tree;
use crate::bootset::{self, BootSet, CmdlinePart, Facts, File, Origin, Provenance};
use crate::compression::Budget;
use crate::image::ImageKind;
use crate::kernel::config_file::ConfigFileError;
use crate::kernel::{Arch, Kernel, KernelConfig, KernelVersion, config_file};
use crate::modules::ModuleRequest;
use crate::rules::{Level, Profile, Verdict};

pub use modules::{GivenModules, ModulesError};

/// Options of a check, the same for every set of a run.
#[derive(Debug)]
#[non_exhaustive]
pub struct Options<'a> {
    /// The rules.
    pub profile: Profile,
    /// Rules of at least this level affect the outcome.
    pub fail_on: Level,
    /// The config of the kernel, used instead of the embedded one.
    pub config: Option<(KernelConfig, Provenance)>,
    /// The kernel command line, used instead of the one in the images.
    pub cmdline: Option<String>,
    /// All modules of the kernel; None if only those in the images are known.
    pub modules: Option<GivenModules<'a>>,
    /// The architecture of kernels that do not tell theirs.
    pub arch: Option<Arch>,
    /// The version of kernels that do not tell theirs.
    pub version: Option<KernelVersion>,
    /// A kernel's source tree whose own `olddefconfig` expands every config that is checked by itself.
    pub expand: Option<PathBuf>,
    /// What each input may cost; by default what inputs of its size may.
    pub budget: Option<Budget>,
}

impl Options<'_> {
    /// Options that use only the images, and in which required rules affect the outcome.
    pub fn new(profile: Profile) -> Self {
        Options {
            profile,
            fail_on: Level::Required,
            config: None,
            cmdline: None,
            modules: None,
            arch: None,
            version: None,
            expand: None,
            budget: None,
        }
    }
}

/// Check a set of images.
///
/// # Errors
/// [`CheckError`] when there is no kernel, or not enough of it can be read.
pub fn check(set: &BootSet<'_>, options: &Options<'_>) -> Result<Report, CheckError> {
    check_beside(set, options, None)
}

/// The same; the kernel's modules are in this directory beside it, which counts if none are given.
fn check_beside(
    set: &BootSet<'_>,
    options: &Options<'_>,
    modules: Option<&Path>,
) -> Result<Report, CheckError> {
    if let [image] = set.images()
        && image.kind() == ImageKind::Config
    {
        return check_config(image.file(), set, options);
    }
    // One pass over a ramdisk collects everything that may be needed of its modules.
    set.request_modules(ModuleRequest { symbols: true, ..ModuleRequest::default() });
    // Its header tells it, whatever else can be read.
    let header = set.kernel_bytes().and_then(|(_, bytes)| Kernel::parse(bytes).ok());
    require_rules(options, header.and_then(|kernel| kernel.arch()))?;
    let kernel = kernel::read(set, options.config.as_ref())?;
    let mut audit = Audit { options, facts: kernel.facts, problems: kernel.problems };
    audit.take_options();
    require_rules(options, audit.facts.arch)?;
    if options.cmdline.is_none() {
        let notes = set.command_lines().notes.iter();
        audit.problems.extend(notes.cloned().map(Problem::Cmdline));
    }
    let mut evaluation = evaluate(&options.profile, &audit.facts);
    let mut tree = None;
    // A file may have the name of another release than its kernel.
    let release = audit.facts.release.clone();
    let own = modules.filter(|path| {
        path.file_name().is_some_and(|own| release.as_deref().is_some_and(|release| own == release))
    });
    if let (None, Some(path)) = (&options.modules, own)
        && evaluation.with(Verdict::Unknown).next().is_some()
    {
        let found = Tree::read(path, &options.profile)?;
        tree = found.add_to(&mut audit.facts, &mut audit.problems, &options.profile);
        evaluation = evaluate(&options.profile, &audit.facts);
    }
    let given = options.modules.as_ref().or(tree.as_ref());
    // Ramdisks are decompressed only if their modules can decide a rule.
    if evaluation.with(Verdict::Unknown).next().is_some() {
        modules::add_from_images(&mut audit.facts, &mut audit.problems, set);
        evaluation = evaluate(&options.profile, &audit.facts);
    }
    if evaluation.findings.iter().any(Finding::by_module) {
        modules::link(&mut audit.facts, &options.profile, given, set)?;
        evaluation = evaluate(&options.profile, &audit.facts);
    }
    Ok(audit.finish(Subject::Kernel(kernel.summary), evaluation, BTreeMap::new()))
}

/// Check a config file by itself.
///
/// # Errors
/// [`CheckError::TwoConfigs`], [`CheckError::Architecture`].
fn check_config(
    file: &[u8],
    set: &BootSet<'_>,
    options: &Options<'_>,
) -> Result<Report, CheckError> {
    if options.config.is_some() {
        return Err(CheckError::TwoConfigs);
    }
    let mut audit = Audit { options, facts: set.facts().clone(), problems: Vec::new() };
    audit.take_options();
    require_rules(options, audit.facts.arch)?;
    if let Some(tree) = &options.expand {
        audit.expand(file, tree)?;
    }
    let evaluation = evaluate(&options.profile, &audit.facts);
    // Lines of a compressed or expanded config are not useful to the reader.
    let lines = match config_file::is_plain_config(file) && options.expand.is_none() {
        true => report::lines(&evaluation, file),
        false => BTreeMap::new(),
    };
    Ok(audit.finish(Subject::Config, evaluation, lines))
}

/// Refuse a kernel that the profile has no rules for.
fn require_rules(options: &Options<'_>, arch: Option<Arch>) -> Result<(), CheckError> {
    let profile = &options.profile;
    match arch {
        Some(arch) if !profile.covers(arch) => Err(CheckError::Architecture {
            arch,
            profile: profile.name.to_string(),
            covered: profile.arch.to_vec(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// Check the files of one device like `vfioboot check`: images, or one config, plain or compressed.
///
/// # Errors
/// [`CheckError`].
pub fn check_files(files: &[File<'_>], options: &Options<'_>) -> Result<Report, CheckError> {
    check_files_beside(files, options, None)
}

/// The same; the kernel's modules are in this directory beside it.
pub(super) fn check_files_beside(
    files: &[File<'_>],
    options: &Options<'_>,
    modules: Option<&Path>,
) -> Result<Report, CheckError> {
    let Some((main, _)) = files.split_first() else { return Err(CheckError::Empty) };
    let size = files.iter().map(|file| file.bytes.len() as u64).sum();
    let _scope = options.budget.unwrap_or(Budget::for_input(size)).enter();
    let set = BootSet::new(files.iter().cloned()).map_err(|error| match error {
        bootset::Error::Image { file, source } if file != main.name => {
            CheckError::ImageBeside { file, error: source }
        }
        bootset::Error::Image { source, .. } => match content::identify(main.bytes) {
            Some(foreign) => CheckError::Foreign(foreign),
            None => CheckError::Image(source),
        },
        bootset::Error::Config { file, source } if file != main.name => {
            CheckError::ConfigBeside { file, error: source }
        }
        bootset::Error::Config { source, .. } => CheckError::Config(source),
    })?;
    check_beside(&set, options, modules)
}

/// The state of an audit.
struct Audit<'o> {
    options: &'o Options<'o>,
    facts: Facts,
    problems: Vec<Problem>,
}

impl Audit<'_> {
    /// Use the command line and the modules in the options.
    fn take_options(&mut self) {
        self.facts.arch = self.facts.arch.or(self.options.arch);
        self.facts.given_version = self.options.version;
        if let Some(line) = &self.options.cmdline {
            let given = CmdlinePart { origin: Origin::Given, text: line.clone() };
            self.facts.set_cmdline(vec![given]);
        }
        if let Some(modules) = &self.options.modules {
            modules.add_to(&mut self.facts, &mut self.problems);
        }
    }

    /// Replace the config with what the tree's olddefconfig makes of it.
    fn expand(&mut self, file: &[u8], tree: &Path) -> Result<(), CheckError> {
        let arch = self.facts.arch.ok_or(ExpandError::Architecture)?;
        let text = config_file::text(file)?;
        let expanded = expand::olddefconfig(tree, &text, arch)?;
        let config = KernelConfig::parse(&expanded).map_err(ConfigFileError::from)?;
        let provenance = match self.facts.config.take() {
            Some((_, provenance)) => provenance,
            None => Provenance::NotKnown,
        };
        // The version is the tree's.
        self.facts.release = None;
        self.facts.set_config(config, provenance);
        self.problems.push(Problem::Expanded(tree.to_owned()));
        Ok(())
    }

    fn finish(
        self,
        subject: Subject,
        evaluation: Evaluation,
        lines: BTreeMap<String, usize>,
    ) -> Report {
        Report {
            subject,
            follow: follow::findings(&self.options.profile, &self.facts, &evaluation),
            facts: self.facts.outline(),
            evaluation,
            problems: self.problems,
            fail_on: self.options.fail_on,
            known: BTreeSet::new(),
            lines,
        }
    }
}
