//! Why a device does not come into a guest: what is seen beforehand, and what a failure is put down to.

use crate::common::device_tree;

use std::fs;
use std::os::unix::fs::symlink;

use device_tree::{Tree, at};
use vfioboot::device::bind::inventory;
use vfioboot::device::bind::plan::{Options, Plan, Refusal, Warning};
use vfioboot::device::bus::pci::PciDevice;
use vfioboot::device::causes::facts::{self, Fact, Known, Surroundings};
use vfioboot::device::causes::{Failure, Step};
use vfioboot::device::doctor::{Status, examine};
use vfioboot::device::sys::machine;

const DISK: &str = "0000:00:02.0";
const DT: &str = "sys/firmware/devicetree/base";

/// A disk on nvme, in group 1, and a vfio-pci that could take it.
fn tree(name: &str) -> Tree {
    let tree = Tree::new(&format!("reasons-{name}"));
    tree.file("proc/sys/kernel/osrelease", "6.12.0\n");
    tree.file("proc/sys/kernel/arch", "aarch64\n");
    fs::create_dir_all(tree.path("sys/class/iommu/smmu3.0x0000000009050000")).unwrap();
    tree.driver("vfio-pci");
    tree.device(DISK, ("1b36", "0010"), Some("nvme"));
    tree.file(&format!("sys/devices/pci0000:00/{DISK}/class"), "0x010802\n");
    tree.iommu_group(1, &[DISK]);
    tree
}

fn facts_of(tree: &Tree) -> Vec<Fact> {
    let host = tree.host();
    let device = PciDevice::read(&host, at(DISK)).unwrap();
    facts::of(&host, &Surroundings::default(), &device).iter().map(|known| known.fact).collect()
}

/// The ids of the causes for which a bind is refused, and of those that it warns of.
fn bind(tree: &Tree, force: bool) -> (Vec<&'static str>, Vec<&'static str>) {
    let spec = || DISK.parse().unwrap();
    let force = if force { vec![spec()] } else { Vec::new() };
    let warned = |warnings: &[Warning]| {
        let id = |warning: &Warning| match warning {
            Warning::Cause { reason, .. } => Some(reason.cause.id),
            _ => None,
        };
        warnings.iter().filter_map(id).collect()
    };
    match Plan::new(&tree.host(), &[spec()], &Options { force, ..Options::default() }) {
        Ok(plan) => (Vec::new(), warned(&plan.warnings)),
        Err(error) => {
            let id = |refusal: &Refusal| match refusal {
                Refusal::Cause { reason, .. } => reason.cause.id,
                other => panic!("{other}"),
            };
            (error.refusals.iter().map(id).collect(), Vec::new())
        }
    }
}

fn passable(tree: &Tree) -> bool {
    inventory::read(&tree.host()).unwrap()[0].obstacles.is_empty()
}

fn status(tree: &Tree, id: &str) -> Status {
    let checks = examine(&tree.host());
    checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no {id}")).status
}

// --- what is seen beforehand --------------------------------------------------------------------

#[test]
fn memory_that_the_firmware_wants_mapped_is_refused() {
    let tree = tree("direct");
    let regions = |kind: &str| {
        let msi = "0x00000000fee00000 0x00000000feefffff msi";
        let text = format!("0x00000000bdf84000 0x00000000bdf87fff {kind}\n{msi}\n");
        tree.file("sys/kernel/iommu_groups/1/reserved_regions", text);
    };
    regions("direct-relaxable");
    assert_eq!((bind(&tree, false), passable(&tree)), ((vec![], vec![]), true));
    regions("direct");
    assert_eq!((bind(&tree, false), passable(&tree)), ((vec!["direct-regions"], vec![]), false));
    assert_eq!(bind(&tree, true), (vec![], vec!["direct-regions"]));
    // Before Linux 6.6 only Intel's IOMMU refuses.
    tree.file("proc/sys/kernel/osrelease", "6.1.0-39-arm64\n");
    assert_eq!(bind(&tree, false).0.len(), 0);
    fs::create_dir_all(tree.path("sys/class/iommu/dmar0")).unwrap();
    assert_eq!(bind(&tree, false).0, ["direct-regions"]);
    // Before 5.3 the regions of graphics had no name of their own.
    tree.file("proc/sys/kernel/osrelease", "4.19.0\n");
    tree.file(&format!("sys/devices/pci0000:00/{DISK}/class"), "0x030000\n");
    assert_eq!(bind(&tree, false).0.len(), 0);
}

