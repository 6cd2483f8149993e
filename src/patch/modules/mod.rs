//! The modules that a patch needs: which, from where, who loads them, and whether they will load.
//!
//! | file | subject |
//! |---|---|
//! | `choose` | what must be loaded, out of what was given and what the ramdisk has |
//! | `decide` | who loads: PID 1, or the ramdisk's own first-stage init |
//! | `libmodprobe` | the lists of a ramdisk with lines added |

mod choose;
mod decide;
mod libmodprobe;

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Serialize;

use super::Error;
use super::kernel_facts::KernelFacts;
use super::segment::{MODULE_DIR, SegmentFile};
use crate::bootfile::{BootModule, DeviceSpec};
use crate::image::Image;
use crate::kernel::Module;
use crate::modules::alias::Wants;
use crate::modules::tree::Role;
use crate::modules::{ModuleTree, Source};

/// Who loads modules at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadedBy {
    /// vfiorun, from a list in its boot file, before any other program.
    Pid1,
    /// The ramdisk's own first-stage init, by the lists beside its modules, which get lines added.
    Libmodprobe,
}

/// What a patch may take modules from, and what the user wants of it.
#[derive(Clone, Debug, Default)]
pub struct ModuleOptions<'a> {
    /// Modules to load whatever is needed: file name and bytes of each `.ko`.
    pub files: Vec<(String, Cow<'a, [u8]>)>,
    /// Where to take from what is needed and not in the ramdisk.
    pub sources: Vec<Source<'a>>,
    /// Who is to load them; chosen by what is there when None.
    pub by: Option<LoadedBy>,
}

/// How modules come into play in a patch.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModulePlan {
    /// Who loads them; None when there is nothing to load.
    pub by: Option<LoadedBy>,
    /// Why, for people; empty when nobody looked because nothing can depend on modules.
    pub reason: String,
    /// The modules in the order of loading.
    pub load: Vec<PlannedModule>,
    /// The drivers that would take the devices if nobody interfered, as far as modules tell.
    pub drivers: Vec<PlannedDriver>,
    /// Modules of the ramdisk without which there is no PCI bus.
    pub host_bridges: Vec<String>,
    /// What changes in the ramdisk's lists.
    pub lists: Vec<ListEdit>,
    /// What is in the way or may go wrong, for people.
    #[serde(skip)]
    pub(super) warnings: Vec<String>,
    /// For the boot file.
    #[serde(skip)]
    pub(super) boot: Vec<BootModule>,
    /// Paths of the files that shadow the ramdisk's own, for the boot file.
    #[serde(skip)]
    pub(super) shadows: Vec<String>,
    /// For the segment, besides what is always in it.
    #[serde(skip)]
    pub(super) files: Vec<SegmentFile>,
    /// All modules that will be there, for the audit; None when nobody looked.
    #[serde(skip)]
    pub(super) seen: Option<Vec<Module>>,
}

/// A module that will be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedModule {
    /// Its name, with `_`.
    pub name: String,
    /// Where it stands in the ramdisk, absolute.
    pub path: String,
    /// The file it is taken from when the ramdisk does not have it.
    pub added_from: Option<String>,
}

/// A driver that wants one of the devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedDriver {
    /// The device, as it was named.
    pub device: String,
    /// The driver's module.
    pub module: String,
    /// It is a file of the ramdisk; otherwise part of the kernel.
    pub in_ramdisk: bool,
    /// First-stage init loads it in every boot.
    pub loaded_at_boot: bool,
    /// How sure it is that it wants the device.
    pub wants: Wants,
    /// The class that it takes as a whole.
    pub class: Option<&'static str>,
}

/// A change of one of the lists beside the ramdisk's modules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListEdit {
    /// The list's path in the ramdisk.
    pub path: String,
    /// Lines that it gets, with where.
    pub added: Vec<String>,
    /// Lines that it loses.
    pub removed: Vec<String>,
}

