//! A driver that is kept away, and why one is not.

use serde::Serialize;

/// A host driver that the patch keeps away from devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BlockedDriver {
    /// The module's name, with `_`.
    pub name: String,
    /// Where it is.
    pub place: DriverPlace,
    /// The functions of the kernel that start it and are not called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub initcalls: Vec<String>,
}

/// Where a driver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriverPlace {
    /// A module that the ramdisk's lists make first-stage init load.
    Listed,
    /// Another module of the ramdisk, or of the sources that were given.
    Module,
    /// Part of the kernel.
    BuiltIn,
}

/// Why a driver is not kept away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotBlocked {
    /// No such driver.
    #[error(
        "{searched} has no driver of this name (lspci -k shows the names after \"Kernel modules\")"
    )]
    Unknown {
        /// Where it was looked for.
        searched: &'static str,
    },
    /// Part of the kernel, and not found there.
    #[error(
        "it is part of the kernel, and the function that starts it is not among the kernel's \
         symbols under any usual name"
    )]
    NoInitcall,
    /// It is VFIO itself.
    #[error("it is part of VFIO, which the devices are for")]
    Vfio,
    /// Without it there is no PCI bus.
    #[error("it drives the PCI host bridge: without it there are no PCI devices at all")]
    HostBridge,
    /// Without it there is no IOMMU.
    #[error("it drives the IOMMU: without it no device can be passed through")]
    Iommu,
    /// The boot storage may need it.
    #[error(
        "it gives other drivers of the board their clocks, power, pins or resets, and what the \
         device boots from may need them"
    )]
    Supplier,
    /// The boot storage.
    #[error("the device boots from what it drives: {evidence}")]
    BootStorage {
        /// What shows it.
        evidence: String,
    },
    /// It may be the boot storage.
    #[error(
        "it drives storage on the board ({kind}), and nothing in the images (root=, \
         androidboot.boot_devices, fstab) shows that the device boots from anything else"
    )]
    MayBeBootStorage {
        /// The kind of storage.
        kind: &'static str,
    },
    /// Another module needs it.
    #[error("first-stage init loads {module}, which needs it, and does not go on without that")]
    Needed {
        /// The module.
        module: String,
    },
}
