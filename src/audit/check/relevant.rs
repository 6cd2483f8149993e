//! The modules that can decide a rule.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::Module;
use crate::rules::Profile;

/// The modules that may satisfy a rule, and their dependencies, each after its dependencies.
pub(super) fn load_order<'m>(profile: &Profile, modules: &'m [Module]) -> Vec<&'m Module> {
    let mut walk = Walk {
        by_name: modules.iter().map(|module| (module.name.as_str(), module)).collect(),
        visited: BTreeSet::new(),
        order: Vec::new(),
    };
    names(profile).iter().for_each(|name| walk.module(name));
    walk.order
}

/// The names of the modules that may satisfy a rule.
pub(in crate::audit) fn names(profile: &Profile) -> BTreeSet<String> {
    let symbols = profile.rules.iter().flat_map(|rule| rule.condition.symbols());
    let built = symbols.flat_map(|symbol| profile.modules_of(symbol));
    let named = profile.rules.iter().flat_map(|rule| rule.modules.iter());
    built.chain(named.map(ToString::to_string)).collect()
}

struct Walk<'m> {
    by_name: BTreeMap<&'m str, &'m Module>,
    visited: BTreeSet<String>,
    order: Vec<&'m Module>,
}

impl Walk<'_> {
    fn module(&mut self, name: &str) {
        let Some(module) = self.by_name.get(name).copied() else { return };
        if !self.visited.insert(name.to_owned()) {
            return;
        }
        module.depends.iter().for_each(|dependency| self.module(dependency));
        self.order.push(module);
    }
}