#[test]
fn a_group_without_an_iommu_is_none() {
    let tree = tree("no-iommu-mode");
    tree.file("sys/kernel/iommu_groups/1/name", "vfio-noiommu\n");
    assert_eq!((bind(&tree, false).0, passable(&tree)), (vec!["no-iommu-mode"], false));
    assert_eq!(status(&tree, "iommu-groups"), Status::Problem);
    tree.file("sys/kernel/iommu_groups/1/name", "another\n");
    assert!(passable(&tree));
    // The name is not there before Linux 5.17; the node is.
    tree.file("dev/vfio/noiommu-1", "");
    assert!(!passable(&tree));
}

#[test]
fn what_vfio_pci_denies_is_refused() {
    let tree = tree("denied");
    let qat = |ids: (&str, &str)| {
        tree.file(&format!("sys/devices/pci0000:00/{DISK}/vendor"), format!("0x{}\n", ids.0));
        tree.file(&format!("sys/devices/pci0000:00/{DISK}/device"), format!("0x{}\n", ids.1));
    };
    qat(("8086", "37c8"));
    assert_eq!(bind(&tree, false).0, ["deny-listed"]);
    tree.file("sys/module/vfio_pci/parameters/disable_denylist", "Y\n");
    assert_eq!(bind(&tree, false).0.len(), 0);
    tree.file("sys/module/vfio_pci/parameters/disable_denylist", "N\n");
    qat(("8086", "0b25"));
    assert_eq!(bind(&tree, false).0, ["deny-listed"]);
    tree.file("proc/sys/kernel/osrelease", "6.1.0\n");
    assert_eq!(bind(&tree, false).0.len(), 0);
    qat(("1b36", "37c8"));
    tree.file("proc/sys/kernel/osrelease", "6.12.0\n");
    assert_eq!(bind(&tree, false).0.len(), 0);
}

#[test]
fn a_device_that_does_not_answer_is_refused() {
    let tree = tree("dead");
    let config = format!("sys/devices/pci0000:00/{DISK}/config");
    tree.file(&config, [0xff; 64]);
    assert_eq!((bind(&tree, false).0, passable(&tree)), (vec!["dead-config"], false));
    // One that sleeps is not woken to look at it.
    tree.file(&format!("sys/devices/pci0000:00/{DISK}/power/runtime_status"), "suspended\n");
    assert!(passable(&tree));
    tree.file(&format!("sys/devices/pci0000:00/{DISK}/power/runtime_status"), "active\n");
    tree.file(&config, [0x36, 0x1b, 0x10, 0, 0xff]);
    assert!(passable(&tree));
}

// --- interrupts ---------------------------------------------------------------------------------

