//! Modules that PID 1 loads.

use std::collections::{BTreeMap, BTreeSet};

use super::choose::{self, Chosen, ChosenModule};
use super::plan::PlannedModule;
use super::vfio_options::{OptionBy, PlannedVfioOption};
use crate::bootfile::BootModule;
use crate::modules::ModuleTree;
use crate::patch::context::Context;
use crate::patch::contribution::Contribution;
use crate::patch::error::Error;
use crate::patch::segment_file::{MODULE_DIR, SegmentFile};

/// The loaded modules, and the contribution for them.
#[derive(Default)]
pub(crate) struct Loaded {
    /// In order.
    pub modules: Vec<PlannedModule>,
    /// Files, lists and boot modules.
    pub contribution: Contribution,
}

/// PID 1 loads the modules `first`, which bring the bus up, and those `chosen`.
///
/// # Errors
/// [`Error::Module`], [`Error::ModuleSource`].
pub(crate) fn load(
    set: &Context<'_, '_>,
    tree: &ModuleTree,
    first: &[String],
    chosen: &Chosen,
    options: &[PlannedVfioOption],
) -> Result<Loaded, Error> {
    let bridges = first.iter().map(|name| {
        let path = tree.named(name).map(|module| module.path.clone()).unwrap_or_default();
        ChosenModule { name: name.clone(), path, added: None }
    });
    let bridges: Vec<ChosenModule> = bridges.collect();
    let modules: Vec<&ChosenModule> = bridges.iter().chain(&chosen.modules).collect();
    let packed = packed(set, &modules)?;
    let mut loaded = Loaded::default();
    for ChosenModule { name, path: file, added } in modules {
        let mut path = format!("/{file}");
        let bytes = added.as_ref().map(|added| &added.bytes).or(packed.get(file));
        if let Some(bytes) = bytes {
            let (file, bytes) = choose::decompress(file, bytes)?;
            path = format!("{MODULE_DIR}/{file}");
            loaded.contribution.files.push(SegmentFile::new(&path, 0o644, bytes));
        }
        let own = options.iter().filter(|own| own.by == OptionBy::Module && own.module == *name);
        let params: Vec<String> = own.map(|own| format!("{}={}", own.name, own.value)).collect();
        let boot_module = BootModule { path: path.clone(), params: params.join(" ") };
        loaded.contribution.boot_modules.push(boot_module);
        let added_from = added.as_ref().map(|added| added.from.clone());
        loaded.modules.push(PlannedModule { name: name.clone(), path, added_from });
    }
    Ok(loaded)
}

/// The bytes of the modules that the ramdisk has compressed, by path, where the kernel does not
/// decompress modules itself.
fn packed(
    set: &Context<'_, '_>,
    modules: &[&ChosenModule],
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut packed = BTreeMap::new();
    if set.kernel.unpacks_modules() {
        return Ok(packed);
    }
    let mut missing = BTreeSet::new();
    for module in modules.iter().filter(|module| module.added.is_none()) {
        let file = set.module_file(&module.path).filter(|file| file.compression.is_some());
        match file.map(|file| &file.bytes) {
            Some(Some(bytes)) => drop(packed.insert(module.path.clone(), bytes.clone())),
            // More than the pass keeps.
            Some(None) => drop(missing.insert(module.path.as_str())),
            None => {}
        }
    }
    packed.extend(choose::contents(&set.ramdisks(), &missing)?);
    Ok(packed)
}
