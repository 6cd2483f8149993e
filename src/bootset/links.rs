//! Whether the modules that a verdict rests on will load: a matching vermagic says that they are
//! meant for this kernel, their symbols say whether it loads them.

use std::collections::BTreeMap;

use crate::kernel::Symbols;
use crate::kernel::module::Module;
use crate::modules::{Misfit, Target, misfits};

/// The result of comparing symbols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// For each module that was compared, by name, why it will not load; empty when it will.
    compared: BTreeMap<String, Vec<Misfit>>,
}

impl Links {
    /// Compare the modules, each after those that it depends on, with what the kernel exports.
    pub fn new(modules: &[(&Module, &Symbols)], target: &Target<'_>) -> Self {
        let mut compared: BTreeMap<String, Vec<Misfit>> =
            modules.iter().map(|(module, _)| (module.name.clone(), Vec::new())).collect();
        for misfit in misfits(modules, target) {
            let module = misfit.module().to_owned();
            compared.entry(module).or_default().push(misfit);
        }
        // A module does not load without those it depends on, which come before it.
        for (module, _) in modules {
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
