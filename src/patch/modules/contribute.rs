//! The contribution of modules to a patch.

use std::collections::BTreeSet;

use super::plan::{LoadedBy, ModuleOptions, ModulePlan, PlannedDriver};
use super::{choose, decide, libmodprobe, pid1};
use crate::bootfile::DeviceSpec;
use crate::kernel::Module;
use crate::modules::ModuleTree;
use crate::modules::tree::Role;
use crate::patch::context::Context;
use crate::patch::contribution::Contribution;
use crate::patch::edit::Change;
use crate::patch::error::Error;
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

/// Resolve modules for `devices` on the kernel of the set. The modules of vendor_kernel_boot images
/// are there too, and those images are not changed.
///
/// # Errors
/// [`Error::Module`], [`Error::Closure`], [`Error::Misfits`], [`Error::ModuleSource`],
/// [`Error::NoModule`], [`Error::NoLibmodprobe`].
pub(crate) fn contribute(
    set: &Context<'_, '_>,
    devices: &[DeviceSpec],
    options: &ModuleOptions<'_>,
) -> Result<Modules, Error> {
    let requested =
        !options.files.is_empty() || !options.sources.is_empty() || options.by.is_some();
    let certain = requested || set.kernel.has_config();
    let may_matter = requested || set.kernel.modules_may_matter();
    // Without a config only the module itself shows that VFIO is one.
    if !may_matter || !certain && !set.has_vfio_pci() {
        return Ok(Modules::default());
    }
    let tree = set.modules();
    let supply = ModuleTree::read(&options.sources)?;
    let (chosen, warnings) = choose::choose(&tree, &supply, &set.kernel, options)?;
    choose::check_fit(&chosen, set)?;
    let bridges: Vec<String> =
        tree.with_role(Role::HostBridge).into_iter().map(str::to_owned).collect();
    let decision = decide::decide(&tree, &bridges, &chosen, &set.kernel, options.by)?;
    let problems = tree.problems.iter().chain(&supply.problems).cloned();
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
    let loaded = match decision.by {
        LoadedBy::Pid1 => pid1::load(set, &tree, &decision.first, &chosen)?,
        LoadedBy::Libmodprobe => {
            let known = set.kernel.version().is_some();
            libmodprobe::load(&tree, &modules.plan, &chosen, devices, known)?
        }
    };
    modules.plan.load = loaded.modules;
    modules.contribution.add(loaded.contribution);
    modules.plan.lists = lists(&modules.contribution);
    Ok(modules)
}

/// The lists that a contribution changes.
fn lists(contribution: &Contribution) -> Vec<crate::patch::edit::ListEdit> {
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
