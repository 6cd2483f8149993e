//! The contribution of modules to a patch.

use std::collections::BTreeSet;

use super::choose::Given;
use super::lists::Lists;
use super::plan::{LoadedBy, ModuleOptions, ModulePlan, PlannedDriver};
use super::vfio_options::PlannedVfioOption;
use super::{choose, decide, libmodprobe, pid1, vfio_options};
use crate::bootfile::DeviceSpec;
use crate::kernel::Module;
use crate::modules::ModuleTree;
use crate::modules::tree::Role;
use crate::patch::block;
use crate::patch::context::Context;
use crate::patch::contribution::Contribution;
use crate::patch::edit::Change;
use crate::patch::error::Error;
use crate::patch::options::Options;
use crate::patch::warning::Warning;

/// The modules of a patch.
#[derive(Default)]
pub(crate) struct Modules {
    /// For the plan.
    pub plan: ModulePlan,
    /// For the patch.
    pub contribution: Contribution,
    /// All modules of the patched set, for the audit; None if unknown.
    pub present: Option<Vec<Module>>,
}

/// Resolve modules for the devices on the kernel of the set. The modules of vendor_kernel_boot images
/// are there too, and those images are not changed.
///
/// # Errors
/// [`Error::Module`], [`Error::Closure`], [`Error::Misfits`], [`Error::ModuleSource`],
/// [`Error::NoModule`], [`Error::NoLibmodprobe`], [`Error::VfioOption`], [`Error::BlockDriver`].
pub(crate) fn contribute(set: &Context<'_, '_>, options: &Options<'_>) -> Result<Modules, Error> {
    let mut modules = match may_matter(set, options) {
        true => load(set, options)?,
        false => {
            let mut modules = Modules::default();
            modules.take_options(vfio_options::resolve(set, &[], &options.vfio_options)?);
            modules
        }
    };
    let parameters = modules.plan.options.iter().filter_map(PlannedVfioOption::parameter);
    modules.contribution.parameters.extend(parameters);
    Ok(modules)
}

/// Whether modules decide whether the devices get to vfio-pci.
fn may_matter(set: &Context<'_, '_>, options: &Options<'_>) -> bool {
    let ModuleOptions { files, sources, by } = &options.modules;
    let given = !files.is_empty() || !sources.is_empty() || by.is_some();
    let requested = given || !options.block_drivers.is_empty();
    // Without a config only the module itself shows that VFIO is one.
    let certain = set.kernel.has_config() || set.has_vfio_pci();
    requested || certain && set.kernel.modules_may_matter()
}

fn load(set: &Context<'_, '_>, options: &Options<'_>) -> Result<Modules, Error> {
    let (devices, own) = (&options.devices, &options.modules);
    let tree = set.modules();
    let mut given = Given::read(&tree, &set.kernel, own)?;
    let (chosen, warnings) = choose::choose(&tree, &given, &set.kernel, own)?;
    choose::check_fit(&chosen, set)?;
    let bridges: Vec<String> =
        tree.with_role(Role::HostBridge).into_iter().map(str::to_owned).collect();
    let decision = decide::decide(&tree, &bridges, &chosen, &set.kernel, own.by)?;
    let problems = tree.problems.iter().chain(&given.supply.problems).cloned();
    let problems = problems.map(Warning::ModuleUnreadable);
    let mut modules = Modules {
        plan: ModulePlan {
            by: Some(decision.by)
                .filter(|_| !chosen.modules.is_empty() || !decision.first.is_empty()),
            reason: decision.reason,
            drivers: drivers(&tree, devices),
            host_bridges: bridges,
            ..ModulePlan::default()
        },
        contribution: Contribution::of_warnings(warnings.into_iter().chain(problems)),
        present: Some(tree.modules.values().chain(chosen.added()).cloned().collect()),
    };
    modules.take_options(vfio_options::resolve(set, &chosen.infos, &options.vfio_options)?);
    let mut lists = Lists::new(&tree);
    let loaded = match decision.by {
        LoadedBy::Pid1 => pid1::load(set, &tree, &decision.first, &chosen, &modules.plan.options)?,
        LoadedBy::Libmodprobe => {
            let known = set.kernel.version().is_some();
            libmodprobe::load(&mut lists, &modules.plan, &chosen, devices, known)?
        }
    };
    let blocked =
        block::contribute::contribute(set, &mut lists, &mut given.supply, &options.block_drivers)?;
    if decision.by == LoadedBy::Pid1 {
        let warning = block::contribute::recovery_warning(&tree, &blocked);
        modules.contribution.warnings.extend(warning);
    }
    modules.plan.blocked = blocked.drivers;
    modules.contribution.add(blocked.contribution);
    modules.plan.load = loaded.modules;
    modules.contribution.add(loaded.contribution);
    modules.contribution.add(lists.finish());
    modules.plan.lists = list_edits(&modules.contribution);
    Ok(modules)
}

impl Modules {
    fn take_options(&mut self, (options, warnings): (Vec<PlannedVfioOption>, Vec<Warning>)) {
        self.plan.options = options;
        self.contribution.warnings.extend(warnings);
    }
}

/// The lists that a contribution changes.
fn list_edits(contribution: &Contribution) -> Vec<crate::patch::edit::ListEdit> {
    let lists = contribution.changes.iter().filter_map(|change| match change {
        Change::ModuleList(list) => Some(list.clone()),
        _ => None,
    });
    lists.collect()
}

/// The drivers that match the devices.
fn drivers(tree: &ModuleTree, devices: &[DeviceSpec]) -> Vec<PlannedDriver> {
    let loaded = loaded_at_boot(tree);
    let mut matches = Vec::new();
    for spec in devices {
        let DeviceSpec::Id { vendor, device } = *spec else { continue };
        let in_ramdisk = tree.drivers(vendor, device).into_iter().map(|driver| (true, driver));
        let built_in = tree.builtin_drivers(vendor, device).into_iter().map(|d| (false, d));
        for (in_ramdisk, driver) in in_ramdisk.chain(built_in) {
            matches.push(PlannedDriver {
                device: spec.to_string(),
                loaded_at_boot: !in_ramdisk || loaded.contains(&driver.module),
                module: driver.module,
                in_ramdisk,
                wants: driver.match_kind,
                class: driver.class,
            });
        }
    }
    matches
}

/// What `modules.load` makes first-stage init load.
fn loaded_at_boot(tree: &ModuleTree) -> BTreeSet<String> {
    let all = tree.dependencies(|_| true);
    let listed = tree.lists.load.iter().flatten();
    let mut loaded = BTreeSet::new();
    for name in listed {
        loaded.insert(name.clone());
        loaded.extend(all.needs(name).unwrap_or_default().iter().cloned());
    }
    loaded
}
