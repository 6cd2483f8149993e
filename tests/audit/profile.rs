//! Rule profiles: the builtin one holds what its header promises, bad ones are refused by line.

use std::collections::HashSet;

use crate::common;
use vfioboot::audit::{BUILTIN, Condition, Level, Profile};
use vfioboot::kernel::Arch;

/// Symbols without a prompt in Kconfig: telling a user to set one leads nowhere.
const HIDDEN: [&str; 17] = [
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
    "ACPI_MCFG",
];

#[test]
fn the_builtin_profile_is_sound() {
    let profile = Profile::builtin("passthrough").unwrap();
    assert!(profile.rules.len() > 30, "{} rules", profile.rules.len());
    for rule in profile.rules.iter() {
        let id = &rule.id;
        let parts: Vec<&str> = id.split('-').collect();
        let number = parts.last().is_some_and(|n| n.len() == 3 && n.parse::<u16>().is_ok());
        assert!(parts.len() == 3 && parts[0] == "VB" && number, "{id}: no stable id");
        for text in [&rule.title, &rule.why, &rule.effect, &rule.fix] {
            assert!(text.len() > 2 && text.trim() == text, "{id}: \"{text}\"");
        }
        for hidden in HIDDEN {
            let asked = format!("CONFIG_{hidden}");
            let told = rule.fix.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            assert!(!told.into_iter().any(|word| word == asked), "{id}: {hidden} is hidden");
        }
        // A hidden symbol alone may be no requirement.
        if let Condition::Symbols(groups) = &rule.condition
            && rule.level == Level::Required
        {
            let visible = groups.iter().any(|g| g.iter().all(|s| !HIDDEN.contains(&s.as_ref())));
            assert!(visible, "{id} requires hidden symbols only");
        }
    }
    let ids: HashSet<&str> = profile.rules.iter().map(|rule| rule.id.as_ref()).collect();
    assert_eq!(ids.len(), profile.rules.len());
}

const RULE: &str = "title = \"t\"\n\n[[rule]]\nid = \"X-1\"\ntitle = \"t\"\nlevel = \"required\"\n\
    why = \"w\"\neffect = \"e\"\nfix = \"f\"\n";

/// The error of a profile that is [`RULE`] with `more`.
fn error(more: &str) -> String {
    common::message(&Profile::parse(&format!("{RULE}{more}"), "my.toml").unwrap_err())
}

#[test]
fn bad_profiles_are_refused_by_line() {
    assert!(Profile::parse(&format!("{RULE}symbol = \"A\"\n"), "my.toml").is_ok());
    let cases = [
        ("", "line 3", "exactly one of"),
        ("symbol = \"A\"\nany = [\"B\"]\n", "line 3", "exactly one of"),
        ("symbol = \"CONFIG_A\"\n", "line 3", "without CONFIG_"),
        ("any = []\n", "line 3", "empty list"),
        ("any = [\"A\", []]\n", "line 3", "empty list"),
        ("symbol = \"A\"\nsince = \"new\"\n", "line 3", "not a version"),
        ("symbol = \"A\"\narch = [\"z80\"]\n", "line 3", "z80"),
        ("symbol = \"A\"\nwhen = [\"B=5\"]\n", "line 3", "not a condition"),
        ("symbol = \"A\"\nreject = [\"n\"]\n", "line 3", "`reject`"),
        ("symbol = \"A\"\nrestore = [\"on\"]\n", "line 3", "`restore` and `off_when`"),
        ("symbol = \"A\"\noff_when = [\"B=n\"]\n", "line 3", "`restore` and `off_when`"),
        ("parameter = \"a\"\n", "line 3", "needs `reject`"),
        ("parameter = \"a\"\nreject = [\"1\"]\naccept = [\"y\"]\n", "line 3", "`accept`"),
        ("symbol = \"A\"\nsymbl = \"B\"\n", "line 11", "symbl"),
        ("symbol = 5\n", "line 10", "string"),
        (
            "symbol = \"A\"\n\n[[word]]\nword = \"a b\"\nlevel = \"optional\"\nwhy = \"w\"\n",
            "line 12",
            "without spaces",
        ),
    ];
    for (more, line, what) in cases {
        let error = error(more);
        let named = error.contains("my.toml") && error.contains(line) && error.contains(what);
        assert!(named, "{more:?}: expected {line} and {what} in: {error}");
    }
    let twice = RULE.replace("title = \"t\"\n\n", "");
    let error = error(&format!("symbol = \"A\"\n\n{twice}symbol = \"B\"\n"));
    assert!(error.contains("line 12") && error.contains("twice"), "{error}");
    for id in ["", "X 1", "X-1\\n"] {
        let rule = format!("{}symbol = \"A\"\n", RULE.replace("X-1", id));
        let error = common::message(&Profile::parse(&rule, "my.toml").unwrap_err());
        assert!(error.contains("line 3") && error.contains("is not a rule id"), "{error}");
    }
    let error = common::message(&Profile::builtin("softened").unwrap_err());
    assert!(error.contains("passthrough, kvm-only"), "{error}");
}

