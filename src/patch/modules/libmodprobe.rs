//! Extends the lists of a ramdisk's modules, as first-stage init reads them
//! (`libmodprobe` in AOSP's system/core): the appended segment shadows them, and PID 1 restores the
//! originals in a boot without the patch.
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
use super::pid1::Loaded;
use super::plan::{ModulePlan, PlannedDriver, PlannedModule};
use crate::bootfile::{DeviceSpec, ORIGINALS};
use crate::modules::ModuleTree;
use crate::modules::depmod::name_of;
use crate::patch::contribution::Contribution;
use crate::patch::edit::{Change, ListEdit};
use crate::patch::error::Error;
use crate::patch::segment_file::SegmentFile;
use crate::patch::warning::Warning;

/// The directory for added modules, below that of the lists.
const SUBDIRECTORY: &str = "vfioboot";
/// The driver for the devices.
const VFIO_PCI: &str = "vfio_pci";

/// The lists that are extended.
#[derive(Clone, Copy)]
enum List {
    Dep,
    Load,
    Softdep,
    Options,
    Blocklist,
}

impl List {
    fn name(self) -> &'static str {
        match self {
            List::Dep => "modules.dep",
            List::Load => "modules.load",
            List::Softdep => "modules.softdep",
            List::Options => "modules.options",
            List::Blocklist => "modules.blocklist",
        }
    }
}

/// First-stage init loads the `chosen` modules before the drivers and host bridges of `plan`.
/// `kernel_known`: the set has a kernel that could be read.
///
/// # Errors
/// [`Error::Module`].
pub(crate) fn load(
    tree: &ModuleTree,
    plan: &ModulePlan,
    chosen: &Chosen,
    devices: &[DeviceSpec],
    kernel_known: bool,
) -> Result<Loaded, Error> {
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

    let mut lists = Shadow { contribution: &mut loaded.contribution, tree };
    lists.append(List::Dep, &dep_lines);
    lists.load(&loaded.modules, &rivals);
    let softdeps: Vec<String> =
        rivals.iter().map(|rival| format!("softdep {rival} pre: {VFIO_PCI}")).collect();
    lists.append(List::Softdep, &softdeps);
    lists.options(devices);
    lists.unblock(&names);
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

/// Lists that shadow the ramdisk's own.
struct Shadow<'s> {
    contribution: &'s mut Contribution,
    tree: &'s ModuleTree,
}

impl Shadow<'_> {
    fn lines(&self, list: List) -> Vec<String> {
        let bytes = self.tree.raw_lists.get(list.name()).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
    }

    fn put(&mut self, list: List, lines: &[String], added: Vec<String>, removed: Vec<String>) {
        if added.is_empty() && removed.is_empty() {
            return;
        }
        let path = format!("/{}/{}", self.tree.directory, list.name());
        let mut text = lines.join("\n");
        text.push('\n');
        self.contribution.files.push(SegmentFile::new(&path, 0o644, text.into_bytes()));
        if let Some(original) = self.tree.raw_lists.get(list.name()) {
            let kept = format!("{ORIGINALS}{path}");
            self.contribution.files.push(SegmentFile::new(&kept, 0o644, original.clone()));
        }
        self.contribution.shadows.push(path.clone());
        self.contribution.changes.push(Change::ModuleList(ListEdit { path, added, removed }));
    }

    fn append(&mut self, list: List, added: &[String]) {
        let mut lines = self.lines(list);
        lines.extend(added.iter().cloned());
        self.put(list, &lines, added.to_vec(), Vec::new());
    }

    fn load(&mut self, modules: &[PlannedModule], rivals: &BTreeSet<String>) {
        let mut lines = self.lines(List::Load);
        let all = self.tree.dependencies(|_| true);
        let brings_up = |line: &String| {
            let name = name_of(line.trim());
            let needs = all.needs(&name).unwrap_or_default();
            rivals.contains(&name) || needs.iter().any(|needed| rivals.contains(needed))
        };
        let at = lines.iter().position(brings_up).unwrap_or(lines.len());
        let added: Vec<String> = modules
            .iter()
            .map(|module| module.path.rsplit('/').next().unwrap_or_default().to_owned())
            .collect();
        let place = match lines.get(at) {
            Some(next) => format!("before {next}"),
            None => "at the end".to_owned(),
        };
        lines.splice(at..at, added.iter().cloned());
        let shown = vec![format!("{} ({place})", added.join(" "))];
        self.put(List::Load, &lines, shown, Vec::new());
    }

    fn options(&mut self, devices: &[DeviceSpec]) {
        let ids: Vec<String> = devices
            .iter()
            .filter(|device| matches!(device, DeviceSpec::Id { .. }))
            .map(DeviceSpec::to_string)
            .collect();
        if ids.is_empty() {
            return;
        }
        let mut lines = self.lines(List::Options);
        let ours = |line: &&mut String| {
            let mut words = line.split(' ');
            words.next() == Some("options")
                && words.next().map(name_of).as_deref() == Some(VFIO_PCI)
        };
        let ids = ids.join(",");
        let (added, removed) = match lines.iter_mut().find(ours) {
            Some(line) => {
                let old = line.clone();
                let words = old.split(' ').map(|word| match word.strip_prefix("ids=") {
                    Some(before) => format!("ids={before},{ids}"),
                    None => word.to_owned(),
                });
                *line = words.collect::<Vec<_>>().join(" ");
                if *line == old {
                    line.push_str(&format!(" ids={ids}"));
                }
                (line.clone(), vec![old])
            }
            None => {
                let line = format!("options {VFIO_PCI} ids={ids}");
                lines.push(line.clone());
                (line, Vec::new())
            }
        };
        self.put(List::Options, &lines, vec![added], removed);
    }

    fn unblock(&mut self, names: &[&str]) {
        let blocks = |line: &String| {
            let mut words = line.split(' ');
            let command = words.next() == Some("blocklist");
            command && words.next().is_some_and(|name| names.contains(&name_of(name).as_str()))
        };
        let (removed, lines): (Vec<String>, Vec<String>) =
            self.lines(List::Blocklist).into_iter().partition(blocks);
        self.put(List::Blocklist, &lines, Vec::new(), removed);
    }
}