#[test]
fn where_interrupts_end_decides() {
    use Status::{Ok, Problem, Warning};
    let tree = tree("interrupts");
    for (chip, release, arch, expected) in [
        ("GICv3 27 Level x\n 90: 0 ITS-MSI 524288 Edge nvme0q0", "6.1.0", "aarch64", Ok),
        ("GICv3 27 Level x\n 90: 0 ITS-PCI-MSIX-0000:00:02.0 0 Edge x", "6.12.0", "aarch64", Ok),
        ("GICv3 27 Level x\n 90: 0 PCI-MSI 524288 Edge nvme0q0", "6.12.0", "aarch64", Problem),
        ("GICv3 27 Level x\n 90: 0 BRCM STB PCIe MSI 1 Edge x", "6.12.0", "aarch64", Problem),
        // Without MSIs a device has no isolated ones, since each counts for itself.
        ("GICv3 27 Level x", "6.3.0", "aarch64", Problem),
        ("GICv3 27 Level x", "6.2.0", "aarch64", Warning),
        ("GICv2 27 Level x", "6.1.0", "aarch64", Problem),
        ("GIC-0 27 Level x", "4.19.113", "aarch64", Problem),
        ("GICv3 27 Level x\n 60: 1 ITS-pMSI 1 Edge smmu", "6.12.0", "aarch64", Problem),
        ("IR-IO-APIC 2-edge timer", "6.1.0", "x86_64", Ok),
        ("IO-APIC 2-edge timer\n 90: 0 IR-PCI-MSI 524288-edge x", "6.1.0", "x86_64", Ok),
        ("IO-APIC 2-edge timer\n 24: 0 PCI-MSI 524288-edge x", "6.1.0", "x86_64", Problem),
        ("IO-APIC 2-edge timer\n 24: 0 DMAR-MSI 0-edge dmar0", "6.1.0", "x86_64", Problem),
        ("Sunway 1 x", "6.12.0", "aarch64", Warning),
    ] {
        tree.file("proc/sys/kernel/osrelease", format!("{release}\n"));
        tree.file("proc/sys/kernel/arch", format!("{arch}\n"));
        tree.file("proc/interrupts", format!("      CPU0\n 30: 5 {chip}\nNMI: 0 x\n"));
        assert_eq!(status(&tree, "interrupts"), expected, "{chip} on {release}");
    }
}

#[test]
fn each_device_counts_for_itself() {
    let tree = tree("interrupts-own");
    tree.file("proc/interrupts", " 30: 5 GICv3 27 Level x\n 90: 0 ITS-MSI 1 Edge other\n");
    assert!(!facts_of(&tree).contains(&Fact::SharedInterrupts));
    tree.file(&format!("sys/devices/pci0000:00/{DISK}/msi_irqs/91"), "msix\n");
    tree.file("sys/kernel/irq/91/chip_name", "PCI-MSI\n");
    assert!(facts_of(&tree).contains(&Fact::SharedInterrupts));
    assert_eq!(bind(&tree, false), (vec![], vec!["interrupts-not-isolated"]));
    assert!(passable(&tree), "a trusted guest may have it");
    tree.file("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");
    assert!(!facts_of(&tree).contains(&Fact::SharedInterrupts));
    tree.file("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "N\n");
    tree.file("sys/kernel/irq/91/chip_name", "ITS-PCI-MSIX-0000:00:02.0\n");
    assert!(!facts_of(&tree).contains(&Fact::SharedInterrupts));
}

/// 128 processors and a thousand interrupts: the one that counts is far behind.
#[test]
fn a_long_table_of_interrupts_is_read_whole() {
    let tree = tree("interrupts-long");
    let counts = format!("{:>11}", 0).repeat(128);
    let mut text: String =
        (10..1010).map(|number| format!("{number:4}:{counts} GICv3 {number} Level x\n")).collect();
    text += &format!("1010:{counts} PCI-MSI 524288 Edge nvme0q0\n");
    assert!(text.len() > 1 << 20);
    tree.file("proc/interrupts", text);
    assert_eq!(status(&tree, "interrupts"), Status::Problem);
    assert!(facts_of(&tree).contains(&Fact::SharedInterrupts));
}

// --- the device tree ----------------------------------------------------------------------------

/// A property of numbers.
fn cells(tree: &Tree, property: &str, numbers: &[u32]) {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_be_bytes()).collect();
    tree.file(&format!("{DT}/{property}"), bytes);
}

