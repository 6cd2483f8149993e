//! How modules come into play in a patch: what is asked for, and what the plan shows.

use std::borrow::Cow;

use serde::Serialize;

use crate::modules::alias::MatchKind;
use crate::modules::{ModuleRequest, ModuleSource};
use crate::patch::edit::ListEdit;

/// Who loads modules at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadedBy {
    /// vfiorun, from a list in its boot file, before any other program.
    Pid1,
    /// The ramdisk's own first-stage init, by the lists beside its modules, which the patch extends.
    Libmodprobe,
}

/// What a patch may take modules from, and what the user wants of it.
#[derive(Clone, Debug, Default)]
pub struct ModuleOptions<'a> {
    /// Modules to load whatever is needed: file name and bytes of each `.ko`.
    pub files: Vec<(String, Cow<'a, [u8]>)>,
    /// Where to take needed modules from that are not in the ramdisk.
    pub sources: Vec<ModuleSource<'a>>,
    /// Who is to load them; chosen by the contents of the ramdisk when None.
    pub by: Option<LoadedBy>,
}

/// The modules of vfio-pci and what they may need: the plan may have to add them unpacked.
const VFIO: &[&str] = &[
    "vfio_pci",
    "vfio_pci_core",
    "vfio_iommu_type1",
    "vfio_virqfd",
    "vfio",
    "iommufd",
    "irqbypass",
];

impl ModuleOptions<'_> {
    /// What the passes over the ramdisks take of modules, so that the plan needs no other pass.
    pub(in crate::patch) fn request(&self) -> ModuleRequest {
        let adds = !self.files.is_empty() || !self.sources.is_empty();
        ModuleRequest { symbols: adds, packed: true, keep: VFIO }
    }
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
    /// The drivers that would bind the devices if nobody interfered, as far as modules show.
    pub drivers: Vec<PlannedDriver>,
    /// Modules of the ramdisk without which there is no PCI bus.
    pub host_bridges: Vec<String>,
    /// What changes in the ramdisk's lists.
    pub lists: Vec<ListEdit>,
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
