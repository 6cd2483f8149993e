//! A patch that cannot work: the kernel, the ramdisk or the modules show that no guest can use the
//! devices.

use crate::common;
use crate::common::cli::Scratch;
use crate::common::synthetic::{self, CONFIG, LAYOUTS};

use common::{AARCH64, RELEASE, elf, fixture, kernel, with_section};
use serde_json::Value;
use vfioboot::image::SectionName;

const PATCH: &str = "patch --runtime rt --device 1b36:0010 boot.img";

/// A directory with the runtime, and `boot.img` with this kernel.
fn scratch(kernel: &[u8]) -> Scratch {
    let scratch = Scratch::new();
    scratch.file("rt", &elf(AARCH64));
    let image = fixture("images/boot-v2-gzip-dtbo.img");
    scratch.file("boot.img", &with_section(&image, SectionName::Kernel, kernel.to_vec()));
    scratch
}

/// A kernel without a config, whose symbol table has these names besides many others.
fn without_config(names: &[&str]) -> Vec<u8> {
    let others = (0..600).map(|i| format!("Tsome_function_{i}"));
    let fixed = ["Tload_module", "Tiommu_group_alloc", "Tpci_msi_enabled"].into_iter();
    let own = names.iter().copied().chain(fixed).map(str::to_owned);
    let table = synthetic::symbol_table(LAYOUTS[2], &others.chain(own).collect::<Vec<_>>());
    synthetic::arm64_image(&[table, synthetic::body(None)].concat(), 1 << 20)
}

/// Status and plan of a dry run.
fn dry_run(scratch: &Scratch, arguments: &str) -> (Option<i32>, Value) {
    let run = scratch.run(&format!("{PATCH} --dry-run --json {arguments}"));
    let output = run.get_output();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), json["plan"].clone())
}

/// What is missing: the ids of failed rules, or the kind.
fn unfit(plan: &Value) -> Vec<&str> {
    let reasons = plan["unfit"].as_array().unwrap().iter();
    reasons.map(|reason| reason["id"].as_str().or(reason["kind"].as_str()).unwrap()).collect()
}

#[test]
fn a_kernel_that_can_is_patched() {
    let scratch = scratch(&kernel(CONFIG));
    let (status, plan) = dry_run(&scratch, "");
    assert_eq!((status, unfit(&plan)), (Some(0), vec![]));
    assert_eq!(plan["kernel"]["audit"], "pass");
}

#[test]
fn without_vfio_kvm_or_an_iommu_nothing_is_written() {
    let lacks =
        [("VFIO_PCI", "VB-VFIO-003"), ("KVM", "VB-KVM-001"), ("IOMMU_SUPPORT", "VB-IOMMU-001")];
    for (symbol, rule) in lacks {
        let config = CONFIG.replace(&format!("CONFIG_{symbol}=y"), "");
        let scratch = scratch(&kernel(&config));
        let output = scratch.run(&format!("{PATCH} -o out.img")).code(1).get_output().clone();
        assert!(!scratch.exists("out.img"), "{symbol}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(rule) && said.lines().count() == 1, "{said}");
        let (status, plan) = dry_run(&scratch, "");
        assert_eq!(status, Some(1));
        assert!(unfit(&plan).contains(&rule), "{plan}");
    }
}

#[test]
fn anyway_writes_it_with_0_and_says_the_same() {
    let scratch = scratch(&kernel(&CONFIG.replace("CONFIG_KVM=y", "")));
    let run = scratch.run(&format!("{PATCH} --anyway -o out.img")).success();
    let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(said.contains("VB-KVM-001"), "{said}");
    scratch.ok("unpatch out.img -o back.img");
    assert!(scratch.read("back.img") == scratch.read("boot.img"));
    let (status, plan) = dry_run(&scratch, "--anyway");
    assert_eq!((status, unfit(&plan)), (Some(0), vec!["VB-KVM-001"]));
}

#[test]
fn standard_output_stays_empty() {
    let scratch = scratch(&kernel(&CONFIG.replace("CONFIG_KVM=y", "")));
    let run = scratch.run(&format!("{PATCH} -o -")).code(1);
    assert!(run.get_output().stdout.is_empty());
}

#[test]
fn json_says_that_nothing_was_written() {
    let scratch = scratch(&kernel(&CONFIG.replace("CONFIG_KVM=y", "")));
    let run = scratch.run(&format!("{PATCH} -o out.img --json")).code(1);
    let json: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    assert_eq!(json["written"], Value::Array(vec![]));
    assert_eq!(json["commands"]["flash"], Value::Array(vec![]));
}

#[test]
fn vfio_pci_as_a_module_needs_its_file() {
    let config = CONFIG.replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m\nCONFIG_MODULES=y");
    let scratch = scratch(&kernel(&config));
    let (status, plan) = dry_run(&scratch, "");
    assert_eq!((status, unfit(&plan)), (Some(1), vec!["no_vfio_pci"]));
    scratch.file("vfio-pci.ko", &common::module("vfio_pci", RELEASE, ""));
    let (status, plan) = dry_run(&scratch, "--add-module vfio-pci.ko");
    assert_eq!((status, unfit(&plan)), (Some(0), vec![]));
}

/// Names that prove what an arm64 kernel needs.
const CAN: [&str; 5] = [
    "Tkvm_dev_ioctl",
    "Tvfio_pci_probe",
    "Tvfio_pin_pages",
    "Tvfio_iommu_type1_ioctl",
    "Tload_module",
];

#[test]
fn without_a_config_the_symbol_table_decides() {
    let (status, plan) = dry_run(&scratch(&without_config(&CAN)), "");
    assert!(!unfit(&plan).iter().any(|own| own.starts_with("VB-KVM") || *own == "no_vfio_pci"));
    assert_eq!(status == Some(0), unfit(&plan).is_empty());
    let (status, plan) = dry_run(&scratch(&without_config(&CAN[1..])), "");
    assert_eq!(status, Some(1));
    assert!(unfit(&plan).contains(&"VB-KVM-001"), "{plan}");
    let (status, plan) = dry_run(&scratch(&without_config(&[CAN[0]])), "");
    assert_eq!(status, Some(1));
    assert!(unfit(&plan).contains(&"no_vfio_pci"), "{plan}");
}

#[test]
fn what_is_unknown_is_written() {
    let scratch = scratch(&synthetic::arm64_image(&synthetic::body(None), 1 << 20));
    let (status, plan) = dry_run(&scratch, "");
    assert_eq!((status, unfit(&plan)), (Some(0), vec![]));
    scratch.ok(&format!("{PATCH} -o out.img"));
    assert!(scratch.exists("out.img"));
}

/// What counts is the command line of the result: the patch itself may take off what turns KVM off.
#[test]
fn the_line_of_the_result_decides() {
    let scratch = scratch(&kernel(CONFIG));
    scratch.ok("cmdline boot.img --add kvm-arm.mode=none -o off.img");
    let patch = PATCH.replace("boot.img", "off.img");
    let run = scratch.run(&format!("{patch} --dry-run --json")).code(1);
    let json: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    assert_eq!(unfit(&json["plan"]), ["VB-KVM-003"]);
    let run =
        scratch.run(&format!("{patch} --add-word kvm-arm.mode=nvhe --dry-run --json")).code(0);
    let json: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    assert!(unfit(&json["plan"]).is_empty(), "{json}");
}
