//! Finds each driver, and keeps it away.

use std::collections::BTreeSet;

use super::initcall;
use super::plan::{BlockedDriver, DriverPlace, NotBlocked};
use super::refuse::{self, Candidate};
use crate::bootset::FlowKind;
use crate::kernel::module::normalise;
use crate::kernel::{Kallsyms, KernelVersion};
use crate::modules::ModuleTree;
use crate::modules::depmod::name_of;
use crate::modules::supply::Supply;
use crate::modules::tree::Role;
use crate::patch::context::Context;
use crate::patch::contribution::Contribution;
use crate::patch::error::Error;
use crate::patch::modules::lists::{List, Lists};
use crate::patch::parameters::parameter::PlannedParameter;
use crate::patch::segment_file::SegmentFile;
use crate::patch::warning::Warning;

/// The first version with `module_blacklist=` (`kernel/module.c`).
const MODULE_BLACKLIST: (u32, u32) = (4, 8);
/// Where kmod reads its configuration (`modprobe.d(5)`).
const MODPROBE_D: &str = "/etc/modprobe.d";

/// The drivers that are kept away, and the contribution for it.
#[derive(Default)]
pub(crate) struct Blocked {
    /// For the plan.
    pub drivers: Vec<BlockedDriver>,
    /// For the patch, without the edits of lists.
    pub contribution: Contribution,
}

/// Keep the drivers called `names` away.
///
/// # Errors
/// [`Error::BlockDriver`]; [`Error::ModuleSource`].
pub(crate) fn contribute(
    set: &Context<'_, '_>,
    lists: &mut Lists<'_>,
    supply: &mut Supply<'_>,
    names: &[String],
) -> Result<Blocked, Error> {
    let mut blocked = Blocked::default();
    if names.is_empty() {
        return Ok(blocked);
    }
    let names: BTreeSet<String> = names.iter().map(|name| normalise(name)).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    supply.read(&all)?;
    let mut finder = Finder { set, tree: lists.tree, supply, symbols: None };
    for name in &names {
        let refuse = |reason| Error::BlockDriver { name: name.clone(), reason };
        refuse::check_name(name).map_err(refuse)?;
        let driver = finder.find(name).map_err(refuse)?;
        let built_in = driver.place == DriverPlace::BuiltIn;
        let candidate = Candidate { name, roles: finder.roles(name), built_in };
        let warning = refuse::check(set, &candidate).map_err(refuse)?;
        if let Some(module) = finder.needed_by(name, &names) {
            return Err(refuse(NotBlocked::Needed { module }));
        }
        blocked.contribution.warnings.extend(warning);
        blocked.drivers.push(driver);
    }
    for driver in &blocked.drivers {
        blocked.contribution.parameters.extend(parameters(set, driver));
    }
    edit_lists(lists, &blocked.drivers);
    blocked.contribution.add(modprobe_config(set, &blocked.drivers));
    Ok(blocked)
}

/// Where drivers are looked for.
struct Finder<'f, 's, 'a> {
    set: &'f Context<'s, 'a>,
    tree: &'f ModuleTree,
    supply: &'f Supply<'f>,
    /// The kernel's symbols, once they were needed.
    symbols: Option<Option<Kallsyms>>,
}

