//! IOMMU groups, their driver, what the device tree says, and whether devices can raise only their
//! own interrupts.

use super::Check;
use crate::device::bus::group::{self, GROUPS, IOMMUS};
use crate::device::bus::interrupts::Isolation;
use crate::device::bus::pci::{self, PciDevice};
use crate::device::bus::vfio::UNSAFE_INTERRUPTS;
use crate::device::causes::facts::Surroundings;
use crate::device::sys::host::Host;
use crate::device::sys::kernel_log::Message;
use crate::device::sys::machine;

pub(super) fn checks(host: &Host, around: &Surroundings, log: Option<&[Message]>) -> Vec<Check> {
    let devices = pci::enumerate(host).unwrap_or_default();
    let mut checks: Vec<Check> = device_tree(host, around, &devices).into_iter().collect();
    checks.extend([driver(host), groups(host, &devices)]);
    checks.extend(stage(log));
    checks.push(interrupts(host, around, &devices));
    checks
}

/// What the device tree says about the host bridges of devices that are in no group.
fn device_tree(host: &Host, around: &Surroundings, devices: &[PciDevice]) -> Option<Check> {
    let endpoints = || devices.iter().filter(|d| !pci::belongs_to_machine(host, d.address));
    let outside = endpoints().filter(|device| device.iommu_group.is_none());
    let board = around.board(host)?;
    let mut found: Vec<String> = Vec::new();
    for why in outside.filter_map(|device| board.untranslated(host, device.address)) {
        let why = why.to_string();
        if !found.contains(&why) {
            found.push(why);
        }
    }
    if found.is_empty() {
        return None;
    }
    let check = match endpoints().any(|device| device.iommu_group.is_some()) {
        true => Check::warning,
        false => Check::problem,
    };
    let fix = "a device tree that enables the SMMU and gives the PCIe node an iommu-map (an overlay, or one of the board's vendor); where the chip has no SMMU for PCIe, its devices cannot be passed through";
    Some(check("device-tree", "device tree", found.join("; ")).fix(fix))
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
        .fix(no_iommu_fix(host)),
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

fn no_iommu_fix(host: &Host) -> &'static str {
    match machine::of(host).as_str() {
        machine::X86_64 => {
            "turn on VT-d or AMD-Vi in the firmware, and put intel_iommu=on on the command line of an Intel machine"
        }
        _ => {
            "the kernel needs the driver of the chip's SMMU, and the device tree or the firmware must describe it; passthrough is not possible without"
        }
    }
}