/// A board with one host bridge, an SMMU that its node may lead to, and a disk that is in no group.
fn board(name: &str) -> Tree {
    let tree = tree(name);
    fs::remove_dir_all(tree.path("sys/class/iommu")).unwrap();
    fs::remove_dir_all(tree.path("sys/kernel/iommu_groups/1")).unwrap();
    fs::remove_file(tree.path(&format!("sys/devices/pci0000:00/{DISK}/iommu_group"))).unwrap();
    tree.unlink_driver(DISK);
    tree.file(&format!("{DT}/soc/pcie@fe150000/compatible"), "rockchip,rk3588-pcie\0");
    tree.file(&format!("{DT}/soc/pcie@fe150000/pcie@0,0/reg"), "");
    tree.file(&format!("{DT}/soc/iommu@fc900000/compatible"), "arm,smmu-v3\0");
    cells(&tree, "soc/iommu@fc900000/phandle", &[7]);
    tree
}

fn why(tree: &Tree) -> String {
    let checks = examine(&tree.host());
    let check = checks.iter().find(|check| check.id == "device-tree");
    check.map(|check| check.found.clone()).unwrap_or_default()
}

#[test]
fn a_host_bridge_without_an_iommu_is_told_from_the_device_tree() {
    let tree = board("no-map");
    assert_eq!((bind(&tree, false).0, passable(&tree)), (vec!["no-group"], false));
    assert_eq!(status(&tree, "device-tree"), Status::Problem);
    assert!(why(&tree).contains("pcie@fe150000 has no iommu-map"), "{}", why(&tree));
    assert!(!why(&tree).contains("fc900000"));
    tree.file(&format!("{DT}/soc/iommu@fc900000/status"), "disabled\0");
    assert!(why(&tree).contains("iommu@fc900000 (arm,smmu-v3)"), "{}", why(&tree));
    // What lies in the device tree is the cause of what the kernel lacks.
    let checks = examine(&tree.host());
    for id in ["iommu", "iommu-groups"] {
        let check = checks.iter().find(|check| check.id == id).unwrap();
        assert!(check.follows_from == Some("device-tree") || check.status != Status::Problem);
    }
}

#[test]
fn a_map_that_leads_nowhere_is_told() {
    let tree = board("map");
    cells(&tree, "soc/pcie@fe150000/iommu-map", &[0, 7, 0, 0x1_0000]);
    // Its driver may come later.
    assert_eq!(bind(&tree, false).0.len(), 0);
    tree.file(&format!("{DT}/soc/iommu@fc900000/status"), "disabled\0");
    assert!(why(&tree).contains("leads to iommu@fc900000 (arm,smmu-v3), which is disabled"));
    assert_eq!(bind(&tree, false).0, ["no-group"]);
    tree.file(&format!("{DT}/soc/iommu@fc900000/status"), "okay\0");
    cells(&tree, "soc/pcie@fe150000/iommu-map", &[0x100, 7, 0, 0x100]);
    assert!(why(&tree).contains("leaves this device out"), "{}", why(&tree));
    cells(&tree, "soc/pcie@fe150000/iommu-map-mask", &[0]);
    cells(&tree, "soc/pcie@fe150000/iommu-map", &[0, 7, 0, 1]);
    assert_eq!(bind(&tree, false).0.len(), 0);
}

#[test]
fn of_several_host_bridges_the_devices_own_is_asked() {
    let tree = board("bridges");
    cells(&tree, "soc/pcie@fe150000/iommu-map", &[0, 7, 0, 0x1_0000]);
    tree.file(&format!("{DT}/soc/pcie@fe180000/compatible"), "rockchip,rk3588-pcie\0");
    cells(&tree, "soc/pcie@fe150000/linux,pci-domain", &[0]);
    cells(&tree, "soc/pcie@fe180000/linux,pci-domain", &[3]);
    assert_eq!(bind(&tree, false).0.len(), 0);
    // What the kernel links counts more.
    let target = "../../firmware/devicetree/base/soc/pcie@fe180000";
    symlink(target, tree.path("sys/devices/pci0000:00/of_node")).unwrap();
    assert_eq!(bind(&tree, false).0, ["no-group"]);
    assert!(why(&tree).contains("pcie@fe180000"), "{}", why(&tree));
}

