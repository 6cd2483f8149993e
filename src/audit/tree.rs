//! The modules beside a kernel, in `lib/modules/REL`: only those are read that can decide a rule,
//! with what they depend on. Its `modules.builtin` says which are a part of the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::check::GivenModules;
use super::check::relevant;
use super::error::Problem;
use crate::bootset::Facts;
use crate::kernel::Module;
use crate::modules::depmod::{Dep, LISTS, Lists, name_of};
use crate::modules::survey::{Survey, visit_some};
use crate::modules::{ModuleProblem, ModuleSource, ProblemCause, SurveyError};
use crate::rules::Profile;

/// A directory with the modules of a kernel.
pub(super) struct Tree<'a> {
    source: ModuleSource<'a>,
    lists: Lists,
    survey: Survey,
}

impl Tree<'_> {
    /// Read the lists, and the modules that the rules of the profile are about.
    ///
    /// # Errors
    /// [`SurveyError`].
    pub(super) fn read(path: &Path, profile: &Profile) -> Result<Self, SurveyError> {
        let source = ModuleSource::Directory(path.to_owned());
        let mut lists = Lists::default();
        // The lists are at the top, the modules below.
        visit_some(&source, &mut Vec::new(), &mut |path| LISTS.contains(&path), &mut |file| {
            lists.read(file.path, file.bytes)
        })?;
        let mut tree = Tree { source, lists, survey: Survey::default() };
        let mut wanted = wanted(profile, tree.lists.dep.as_ref());
        let mut read = BTreeSet::new();
        // Without modules.dep the modules say what they need.
        while !wanted.is_empty() {
            tree.read_modules(&wanted)?;
            read.append(&mut wanted);
            let needs = tree.survey.modules.iter().flat_map(|module| &module.depends);
            wanted = needs.filter(|name| !read.contains(*name)).cloned().collect();
        }
        Ok(tree)
    }

    /// Read the modules of these names.
    fn read_modules(&mut self, wanted: &BTreeSet<String>) -> Result<(), SurveyError> {
        let survey = &mut self.survey;
        let mut problems = Vec::new();
        visit_some(
            &self.source,
            &mut problems,
            &mut |path| !LISTS.contains(&path) && wanted.contains(&name_of(path)),
            &mut |file| match Module::parse(file.bytes, file.path) {
                Ok(module) => {
                    survey.modules.push(Module { file: file.file.to_owned(), ..module });
                }
                Err(error) => {
                    let cause = ProblemCause::Module(Arc::new(error));
                    survey.problems.push(ModuleProblem::new(file.file, cause));
                }
            },
        )?;
        survey.problems.extend(problems);
        Ok(())
    }
}

impl<'a> Tree<'a> {
    /// Add what the lists and the modules say, and give the modules; None where only the lists are there.
    pub(super) fn add_to(
        self,
        facts: &mut Facts,
        problems: &mut Vec<Problem>,
        profile: &Profile,
    ) -> Option<GivenModules<'a>> {
        if let Some(evidence) = facts.evidence.as_mut().filter(|_| self.lists.names_builtin()) {
            let symbols = profile.rules.iter().flat_map(|rule| rule.condition.symbols());
            for symbol in symbols.filter(|symbol| !profile.is_part(symbol)) {
                let names = profile.modules_of(symbol);
                let built = |name: &&String| self.lists.builtin.contains(*name);
                let module =
                    |name: &String| self.survey.modules.iter().any(|own| own.name == *name);
                if let Some(name) = names.iter().find(built) {
                    evidence.take_list(symbol, name, true);
                } else if let Some(name) = names.iter().find(|name| module(name)) {
                    evidence.take_list(symbol, name, false);
                }
            }
        }
        let has_modules = self.lists.dep.is_some() || !self.survey.modules.is_empty();
        let modules = GivenModules::of_directory(self.source, self.survey);
        has_modules.then(|| {
            modules.add_to(facts, problems);
            modules
        })
    }
}

/// The names of the modules that can decide, and of those that they need.
fn wanted(profile: &Profile, dep: Option<&BTreeMap<String, Dep>>) -> BTreeSet<String> {
    let mut wanted = relevant::names(profile);
    let hints = profile.rules.iter().flat_map(|rule| rule.module_hints.iter());
    let hints: Vec<&str> = hints.map(AsRef::as_ref).collect();
    if let Some(dep) = dep {
        let hinted = dep.keys().filter(|name| hints.iter().any(|hint| name.contains(hint)));
        wanted.extend(hinted.cloned());
        let needs = wanted.iter().filter_map(|name| dep.get(name)).flat_map(|own| &own.needs);
        let needs: Vec<String> = needs.map(|path| name_of(path)).collect();
        wanted.extend(needs);
    }
    wanted
}
