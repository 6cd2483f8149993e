//! The drivers that the device needs to boot, or the patch to work.

use super::plan::NotBlocked;
use super::storage::{self, Storage};
use crate::bootset::FlowKind;
use crate::modules::tree::Role;
use crate::patch::context::Context;
use crate::patch::modules::plan::VFIO;
use crate::patch::modules::vfio_options::VFIO_MODULES;
use crate::patch::warning::Warning;

/// What is known about a driver.
pub(super) struct Candidate<'c> {
    pub name: &'c str,
    /// Its roles, if it is a module that was read.
    pub roles: Vec<Role>,
    /// It is part of the kernel, which has no roles to read.
    pub built_in: bool,
}

/// Refuse VFIO itself, wherever it is.
///
/// # Errors
/// [`NotBlocked::Vfio`].
pub(super) fn check_name(name: &str) -> Result<(), NotBlocked> {
    let own = VFIO.contains(&name) || VFIO_MODULES.iter().any(|module| module.name == name);
    if own { Err(NotBlocked::Vfio) } else { Ok(()) }
}

/// Refuse a driver that is needed; a driver of storage that the host may need is a warning.
///
/// # Errors
/// [`NotBlocked`].
pub(super) fn check(
    set: &Context<'_, '_>,
    candidate: &Candidate<'_>,
) -> Result<Option<Warning>, NotBlocked> {
    let Candidate { name, roles, built_in } = candidate;
    let of_rule = |rule| *built_in && set.kernel.drivers_of(rule).iter().any(|own| own == name);
    let bridge = ["pcie", "pci_host"].iter().any(|part| name.contains(part));
    if roles.contains(&Role::HostBridge) || *built_in && bridge || of_rule("VB-PCI-002") {
        return Err(NotBlocked::HostBridge);
    }
    let iommu = ["iommu", "smmu"].iter().any(|part| name.contains(part));
    if roles.contains(&Role::Iommu) || *built_in && iommu || of_rule("VB-IOMMU-002") {
        return Err(NotBlocked::Iommu);
    }
    if roles.contains(&Role::Supplier) {
        return Err(NotBlocked::Supplier);
    }
    match Storage::of_driver(name, roles) {
        Some(storage) => of_storage(set, name, storage),
        None => Ok(None),
    }
}

fn of_storage(
    set: &Context<'_, '_>,
    name: &str,
    storage: Storage,
) -> Result<Option<Warning>, NotBlocked> {
    let devices = storage::boot_devices(set);
    if let Some(own) = devices.iter().find(|own| storage.has(&own.path)) {
        return Err(NotBlocked::BootStorage { evidence: own.evidence.clone() });
    }
    if !devices.is_empty() {
        return Ok(None);
    }
    // A distribution finds its root by a UUID, on whatever storage that is.
    if storage.is_on_board() && set.flow().kind != FlowKind::LinuxInitramfs {
        return Err(NotBlocked::MayBeBootStorage { kind: storage.name() });
    }
    let (driver, kind) = (name.to_owned(), storage.name());
    Ok(Some(Warning::BlocksStorage { driver, kind }))
}