#[test]
fn the_msi_map_says_where_interrupts_will_end() {
    let tree = board("msi-map");
    tree.file("proc/interrupts", " 30: 5 GICv3 27 Level x\n 90: 0 ITS-MSI 1 Edge other\n");
    tree.file(&format!("{DT}/msi-controller@fe640000/compatible"), "arm,gic-v3-its\0");
    cells(&tree, "msi-controller@fe640000/phandle", &[9]);
    tree.file(&format!("{DT}/v2m@fe650000/compatible"), "arm,gic-v2m-frame\0");
    tree.file(&format!("{DT}/v2m@fe650000/msi-controller"), "");
    cells(&tree, "v2m@fe650000/phandle", &[10]);
    cells(&tree, "soc/pcie@fe150000/msi-map", &[0, 9, 0, 0x1_0000]);
    assert!(!facts_of(&tree).contains(&Fact::SharedInterrupts));
    cells(&tree, "soc/pcie@fe150000/msi-map", &[0, 10, 0, 0x1_0000]);
    assert!(facts_of(&tree).contains(&Fact::SharedInterrupts));
    fs::remove_file(tree.path(&format!("{DT}/soc/pcie@fe150000/msi-map"))).unwrap();
    cells(&tree, "soc/pcie@fe150000/msi-parent", &[9]);
    assert!(!facts_of(&tree).contains(&Fact::SharedInterrupts));
}

#[test]
fn dma_that_is_not_coherent_is_told() {
    let tree = board("coherent");
    cells(&tree, "soc/pcie@fe150000/iommu-map", &[0, 7, 0, 0x1_0000]);
    assert!(facts_of(&tree).contains(&Fact::NotCoherent));
    assert_eq!(bind(&tree, false), (vec![], vec!["not-coherent"]));
    tree.file(&format!("{DT}/soc/pcie@fe150000/dma-coherent"), "");
    assert!(facts_of(&tree).contains(&Fact::NotCoherent), "of an SMMUv3 its own node counts");
    tree.file(&format!("{DT}/soc/iommu@fc900000/compatible"), "qcom,smmu-500\0arm,mmu-500\0");
    assert!(!facts_of(&tree).contains(&Fact::NotCoherent));
    fs::remove_file(tree.path(&format!("{DT}/soc/pcie@fe150000/dma-coherent"))).unwrap();
    tree.file(&format!("{DT}/soc/dma-coherent"), "");
    assert!(!facts_of(&tree).contains(&Fact::NotCoherent), "the bus may say it for all");
    tree.file(&format!("{DT}/soc/iommu@fc900000/dma-noncoherent"), "");
    tree.file(&format!("{DT}/soc/pcie@fe150000/dma-noncoherent"), "");
    assert!(facts_of(&tree).contains(&Fact::NotCoherent));
    tree.file("proc/sys/kernel/osrelease", "5.15.0\n");
    assert!(!facts_of(&tree).contains(&Fact::NotCoherent));
}

/// Some drivers remove them when they go, others do not, and vfio-pci does not take the device then.
#[test]
fn idle_virtual_functions_are_warned_of() {
    let tree = tree("functions");
    let function = "0000:00:02.1";
    tree.device(function, ("8086", "10ca"), None);
    let place = tree.path(&format!("sys/devices/pci0000:00/{DISK}"));
    symlink(format!("../{function}"), place.join("virtfn0")).unwrap();
    assert_eq!(facts_of(&tree), [Fact::FunctionsEnabled]);
    assert_eq!(bind(&tree, false), (vec![], vec!["functions-enabled"]));
    // It has it already, and made them itself.
    fs::remove_file(place.join("driver")).unwrap();
    symlink("../../../bus/pci/drivers/vfio-pci", place.join("driver")).unwrap();
    assert_eq!(facts_of(&tree), []);
}

