//! Verdicts: pass, fail, unknown and not applicable, each for its reason.

use crate::common::synthetic;

use synthetic::CONFIG;
use vfioboot::audit::{
    Built, Evaluation, Facts, Note, Outcome, Profile, Provenance, Verdict, evaluate,
    recommended_parameters,
};
use vfioboot::kernel::module::Module;
use vfioboot::kernel::symbols::{Export, Import};
use vfioboot::kernel::{Arch, Exports, KernelConfig, Symbols};
use vfioboot::rules::{Cause, Coverage, VendorModule};

/// Facts from a config text alone.
fn facts(config: &str) -> Facts {
    let mut facts = Facts::default();
    let config = KernelConfig::parse(config.as_bytes()).unwrap();
    let embedded = Provenance::Ikconfig { what: "Image".into(), offset: 0 };
    facts.set_config(config, embedded);
    facts
}

fn builtin(facts: &Facts) -> Evaluation {
    evaluate(&Profile::builtin("passthrough").unwrap(), facts)
}

/// The verdict and the reason of one rule, given as TOML lines, for these facts.
fn one(rule: &str, facts: &Facts) -> (Verdict, String) {
    let text = format!(
        "title = \"t\"\n[[rule]]\nid = \"X-1\"\ntitle = \"t\"\nwhy = \"w\"\neffect = \"e\"\n\
         fix = \"f\"\n{rule}\n{}",
        if rule.contains("level") { "" } else { "level = \"required\"" }
    );
    let report = evaluate(&Profile::parse(&text, "test").unwrap(), facts);
    let finding = &report.findings[0];
    (finding.verdict, finding.reason.to_string())
}

fn verdict(rule: &str, facts: &Facts) -> Verdict {
    one(rule, facts).0
}

#[test]
fn symbols_and_groups_of_them() {
    let facts = facts("CONFIG_Y=y\n# CONFIG_N is not set\nCONFIG_S=\"text\"\nCONFIG_I=48\n");
    for (rule, expected) in [
        ("symbol = \"Y\"", Verdict::Pass),
        ("symbol = \"N\"", Verdict::Fail),
        ("symbol = \"ABSENT\"", Verdict::Fail),
        ("symbol = \"ABSENT\"\naccept = [\"n\"]", Verdict::Pass),
        ("symbol = \"Y\"\naccept = [\"n\"]", Verdict::Fail),
        ("symbol = \"Y\"\nlevel = \"forbidden\"", Verdict::Fail),
        ("symbol = \"N\"\nlevel = \"forbidden\"", Verdict::Pass),
        ("symbol = \"S\"\naccept = [\"text\"]", Verdict::Pass),
        ("symbol = \"I\"\naccept = [\"39\", \"48\"]", Verdict::Pass),
        ("symbol = \"I\"\naccept = [\"52\"]", Verdict::Fail),
        ("all = [\"Y\", \"N\"]", Verdict::Fail),
        ("any = [\"N\", \"Y\"]", Verdict::Pass),
        ("any = [\"N\", [\"Y\", \"ABSENT\"]]", Verdict::Fail),
        ("any = [\"N\", [\"Y\", \"Y\"]]", Verdict::Pass),
        ("symbol = \"N\"\nwhen = [\"Y=n\"]", Verdict::NotApplicable),
        ("symbol = \"N\"\nwhen = [\"Y\"]", Verdict::Fail),
    ] {
        assert_eq!(verdict(rule, &facts), expected, "{rule}");
    }
    assert_eq!(one("symbol = \"N\"", &facts).1, "N is not set");
}

fn module(name: &str, vermagic: &str) -> Module {
    Module { name: name.into(), vermagic: Some(vermagic.into()), ..Module::default() }
}

