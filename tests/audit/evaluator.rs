//! The evaluator of rules at its edges: each verdict with its whole reason, for profiles and kernels made for it.

use crate::common::cli::Scratch;
use crate::common::synthetic::{LAYOUTS, symbol_table};

use vfioboot::audit::{Evaluation, Evidence, Facts, Note, Profile, Provenance, Verdict, evaluate};
use vfioboot::kernel::module::Module;
use vfioboot::kernel::{Arch, Kallsyms, KernelConfig, KernelVersion};
use vfioboot::rules::{Assignment, When};

use Verdict::{Fail, NotApplicable, Pass, Unknown};

const RELEASE: &str = "6.1.9-mine";

/// Facts of an embedded config, and a release.
fn facts(config: &str) -> Facts {
    let mut facts = Facts { release: Some(RELEASE.into()), ..Facts::default() };
    let config = KernelConfig::parse(config.as_bytes()).unwrap();
    facts.set_config(config, Provenance::Ikconfig { what: "Image".into(), offset: 0 });
    facts
}

/// A profile with one required rule of these lines, which end with the tables of the profile.
fn evaluated(rule: &str, facts: &Facts) -> Evaluation {
    let text = format!(
        "title = \"t\"\n[[rule]]\nid = \"X-1\"\ntitle = \"t\"\nlevel = \"required\"\nwhy = \"w\"\n\
         effect = \"e\"\nfix = \"f\"\n{rule}\n"
    );
    evaluate(&Profile::parse(&text, "test").unwrap(), facts)
}

fn judged(rule: &str, facts: &Facts) -> (Verdict, String) {
    let finding = evaluated(rule, facts).findings.remove(0);
    (finding.verdict, finding.reason.to_string())
}

/// Rules with the verdict and the reason that each comes to.
fn all_judged(facts: &Facts, cases: &[(&str, Verdict, &str)]) {
    for (rule, verdict, reason) in cases {
        assert_eq!(judged(rule, facts), (*verdict, (*reason).to_owned()), "{rule}");
    }
}

/// Modules for [`RELEASE`].
fn modules(names: &[&str]) -> Option<Vec<Module>> {
    let vermagic = Some(format!("{RELEASE} SMP"));
    let module = |name: &&str| Module {
        name: (*name).into(),
        vermagic: vermagic.clone(),
        ..Module::default()
    };
    Some(names.iter().map(module).collect())
}

#[test]
fn the_reason_names_what_is_missing() {
    let mut facts = facts("CONFIG_Y=y\nCONFIG_M=m\n");
    facts.modules = modules(&[]);
    all_judged(
        &facts,
        &[
            ("symbol = \"A\"", Fail, "A is not set"),
            ("all = [\"A\", \"B\", \"Y\"]", Fail, "A is not set, B is not set"),
            ("any = [\"A\", \"B\"]", Fail, "none of A, B is set"),
            ("any = [\"A\", [\"B\", \"Y\"]]", Fail, "none of A, B with Y is set"),
            (
                "any = [\"A\", \"M\"]",
                Fail,
                "A is not set, M=m, and m.ko is not among the modules given",
            ),
            ("any = [\"Y\", \"A\"]", Pass, "Y=y"),
        ],
    );
}

#[test]
fn a_module_apart_from_the_kernel_counts_where_built_in_would() {
    let mut facts = facts("CONFIG_Y=y\n");
    facts.modules = modules(&["x", "whole"]);
    let fits = "X is not set, but x.ko fits the kernel (vermagic 6.1.9-mine)";
    all_judged(
        &facts,
        &[
            ("symbol = \"X\"", Pass, fits),
            ("symbol = \"X\"\naccept = [\"m\"]", Fail, "X is not set"),
            ("symbol = \"X\"\naccept = [\"48\"]", Fail, "X is not set"),
            ("symbol = \"Z\"", Fail, "Z is not set"),
            // The module of another symbol may be there without it.
            ("symbol = \"PART\"\n[part_of]\nPART = \"whole\"", Fail, "PART is not set"),
            (
                "symbol = \"OWN\"\n[modules]\nOWN = \"whole\"",
                Pass,
                "OWN is not set, but whole.ko fits the kernel (vermagic 6.1.9-mine)",
            ),
        ],
    );
}

