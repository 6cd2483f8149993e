//! Modules that a patch adds: fit for the kernel, and in the order they must be loaded.

use std::borrow::Cow;

use super::Error;
use super::kernel_facts::KernelFacts;
use crate::kernel::module::{self, Module};

/// Read the modules.
///
/// # Errors
/// [`Error::Module`] for a file that is no module, or that stands in the list twice.
pub(super) fn read(files: &[(String, Cow<'_, [u8]>)]) -> Result<Vec<Module>, Error> {
    let mut modules = Vec::new();
    for (i, (name, bytes)) in files.iter().enumerate() {
        let fail = |reason: String| Error::Module { name: name.clone(), reason };
        if files[..i].iter().any(|(other, _)| other == name) {
            return Err(fail("is given twice".to_owned()));
        }
        modules.push(Module::parse(bytes, name).map_err(|error| fail(error.to_string()))?);
    }
    Ok(modules)
}

/// Indices into `modules` in load order.
///
/// # Errors
/// [`Error::Module`] for one that was built for another kernel; [`Error::LoadOrder`] for a
/// missing dependency or a cycle.
pub(super) fn load_order(modules: &[Module], kernel: &KernelFacts) -> Result<Vec<usize>, Error> {
    for module in modules {
        if let Some(release) = kernel.mismatch(module) {
            let built_for = module.vermagic.as_deref().unwrap_or("nothing it says");
            let reason = format!("was built for {built_for}, the kernel in the image is {release}");
            return Err(Error::Module { name: module.name.clone(), reason });
        }
    }
    Ok(module::load_order(modules)?)
}
