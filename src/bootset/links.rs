//! Whether the modules that a verdict depends on will load. A matching vermagic means that they were
//! built for this kernel release; their symbols decide whether the kernel loads them.

use std::collections::BTreeMap;

use crate::kernel::Symbols;
use crate::kernel::module::Module;
use crate::modules::{Misfit, TargetKernel, misfits};

/// The result of comparing symbols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// For each compared module, by name, why it will not load; empty if it will.
    compared: BTreeMap<String, Vec<Misfit>>,
}

impl Links {
    /// Compare the modules, each after its dependencies, with the symbols that the kernel exports.
    pub(crate) fn new(modules: &[(&Module, &Symbols)], target: &TargetKernel<'_>) -> Self {
        let mut compared: BTreeMap<String, Vec<Misfit>> =
            modules.iter().map(|(module, _)| (module.name.clone(), Vec::new())).collect();
        for misfit in misfits(modules, target) {
            let module = misfit.module().to_owned();
            compared.entry(module).or_default().push(misfit);
        }
        // A module does not load without its dependencies, which come before it.
        for (module, _) in modules {
            let inherited = module.depends.iter().find_map(|name| compared.get(name)?.first());
            if let Some(misfit) = inherited.cloned() {
                compared.entry(module.name.clone()).or_default().push(misfit);
            }
        }
        Links { compared }
    }

    /// The reasons why the module of this name will not load; None if it was not compared.
    pub(super) fn misfits(&self, name: &str) -> Option<&[Misfit]> {
        self.compared.get(name).map(Vec::as_slice)
    }
}
