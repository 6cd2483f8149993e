//! The modules of a kernel: those given by the user, and those in the ramdisks of the images.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::relevant::load_order;
use crate::audit::error::Problem;
use crate::bootset::{BootSet, Facts, Ramdisk};
use crate::image::FragmentType;
use crate::kernel::{Module, Symbols};
use crate::modules::{
    ModuleFile, ModuleProblem, ModuleSource, ProblemCause, Survey, SurveyError, gather, survey,
};
use crate::rules::Profile;

/// The modules given by the user, which are assumed to be complete.
#[derive(Debug, Default)]
pub struct GivenModules<'a> {
    sources: Vec<ModuleSource<'a>>,
    gathered: Survey,
}

/// Errors of reading a source of modules.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModulesError {
    /// The source could not be read.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// The source has no modules.
    #[error("there is no kernel module{}", .first_problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default())]
    None {
        /// The first file that could not be read, if any.
        first_problem: Option<ModuleProblem>,
    },
}

impl<'a> GivenModules<'a> {
    /// Add the modules of a file or directory, which has them in these sources.
    ///
    /// # Errors
    /// [`ModulesError`].
    pub fn add(
        &mut self,
        sources: impl IntoIterator<Item = ModuleSource<'a>>,
    ) -> Result<(), ModulesError> {
        let mut found = Survey::default();
        for source in sources {
            found.extend(gather(&source)?);
            self.sources.push(source);
        }
        if found.modules.is_empty() {
            return Err(ModulesError::None { first_problem: found.problems.into_iter().next() });
        }
        self.gathered.extend(found);
        Ok(())
    }

    /// The SHA-256 of all modules with their names.
    pub(crate) fn digest(&self) -> Result<[u8; 32], SurveyError> {
        let mut hash = Sha256::new();
        for source in &self.sources {
            survey::visit(source, &mut Vec::new(), &mut |file| {
                for part in [file.path.as_bytes(), file.bytes] {
                    hash.update((part.len() as u64).to_le_bytes());
                    hash.update(part);
                }
            })?;
        }
        Ok(hash.finalize().into())
    }

    /// Those of a directory, of which these were read.
    pub(in crate::audit) fn of_directory(source: ModuleSource<'a>, gathered: Survey) -> Self {
        GivenModules { sources: vec![source], gathered }
    }

    pub(in crate::audit) fn add_to(&self, facts: &mut Facts, problems: &mut Vec<Problem>) {
        facts.modules = Some(self.gathered.modules.clone());
        problems.extend(self.gathered.problems.iter().cloned().map(Problem::Module));
    }

    /// Let the modules decide the symbols whose code is a part of them.
    fn decide_parts(&self, facts: &mut Facts) -> Result<(), SurveyError> {
        let version = facts.version();
        let Some(evidence) = &mut facts.evidence else { return Ok(()) };
        let parts = evidence.open_parts();
        for source in &self.sources {
            survey::visit(source, &mut Vec::new(), &mut |file| {
                let mut modules = self.gathered.modules.iter();
                if let Some(module) = modules.find(|module| module.file == file.file)
                    && let Some(names) = parts.get(&module.name)
                    && let Ok(defined) = Symbols::defined(file.bytes, names)
                {
                    evidence.take_module(module, &defined, version);
                }
            })?;
        }
        Ok(())
    }

    /// The symbols of the modules in these files.
    fn symbols(&self, files: &[&str]) -> Result<BTreeMap<String, Symbols>, SurveyError> {
        let mut found = BTreeMap::new();
        for source in &self.sources {
            survey::visit(source, &mut Vec::new(), &mut |file| {
                if files.contains(&file.file)
                    && let Ok(symbols) = Symbols::parse(file.bytes)
                {
                    found.insert(file.file.to_owned(), symbols);
                }
            })?;
        }
        Ok(found)
    }
}

/// A module in a ramdisk, with the name of its file in messages.
struct Carried<'s> {
    name: String,
    file: &'s ModuleFile,
}

/// The modules in the ramdisks of the images, except ramdisks that only recovery uses.
fn carried<'s>(set: &'s BootSet<'_>) -> impl Iterator<Item = Carried<'s>> {
    set.ramdisks().iter().filter(|ramdisk| counts(ramdisk)).flat_map(|ramdisk| {
        let name = name(set, ramdisk);
        let files = ramdisk.modules().modules.iter();
        files.map(move |file| Carried { name: format!("{name}: {}", file.path), file })
    })
}

fn counts(ramdisk: &Ramdisk<'_>) -> bool {
    ramdisk.fragment != Some(FragmentType::Recovery) && !ramdisk.bytes.is_empty()
}

fn name(set: &BootSet<'_>, ramdisk: &Ramdisk<'_>) -> String {
    let image = set.name(ramdisk.spot.image);
    match ramdisk.name {
        [] => image.to_owned(),
        name => format!("{image}, fragment {}", String::from_utf8_lossy(name)),
    }
}

/// Add the modules in the ramdisks of the images.
pub(super) fn add_from_images(facts: &mut Facts, problems: &mut Vec<Problem>, set: &BootSet<'_>) {
    if !set.ramdisks().iter().any(counts) {
        return;
    }
    facts.modules_partial = facts.modules.is_none();
    let modules = facts.modules.get_or_insert_default();
    for Carried { name, file } in carried(set) {
        match &file.module {
            Ok(module) => modules.push(Module { file: name, ..module.clone() }),
            Err(error) => {
                let cause = ProblemCause::Module(Arc::clone(error));
                problems.push(ModuleProblem::new(name, cause).into());
            }
        }
    }
    for ramdisk in set.ramdisks().iter().filter(|ramdisk| counts(ramdisk)) {
        if let Err(error) = ramdisk.inventory() {
            let cause = ProblemCause::Ramdisk(Arc::clone(error));
            problems.push(ModuleProblem::new(name(set, ramdisk), cause).into());
        }
    }
}

/// Compare the symbols of the relevant modules with the symbols that the kernel exports, if they can
/// be read.
pub(super) fn link(
    facts: &mut Facts,
    profile: &Profile,
    given: Option<&GivenModules<'_>>,
    set: &BootSet<'_>,
) -> Result<(), SurveyError> {
    if let Some(given) = given {
        given.decide_parts(facts)?;
    }
    // The search of the kernel has already reported the damage.
    let Some(exports) = set.exports() else { return Ok(()) };
    let modules = facts.modules.take().unwrap_or_default();
    let order = load_order(profile, &modules);
    let files: Vec<&str> = order.iter().map(|module| module.file.as_str()).collect();
    let mut symbols = match given {
        Some(given) => given.symbols(&files)?,
        None => BTreeMap::new(),
    };
    for Carried { name, file } in carried(set).filter(|own| files.contains(&own.name.as_str())) {
        symbols.extend(file.symbols.clone().map(|symbols| (name, symbols)));
    }
    let compared: Vec<(&Module, &Symbols)> =
        order.iter().filter_map(|module| Some((*module, symbols.get(&module.file)?))).collect();
    facts.link(&compared, exports);
    facts.modules = Some(modules);
    Ok(())
}