impl Finder<'_, '_, '_> {
    fn find(&mut self, name: &str) -> Result<BlockedDriver, NotBlocked> {
        let driver = |place| BlockedDriver { name: name.to_owned(), place, initcalls: Vec::new() };
        if self.in_ramdisk(name) {
            return Ok(driver(match self.tree.lists.load {
                Some(_) => DriverPlace::Listed,
                None => DriverPlace::Module,
            }));
        }
        if self.supply.has(name) {
            return Ok(driver(DriverPlace::Module));
        }
        let set = self.set;
        let symbols = self.symbols.get_or_insert_with(|| set.kernel_symbols());
        let initcalls = symbols.as_ref().map(|symbols| initcall::of(symbols, name));
        match initcalls.filter(|found| !found.is_empty()) {
            Some(initcalls) => Ok(BlockedDriver { initcalls, ..driver(DriverPlace::BuiltIn) }),
            None if self.tree.lists.builtin.contains(name) => Err(NotBlocked::NoInitcall),
            None => Err(NotBlocked::Unknown { searched: self.searched() }),
        }
    }

    fn in_ramdisk(&self, name: &str) -> bool {
        let listed = self.tree.lists.dep.as_ref().is_some_and(|dep| dep.contains_key(name));
        listed || self.tree.named(name).is_some()
    }

    fn searched(&self) -> &'static str {
        match (self.symbols.as_ref(), self.tree.modules.is_empty()) {
            (Some(Some(_)), false) => {
                "neither the kernel nor the modules of the ramdisk and those given"
            }
            (Some(Some(_)), true) => "the kernel, besides which no modules were given,",
            (_, false) => "the ramdisk and what was given (the kernel's symbols cannot be read)",
            (_, true) => {
                "what was given, without modules and with no kernel whose symbols can be read,"
            }
        }
    }

    fn roles(&self, name: &str) -> Vec<Role> {
        let own = self.tree.roles.get(name).cloned();
        own.or_else(|| self.supply.roles(name)).into_iter().flatten().collect()
    }

    /// A module that first-stage init loads and that needs this one, besides those that are kept
    /// away too.
    fn needed_by(&self, name: &str, names: &BTreeSet<String>) -> Option<String> {
        let lists = [&self.tree.lists.load, &self.tree.lists.load_recovery];
        let all = self.tree.dependencies(|_| true);
        let loaded = lists.into_iter().flatten().flatten().filter(|own| !names.contains(*own));
        let mut needing = loaded.filter(|own| {
            all.needs(own).is_ok_and(|needs| needs.iter().any(|needed| needed == name))
        });
        needing.next().cloned()
    }
}

/// The kernel parameters that keep a driver away.
fn parameters(set: &Context<'_, '_>, driver: &BlockedDriver) -> Vec<PlannedParameter> {
    let name = &driver.name;
    let why = format!("keeps the driver {name} away from the host's devices");
    let version = set.kernel.version().and_then(KernelVersion::parse);
    let has_list = version.is_none_or(|own| (own.major, own.minor) >= MODULE_BLACKLIST);
    match driver.place {
        DriverPlace::BuiltIn => {
            let why = format!("{why}: the kernel does not call what starts it");
            vec![PlannedParameter::merged("initcall_blacklist", driver.initcalls.clone(), why)]
        }
        DriverPlace::Listed => Vec::new(),
        DriverPlace::Module => {
            let kernel = has_list.then(|| {
                let why = format!("{why}: the kernel refuses the module");
                PlannedParameter::merged("module_blacklist", vec![name.clone()], why)
            });
            let is_initramfs = set.flow().kind == FlowKind::LinuxInitramfs;
            let kmod = (is_initramfs || !has_list).then(|| {
                let why = format!("{why}: kmod does not load the module for a device");
                PlannedParameter::merged("modprobe.blacklist", vec![name.clone()], why)
            });
            kernel.into_iter().chain(kmod).collect()
        }
    }
}

/// First-stage init does not load the listed drivers.
fn edit_lists(lists: &mut Lists<'_>, drivers: &[BlockedDriver]) {
    let listed = drivers.iter().filter(|driver| driver.place == DriverPlace::Listed);
    for BlockedDriver { name, .. } in listed {
        // Before Android 12 first-stage init does not read the blocklist.
        lists.remove(List::Load, |line| name_of(line.trim()) == *name);
        lists.append(List::Blocklist, &[format!("blocklist {name}")]);
    }
}

/// The configuration of the kmod of an initramfs, which has one.
fn modprobe_config(set: &Context<'_, '_>, drivers: &[BlockedDriver]) -> Contribution {
    let mut contribution = Contribution::default();
    let is_initramfs = set.flow().kind == FlowKind::LinuxInitramfs;
    let directory = set.tree().ok().and_then(|tree| tree.find(MODPROBE_D.as_bytes(), true));
    let modules = drivers.iter().filter(|driver| driver.place == DriverPlace::Module);
    let text: String = modules.map(|driver| format!("blacklist {}\n", driver.name)).collect();
    if is_initramfs && directory.is_some() && !text.is_empty() {
        let path = format!("{MODPROBE_D}/vfioboot.conf");
        contribution.files.push(SegmentFile::new(&path, 0o644, text.into_bytes()));
        contribution.shadows.push(path);
    }
    contribution
}

/// What recovery does with lists of the segment.
pub(crate) fn recovery_warning(tree: &ModuleTree, blocked: &Blocked) -> Option<Warning> {
    let listed = blocked.drivers.iter().any(|driver| driver.place == DriverPlace::Listed);
    (listed && tree.lists.load_recovery.is_none()).then_some(Warning::NoRecoveryList)
}
