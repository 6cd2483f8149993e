//! Who loads modules: a table of situations, each with the reason that the plan shows.

use super::choose::Chosen;
use super::plan::LoadedBy;
use crate::modules::ModuleTree;
use crate::patch::error::Error;
use crate::patch::kernel_facts::KernelFacts;

/// The program that loads modules, the reason, and the modules that VFIO needs first.
#[derive(Debug)]
pub(crate) struct Decision {
    pub by: LoadedBy,
    pub reason: String,
    /// Modules of the ramdisk that bring the bus up, in order, which PID 1 loads first.
    pub first: Vec<String>,
}

/// Decide. A device must exist before PID 1 can bind it, and it exists when its host bridge has a
/// driver; a driver that is loaded later than vfio-pci never gets it.
///
/// | Host bridge | `modules.load` | Who loads | |
/// |---|---|---|---|
/// | in the kernel, or not seen | any | PID 1 | the devices are there when it runs |
/// | a module that needs nothing else | any | PID 1 | it loads that one first |
/// | a module | yes | first-stage init | only its lists show what the bridge depends on |
/// | a module | no | PID 1 | it loads that one first, which may not be enough |
pub(crate) fn decide(
    tree: &ModuleTree,
    bridges: &[String],
    chosen: &Chosen,
    kernel: &KernelFacts<'_>,
    wanted: Option<LoadedBy>,
) -> Result<Decision, Error> {
    let listed = tree.lists.load.is_some();
    if wanted == Some(LoadedBy::Libmodprobe) && !listed {
        return Err(Error::NoLibmodprobe);
    }
    let nothing_chosen = chosen.modules.is_empty();
    let (by, reason) = by_default(tree, bridges, nothing_chosen, kernel.host_bridge_built_in());
    let (by, reason) = match wanted {
        Some(wanted) if wanted != by => {
            (wanted, format!("requested; the default would be different: {reason}"))
        }
        _ => (by, reason),
    };
    let mut first = Vec::new();
    if by == LoadedBy::Pid1 && !bridges.is_empty() {
        let names: Vec<&str> = bridges.iter().map(String::as_str).collect();
        first = tree.dependencies(|_| false).load_order(&names)?;
        first.retain(|name| chosen.modules.iter().all(|module| module.name != *name));
    }
    Ok(Decision { by, reason, first })
}

/// The default program that loads modules, and the reason.
fn by_default(
    tree: &ModuleTree,
    bridges: &[String],
    nothing_chosen: bool,
    built_in: bool,
) -> (LoadedBy, String) {
    let listed = tree.lists.load.is_some();
    let bridge = bridges.join(", ");
    match bridges {
        [] => {
            let what = match built_in {
                true => "the PCI host bridge is part of the kernel",
                false => "no module of the ramdisk is a PCI host bridge",
            };
            (LoadedBy::Pid1, format!("{what}, so the devices are there when PID 1 runs"))
        }
        _ if bridges.iter().all(|name| tree.is_self_contained(name)) => (
            LoadedBy::Pid1,
            format!(
                "the PCI host bridge is a module of the ramdisk, {bridge}, that needs no other \
                 hardware: PID 1 loads it first, and first-stage init finds it loaded"
            ),
        ),
        _ if listed && !nothing_chosen => (
            LoadedBy::Libmodprobe,
            format!(
                "the PCI host bridge is a module of the ramdisk, {bridge}, and its clocks, PHYs and \
                 regulators come with others: there is no device yet when PID 1 runs. First-stage \
                 init loads VFIO right before it, so that no other driver is first"
            ),
        ),
        _ if listed => (
            LoadedBy::Libmodprobe,
            format!(
                "the PCI host bridge is a module of the ramdisk, {bridge}: there is no device yet \
                 when PID 1 runs. vfio-pci is part of the kernel and takes the device by its id \
                 as soon as it appears, unless the device's own driver is part of the kernel too"
            ),
        ),
        _ => (
            LoadedBy::Pid1,
            format!(
                "the PCI host bridge is a module of the ramdisk, {bridge}, and there is no \
                 modules.load from which first-stage init would load it: PID 1 does"
            ),
        ),
    }
}
