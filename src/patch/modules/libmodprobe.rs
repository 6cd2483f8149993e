//! Extends the lists of a ramdisk's modules, as first-stage init reads them
//! (`libmodprobe` in AOSP's system/core).
//!
//! - `modules.load` is loaded in order: VFIO goes before the first line that brings a bus or a
//!   device's own driver up.
//! - `softdep BRIDGE pre: vfio_pci` has the same effect if modules are loaded in parallel.
//! - `options vfio_pci ids=…`: of several lines for a module only the first counts, so one that is
//!   there is extended.
//! - Names in `modules.softdep` must be canonical, with `_`.
//! - A blocklisted module is not loaded, not even when it is listed.

use std::collections::BTreeSet;

use super::choose::{self, Chosen, ChosenModule};
use super::lists::{List, Lists};
use super::pid1::Loaded;
use super::plan::{ModulePlan, PlannedDriver, PlannedModule};
use super::vfio_options::{OptionBy, PlannedVfioOption, VFIO_MODULES, VFIO_PCI};
use crate::bootfile::DeviceSpec;
use crate::modules::ModuleTree;
use crate::modules::depmod::name_of;
use crate::patch::contribution::Contribution;
use crate::patch::error::Error;
use crate::patch::segment_file::SegmentFile;
use crate::patch::warning::Warning;

/// The directory for added modules, below that of the lists.
const SUBDIRECTORY: &str = "vfioboot";
/// First-stage init loads the `chosen` modules before the drivers and host bridges of `plan`.
/// `kernel_known`: the set has a kernel that could be read.
///
/// # Errors
/// [`Error::Module`].
pub(crate) fn load(
    lists: &mut Lists<'_>,
    plan: &ModulePlan,
    chosen: &Chosen,
    devices: &[DeviceSpec],
    kernel_known: bool,
) -> Result<Loaded, Error> {
    let tree = lists.tree;
    let mut loaded = Loaded {
        contribution: Contribution::of_warnings(warnings(tree, plan, devices, kernel_known)),
        ..Loaded::default()
    };
    if chosen.modules.is_empty() {
        return Ok(loaded);
    }
    let dep_lines = place(&mut loaded, tree, chosen)?;
    let names: Vec<&str> = loaded.modules.iter().map(|module| module.name.as_str()).collect();
    let of_ramdisk = |driver: &&PlannedDriver| driver.in_ramdisk;
    let drivers = plan.drivers.iter().filter(of_ramdisk).map(|driver| &driver.module);
    let rivals: BTreeSet<String> = plan
        .host_bridges
        .iter()
        .chain(drivers)
        .filter(|rival| !names.contains(&rival.as_str()))
        .cloned()
        .collect();

    lists.append(List::Dep, &dep_lines);
    load_first(lists, &loaded.modules, &rivals);
    let softdeps: Vec<String> =
        rivals.iter().map(|rival| format!("softdep {rival} pre: {VFIO_PCI}")).collect();
    lists.append(List::Softdep, &softdeps);
    options(lists, devices, &plan.options);
    lists.remove(List::Blocklist, |line| blocks(line, &names));
    Ok(loaded)
}

/// Problems that the lists cannot solve.
fn warnings(
    tree: &ModuleTree,
    plan: &ModulePlan,
    devices: &[DeviceSpec],
    kernel_known: bool,
) -> Vec<Warning> {
    let addresses =
        devices.iter().filter(|device| matches!(device, DeviceSpec::Address { .. })).cloned();
    let late = addresses.map(|device| Warning::DeviceAppearsLate { device });
    let built_in = plan.drivers.iter().filter(|driver| !driver.in_ramdisk);
    let built_in = built_in.map(|driver| Warning::DriverBuiltIn {
        device: driver.device.clone(),
        driver: driver.module.clone(),
    });
    let no_list =
        (tree.lists.load_recovery.is_none() && kernel_known).then_some(Warning::NoRecoveryList);
    late.chain(built_in).chain(no_list).collect()
}

