//! What rules ask to be set: visible symbols only, and broken ones are refused by line.

use crate::common;
use vfioboot::audit::{BUILTIN, Condition, Level, Profile};
use vfioboot::rules::KconfigLine;

/// Symbols without a prompt in Kconfig: a fragment that sets one sets nothing.
const HIDDEN: [&str; 18] = [
    "KVM_ARM_HOST",
    "HAVE_KVM",
    "KVM_VFIO",
    "KVM_INDIRECT_VECTORS",
    "ARM64_VHE",
    "VFIO_VIRQFD",
    "VFIO_PCI_CORE",
    "VFIO_PCI_MMAP",
    "VFIO_PCI_INTX",
    "PCI_MSI_IRQ_DOMAIN",
    "VFIO_IOMMU_TYPE1",
    "IOMMU_API",
    "IOMMU_DMA",
    "OF_IOMMU",
    "KVM_ARM_PMU",
    "ARM_GIC_V3_ITS",
    "ARM_SMMU_QCOM",
    "ACPI_MCFG",
];

#[test]
fn every_rule_about_symbols_can_be_mended_by_visible_ones() {
    for builtin in BUILTIN {
        let profile = builtin.read().unwrap();
        let mut set: Vec<KconfigLine> = Vec::new();
        for rule in profile.rules.iter() {
            let lines = rule.settings();
            let symbols = matches!(rule.condition, Condition::Symbols(_));
            assert_eq!(symbols, !lines.is_empty(), "{}", rule.id);
            for line in lines {
                assert!(!HIDDEN.contains(&line.symbol.as_ref()), "{}: {line} is hidden", rule.id);
                // Two rules of a profile must not want opposite things.
                if rule.level != Level::Optional {
                    let other = set.iter().find(|other| other.symbol == line.symbol);
                    assert!(other.is_none_or(|other| other.value == line.value), "{line}");
                    set.push(line);
                }
            }
        }
    }
}

#[test]
fn settings_are_written_as_kconfig_reads_them() {
    for (text, expected) in [
        ("VFIO=y", "CONFIG_VFIO=y"),
        ("VFIO=m", "CONFIG_VFIO=m"),
        ("VFIO=n", "# CONFIG_VFIO is not set"),
        ("NR_CPUS=8", "CONFIG_NR_CPUS=8"),
        ("LOCALVERSION=-\"x\\", "CONFIG_LOCALVERSION=\"-\\\"x\\\\\""),
        ("VFIO_GROUP=y since 6.6 until 9.0", "CONFIG_VFIO_GROUP=y"),
    ] {
        assert_eq!(text.parse::<KconfigLine>().unwrap().to_string(), expected);
    }
    let group: KconfigLine = "VFIO_GROUP=y since 6.6".parse().unwrap();
    assert_eq!(group.since.unwrap().to_string(), "6.6");
    for text in ["", "VFIO", "VFIO=", "CONFIG_VFIO=y", "VFIO=y since", "VFIO=y since x", "A=y b 6"]
    {
        assert!(text.parse::<KconfigLine>().is_err(), "{text}");
    }
    let rule = "title = \"t\"\n\n[[rule]]\nid = \"X-1\"\ntitle = \"t\"\nlevel = \"required\"\n\
        why = \"w\"\neffect = \"e\"\nfix = \"f\"\nsymbol = \"A\"\nset = [\"A\"]\n";
    let error = common::message(&Profile::parse(rule, "mine").unwrap_err());
    assert!(error.contains("line 3") && error.contains("X-1"), "{error}");
    let own = "title = \"t\"\nextends = \"passthrough\"\n[[override]]\nid = \"VB-VFIO-003\"\n";
    for (change, expected) in [
        ("accept = [\"m\"]\n", &["CONFIG_VFIO_PCI=m"][..]),
        ("set = [\"VFIO=y\", \"VFIO_PCI=y\"]\n", &["CONFIG_VFIO=y", "CONFIG_VFIO_PCI=y"]),
    ] {
        let profile = Profile::parse(&format!("{own}{change}"), "mine").unwrap();
        let rule = profile.rules.iter().find(|rule| rule.id == "VB-VFIO-003").unwrap();
        let lines: Vec<String> = rule.settings().iter().map(ToString::to_string).collect();
        assert_eq!(lines, expected);
    }
    let error =
        common::message(&Profile::parse(&format!("{own}set = [\"A\"]\n"), "mine").unwrap_err());
    assert!(error.contains("line 3") && error.contains("VB-VFIO-003"), "{error}");
}