#[test]
fn a_vendor_module_is_the_one_that_the_rule_names() {
    let mut facts = facts("CONFIG_Y=y\nCONFIG_GKI_HACKS_TO_FIX=y\n");
    let rule = "symbol = \"A\"\nvendor_module = true\nmodules = [\"own-iommu\"]\n\
                module_hints = [\"smmu\"]";
    let cases = [
        (
            None,
            Unknown,
            "A is not set; on a GKI kernel it may be a vendor module, which its vendor_boot image or \
             the directory of its modules would show",
        ),
        (Some(&["other"][..]), Fail, "A is not set, and none of the 1 modules given is one"),
        (Some(&["other", "x_smmu"]), Unknown, "A is not set, but x_smmu.ko may be such a module"),
        (
            Some(&["other", "x_smmu", "own_iommu"]),
            Pass,
            "not in the kernel, but own_iommu.ko fits the kernel (vermagic 6.1.9-mine)",
        ),
    ];
    for (names, verdict, reason) in cases {
        facts.modules = names.and_then(modules);
        assert_eq!(judged(rule, &facts), (verdict, reason.to_owned()), "{names:?}");
    }
    facts.modules = modules(&["other"]);
    facts.modules_partial = true;
    let reason = "A is not set; on a GKI kernel it may be a vendor module, but none in the images \
                  given is one";
    assert_eq!(judged(rule, &facts), (Unknown, reason.to_owned()));
}

#[test]
fn what_is_forbidden_may_be_kept_from_starting() {
    let mut facts = facts("CONFIG_Y=y\n");
    facts.cmdline = Some("initcall_blacklist=y_init".into());
    let tables = "[initcalls]\nY = \"y_init\"";
    let blocked = "Y=y, but initcall_blacklist=y_init keeps it from starting";
    for (accept, verdict, reason) in [
        ("[\"y\"]", Fail, blocked),
        ("[\"y\", \"n\"]", Pass, "Y=y"),
        ("[\"n\"]", Fail, "Y=y"),
        ("[\"m\"]", Fail, "Y=y"),
    ] {
        let rule = format!("symbol = \"Y\"\naccept = {accept}\n{tables}");
        assert_eq!(judged(&rule, &facts), (verdict, reason.to_owned()), "{accept}");
    }
}

/// A kernel without a config, in whose symbol table are these functions.
fn by_names(functions: &[&str]) -> Facts {
    let mut names: Vec<String> = (0..1000).map(|i| format!("tsome_function_{i}")).collect();
    names.extend(functions.iter().map(|name| format!("T{name}")));
    let mut found = Kallsyms::find(&symbol_table(LAYOUTS[2], &names)).unwrap();
    found.texts = Evidence::texts().into_iter().map(|text| (text, false)).collect();
    let version = KernelVersion::parse(RELEASE);
    let evidence = Evidence::collect(&found, Some(Arch::Arm64), version, "Image");
    Facts {
        release: Some(RELEASE.into()),
        arch: Some(Arch::Arm64),
        evidence: Some(evidence),
        ..Facts::default()
    }
}

#[test]
fn what_is_not_built_in_may_be_a_module() {
    let mut facts = by_names(&["load_module"]);
    let state = "VFIO_PCI is not built in, because vfio_pci_probe is not in the symbol table";
    let rule = |accept: &str| format!("symbol = \"VFIO_PCI\"\naccept = [{accept}]");
    let here = format!("{state}; vfio_pci.ko fits the kernel (vermagic 6.1.9-mine)");
    let missing = format!("{state}; vfio_pci.ko is not among the modules given");
    for (names, accept, verdict, reason) in [
        (&["vfio_pci"][..], "\"y\"", Pass, &*here),
        (&["vfio_pci"], "\"m\"", Pass, &here),
        (&["vfio_pci"], "\"n\"", Unknown, &here),
        (&["vfio_pci"], "\"n\", \"m\"", Pass, state),
        (&[], "\"y\"", Fail, &missing),
        (&[], "\"n\"", Unknown, &missing),
        (&[], "\"n\", \"y\"", Unknown, &missing),
        (&[], "\"n\", \"m\"", Pass, state),
    ] {
        facts.modules = modules(names);
        let found = judged(&rule(accept), &facts);
        assert_eq!(found, (verdict, reason.to_owned()), "{names:?} {accept}");
    }
    facts.modules = modules(&["whole"]);
    let part = format!("{}\n[part_of]\nVFIO_PCI = \"whole\"", rule("\"y\""));
    let reason = format!("{state}; whole.ko fits the kernel (vermagic 6.1.9-mine)");
    assert_eq!(judged(&part, &facts), (Unknown, reason));
}

