//! Modules that a patch adds: fit for the kernel, and in the order they must be loaded.

use std::borrow::Cow;

use super::Error;
use super::kernel_facts::KernelFacts;
use crate::kernel::module::{self, Module};

/// Indices into `files` in load order.
///
/// # Errors
/// [`Error::Module`] for a file that is no module or was built for another kernel, or that
/// stands in the list twice; [`Error::LoadOrder`] for a missing dependency or a cycle.
pub(super) fn load_order(
    files: &[(String, Cow<'_, [u8]>)],
    kernel: &KernelFacts,
) -> Result<Vec<usize>, Error> {
    let mut modules = Vec::new();
    for (i, (name, bytes)) in files.iter().enumerate() {
        let fail = |reason: String| Error::Module { name: name.clone(), reason };
        if files[..i].iter().any(|(other, _)| other == name) {
            return Err(fail("is given twice".to_owned()));
        }
        let module = Module::parse(bytes, name).map_err(|error| fail(error.to_string()))?;
        if let Some(release) = kernel.mismatch(&module) {
            let built_for = module.vermagic.as_deref().unwrap_or("nothing it says");
            return Err(fail(format!(
                "was built for {built_for}, the kernel in the image is {release}"
            )));
        }
        modules.push(module);
    }
    // What is built in may be a dependency too; the config alone cannot tell a module's name.
    Ok(module::load_order(&modules)?)
}