#[test]
fn a_module_passes_only_when_it_is_there_and_fits() {
    let rule = "symbol = \"VFIO_PCI\"";
    let mut facts = facts("# Linux/arm64 6.1.9 Kernel Configuration\nCONFIG_VFIO_PCI=m\n");
    let (verdict_, reason) = one(rule, &facts);
    assert_eq!(verdict_, Verdict::Unknown);
    assert_eq!(reason, "VFIO_PCI=m, and vfio_pci.ko was not looked for");
    assert_eq!(verdict("symbol = \"VFIO_PCI\"\naccept = [\"y\", \"m\"]", &facts), Verdict::Pass);
    assert_eq!(verdict("symbol = \"VFIO_PCI\"\naccept = [\"n\"]", &facts), Verdict::Fail);

    facts.release = Some("6.1.9-mine".into());
    facts.modules = Some(vec![module("vfio", "6.1.9-mine SMP")]);
    assert_eq!(verdict(rule, &facts), Verdict::Fail, "it is not among them");
    facts.modules = Some(vec![module("vfio_pci", "6.1.9-mine SMP")]);
    assert_eq!(verdict(rule, &facts), Verdict::Pass);
    facts.modules = Some(vec![module("vfio_pci", "6.1.8 SMP")]);
    assert_eq!(verdict(rule, &facts), Verdict::Fail, "for another kernel");
    facts.modules = Some(vec![module("vfio_pci", "6.1.8 SMP modversions")]);
    assert_eq!(verdict(rule, &facts), Verdict::Unknown, "the CRCs decide");
    // The header of a config does not tell the whole release.
    facts.release = Some("6.1.9".into());
    facts.modules = Some(vec![module("vfio_pci", "6.1.9-mine SMP")]);
    assert_eq!(verdict(rule, &facts), Verdict::Unknown);
}

#[test]
fn rules_are_for_versions_and_architectures() {
    let mut facts = facts("# Linux/arm64 6.6.0 Kernel Configuration\nCONFIG_A=y\n");
    for (range, expected) in [
        ("since = \"6.6\"", Verdict::Fail),
        ("since = \"6.7\"", Verdict::NotApplicable),
        ("until = \"6.6\"", Verdict::NotApplicable),
        ("until = \"6.6.1\"", Verdict::Fail),
        ("arch = [\"x86_64\"]", Verdict::NotApplicable),
        ("arch = [\"x86_64\", \"arm64\"]", Verdict::Fail),
    ] {
        assert_eq!(verdict(&format!("symbol = \"B\"\n{range}"), &facts), expected, "{range}");
    }
    // The kernel's own version counts, and the difference is reported.
    facts.release = Some("5.15.1".into());
    assert_eq!(verdict("symbol = \"B\"\nsince = \"6.6\"", &facts), Verdict::NotApplicable);
    let notes = builtin(&facts).notes;
    let [Note::OtherVersion { config, kernel }] = &notes[..] else { panic!("{notes:?}") };
    assert_eq!([config.to_string(), kernel.to_string()], ["6.6", "5.15.1"]);
    // Not known: such a rule may pass but not fail.
    (facts.release, facts.arch) = (None, None);
    assert_eq!(verdict("symbol = \"B\"\nsince = \"6.6\"", &facts), Verdict::Unknown);
    assert_eq!(verdict("symbol = \"A\"\nsince = \"6.6\"", &facts), Verdict::Pass);
    assert_eq!(verdict("symbol = \"B\"\narch = [\"arm64\"]", &facts), Verdict::Unknown);
}

#[test]
fn without_a_config_nothing_is_certain() {
    let facts = Facts { arch: Some(Arch::Arm64), ..Facts::default() };
    let report = builtin(&facts);
    assert_eq!(report.verdict, Outcome::Inconclusive);
    assert_eq!(report.with(Verdict::Pass).count() + report.with(Verdict::Fail).count(), 0);
    assert_eq!(report.finding("VB-VFIO-001").unwrap().provenance, Provenance::NotKnown);
    assert_eq!(facts.built("VFIO"), Built::Unknown);
    assert_eq!(recommended_parameters(&facts), []);
}

