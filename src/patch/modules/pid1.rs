//! Modules that PID 1 loads.

use super::choose::{self, Chosen, ChosenModule};
use super::plan::PlannedModule;
use crate::bootfile::BootModule;
use crate::compression::Format;
use crate::modules::{ModuleSource, ModuleTree};
use crate::patch::contribution::Contribution;
use crate::patch::error::Error;
use crate::patch::segment_file::{MODULE_DIR, SegmentFile};

/// Modules that are loaded, and what that takes.
#[derive(Default)]
pub struct Loaded {
    /// In order.
    pub modules: Vec<PlannedModule>,
    /// Files, lists and boot modules.
    pub contribution: Contribution,
}

/// PID 1 loads the modules `first`, which bring the bus up, and those `chosen`. `unpacks`: the
/// kernel decompresses modules itself.
///
/// # Errors
/// [`Error::Module`], [`Error::ModuleSource`].
pub fn load(
    tree: &ModuleTree,
    first: &[String],
    chosen: &Chosen,
    ramdisks: &[ModuleSource<'_>],
    unpacks: bool,
) -> Result<Loaded, Error> {
    let bridge_files = choose::contents(ramdisks, tree, first)?;
    let bridges: Vec<ChosenModule> = first
        .iter()
        .map(|name| {
            let path = tree.named(name).map(|module| module.path.clone()).unwrap_or_default();
            let bytes = bridge_files.get(name).cloned().unwrap_or_default();
            ChosenModule { name: name.clone(), path, bytes, added_from: None }
        })
        .collect();
    let mut loaded = Loaded::default();
    for module in bridges.iter().chain(&chosen.modules) {
        let mut path = format!("/{}", module.path);
        let compressed = Format::detect(&module.bytes).is_some();
        if module.added_from.is_some() || compressed && !unpacks {
            let (name, bytes) = module.decompress()?;
            path = format!("{MODULE_DIR}/{name}");
            loaded.contribution.files.push(SegmentFile::new(&path, 0o644, bytes));
        }
        let (name, added_from) = (module.name.clone(), module.added_from.clone());
        let boot_module = BootModule { path: path.clone(), params: String::new() };
        loaded.contribution.boot_modules.push(boot_module);
        loaded.modules.push(PlannedModule { name, path, added_from });
    }
    Ok(loaded)
}