#[test]
fn the_reason_says_where_a_name_was_looked_for() {
    let facts = by_names(&["load_module", "arm_smmu_global_fault"]);
    all_judged(
        &facts,
        &[
            (
                "symbol = \"ARM_SMMU\"",
                Pass,
                "ARM_SMMU is built in, because arm_smmu_global_fault is in the symbol table",
            ),
            (
                "symbol = \"KVM\"",
                Fail,
                "KVM is not set, because none of kvm_dev_ioctl, kvm_vm_ioctl is in the symbol table",
            ),
            (
                "symbol = \"ARM_SMMU_DISABLE_BYPASS_BY_DEFAULT\"",
                Fail,
                "ARM_SMMU_DISABLE_BYPASS_BY_DEFAULT is not built in, because Blocked unknown Stream \
                 ID 0x is not in the kernel",
            ),
            ("symbol = \"A\"", Unknown, "nothing is known about A: no config, no evidence"),
        ],
    );
}

#[test]
fn a_condition_on_what_may_be_a_module_holds_where_both_states_give_the_same() {
    let facts = by_names(&["load_module"]);
    let fails =
        "KVM is not set, because none of kvm_dev_ioctl, kvm_vm_ioctl is in the symbol table";
    let doubt = |when: &str| format!("{fails}, but it is not known whether {when} holds");
    for (when, verdict, reason) in [
        ("VFIO_PCI=y", NotApplicable, "only with VFIO_PCI=y".to_owned()),
        ("VFIO_PCI!=y", Fail, fails.to_owned()),
        ("VFIO_PCI", Unknown, doubt("VFIO_PCI")),
        ("VFIO_PCI=m", Unknown, doubt("VFIO_PCI=m")),
        ("VFIO_PCI!=n", Unknown, doubt("VFIO_PCI!=n")),
    ] {
        let rule = format!("symbol = \"KVM\"\nwhen = [\"{when}\"]");
        assert_eq!(judged(&rule, &facts), (verdict, reason), "{when}");
    }
}

#[test]
fn a_rule_for_other_kernels_says_for_which() {
    let mut facts = facts("# Linux/arm64 6.1.9 Kernel Configuration\nCONFIG_Y=y\n");
    facts.arch = Some(Arch::Arm64);
    all_judged(
        &facts,
        &[
            ("symbol = \"A\"\narch = [\"x86_64\"]", NotApplicable, "not for arm64"),
            ("symbol = \"A\"\nsince = \"6.6\"", NotApplicable, "from Linux 6.6 on, this is 6.1.9"),
            ("symbol = \"A\"\nuntil = \"6.1\"", NotApplicable, "before Linux 6.1, this is 6.1.9"),
            ("symbol = \"A\"\nwhen = [\"B\"]", NotApplicable, "only with B"),
            ("symbol = \"A\"\nwhen = [\"Y!=y\"]", NotApplicable, "only with Y!=y"),
            ("symbol = \"A\"\nwhen = [\"Y=m\"]", NotApplicable, "only with Y=m"),
        ],
    );
    let unknown = Facts { arch: None, release: None, ..facts };
    all_judged(
        &unknown,
        &[
            (
                "symbol = \"A\"\narch = [\"x86_64\"]",
                Unknown,
                "A is not set, but the architecture is not known",
            ),
            (
                "symbol = \"A\"\nsince = \"6.6\"",
                Unknown,
                "A is not set, but the kernel version is not known",
            ),
        ],
    );
    let other = "symbol = \"A\"\nalternative = \"X-2\"\n[[rule]]\nid = \"X-2\"\ntitle = \"other\"\n\
                 level = \"required\"\nwhy = \"w\"\neffect = \"e\"\nfix = \"f\"\nsymbol = \"Y\"";
    let reason = "A is not set, but on other machines \"other\" decides";
    assert_eq!(judged(other, &unknown), (Unknown, reason.to_owned()));
}

