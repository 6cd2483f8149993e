//! Configs that are only a part of one, and what a config says of its architecture and its hardware.

use crate::common::cli::Scratch;
use crate::common::synthetic::CONFIG;

use serde_json::Value;

fn check(config: &str, arguments: &str) -> (i32, Value) {
    let scratch = Scratch::new();
    scratch.file("a.config", config.as_bytes());
    let run = scratch.run(&format!("check a.config --format json {arguments}"));
    let output = run.get_output();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), json)
}

fn verdict<'j>(report: &'j Value, rule: &str) -> &'j str {
    let findings = report["inputs"][0]["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["id"] == rule).unwrap();
    finding["verdict"].as_str().unwrap()
}

/// The config without these symbols.
fn without(symbols: &[&str]) -> String {
    let lines = CONFIG.lines().filter(|line| {
        !symbols.iter().any(|symbol| line.starts_with(&format!("CONFIG_{symbol}=")))
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn what_a_fragment_does_not_mention_is_unknown() {
    let (status, report) = check("CONFIG_ARM64=y\nCONFIG_VFIO=y\n", "");
    assert_eq!(status, 3);
    assert_eq!(verdict(&report, "VB-VFIO-001"), "pass");
    assert_eq!(verdict(&report, "VB-KVM-001"), "unknown");
    assert!(report["inputs"][0].to_string().contains("not a complete config"), "{report}");
}

#[test]
fn what_a_fragment_turns_off_decides() {
    let (status, report) = check("CONFIG_ARM64=y\n# CONFIG_KVM is not set\n", "");
    assert_eq!((status, verdict(&report, "VB-KVM-001")), (1, "fail"));
}

#[test]
fn a_part_never_passes_and_the_whole_does() {
    assert_eq!(check(CONFIG, "").0, 0);
    for missing in ["INIT_ENV_ARG_LIMIT", "PANIC_TIMEOUT"] {
        let (status, report) = check(&without(&[missing]), "");
        assert_eq!(status, 3, "{missing}");
        let end = report["inputs"][0].to_string().contains("its end is missing");
        assert_eq!(end, missing == "PANIC_TIMEOUT");
    }
}

#[test]
fn the_architecture_is_that_of_the_symbol_where_no_comment_tells() {
    let bare = |symbol: &str| {
        let lines = CONFIG.lines().filter(|line| !line.starts_with("# Linux/"));
        lines.chain([symbol]).map(|line| format!("{line}\n")).collect::<String>()
    };
    let (_, report) = check(&bare("CONFIG_ARM64=y"), "");
    assert_eq!(report["inputs"][0]["arch"], "arm64");
    for other in ["ARM", "X86_32", "RISCV", "PPC", "S390", "MIPS", "LOONGARCH", "SPARC", "UML"] {
        assert_eq!(check(&bare(&format!("CONFIG_{other}=y")), "").0, 2, "{other}");
    }
}

#[test]
fn an_iommu_counts_where_it_stands_before_pcie() {
    let smmu = without(&["ARM_SMMU", "ARM_SMMU_V3"]);
    for media in ["ROCKCHIP_IOMMU", "EXYNOS_IOMMU", "SPRD_IOMMU", "QCOM_IOMMU", "SUN50I_IOMMU"] {
        let (status, report) = check(&format!("{smmu}CONFIG_{media}=y\n"), "");
        assert_eq!((status, verdict(&report, "VB-IOMMU-002")), (1, "fail"), "{media}");
    }
    for lines in [
        "CONFIG_APPLE_DART=y\n",
        "CONFIG_IPMMU_VMSA=y\nCONFIG_ARCH_RENESAS=y\n",
        "CONFIG_TEGRA_IOMMU_SMMU=y\nCONFIG_ARCH_TEGRA=y\n",
    ] {
        assert_eq!(check(&format!("{smmu}{lines}"), "").0, 0, "{lines}");
    }
}

#[test]
fn the_bridges_of_other_socs_count() {
    let none = without(&["PCI_HOST_GENERIC"]);
    assert_eq!(check(&none, "").0, 1);
    for bridge in ["PCIE_RCAR_HOST", "PCIE_IPROC_PLATFORM", "PCI_HOST_THUNDER_PEM", "PCIE_ROCKCHIP"]
    {
        assert_eq!(check(&format!("{none}CONFIG_{bridge}=y\n"), "").0, 0, "{bridge}");
    }
}

#[test]
fn on_x86_kvm_and_the_iommu_are_of_one_vendor() {
    let config =
        CONFIG.replace("Linux/arm64", "Linux/x86") + "CONFIG_64BIT=y\nCONFIG_IRQ_REMAP=y\n";
    for (kvm, iommu, verdict_of) in
        [("INTEL", "INTEL", "pass"), ("AMD", "AMD", "pass"), ("INTEL", "AMD", "fail")]
    {
        let lines = format!("CONFIG_KVM_{kvm}=y\nCONFIG_{iommu}_IOMMU=y\n");
        let (_, report) = check(&(config.clone() + &lines), "");
        assert_eq!(verdict(&report, "VB-IOMMU-010"), verdict_of, "{kvm} {iommu}");
    }
}

#[test]
fn a_byte_order_mark_is_not_a_line() {
    assert_eq!(check(&format!("\u{feff}{CONFIG}"), "").0, 0);
}

#[test]
fn the_last_line_of_several_is_about_all() {
    let scratch = Scratch::new();
    scratch.file("a.config", without(&["KVM"]).as_bytes());
    scratch.file("b.config", CONFIG.as_bytes());
    scratch.file("c.config", b"CONFIG_VFIO=y\n");
    let output = scratch.run("check a.config b.config c.config").code(1).get_output().clone();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().last(), Some("3 inputs: 1 pass, 1 fail, 1 inconclusive"));
}

#[test]
fn a_report_does_not_grow_with_repeated_lines() {
    let (_, once) = check(&format!("{CONFIG}CONFIG_KVM=y\n"), "");
    let (status, often) = check(&(CONFIG.to_owned() + &"CONFIG_KVM=y\n".repeat(10_000)), "");
    assert_eq!(status, 0);
    assert!(often.to_string().len() < once.to_string().len() + 100);
}

#[test]
fn packed_modules_in_a_directory_are_not_inputs() {
    let scratch = Scratch::new();
    scratch.file("d/a.config", CONFIG.as_bytes());
    let module = crate::common::module("vfio_pci", crate::common::RELEASE, "");
    let packed = crate::common::pipe("gzip", &["-c"], &module);
    scratch.file("d/vfio-pci.ko.gz", &packed);
    scratch.run("check d").success();
}

#[test]
fn a_hardened_host_does_not_choose_lazy_unmapping_before_it_is_a_symbol() {
    let old = CONFIG.replace("6.1.99", "5.10.99");
    let (_, report) = check(&old, "--profile hardened --cmdline iommu.strict=0");
    assert_eq!(verdict(&report, "VB-IOMMU-011"), "fail");
    let (_, report) = check(&old, "--profile hardened --cmdline quiet");
    assert_eq!(verdict(&report, "VB-IOMMU-011"), "pass");
}