// --- what a failure is put down to ----------------------------------------------------------------

fn put_down(
    step: Step,
    errno: Option<i32>,
    lines: &[&str],
    facts: &[Fact],
) -> Option<&'static str> {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let facts: Vec<Known> =
        facts.iter().map(|fact| Known { fact: *fact, detail: String::new() }).collect();
    let reason = Failure { step, errno, lines: &lines, facts: &facts }.reason()?;
    Some(reason.cause.id)
}

#[test]
fn a_line_says_more_than_a_fact_and_a_fact_more_than_the_errno() {
    const EPERM: Option<i32> = Some(1);
    const EINVAL: Option<i32> = Some(22);
    let rmrr = "vfio-pci 0000:04:00.0: Device is ineligible for IOMMU domain attach due to platform RMRR requirement.  Contact your platform vendor.";
    let remap = "vfio_iommu_type1_attach_group: No interrupt remapping support.  Use the module param \"allow_unsafe_interrupts\" to enable VFIO IOMMU support on this platform";
    for (step, errno, lines, facts, expected) in [
        (Step::Attach, EPERM, vec![], vec![], Some("interrupts-or-regions")),
        (
            Step::Attach,
            EPERM,
            vec![],
            vec![Fact::SharedInterrupts],
            Some("interrupts-not-isolated"),
        ),
        (Step::Attach, EPERM, vec![], vec![Fact::DirectRegions], Some("direct-regions")),
        (
            Step::Attach,
            EPERM,
            vec![remap],
            vec![Fact::DirectRegions],
            Some("interrupts-not-isolated"),
        ),
        (
            Step::Attach,
            EPERM,
            vec!["x", rmrr],
            vec![Fact::SharedInterrupts],
            Some("direct-regions"),
        ),
        (Step::Attach, EINVAL, vec![], vec![Fact::DirectRegions], Some("direct-regions")),
        (Step::Attach, EINVAL, vec![], vec![Fact::SharedInterrupts], None),
        (Step::Attach, Some(16), vec![], vec![], Some("group-owned")),
        (Step::Open, Some(16), vec![], vec![], Some("group-open")),
        (Step::Probe, None, vec![], vec![], None),
        (Step::Probe, EINVAL, vec![], vec![Fact::NotCoherent], Some("not-coherent")),
        (Step::Probe, None, vec![], vec![Fact::NoGroup], Some("no-group")),
        (Step::Write, Some(30), vec![], vec![], Some("read-only")),
    ] {
        assert_eq!(put_down(step, errno, &lines, &facts), expected, "{step:?} {errno:?} {lines:?}");
    }
}

