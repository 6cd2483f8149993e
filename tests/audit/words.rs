//! Words of the command line that turn off what passthrough needs.

use crate::common::cli::Scratch;
use crate::common::synthetic::CONFIG;
use crate::common::{RELEASE, module};

use serde_json::Value;

/// The exit status, and the reasons of what fails or is unknown among the rules that decide.
fn check(config: &str, line: &str, modules: &[(&str, &str)]) -> (Option<i32>, String) {
    let scratch = Scratch::new();
    scratch.file("a.config", config.as_bytes());
    let mut command = scratch.command("check a.config --format json --cmdline");
    command.arg(line);
    for (name, depends) in modules {
        scratch.file(&format!("m/{name}.ko"), &module(name, RELEASE, depends));
    }
    if !modules.is_empty() {
        command.args(["--modules", "m"]);
    }
    let output = command.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["inputs"][0]["findings"].as_array().unwrap().clone();
    let open = findings.iter().filter(|own| {
        own["decides"] == true && matches!(own["verdict"].as_str(), Some("fail" | "unknown"))
    });
    let reasons = open.map(|own| format!("{}: {}", own["id"], own["reason"]));
    (output.status.code(), reasons.collect::<Vec<_>>().join("\n"))
}

/// A config for x86_64 with KVM for these vendors, and with their IOMMUs.
fn x86(vendors: &[&str], default_on: bool) -> String {
    let mut config = CONFIG.replace("Linux/arm64", "Linux/x86");
    config.push_str("CONFIG_64BIT=y\nCONFIG_IRQ_REMAP=y\n");
    for vendor in vendors {
        config.push_str(&format!("CONFIG_KVM_{vendor}=y\nCONFIG_{vendor}_IOMMU=y\n"));
    }
    if default_on {
        config.push_str("CONFIG_INTEL_IOMMU_DEFAULT_ON=y\n");
    }
    config
}

#[test]
fn the_last_word_that_counts_decides() {
    for (vendor, line, status) in [
        ("INTEL", "quiet", 0),
        ("INTEL", "intel_iommu=off", 1),
        ("INTEL", "intel_iommu=sm_on,off", 1),
        ("INTEL", "intel_iommu=off intel_iommu=igfx_off", 1),
        ("INTEL", "intel_iommu=off intel_iommu=on", 0),
        ("INTEL", "intel_iommu=off,on", 0),
        ("INTEL", "intel_iommu=igfx_off", 0),
        ("INTEL", "amd_iommu=off", 0),
        ("AMD", "amd_iommu=off", 1),
        ("AMD", "amd_iommu=off amd_iommu=on", 1),
        ("AMD", "intel_iommu=off", 0),
        ("AMD", "iommu=off", 1),
        ("AMD", "iommu=pt,off", 1),
        ("INTEL", "iommu=off iommu=pt", 1),
        ("INTEL", "iommu=pt", 0),
        ("INTEL", "intremap=off", 1),
        ("INTEL", "intremap=nosid,off", 1),
        ("INTEL", "nointremap", 1),
        ("INTEL", "noapic", 1),
        ("INTEL", "nolapic", 1),
        ("INTEL", "disableapic", 1),
        ("INTEL", "acpi=off", 1),
        ("INTEL", "pci=off", 1),
        ("INTEL", "pci=noaer,nomsi", 1),
        ("INTEL", "pci=noaer", 0),
    ] {
        let (code, reasons) = check(&x86(&[vendor], true), line, &[]);
        assert_eq!(code, Some(status), "{vendor}: {line}: {reasons}");
        let named = line.split(' ').next().unwrap().split('=').next().unwrap();
        assert!(status == 0 || reasons.contains(named), "{line}: {reasons}");
    }
}

#[test]
fn with_two_vendors_the_machine_decides() {
    for (line, status) in [
        ("quiet", 0),
        ("intel_iommu=off amd_iommu=off", 1),
        ("intel_iommu=off", 3),
        ("amd_iommu=off", 3),
        ("iommu=off", 1),
    ] {
        let (code, reasons) = check(&x86(&["INTEL", "AMD"], true), line, &[]);
        assert_eq!(code, Some(status), "{line}: {reasons}");
    }
    // KVM for the other vendor only: its IOMMU is what counts.
    let crossed = x86(&["INTEL"], true) + "CONFIG_AMD_IOMMU=y\n";
    assert_eq!(check(&crossed, "intel_iommu=off", &[]).0, Some(1));
}

#[test]
fn what_is_off_by_default_must_be_turned_on() {
    for (vendors, line, status) in [
        (&["INTEL"][..], "quiet", 1),
        (&["INTEL"], "intel_iommu=on", 0),
        (&["INTEL"], "intel_iommu=igfx_off", 1),
        (&["AMD"], "quiet", 0),
        (&["INTEL", "AMD"], "quiet", 3),
        (&["INTEL", "AMD"], "amd_iommu=off", 1),
    ] {
        let (code, reasons) = check(&x86(vendors, false), line, &[]);
        assert_eq!(code, Some(status), "{vendors:?} {line}: {reasons}");
    }
    let debian = x86(&["INTEL"], false) + "CONFIG_INTEL_IOMMU_DEFAULT_ON_INTGPU_OFF=y\n";
    assert_eq!(check(&debian, "quiet", &[]).0, Some(0));
    // Nothing is said to be required of a command line that is not known.
    let scratch = Scratch::new();
    scratch.file("a.config", x86(&["INTEL"], false).as_bytes());
    let text = scratch.run("check a.config").success().get_output().stdout.clone();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("intel_iommu=on") && !text.contains("(required)"), "{text}");
}

#[test]
fn what_a_blacklist_keeps_from_starting_does_not_count() {
    let release = CONFIG.replace("6.1.99", RELEASE.split(' ').next().unwrap());
    let modular = release.replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m");
    let modules = [("vfio_pci", "vfio_pci_core"), ("vfio_pci_core", "")];
    for (config, line, status) in [
        (&modular, "quiet", 0),
        (&modular, "module_blacklist=vfio_pci", 1),
        (&modular, "module_blacklist=nouveau,vfio_pci_core", 1),
        // Only the last one counts, and names are compared byte by byte.
        (&modular, "module_blacklist=vfio_pci module_blacklist=nouveau", 0),
        (&modular, "module_blacklist=vfio-pci", 0),
        (&modular, "modprobe.blacklist=vfio-pci modprobe.blacklist=nouveau", 1),
        (&modular, "initcall_blacklist=vfio_pci_init", 1),
        (&release, "module_blacklist=vfio_pci", 0),
        (&release, "initcall_blacklist=x,vfio_pci_init initcall_blacklist=y", 1),
        (&release, "initcall_blacklist=gen_pci_driver_init", 1),
        (&release, "initcall_blacklist=populate_rootfs", 1),
        (&release, "initcall_blacklist=kvm_arm_init", 1),
    ] {
        let (code, reasons) = check(config, line, &modules);
        assert_eq!(code, Some(status), "{line}: {reasons}");
        assert!(status == 0 || reasons.contains("blacklist="), "{line}: {reasons}");
    }
    // Another bridge may be the machine's.
    let two = release + "CONFIG_PCIE_QCOM=y\n";
    assert_eq!(check(&two, "initcall_blacklist=qcom_pcie_driver_init", &[]).0, Some(3));
}