/// Facts in which the kernel's own command line and the bootloader's both count, in an order that is not known.
fn both(own: &str, given: &str) -> Facts {
    let mut facts = facts(&format!("CONFIG_CMDLINE=\"{own}\"\nCONFIG_CMDLINE_EXTEND=y\n"));
    facts.cmdline = Some(given.into());
    facts
}

#[test]
fn of_two_parameters_in_an_unknown_order_both_are_named() {
    let ambiguous = "a is both off and on; the last one counts, and which that is depends on the \
                     kernel";
    let rule = "parameter = \"a\"\nreject = [\"off\"]";
    let words = "parameter = \"a\"\nreject = [\"off\"]\nrestore = [\"on\"]";
    for (own, given) in [("a=off", "a=on"), ("a=on", "a=off")] {
        for rule in [rule, words] {
            let found = judged(rule, &both(own, given));
            assert_eq!(found, (Unknown, ambiguous.to_owned()), "{own} {given}");
        }
    }
    let satisfied = "symbol = \"A\"\nsatisfied_by = [\"a=1\"]";
    for (own, given) in [("a=0", "a=1"), ("a=1", "a=0")] {
        let (verdict, reason) = judged(satisfied, &both(own, given));
        assert_eq!(verdict, Unknown, "{reason}");
        let named = reason.starts_with("it is not known whether a=1 (from ");
        assert!(named && reason.ends_with(") comes last"), "{reason}");
    }
    assert_eq!(judged(satisfied, &both("a=0", "a=2")), (Fail, "A is not set".to_owned()));
}

#[test]
fn what_is_off_by_default_names_the_parameter_that_turns_it_on() {
    let mut facts = facts("CONFIG_Y=y\n");
    facts.cmdline = Some("quiet".into());
    let rule = "parameter = \"a\"\nreject = [\"off\"]\nrestore = [\"on\", \"1\"]\n\
                off_when = [\"ON!=y\", \"Y\"]";
    let reason = "a=on is not given, and ON!=y, Y";
    assert_eq!(judged(rule, &facts), (Fail, reason.to_owned()));
    facts.config = None;
    let reason = "a=on is not given, and it is not known whether ON!=y, Y";
    assert_eq!(judged(rule, &facts), (Unknown, reason.to_owned()));
}

#[test]
fn a_module_for_another_kernel_is_shown_with_what_it_is_for() {
    let mut facts = facts("CONFIG_X=m\n");
    let cases = [
        (Some("6.1.8 SMP"), Fail, "x.ko is for \"6.1.8 SMP\", and the kernel is 6.1.9-mine"),
        (None, Fail, "x.ko is for \"no vermagic\", and the kernel is 6.1.9-mine"),
        (
            Some("6.1.8 SMP modversions"),
            Unknown,
            "x.ko is for \"6.1.8 SMP modversions\", and with MODVERSIONS the CRC of each symbol decides",
        ),
    ];
    for (vermagic, verdict, reason) in cases {
        let vermagic = vermagic.map(str::to_owned);
        facts.modules = Some(vec![Module { name: "x".into(), vermagic, ..Module::default() }]);
        assert_eq!(judged("symbol = \"X\"", &facts), (verdict, format!("X=m, and {reason}")));
    }
    facts.release = None;
    let reason = "X=m, and it is not known whether x.ko (\"no vermagic\") fits the kernel";
    facts.modules = Some(vec![Module { name: "x".into(), ..Module::default() }]);
    assert_eq!(judged("symbol = \"X\"", &facts), (Unknown, reason.to_owned()));
}

#[test]
fn a_note_is_about_its_values() {
    let mut facts = facts("CONFIG_Y=y\n");
    let profile = "symbol = \"Y\"\n[[note]]\nparameter = \"a\"\nvalues = [\"1\", \"on\"]\n\
                   text = \"some\"\n[[note]]\nparameter = \"a\"\ntext = \"any\"";
    for (line, expected) in [
        ("a=1", &["some", "any"][..]),
        ("a=on", &["some", "any"]),
        ("a=2", &["any"]),
        ("a", &["any"]),
        ("quiet", &[]),
    ] {
        facts.cmdline = Some(line.into());
        let notes = evaluated(profile, &facts).notes;
        let texts = notes.iter().map(|note| match note {
            Note::Parameter { text, .. } => text.as_ref(),
            other => panic!("{other:?}"),
        });
        assert_eq!(texts.collect::<Vec<_>>(), expected, "{line}");
    }
}