#[test]
fn the_three_outcomes_of_the_builtin_profile() {
    let good = builtin(&facts(CONFIG));
    assert_eq!(good.verdict, Outcome::Pass, "{:?}", good.with(Verdict::Fail).next());
    let finding = good.finding("VB-VFIO-003").unwrap();
    assert_eq!(finding.provenance, Provenance::Ikconfig { what: "Image".into(), offset: 0 });
    let modular = builtin(&facts(&CONFIG.replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m")));
    assert_eq!(modular.verdict, Outcome::Inconclusive);
    // Every required symbol is missed when it is gone; type1 is hidden but its absence is real.
    for symbol in
        ["KVM", "VFIO", "VFIO_IOMMU_TYPE1", "VFIO_PCI", "IOMMU_SUPPORT", "PCI_MSI", "EVENTFD"]
    {
        let without = CONFIG.replace(&format!("CONFIG_{symbol}=y\n"), "");
        assert_eq!(builtin(&facts(&without)).verdict, Outcome::Fail, "{symbol}");
    }
    // iommufd in its stead.
    let iommufd =
        CONFIG.replace("CONFIG_VFIO_IOMMU_TYPE1=y", "CONFIG_IOMMUFD=y\nCONFIG_VFIO_DEVICE_CDEV=y");
    assert_eq!(builtin(&facts(&iommufd)).verdict, Outcome::Pass);
    // From 6.6 on there must be a group or a device file.
    let newer = CONFIG.replace("6.1.99", "6.6.1");
    assert_eq!(builtin(&facts(&newer)).verdict, Outcome::Fail);
    let newer = newer + "CONFIG_VFIO_GROUP=y\n";
    assert_eq!(builtin(&facts(&newer)).verdict, Outcome::Pass);
}

#[test]
fn drivers_of_a_gki_kernel_may_be_vendor_modules() {
    let config = CONFIG.replace("CONFIG_ARM_SMMU=y\nCONFIG_ARM_SMMU_V3=y\n", "");
    let mut facts = facts(&config);
    assert_eq!(builtin(&facts).finding("VB-IOMMU-002").unwrap().verdict, Verdict::Fail);
    facts.release = Some("6.1.192-qemu-android".into());
    assert!(!facts.is_gki(), "an android in the name makes no GKI");
    facts.release = Some("6.1.99-android14-11-gabcdef".into());
    assert!(facts.is_gki());
    let report = builtin(&facts);
    let finding = report.finding("VB-IOMMU-002").unwrap();
    assert_eq!(finding.verdict, Verdict::Unknown);
    assert!(matches!(
        &finding.reason.cause,
        Cause::VendorModule { module: VendorModule::NotFound(Coverage::None), .. }
    ));
    assert_eq!(report.verdict, Outcome::Inconclusive);
    // Seen, it counts.
    facts.modules = Some(vec![module("arm_smmu_v3", "6.1.99-android14-11-gabcdef SMP")]);
    assert_eq!(builtin(&facts).verdict, Outcome::Pass);
    let mut by_config = self::facts(&(config + "CONFIG_GKI_HACKS_TO_FIX=y\n"));
    by_config.release = None;
    assert!(by_config.is_gki());
}

#[test]
fn the_command_line_is_read_as_the_kernel_reads_it() {
    let rule = "parameter = \"kvm-arm.mode\"\nreject = [\"none\"]";
    let with = |builtin: &str, mode: &str, line: Option<&str>| {
        let mut facts = facts(&format!("CONFIG_CMDLINE=\"{builtin}\"\nCONFIG_CMDLINE_{mode}=y\n"));
        facts.cmdline = line.map(str::to_owned);
        verdict(rule, &facts)
    };
    assert_eq!(with("", "EXTEND", None), Verdict::NotApplicable);
    assert_eq!(with("", "EXTEND", Some("quiet")), Verdict::Pass);
    assert_eq!(with("", "EXTEND", Some("kvm-arm.mode=none")), Verdict::Fail);
    assert_eq!(with("", "EXTEND", Some("kvm_arm.mode=none")), Verdict::Fail);
    assert_eq!(with("", "EXTEND", Some("kvm-arm.mode=none kvm-arm.mode=nvhe")), Verdict::Pass);
    assert_eq!(with("", "EXTEND", Some("quiet -- kvm-arm.mode=none")), Verdict::Pass);
    assert_eq!(with("", "EXTEND", Some("a=\"b kvm-arm.mode=none\"")), Verdict::Pass);
    assert_eq!(with("kvm-arm.mode=none", "FORCE", Some("kvm-arm.mode=nvhe")), Verdict::Fail);
    // Which comes last is not the same everywhere.
    assert_eq!(with("kvm-arm.mode=none", "EXTEND", Some("kvm-arm.mode=nvhe")), Verdict::Unknown);
    assert_eq!(with("kvm-arm.mode=none", "FROM_BOOTLOADER", Some("quiet")), Verdict::Pass);
    assert_eq!(with("kvm-arm.mode=none", "FROM_BOOTLOADER", None), Verdict::Fail);
}

#[test]
fn words_for_the_command_line() {
    let x86 = "# Linux/x86 6.8.0 Kernel Configuration\nCONFIG_64BIT=y\nCONFIG_IOMMU_SUPPORT=y\n\
        CONFIG_INTEL_IOMMU=y\n# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n";
    let words = |facts: &Facts| -> Vec<String> {
        recommended_parameters(facts).iter().map(|own| own.parameter.to_string()).collect()
    };
    let mut off = facts(x86);
    assert_eq!(words(&off), ["intel_iommu=on", "iommu=pt"]);
    off.cmdline = Some("quiet intel_iommu=on".into());
    assert_eq!(words(&off), ["iommu=pt"]);
    let on =
        facts(&x86.replace(
            "# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set",
            "CONFIG_INTEL_IOMMU_DEFAULT_ON=y",
        ));
    assert_eq!(words(&on), ["iommu=pt"]);
    assert_eq!(words(&facts(CONFIG)), [""; 0], "arm64 needs none");
}

/// The same vermagic does not make a module load: a symbol that nobody exports keeps it out, and
/// what depends on it.
#[test]
fn a_module_whose_symbols_are_missing_fails() {
    let mut facts = facts("CONFIG_MODULES=y\nCONFIG_VFIO_PCI=m\n");
    facts.release = Some("6.1.99".into());
    let core = module("vfio_pci_core", "6.1.99 SMP");
    let pci = Module { depends: vec!["vfio_pci_core".into()], ..module("vfio_pci", "6.1.99 SMP") };
    let needs = |names: &[&str]| Symbols {
        imports: names
            .iter()
            .map(|name| Import { name: (*name).into(), weak: false, crc: None })
            .collect(),
        exports: [("vfio_pci_core_enable".to_owned(), Export::default())].into(),
    };
    facts.modules = Some(vec![core.clone(), pci.clone()]);
    let exports = Exports::from_iter([("kfree".to_owned(), Export::default())]);
    let mut judge = |core_needs: &[&str]| {
        let (of_core, of_pci) = (needs(core_needs), needs(&["kfree", "vfio_pci_core_enable"]));
        facts.link(&[(&core, &of_core), (&pci, &of_pci)], &exports);
        let report = evaluate(&Profile::builtin("passthrough").unwrap(), &facts);
        let found = report.finding("VB-VFIO-003").unwrap();
        (found.verdict, found.reason.to_string())
    };
    let (verdict, reason) = judge(&["kfree"]);
    assert_eq!(verdict, Verdict::Pass, "{reason}");
    assert!(reason.ends_with("(vermagic 6.1.99), which exports every symbol it needs"), "{reason}");
    let (verdict, reason) = judge(&["kfree", "irq_bypass_register_producer"]);
    assert_eq!(verdict, Verdict::Fail, "{reason}");
    assert!(
        reason.ends_with(
            "the kernel does not load vfio_pci.ko: vfio_pci_core needs the symbol irq_bypass_register_producer, which \
             neither the kernel nor another module exports"
        ),
        "{reason}"
    );
}
