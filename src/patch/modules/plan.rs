//! Modules in a patch: the options, and what the plan shows.

use std::borrow::Cow;

use serde::Serialize;

use super::vfio_options::PlannedVfioOption;
use crate::modules::alias::MatchKind;
use crate::modules::{ModuleRequest, ModuleSource};
use crate::patch::block::plan::BlockedDriver;
use crate::patch::edit::ListEdit;

/// Who loads modules at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadedBy {
    /// vfiorun, from a list in its boot file, before any other program.
    Pid1,
    /// The ramdisk's own first-stage init, by the lists of its modules, which the patch extends.
    Libmodprobe,
}

/// The options for modules.
#[derive(Clone, Debug, Default)]
pub struct ModuleOptions<'a> {
    /// Modules to load in any case: file name and bytes of each `.ko`.
    pub files: Vec<(String, Cow<'a, [u8]>)>,
    /// The sources of required modules that are not in the ramdisk.
    pub sources: Vec<ModuleSource<'a>>,
    /// The program that loads them; if None, the contents of the ramdisk decide.
    pub by: Option<LoadedBy>,
}

/// The modules of vfio-pci and what they may need: the plan may have to add them unpacked.
pub(in crate::patch) const VFIO: &[&str] = &[
    "vfio_pci",
    "vfio_pci_core",
    "vfio_iommu_type1",
    "vfio_virqfd",
    "vfio",
    "iommufd",
    "irqbypass",
];

impl ModuleOptions<'_> {
    /// The modules to collect in the passes over the ramdisks, so that the plan needs no other pass.
    pub(in crate::patch) fn request(&self) -> ModuleRequest {
        let adds = !self.files.is_empty() || !self.sources.is_empty();
        ModuleRequest { symbols: adds, packed: true, keep: VFIO }
    }
}

/// The modules of a patch.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ModulePlan {
    /// The program that loads them; None if there is nothing to load.
    pub by: Option<LoadedBy>,
    /// The reason, for people; empty if nothing depends on modules.
    pub reason: String,
    /// The modules in the order of loading.
    pub load: Vec<PlannedModule>,
    /// The drivers that would bind the devices without the patch, as far as modules show.
    pub drivers: Vec<PlannedDriver>,
    /// Modules of the ramdisk without which there is no PCI bus.
    pub host_bridges: Vec<String>,
    /// What changes in the ramdisk's lists.
    pub lists: Vec<ListEdit>,
    /// The options of VFIO's modules that the patch sets.
    pub options: Vec<PlannedVfioOption>,
    /// The host drivers that the patch keeps away.
    pub blocked: Vec<BlockedDriver>,
}

/// A module that will be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedModule {
    /// Its name, with `_`.
    pub name: String,
    /// Its path in the ramdisk, absolute.
    pub path: String,
    /// The file it is taken from when the ramdisk does not have it.
    pub added_from: Option<String>,
}

/// A driver that matches one of the devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedDriver {
    /// The device, as it was given.
    pub device: String,
    /// The driver's module.
    pub module: String,
    /// It is a file of the ramdisk; otherwise part of the kernel.
    pub in_ramdisk: bool,
    /// First-stage init loads it in every boot.
    pub loaded_at_boot: bool,
    /// How it matches the device.
    pub wants: MatchKind,
    /// The class that it matches as a whole.
    pub class: Option<&'static str>,
}