/// Resolve modules for `devices` on the kernel of the set. The modules of `beside` are there too,
/// and those images are not changed. `vfio_pci_seen`: a ramdisk has a file of that module.
///
/// # Errors
/// [`Error::Module`], [`Error::Closure`], [`Error::Misfits`], [`Error::ModuleSource`],
/// [`Error::NoModule`], [`Error::NoLibmodprobe`].
pub(super) fn resolve(
    images: &[Image<'_>],
    beside: &[Image<'_>],
    kernel: &KernelFacts,
    vfio_pci_seen: bool,
    devices: &[DeviceSpec],
    options: &ModuleOptions<'_>,
) -> Result<ModulePlan, Error> {
    let asked = !options.files.is_empty() || !options.sources.is_empty() || options.by.is_some();
    let sure = asked || kernel.has_config();
    // Without a config only the module itself tells that VFIO is one.
    if !asked && !kernel.modules_may_matter() || !sure && !vfio_pci_seen {
        return Ok(ModulePlan::default());
    }
    let ramdisks = choose::ramdisks(images, beside);
    let tree = match ModuleTree::read(&ramdisks) {
        Err(_) if !sure => return Ok(ModulePlan::default()),
        tree => tree?,
    };
    let supply = ModuleTree::read(&options.sources)?;
    let chosen = choose::choose(&tree, &supply, &ramdisks, kernel, options)?;
    choose::check_fit(&chosen, images, kernel)?;

    let drivers = drivers(&tree, devices);
    let bridges: Vec<String> =
        tree.with_role(Role::HostBridge).into_iter().map(str::to_owned).collect();
    let decision = decide::decide(&tree, &bridges, &chosen, kernel, options.by)?;
    let mut plan = ModulePlan {
        by: Some(decision.by).filter(|_| !chosen.modules.is_empty() || !decision.before.is_empty()),
        reason: decision.reason,
        drivers,
        host_bridges: bridges,
        warnings: [chosen.warnings.clone(), tree.problems.clone(), supply.problems.clone()]
            .concat(),
        seen: Some(tree.modules.values().chain(chosen.added()).cloned().collect()),
        ..ModulePlan::default()
    };
    match decision.by {
        LoadedBy::Pid1 => by_pid1(&mut plan, &tree, decision.before, chosen, &ramdisks, kernel)?,
        LoadedBy::Libmodprobe => libmodprobe::edit(&mut plan, &tree, chosen, devices, kernel)?,
    }
    Ok(plan)
}

/// Who would take the devices.
fn drivers(tree: &ModuleTree, devices: &[DeviceSpec]) -> Vec<PlannedDriver> {
    let loaded = at_boot(tree);
    let mut found = Vec::new();
    for spec in devices {
        let DeviceSpec::Id { vendor, device } = *spec else { continue };
        let in_ramdisk = tree.drivers(vendor, device).into_iter().map(|driver| (true, driver));
        let built_in = tree.builtin_drivers(vendor, device).into_iter().map(|d| (false, d));
        for (in_ramdisk, driver) in in_ramdisk.chain(built_in) {
            found.push(PlannedDriver {
                device: spec.to_string(),
                loaded_at_boot: !in_ramdisk || loaded.contains(&driver.module),
                module: driver.module,
                in_ramdisk,
                wants: driver.wants,
                class: driver.class,
            });
        }
    }
    found
}

/// What `modules.load` makes first-stage init load.
fn at_boot(tree: &ModuleTree) -> BTreeSet<String> {
    let all = tree.dependencies(|_| true);
    let listed = tree.lists.load.iter().flatten();
    let mut loaded = BTreeSet::new();
    for name in listed {
        loaded.insert(name.clone());
        loaded.extend(all.needs(name).unwrap_or_default().iter().cloned());
    }
    loaded
}

/// `before` are names of the ramdisk's modules that bring the bus up.
fn by_pid1(
    plan: &mut ModulePlan,
    tree: &ModuleTree,
    before: Vec<String>,
    chosen: choose::Chosen,
    ramdisks: &[Source<'_>],
    kernel: &KernelFacts,
) -> Result<(), Error> {
    let bridge_files = choose::contents(ramdisks, tree, &before)?;
    let bridges = before.into_iter().map(|name| {
        let path = tree.named(&name).map(|module| module.path.clone()).unwrap_or_default();
        let bytes = bridge_files.get(&name).cloned().unwrap_or_default();
        choose::ChosenModule { name, path, bytes, added_from: None }
    });
    for module in bridges.chain(chosen.modules) {
        let compressed = crate::compression::Format::detect(&module.bytes).is_some();
        let mut path = format!("/{}", module.path);
        // Only from 5.17 on, and only where it was built so, can a kernel unpack them itself.
        let unpack = compressed && !kernel.unpacks_modules();
        if module.added_from.is_some() || unpack {
            let (name, bytes) = plain(&module.path, &module.bytes)?;
            path = format!("{MODULE_DIR}/{name}");
            plan.files.push(SegmentFile::new(&path, 0o644, bytes));
        }
        plan.boot.push(BootModule { path: path.clone(), params: String::new() });
        plan.load.push(PlannedModule { name: module.name, path, added_from: module.added_from });
    }
    Ok(())
}

/// A module's file name and contents without its compression.
fn plain(path: &str, bytes: &[u8]) -> Result<(String, Vec<u8>), Error> {
    let file = path.rsplit('/').next().unwrap_or_default();
    let fail = |error: crate::compression::Error| Error::Module {
        name: file.to_owned(),
        reason: error.to_string(),
    };
    let plain = crate::kernel::module::unpack(bytes).map_err(fail)?;
    let stem = file.split(".ko").next().unwrap_or_default();
    Ok((format!("{stem}.ko"), plain.into_owned()))
}