/// Choose a path for each module; returns the lines of `modules.dep` for the added ones.
fn place(loaded: &mut Loaded, tree: &ModuleTree, chosen: &Chosen) -> Result<Vec<String>, Error> {
    let absolute =
        tree.lists.dep.iter().flatten().next().is_some_and(|(_, dep)| dep.path.starts_with('/'));
    let mut dep_lines = Vec::new();
    for module in &chosen.modules {
        let mut path = format!("/{}", module.path);
        if let Some(added) = &module.added {
            let (file, bytes) = choose::decompress(&module.path, &added.bytes)?;
            path = format!("/{}/{SUBDIRECTORY}/{file}", tree.directory);
            loaded.contribution.files.push(SegmentFile::new(&path, 0o644, bytes));
            dep_lines.push(dep_line(tree, module, &path, &loaded.modules, absolute, chosen));
        }
        let added_from = module.added.as_ref().map(|added| added.from.clone());
        let name = module.name.clone();
        loaded.modules.push(PlannedModule { name, path, added_from });
    }
    Ok(dep_lines)
}

/// Everything that a module needs is in `placed`, which has the order of loading; the line has the
/// reverse order.
fn dep_line(
    tree: &ModuleTree,
    module: &ChosenModule,
    path: &str,
    placed: &[PlannedModule],
    absolute: bool,
    chosen: &Chosen,
) -> String {
    let all: Vec<_> = chosen.added().chain(tree.modules.values()).collect();
    let mut needs: BTreeSet<&str> = BTreeSet::new();
    let mut open = vec![module.name.as_str()];
    while let Some(name) = open.pop() {
        let depends = all.iter().find(|other| other.name == name).map(|m| m.depends.as_slice());
        for needed in depends.unwrap_or_default() {
            if needs.insert(needed) {
                open.push(needed);
            }
        }
    }
    let prefix = format!("/{}/", tree.directory);
    let spell = |path: &str| match absolute {
        true => path.to_owned(),
        false => path.strip_prefix(&prefix).unwrap_or(path).to_owned(),
    };
    let mut line = format!("{}:", spell(path));
    for needed in placed.iter().rev().filter(|other| needs.contains(other.name.as_str())) {
        line.push(' ');
        line.push_str(&spell(&needed.path));
    }
    line
}

/// `modules.load` with VFIO before whatever brings a rival up.
fn load_first(lists: &mut Lists<'_>, modules: &[PlannedModule], rivals: &BTreeSet<String>) {
    let all = lists.tree.dependencies(|_| true);
    let brings_up = |line: &String| {
        let name = name_of(line.trim());
        let needs = all.needs(&name).unwrap_or_default();
        rivals.contains(&name) || needs.iter().any(|needed| rivals.contains(needed))
    };
    let added: Vec<String> = modules
        .iter()
        .map(|module| module.path.rsplit('/').next().unwrap_or_default().to_owned())
        .collect();
    lists.insert(List::Load, &added, brings_up);
}

/// The options of the loaded modules: the devices' ids, and those that the user asked for.
fn options(lists: &mut Lists<'_>, devices: &[DeviceSpec], options: &[PlannedVfioOption]) {
    let ids: Vec<String> = devices
        .iter()
        .filter(|device| matches!(device, DeviceSpec::Id { .. }))
        .map(DeviceSpec::to_string)
        .collect();
    let ids = (!ids.is_empty()).then(|| ("ids".to_owned(), ids.join(",")));
    for module in VFIO_MODULES {
        let ids = ids.iter().filter(|_| module.name == VFIO_PCI).cloned();
        let requested = options
            .iter()
            .filter(|own| own.by == OptionBy::Module && own.module == module.name)
            .map(|own| (own.name.clone(), own.value.clone()));
        let all: Vec<(String, String)> = ids.chain(requested).collect();
        lists.options(module.name, &all, &["ids"]);
    }
}

/// Whether a line blocks one of these modules.
fn blocks(line: &str, names: &[&str]) -> bool {
    let mut words = line.split(' ');
    let command = words.next() == Some("blocklist");
    command && words.next().is_some_and(|name| names.contains(&name_of(name).as_str()))
}