#[test]
fn the_lines_of_kernel_and_qemu_are_known() {
    for (step, line, expected) in [
        (
            Step::Probe,
            "vfio-pci 0000:01:00.0: Cannot bind to PF with SR-IOV enabled",
            "functions-enabled",
        ),
        (Step::Probe, "vfio-pci: probe of 0000:01:00.0 failed with error -22", "probe-refused"),
        (
            Step::Probe,
            "vfio-pci 0000:01:00.0: probe with driver vfio-pci failed with error -22",
            "probe-refused",
        ),
        (
            Step::Probe,
            "vfio-pci 0000:01:00.0: 8086:37c8 exists in vfio-pci device denylist, driver probing disallowed.",
            "deny-listed",
        ),
        (
            Step::Probe,
            "vfio-pci 0000:01:00.0: Unable to change power state from D3cold to D0, device inaccessible",
            "dead-config",
        ),
        (
            Step::Probe,
            "vfio-pci 0000:01:00.0: not ready 65535ms after FLR; giving up",
            "dead-config",
        ),
        (
            Step::Probe,
            "vfio-pci 0000:01:00.0: Cannot bind to PF with SRIOV enabled",
            "functions-enabled",
        ),
        (
            Step::Attach,
            "dev 0000:01:00.0: Firmware has requested this device have a 1:1 IOMMU mapping, rejecting configuring the device without a 1:1 mapping. Contact your platform vendor.",
            "direct-regions",
        ),
        (
            Step::Qemu,
            "vfio-pci 0000:06:00.0: BAR 1: can't reserve [mem 0xe0000000-0xefffffff 64bit pref]",
            "framebuffer",
        ),
        (
            Step::Qemu,
            "qemu-system-x86_64: -device vfio-pci,host=0000:01:00.0: vfio 0000:01:00.0: group 14 is not viable",
            "qemu-not-viable",
        ),
        (
            Step::Qemu,
            "Please ensure all devices within the iommu_group are bound to their vfio bus driver.",
            "qemu-not-viable",
        ),
        (
            Step::Qemu,
            "qemu-system-x86_64: VFIO_MAP_DMA failed: Cannot allocate memory",
            "qemu-memlock",
        ),
        (
            Step::Qemu,
            "qemu-system-x86_64: vfio_dma_map(0x55d1, 0x100000000, 0x180000000, 0x7f) = -22 (Invalid argument)",
            "qemu-map",
        ),
        (
            Step::Qemu,
            "-device vfio-pci,host=01:00.0: vfio 0000:01:00.0: failed to setup container for group 14: Failed to set iommu for container: Operation not permitted",
            "interrupts-not-isolated",
        ),
        (
            Step::Qemu,
            "-device vfio-pci,host=01:00.0: vfio 0000:01:00.0: failed to setup container for group 14: No available IOMMU models",
            "qemu-container",
        ),
        (
            Step::Qemu,
            "qemu-system-x86_64: warning: host doesn't support requested feature: CPUID.01H:ECX.x2apic [bit 21]",
            "qemu-features",
        ),
        (
            Step::Qemu,
            "kvm_init_vcpu: kvm_arch_init_vcpu failed (0): Invalid argument",
            "qemu-cores",
        ),
        (Step::Qemu, "Could not access KVM kernel module: No such file or directory", "qemu-kvm"),
        (
            Step::Qemu,
            "qemu-system-x86_64: cannot set up guest memory 'ram': Cannot allocate memory",
            "qemu-ram",
        ),
        (
            Step::Qemu,
            "qemu-system-x86_64: -drive file=a.img: Failed to get \"write\" lock",
            "qemu-lock",
        ),
        (
            Step::Qemu,
            "qemu-system-x86_64: -drive file=a.img: Could not open 'a.img': No such file or directory",
            "qemu-open",
        ),
    ] {
        assert_eq!(put_down(step, None, &[line], &[]), Some(expected), "{line}");
    }
    assert_eq!(put_down(Step::Qemu, None, &["char device redirected to /dev/pts/3"], &[]), None);
}

// --- another machine's tree -----------------------------------------------------------------------

#[test]
fn a_tree_is_judged_by_the_rules_of_its_own_architecture() {
    let tree = Tree::new("reasons-machine");
    let is = |expected: &str| assert_eq!(machine::of(&tree.host()), expected);
    is(std::env::consts::ARCH);
    let mut elf = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0";
    for (machine, expected) in [(62, "x86_64"), (183, "aarch64")] {
        elf[18] = machine;
        tree.file("sbin/init", elf);
        is(expected);
    }
    tree.file("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\n");
    is("x86_64");
    tree.file("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\n");
    is("aarch64");
    fs::create_dir_all(tree.path("sys/class/iommu/ivhd0")).unwrap();
    is("x86_64");
    tree.file("proc/sys/kernel/arch", "aarch64\n");
    is("aarch64");
}