/// The fragment for a config, with a profile of these tables.
fn fragment(config: &str, tables: &str) -> String {
    let scratch = Scratch::new();
    scratch.file("a.config", config.as_bytes());
    scratch.file("own.toml", format!("title = \"t\"\n{tables}").as_bytes());
    scratch.run("check a.config --profile own.toml --fragment f");
    String::from_utf8(scratch.read("f")).unwrap()
}

/// A rule about what is required.
fn rule(id: &str, lines: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\ntitle = \"t\"\nlevel = \"required\"\nwhy = \"w\"\neffect = \"e\"\n\
         fix = \"f\"\n{lines}\n"
    )
}

#[test]
fn a_fragment_sets_what_the_version_has() {
    let rule = rule("X-1", "symbol = \"A\"\nset = [\"A=y\", \"B=y since 6.6 until 6.12\"]");
    for (version, has) in [
        ("6.1.9", false),
        ("6.5.99", false),
        ("6.6.0", true),
        ("6.11.99", true),
        ("6.12.0", false),
        ("6.18.3", false),
    ] {
        let config = format!("# Linux/arm64 {version} Kernel Configuration\nCONFIG_Y=y\n");
        let text = fragment(&config, &rule);
        assert!(text.contains("\nCONFIG_A=y\n"), "{text}");
        assert_eq!(text.contains("CONFIG_B=y"), has, "{version}: {text}");
    }
    // It is not known what this one has.
    assert!(fragment("CONFIG_Y=y\n# CONFIG_A is not set\n", &rule).contains("\nCONFIG_B=y\n"));
}

#[test]
fn a_fragment_has_what_its_own_settings_break() {
    let broken = rule("X-2", "parameter = \"a\"\nreject = [\"off\"]");
    let config = "# Linux/arm64 6.1.9 Kernel Configuration\nCONFIG_Y=y\n";
    for (line, breaks) in [("quiet", false), ("a=off", true)] {
        let set = "symbol = \"A\"\nset = [\"A=y\", \"CMDLINE=a=off\", \"CMDLINE_FORCE=y\"]";
        let first = rule("X-1", &set.replace("a=off", line));
        let text = fragment(config, &(first + &broken));
        assert_eq!(text.contains("\n# X-2 t (required): w\n"), breaks, "{text}");
        assert_eq!(text.contains("The rule applies when other lines here are set"), breaks);
    }
}

#[test]
fn parameters_and_conditions_are_read_and_written_the_same() {
    for text in ["iommu.strict=1", "quiet", "a=b=c"] {
        assert_eq!(text.parse::<Assignment>().unwrap().to_string(), text);
    }
    for text in ["", "=1", "a b", "a=b c", " a", "a\t=1"] {
        assert!(text.parse::<Assignment>().is_err(), "{text:?}");
    }
    for text in ["ARM_SMMU", "ARM_SMMU=y", "ARM_SMMU=m", "ARM_SMMU!=n"] {
        assert_eq!(text.parse::<When>().unwrap().to_string(), text);
    }
    for text in ["", "=y", "A-B", "CONFIG_A", "A=5", "A!=x"] {
        assert!(text.parse::<When>().is_err(), "{text:?}");
    }
}

#[test]
fn a_symbol_that_is_set_again_is_noted_with_how_many_others() {
    for (config, expected) in [
        ("CONFIG_A=y\nCONFIG_A=y\n", 0),
        ("CONFIG_A=y\nCONFIG_B=y\nCONFIG_A=m\nCONFIG_B=n\nCONFIG_C=y\nCONFIG_C=m\n", 2),
    ] {
        let notes = evaluated("symbol = \"A\"", &facts(config)).notes;
        let found = notes.iter().find_map(|note| match note {
            Note::Duplicate { first, others, .. } => Some((first.symbol.to_string(), *others)),
            _ => None,
        });
        assert_eq!(found, Some(("A".to_owned(), expected)), "{config}");
    }
}
