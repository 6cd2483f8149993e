//! The roles of drivers, by the symbols that they import.

use std::collections::BTreeSet;

use crate::kernel::module::{self, Module};
use crate::kernel::symbols::Symbols;

/// The role of a driver, which decides when it must be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It drives a PCI host bridge: without it there are no PCI devices.
    HostBridge,
    /// It drives an IOMMU.
    Iommu,
    /// It drives a UFS host controller.
    UfsHost,
    /// It drives an MMC host controller.
    MmcHost,
    /// It gives other drivers of the board their clocks, power, pins, resets or PHYs.
    Supplier,
}

/// Symbols that only drivers of a role import, because they register the driver.
const ROLES: &[(&str, Role)] = &[
    // drivers/pci/probe.c, drivers/pci/controller
    ("pci_host_probe", Role::HostBridge),
    ("pci_host_common_probe", Role::HostBridge),
    ("dw_pcie_host_init", Role::HostBridge),
    ("cdns_pcie_host_setup", Role::HostBridge),
    ("pci_scan_root_bus_bridge", Role::HostBridge),
    ("pci_scan_root_bus", Role::HostBridge),
    ("pci_create_root_bus", Role::HostBridge),
    // arch/arm/kernel/bios32.c
    ("pci_common_init_dev", Role::HostBridge),
    // drivers/iommu/iommu.c; before 5.12 two functions instead of the first
    ("iommu_device_register", Role::Iommu),
    ("__iommu_device_register", Role::Iommu),
    ("iommu_device_sysfs_add", Role::Iommu),
    ("bus_set_iommu", Role::Iommu),
    // drivers/ufs
    ("ufshcd_init", Role::UfsHost),
    ("ufshcd_pltfrm_init", Role::UfsHost),
    // drivers/mmc/host
    ("mmc_add_host", Role::MmcHost),
    ("sdhci_add_host", Role::MmcHost),
    ("__sdhci_add_host", Role::MmcHost),
    ("sdhci_pltfm_register", Role::MmcHost),
    ("sdhci_pltfm_init_and_add_host", Role::MmcHost),
    // drivers/clk, regulator, pinctrl, pmdomain, reset, interconnect, phy
    ("of_clk_add_hw_provider", Role::Supplier),
    ("devm_of_clk_add_hw_provider", Role::Supplier),
    ("of_clk_add_provider", Role::Supplier),
    ("qcom_cc_probe", Role::Supplier),
    ("qcom_cc_really_probe", Role::Supplier),
    ("devm_regulator_register", Role::Supplier),
    ("regulator_register", Role::Supplier),
    ("pinctrl_register", Role::Supplier),
    ("devm_pinctrl_register", Role::Supplier),
    ("msm_pinctrl_probe", Role::Supplier),
    ("of_genpd_add_provider_onecell", Role::Supplier),
    ("of_genpd_add_provider_simple", Role::Supplier),
    ("devm_reset_controller_register", Role::Supplier),
    ("reset_controller_register", Role::Supplier),
    ("icc_provider_register", Role::Supplier),
    ("icc_provider_add", Role::Supplier),
    ("__devm_of_phy_provider_register", Role::Supplier),
];

/// The roles of the driver, by its ELF file.
///
/// # Errors
/// A damaged symbol table.
pub(super) fn roles_of(module: &Module, elf: &[u8]) -> Result<BTreeSet<Role>, module::Error> {
    if !may_have_role(module) {
        return Ok(BTreeSet::new());
    }
    let symbols = Symbols::of_elf(elf)?;
    Ok(ROLES.iter().filter(|(symbol, _)| symbols.needs(symbol)).map(|(_, role)| *role).collect())
}

/// Whether its devices come from a device tree, from ACPI or from a board file. Only such drivers
/// can be host bridges and IOMMUs, so only their symbols are read.
fn may_have_role(module: &Module) -> bool {
    let prefixes = ["of:", "acpi", "platform:", "vmbus:"];
    module.aliases.iter().any(|alias| prefixes.iter().any(|prefix| alias.starts_with(prefix)))
}
