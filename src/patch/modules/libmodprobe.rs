//! The lists beside a ramdisk's modules with lines added, as first-stage init reads them
//! (`libmodprobe` in AOSP's system/core): the appended segment shadows them, and PID 1 puts the
//! originals back in a boot that is to be left alone.
//!
//! - `modules.load` is loaded in order: VFIO goes in front of the first line that brings a bus or a
//!   device's own driver up.
//! - `softdep BRIDGE pre: vfio_pci` says the same where modules are loaded in parallel.
//! - `options vfio_pci ids=…`: of several lines for a module only the first counts, so one that is
//!   there is extended.
//! - Names in `modules.softdep` must be canonical, with `_`.
//! - A blocklisted module is not loaded, not even when it is listed.

use std::collections::BTreeSet;

use super::choose::{Chosen, ChosenModule};
use super::{Error, ListEdit, ModulePlan, PlannedModule, plain};
use crate::bootfile::{DeviceSpec, ORIGINALS};
use crate::modules::ModuleTree;
use crate::modules::depmod::name_of;
use crate::patch::kernel_facts::KernelFacts;
use crate::patch::segment::SegmentFile;

/// Where added modules go, below the directory of the lists.
const SUBDIRECTORY: &str = "vfioboot";
/// The driver that the devices are for.
const VFIO_PCI: &str = "vfio_pci";

/// Make the lists.
pub fn edit(
    plan: &mut ModulePlan,
    tree: &ModuleTree,
    chosen: Chosen,
    devices: &[DeviceSpec],
    kernel: &KernelFacts,
) -> Result<(), Error> {
    warn(plan, tree, devices, kernel);
    if chosen.modules.is_empty() {
        return Ok(());
    }
    let mut dep_lines = Vec::new();
    let modules = place(plan, tree, &chosen, &mut dep_lines)?;
    let names: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
    let rivals: BTreeSet<String> = plan
        .host_bridges
        .iter()
        .cloned()
        .chain(plan.drivers.iter().filter(|d| d.in_ramdisk).map(|driver| driver.module.clone()))
        .filter(|rival| !names.contains(&rival.as_str()))
        .collect();

    let mut lists = Shadow { plan, tree };
    lists.append("modules.dep", &dep_lines);
    lists.load(&modules, &rivals);
    let softdeps: Vec<String> =
        rivals.iter().map(|rival| format!("softdep {rival} pre: {VFIO_PCI}")).collect();
    lists.append("modules.softdep", &softdeps);
    lists.options(devices);
    lists.unblock(&names);
    plan.load = modules;
    Ok(())
}

/// What the lists cannot bring about.
fn warn(plan: &mut ModulePlan, tree: &ModuleTree, devices: &[DeviceSpec], kernel: &KernelFacts) {
    for device in devices.iter().filter(|device| matches!(device, DeviceSpec::Address { .. })) {
        plan.warnings.push(format!(
            "{device} appears only when the host bridge's module is loaded, which PID 1 does not \
             wait for: name it by VENDOR:DEVICE, so that vfio-pci takes it by its id"
        ));
    }
    for driver in plan.drivers.iter().filter(|driver| !driver.in_ramdisk) {
        plan.warnings.push(format!(
            "{}: its driver {} is part of the kernel and was there before vfio-pci: it may get the \
             device first. vfiorun bind {} takes it over once the system is up",
            driver.device, driver.module, driver.device
        ));
    }
    if tree.lists.load_recovery.is_none() && kernel.version.is_some() {
        plan.warnings.push(
            "the ramdisk has no modules.load.recovery: recovery loads by modules.load too; PID 1 \
             puts the original lists back there"
                .to_owned(),
        );
    }
}

/// Where each module stands, and the lines of `modules.dep` for those that are added.
fn place(
    plan: &mut ModulePlan,
    tree: &ModuleTree,
    chosen: &Chosen,
    dep_lines: &mut Vec<String>,
) -> Result<Vec<PlannedModule>, Error> {
    let absolute =
        tree.lists.dep.iter().flatten().next().is_some_and(|(_, dep)| dep.path.starts_with('/'));
    let mut placed: Vec<PlannedModule> = Vec::new();
    for module in &chosen.modules {
        let mut path = format!("/{}", module.path);
        if module.added_from.is_some() {
            let (file, bytes) = plain(&module.path, &module.bytes)?;
            path = format!("/{}/{SUBDIRECTORY}/{file}", tree.directory);
            plan.files.push(SegmentFile::new(&path, 0o644, bytes));
            dep_lines.push(dep_line(tree, module, &path, &placed, absolute, chosen));
        }
        let (name, added_from) = (module.name.clone(), module.added_from.clone());
        placed.push(PlannedModule { name, path, added_from });
    }
    Ok(placed)
}

/// All that a module needs is in `placed`, as it is loaded behind it; what it needs first stands
/// last.
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
    plan: &'s mut ModulePlan,
    tree: &'s ModuleTree,
}

impl Shadow<'_> {
    fn lines(&self, name: &str) -> Vec<String> {
        let bytes = self.tree.raw_lists.get(name).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
    }

    fn put(&mut self, name: &str, lines: &[String], added: Vec<String>, removed: Vec<String>) {
        if added.is_empty() && removed.is_empty() {
            return;
        }
        let path = format!("/{}/{name}", self.tree.directory);
        let mut text = lines.join("\n");
        text.push('\n');
        self.plan.files.push(SegmentFile::new(&path, 0o644, text.into_bytes()));
        if let Some(original) = self.tree.raw_lists.get(name) {
            let beside = format!("{ORIGINALS}{path}");
            self.plan.files.push(SegmentFile::new(&beside, 0o644, original.clone()));
        }
        self.plan.shadows.push(path.clone());
        self.plan.lists.push(ListEdit { path, added, removed });
    }

    fn append(&mut self, name: &str, added: &[String]) {
        let mut lines = self.lines(name);
        lines.extend(added.iter().cloned());
        self.put(name, &lines, added.to_vec(), Vec::new());
    }

    fn load(&mut self, modules: &[PlannedModule], rivals: &BTreeSet<String>) {
        let mut lines = self.lines("modules.load");
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
        self.put("modules.load", &lines, shown, Vec::new());
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
        let mut lines = self.lines("modules.options");
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
        self.put("modules.options", &lines, vec![added], removed);
    }

    fn unblock(&mut self, names: &[&str]) {
        let blocks = |line: &String| {
            let mut words = line.split(' ');
            let command = words.next() == Some("blocklist");
            command && words.next().is_some_and(|name| names.contains(&name_of(name).as_str()))
        };
        let (removed, lines): (Vec<String>, Vec<String>) =
            self.lines("modules.blocklist").into_iter().partition(blocks);
        self.put("modules.blocklist", &lines, Vec::new(), removed);
    }
}