fn groups(host: &Host, devices: &[PciDevice]) -> Check {
    let check = |status: fn(&'static str, &'static str, String) -> Check, found| {
        status("iommu-groups", "IOMMU groups", found)
    };
    if devices.is_empty() {
        return check(Check::problem, "there are no PCI devices".to_owned())
            .fix("the kernel needs the driver of the chip's PCI host bridge");
    }
    let numbers = host.list(GROUPS).unwrap_or_default();
    let numbers = numbers.iter().filter_map(|name| name.parse::<u32>().ok());
    let (none, groups): (Vec<u32>, Vec<u32>) =
        numbers.partition(|number| group::is_no_iommu(host, *number));
    let kind = |number: &u32| host.read(&format!("{GROUPS}/{number}/type")).ok();
    let mut kinds: Vec<String> = groups.iter().filter_map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of_kinds = if kinds.is_empty() {
        String::new()
    } else {
        format!(", default domain {}", kinds.join(", "))
    };
    let (count, all) = (groups.len(), devices.len());
    let in_one = |device: &&PciDevice| device.iommu_group.is_some_and(|n| groups.contains(&n));
    // A bridge has no driver in many kernels, and no group.
    let probed = |device: &&PciDevice| {
        device.driver.is_some() && !pci::belongs_to_machine(host, device.address)
    };
    match (count, devices.iter().filter(in_one).count()) {
        (0, _) if !none.is_empty() => check(Check::problem, format!("{} no-IOMMU ones (vfio.enable_unsafe_noiommu_mode), which no VM can use", none.len()))
            .fix(no_iommu_fix(host)),
        (0, _) => check(Check::problem, format!("none, for {all} PCI devices")).fix(no_iommu_fix(host)),
        (count, 0) if devices.iter().any(|device| probed(&device)) => check(
            Check::problem,
            format!("{count}, with none of the {all} PCI devices in one{of_kinds}, though drivers have probed them"),
        )
        .fix(no_iommu_fix(host)),
        (count, 0) => check(
            Check::warning,
            format!("{count}, with none of the {all} PCI devices in one{of_kinds}; on a devicetree system before Linux 6.16 a device joins its group when a driver first probes it"),
        )
        .fix("vfiorun bind DEVICE shows whether it joins one"),
        (count, grouped) => check(Check::ok, format!("{count}, with {grouped} of {all} PCI devices{of_kinds}")),
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

/// How a trusted guest gets a device without isolation.
const ANYWAY: &str = "allow_unsafe_interrupts = true in the guest file (vfio_iommu_type1.allow_unsafe_interrupts=1) lets a guest raise any interrupt of the host: only for guests you trust";

/// Type1 refuses devices whose interrupts could hit any other (`vfio_iommu_type1_attach_group`),
/// unless that is allowed.
fn interrupts(host: &Host, around: &Surroundings, devices: &[PciDevice]) -> Check {
    let check = |status: fn(&'static str, &'static str, String) -> Check, found: String| {
        status("interrupts", "interrupt isolation", found)
    };
    if matches!(host.read(UNSAFE_INTERRUPTS).as_deref(), Ok("Y" | "1")) {
        return check(
            Check::warning,
            "not required: allow_unsafe_interrupts is set, and a guest can raise any interrupt of the host".to_owned(),
        )
        .fix("write N to /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts where MSIs are isolated");
    }
    let interrupts = around.interrupts(host);
    let endpoints = devices.iter().filter(|d| !pci::belongs_to_machine(host, d.address));
    let (mut by, mut shared, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for device in endpoints {
        match interrupts.of(host, around.board(host), device.address) {
            Isolation::Isolated(name) => by.push(name),
            Isolation::Shared(name) => {
                refused.push(device.address.to_string());
                shared.push(name);
            }
            Isolation::Unknown => {}
        }
    }
    if by.is_empty() && shared.is_empty() {
        match interrupts.system() {
            Isolation::Isolated(name) => by.push(name),
            Isolation::Shared(name) => shared.push(name),
            Isolation::Unknown => {
                let found = "the interrupt controller is unknown (/proc/interrupts)";
                return check(Check::warning, found.to_owned());
            }
        }
    }
    let isolated = match machine::is_arm(host) {
        true => "an ITS isolates the MSIs of each device",
        false => "interrupts are remapped",
    };
    match (by.first(), shared.first()) {
        (_, None) => check(Check::ok, isolated.to_owned()),
        (None, Some(name)) => check(
            Check::problem,
            format!("not isolated: interrupts end in {name}, and VFIO refuses with \"Operation not permitted\", whether a device uses MSIs or INTx"),
        )
        .fix(not_isolated_fix(host)),
        (Some(_), Some(name)) => check(
            Check::warning,
            format!("{isolated}, but not those of {}, which end in {name}: VFIO refuses these with \"Operation not permitted\"", refused.join(", ")),
        )
        .fix(not_isolated_fix(host)),
    }
}

fn not_isolated_fix(host: &Host) -> String {
    match machine::of(host).as_str() {
        machine::X86_64 => {
            format!("turn on VT-d or AMD-Vi with interrupt remapping in the firmware; {ANYWAY}")
        }
        _ => format!("use a slot whose MSIs end in an ITS, if there is one; {ANYWAY}"),
    }
}