#[test]
fn a_profile_extends_a_builtin_one() {
    let hardened = Profile::builtin("hardened").unwrap();
    let rule = |profile: &Profile, id: &str| profile.rules.iter().find(|r| r.id == id).cloned();
    assert_eq!(rule(&hardened, "VB-VFIO-005").unwrap().level, Level::Required);
    let kvm = Profile::builtin("kvm-only").unwrap();
    assert!(rule(&kvm, "VB-VFIO-003").is_none() && rule(&kvm, "VB-KVM-004").is_none());
    assert_eq!(rule(&kvm, "VB-KVM-001").unwrap().level, Level::Required);

    let head = "title = \"t\"\nextends = \"passthrough\"\n";
    let own = "[[override]]\nid = \"VB-VFIO-003\"\nlevel = \"optional\"\nfix = \"ask\"\n";
    let team = Profile::parse(&format!("{head}{own}"), "team.toml").unwrap();
    let changed = rule(&team, "VB-VFIO-003").unwrap();
    assert_eq!((changed.level, changed.fix.as_ref()), (Level::Optional, "ask"));
    assert_eq!(team.rules.len(), Profile::builtin("passthrough").unwrap().rules.len());
    for (text, line, what) in [
        (head.replace("passthrough", "nothing"), "line 2", "\"nothing\""),
        (format!("{head}{}", own.replace("VFIO-003", "VFIO-999")), "line 3", "VB-VFIO-999"),
        (format!("{head}drop = [\"VB-X\"]\n"), "line 3", "VB-X"),
        ("title = \"t\"\nkeep = [\"VB-\"]\n".to_owned(), "line 2", "extends"),
        (format!("title = \"t\"\n{own}"), "line 2", "extends"),
        (format!("{head}{}", own.replace("optional", "vital")), "line 5", "vital"),
        (format!("{head}[[note]]\ntext = \"x\"\n"), "line 3", "parameter"),
    ] {
        let error = common::message(&Profile::parse(&text, "team.toml").unwrap_err());
        let named = error.contains("team.toml") && error.contains(line) && error.contains(what);
        assert!(named, "{text}: expected {line} and {what} in: {error}");
    }
}

#[test]
fn names_of_a_table_take_the_place_of_those_that_are_inherited() {
    let base = Profile::builtin("passthrough").unwrap();
    let text = "title = \"t\"\nextends = \"passthrough\"\n\
        [modules]\nIP_NF_NAT = \"other\"\nMINE = [\"mine\", \"my-own\"]\n";
    let own = Profile::parse(text, "team.toml").unwrap();
    let names = |profile: &Profile, symbol: &str| -> Vec<String> {
        let of = profile.modules.iter().filter(|(own, _)| own == symbol);
        of.flat_map(|(_, names)| names.iter()).map(ToString::to_string).collect()
    };
    assert_eq!(names(&base, "IP_NF_NAT"), ["iptable_nat"]);
    assert_eq!(names(&own, "IP_NF_NAT"), ["other"]);
    assert_eq!(names(&own, "MINE"), ["mine", "my-own"]);
    assert_eq!(names(&own, "PCI_HISI"), names(&base, "PCI_HISI"));
    assert_eq!(own.modules.len(), base.modules.len() + 1);
    assert_eq!(own.part_of, base.part_of);
}

#[test]
fn a_profile_says_which_architectures_it_is_for() {
    for builtin in BUILTIN {
        let profile = builtin.read().unwrap();
        assert_eq!(*profile.arch, [Arch::Arm64, Arch::X86_64], "{}", builtin.name);
        assert!(profile.covers(Arch::Arm64) && !profile.covers(Arch::Riscv64), "{}", builtin.name);
    }
    let own = Profile::parse("title = \"t\"\n", "my.toml").unwrap();
    assert!(own.covers(Arch::Riscv64), "one that says nothing takes every kernel");
    let wider = "title = \"t\"\nextends = \"kvm-only\"\narch = [\"riscv64\"]\n";
    assert_eq!(*Profile::parse(wider, "my.toml").unwrap().arch, [Arch::Riscv64]);
    let wrong = wider.replace("riscv64", "z80");
    let error = common::message(&Profile::parse(&wrong, "my.toml").unwrap_err());
    assert_eq!(error, "profile my.toml, line 3: \"z80\" is not an architecture like arm64");
}
