//! IOMMU groups, their driver, and whether a device can raise only its own interrupts.

use super::Check;
use super::check::ARCH;
use crate::device::bus::group::{Group, IOMMUS};
use crate::device::bus::pci;
use crate::device::bus::vfio::UNSAFE_INTERRUPTS;
use crate::device::sys::host::Host;
use crate::device::sys::kernel_log::Message;

pub(super) fn checks(host: &Host, log: Option<&[Message]>) -> Vec<Check> {
    let mut checks = vec![driver(host), groups(host)];
    checks.extend(stage(log));
    checks.push(interrupts(host, log));
    checks
}

/// `/sys/class/iommu` has a link for each IOMMU: `smmu3.0x0000000009050000`, `dmar0`, `ivhd0`.
fn driver(host: &Host) -> Check {
    let units = host.list(IOMMUS).unwrap_or_default();
    let kind = |unit: &String| {
        let kinds = [
            ("smmu3.", "SMMUv3"),
            ("smmu.", "SMMUv1/v2"),
            ("dmar", "Intel VT-d"),
            ("ivhd", "AMD-Vi"),
        ];
        let kind = kinds.iter().find(|(prefix, _)| unit.starts_with(prefix));
        kind.map_or("IOMMU", |(_, kind)| *kind)
    };
    match units.as_slice() {
        [] => Check::problem(
            "iommu",
            "IOMMU",
            "this kernel drives no IOMMU (/sys/class/iommu is empty)",
        )
        .fix(no_iommu_fix()),
        [first, ..] => {
            let more = if units.len() > 1 {
                format!(" and {} more", units.len() - 1)
            } else {
                String::new()
            };
            Check::ok("iommu", "IOMMU", format!("{}: {first}{more}", kind(first)))
        }
    }
}

fn no_iommu_fix() -> &'static str {
    match ARCH {
        "x86_64" => {
            "turn on VT-d or AMD-Vi in the firmware, and put intel_iommu=on on the command line of an Intel machine"
        }
        _ => {
            "the kernel needs the driver of the chip's SMMU, and the device tree or the firmware must describe it; passthrough is not possible without"
        }
    }
}

fn groups(host: &Host) -> Check {
    let check = |status: fn(&'static str, &'static str, String) -> Check, found| {
        status("iommu-groups", "IOMMU groups", found)
    };
    let groups = Group::all(host);
    let mut kinds: Vec<&str> = groups.iter().filter_map(|group| group.domain.as_deref()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let devices = pci::enumerate(host).unwrap_or_default();
    let grouped = devices.iter().filter(|device| device.iommu_group.is_some()).count();
    let of_kinds = if kinds.is_empty() {
        String::new()
    } else {
        format!(", default domain {}", kinds.join(", "))
    };
    if devices.is_empty() {
        return check(Check::problem, "there are no PCI devices".to_owned())
            .fix("the kernel needs the driver of the chip's PCI host bridge");
    }
    match (groups.len(), grouped) {
        (0, _) => check(Check::problem, format!("none, for {} PCI devices", devices.len())).fix(no_iommu_fix()),
        (count, 0) => check(
            Check::warning,
            format!("{count}, with none of the {} PCI devices in one{of_kinds}; on a devicetree system before Linux 6.16 a device joins its group when a driver first probes it", devices.len()),
        )
        .fix("vfiorun bind DEVICE shows whether it joins one"),
        (count, grouped) => check(Check::ok, format!("{count}, with {grouped} of {} PCI devices{of_kinds}", devices.len())),
    }
}

/// What the SMMUv3 driver says of its hardware (`arm_smmu_device_hw_probe` says nothing of the
/// stage by itself; the feature list is in the log of the older driver).
fn stage(log: Option<&[Message]>) -> Option<Check> {
    let said = |message: &&Message| {
        let of_smmu = message.text.starts_with("arm-smmu");
        of_smmu && ["stage", "ias ", "coherent"].iter().any(|word| message.text.contains(word))
    };
    let lines: Vec<&str> = log?.iter().filter(said).map(|message| message.text.as_str()).collect();
    (!lines.is_empty()).then(|| Check::ok("iommu-features", "IOMMU features", lines.join("; ")))
}

/// Type1 refuses devices whose MSIs could hit any interrupt (`vfio_iommu_type1_attach_group`),
/// unless that is allowed.
fn interrupts(host: &Host, log: Option<&[Message]>) -> Check {
    let check = |status: fn(&'static str, &'static str, String) -> Check, found: &str| {
        status("interrupts", "interrupt isolation", found.to_owned())
    };
    if matches!(host.read(UNSAFE_INTERRUPTS).as_deref(), Ok("Y" | "1")) {
        return check(
            Check::warning,
            "not required: allow_unsafe_interrupts is set, and a guest can raise any interrupt of the host",
        )
        .fix("write N to /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts where MSIs are isolated");
    }
    let controllers = host.read("proc/interrupts").unwrap_or_default();
    let has_its = controllers.contains("ITS-MSI")
        || controllers.contains("ITS-PCI-MSI")
        || controllers.contains("ITS-pMSI");
    let logged = |words: &[&str]| {
        let hit = |message: &Message| words.iter().all(|word| message.text.contains(word));
        log.is_some_and(|log| log.iter().any(hit))
    };
    if ARCH == "x86_64" {
        let remapped = ["IR-PCI-MSI", "IR-IO-APIC", "IR-PCI-MSIX"]
            .iter()
            .any(|name| controllers.contains(name));
        return match remapped {
            true => check(Check::ok, "interrupts are remapped"),
            false => check(Check::problem, "no interrupt remapping: VFIO refuses with \"Operation not permitted\"")
                .fix("turn on VT-d or AMD-Vi with interrupt remapping in the firmware; vfio_iommu_type1.allow_unsafe_interrupts=1 lets a guest raise any interrupt of the host"),
        };
    }
    if has_its || logged(&["ITS@"]) || logged(&["ITS ["]) {
        return check(Check::ok, "a GICv3 ITS isolates the MSIs of each device");
    }
    // GICv2: its driver registers as "GIC-0", with the v2m frame for MSIs.
    if controllers.contains("GICv2") || logged(&["GICv2m"]) {
        return check(
            Check::problem,
            "GICv2: MSIs are not isolated (no interrupt remapping), and VFIO refuses with \"Operation not permitted\"",
        )
        .fix("vfio_iommu_type1.allow_unsafe_interrupts=1 on the command line lets a guest raise any interrupt of the host: only for guests you trust");
    }
    if controllers.contains("GICv3") {
        return check(
            Check::warning,
            "GICv3 without an ITS: devices have no MSIs and fall back to INTx, which works",
        );
    }
    check(Check::warning, "the interrupt controller is unknown (/proc/interrupts)")
}
