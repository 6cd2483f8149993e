//! Whether the modules that a verdict rests on will load: the same vermagic says that they are
//! meant for this kernel, their symbols say whether it takes them.

use std::collections::{BTreeMap, BTreeSet};

use super::Profile;
use crate::kernel::Symbols;
use crate::kernel::module::Module;
use crate::modules::survey::{Source, SurveyError, visit};
use crate::modules::{Misfit, Target, misfits};

/// A module and the symbols that it needs and gives.
pub type Linked = (Module, Symbols);

/// What comparing symbols came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// For each module that was compared, by name, why it will not load; empty when it will.
    compared: BTreeMap<String, Vec<Misfit>>,
}

impl Links {
    /// Compare the modules, in the order that [`read`] gives them, with what the kernel exports
    /// and asks for.
    pub fn new(modules: &[Linked], kernel: &Target<'_>) -> Self {
        let modules: Vec<(&Module, &Symbols)> = modules.iter().map(|(m, s)| (m, s)).collect();
        let mut compared: BTreeMap<String, Vec<Misfit>> =
            modules.iter().map(|(module, _)| (module.name.clone(), Vec::new())).collect();
        for misfit in misfits(&modules, kernel) {
            let module = misfit.module().to_owned();
            compared.entry(module).or_default().push(misfit);
        }
        // A module does not load without those it depends on, which come before it.
        for (module, _) in &modules {
            let inherited = module.depends.iter().find_map(|name| compared.get(name)?.first());
            if let Some(misfit) = inherited.cloned() {
                compared.entry(module.name.clone()).or_default().push(misfit);
            }
        }
        Links { compared }
    }

    /// Why the module of this name will not load, the first reason first; None when it was not
    /// compared.
    pub(super) fn misfits(&self, name: &str) -> Option<&[Misfit]> {
        self.compared.get(name).map(Vec::as_slice)
    }
}

/// Read the modules that rules of `profile` ask for and those that these depend on, as far as
/// they are in `sources`, each behind what it depends on. Damaged ones are left out: gathering the
/// modules has told of them.
///
/// # Errors
/// [`SurveyError`].
pub fn read(
    profile: &Profile,
    modules: &[Module],
    sources: &[Source<'_>],
) -> Result<Vec<Linked>, SurveyError> {
    let by_name: BTreeMap<&str, &Module> =
        modules.iter().map(|module| (module.name.as_str(), module)).collect();
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for name in asked_for(profile) {
        behind_dependencies(&name, &by_name, &mut seen, &mut order);
    }
    let wanted: BTreeSet<&str> = order.iter().map(|module| module.file.as_str()).collect();
    let mut found = BTreeMap::new();
    if !wanted.is_empty() {
        for source in sources {
            visit(source, &mut Vec::new(), &mut |file| {
                if wanted.contains(file.file)
                    && let Ok(symbols) = Symbols::parse(file.bytes)
                {
                    found.insert(file.file.to_owned(), symbols);
                }
            })?;
        }
    }
    let linked = |module: &Module| Some((module.clone(), found.remove(&module.file)?));
    Ok(order.into_iter().filter_map(linked).collect())
}

/// The names of the modules that may satisfy a rule.
fn asked_for(profile: &Profile) -> BTreeSet<String> {
    let symbols = profile.rules.iter().flat_map(|rule| rule.condition.symbols());
    let built = symbols.map(|symbol| profile.module_of(symbol));
    let named = profile.rules.iter().flat_map(|rule| rule.modules.iter());
    built.chain(named.map(ToString::to_string)).collect()
}

fn behind_dependencies<'m>(
    name: &str,
    by_name: &BTreeMap<&str, &'m Module>,
    seen: &mut BTreeSet<String>,
    order: &mut Vec<&'m Module>,
) {
    let Some(module) = by_name.get(name) else { return };
    if !seen.insert(name.to_owned()) {
        return;
    }
    for dependency in &module.depends {
        behind_dependencies(dependency, by_name, seen, order);
    }
    order.push(module);
}
