//! The same kernel command lines, asked of what each program is made of: the answers are the same.

use crate::common::{self, device_tree::Tree, synthetic};
use vfioboot::audit::{CmdlinePart, EffectiveCmdline, Origin};
use vfioboot::audit::{Facts, Profile, Provenance, Setting, Verdict, evaluate};
use vfioboot::bootset::BootSet;
use vfioboot::cmdline::Cmdline;
use vfioboot::device::boot::mode::{self as bootmode, Skip};
use vfioboot::device::doctor;
use vfioboot::device::guest::file as guest;
use vfioboot::device::guest::run::preflight::{Options as StartOptions, Refusal, Start};
use vfioboot::device::sys::{kvm, state::StateDir};
use vfioboot::image::Image;
use vfioboot::kernel::KernelConfig;
use vfioboot::patch::{self, Error, Options, Runtimes};

/// Lines with the mode that KVM starts in, and whether they turn PID 1 off.
const LINES: &[(&str, Option<&str>, bool)] = &[
    ("", None, false),
    ("quiet", None, false),
    ("kvm-arm.mode=protected", Some("protected"), false),
    ("kvm_arm.mode=protected", Some("protected"), false),
    ("kvm-arm.mode=\"protected\"", Some("protected"), false),
    ("\"kvm_arm.mode=protected\"", Some("protected"), false),
    ("kvm-arm.mode=\"protected", Some("protected"), false),
    ("kvm-arm.mode=protected kvm_arm.mode=nvhe", Some("nvhe"), false),
    ("kvm-arm.mode=nvhe kvm_arm.mode=protected", Some("protected"), false),
    ("kvm-arm.mode=nvhe -- kvm-arm.mode=protected", Some("nvhe"), false),
    ("kvm-arm.mode=nvhe \"--\" kvm-arm.mode=protected", Some("nvhe"), false),
    ("a=\" -- \" kvm-arm.mode=protected", Some("protected"), false),
    ("x=\"a kvm-arm.mode=protected b\"", None, false),
    // What the kernel does not know leaves what was before.
    ("kvm-arm.mode=pro\"tected\"", None, false),
    ("kvm-arm.mode", None, false),
    ("kvm-arm.mode=protected kvm-arm.mode=Nvhe", Some("protected"), false),
    ("kvm-arm.mode=protected kvm-arm.mode", Some("protected"), false),
    ("kvm-arm.mode=nvhe kvm-arm.mode=protected,x", Some("nvhe"), false),
    ("a\u{b}kvm-arm.mode=protected\t b", Some("protected"), false),
    ("kvm-arm.modes=protected =kvm-arm.mode=protected", None, false),
    ("vfioboot.disable", None, true),
    ("vfioboot.disable=1", None, true),
    ("vfioboot.disable=\"1\"", None, true),
    ("\"vfioboot.disable\"", None, true),
    ("-- vfioboot.disable", None, true),
    ("vfioboot.disable=0", None, false),
    ("vfioboot.disabled x=\"vfioboot.disable\"", None, false),
    ("x=\"a vfioboot.disable b\"", None, false),
];

fn facts(line: &str) -> Facts {
    let mut facts = Facts::default();
    let config = KernelConfig::parse(synthetic::CONFIG.as_bytes()).unwrap();
    facts.set_config(config, Provenance::File("the.config".into()));
    facts.set_cmdline(vec![CmdlinePart { origin: Origin::Given, text: line.to_owned() }]);
    facts
}

#[test]
fn both_read_the_mode_of_kvm_that_the_kernel_starts_in() {
    for (line, mode, _) in LINES {
        let desktop = match EffectiveCmdline::new(&facts(line)).unwrap().setting("kvm-arm.mode") {
            Setting::Absent => None,
            Setting::Values(values) => Some(values[0].0.clone()),
        };
        assert_eq!(desktop.as_deref(), *mode, "check: {line}");
        let device = Cmdline::new(*line);
        assert_eq!(kvm::mode(&device), mode.map(str::as_bytes), "vfiorun: {line}");
    }
}

#[test]
fn a_value_that_the_kernel_does_not_know_overrides_nothing() {
    let overridden = |line| EffectiveCmdline::new(&facts(line)).unwrap().overridden();
    assert_eq!(overridden("kvm-arm.mode=nvhe kvm_arm.mode=protected"), [Some(1), None]);
    assert_eq!(overridden("kvm-arm.mode=protected kvm_arm.mode=x"), [None, Some(0)]);
    // Of two that it does not know none counts.
    assert_eq!(overridden("kvm-arm.mode=x kvm_arm.mode=y"), [None, None]);
}

#[test]
fn what_the_audit_fails_the_start_of_a_guest_refuses() {
    let profile = Profile::builtin("passthrough").unwrap();
    let guest = guest::parse("name = \"g\"\nqemu = \"/bin/sh\"\n", "guest.toml").unwrap();
    for (index, (line, mode, _)) in LINES.iter().enumerate() {
        let tree = Tree::new(&format!("parity-{index}"));
        tree.file("proc/cmdline", format!("{line}\n"));
        let options = StartOptions { machine: "aarch64".into(), ..StartOptions::default() };
        let start = Start::new(&tree.host(), &StateDir::new(tree.path("state")), &guest, &options);
        let refused = start.refusals.iter().any(|reason| matches!(reason, Refusal::Protected));
        let report = evaluate(&profile, &facts(line));
        let rule = report.findings.iter().find(|finding| finding.rule.id == "VB-KVM-004").unwrap();
        assert_eq!(refused, *mode == Some("protected"), "vfiorun: {line}");
        assert_eq!(rule.verdict == Verdict::Fail, refused, "check: {line}");
    }
}

#[test]
fn what_turns_pid_1_off_no_patch_adds() {
    let bytes = common::fixture("images/boot-v2-raw.img");
    let images = [Image::parse(&bytes).unwrap()];
    let runtime = common::elf(common::AARCH64);
    for (index, (line, _, disables)) in LINES.iter().enumerate() {
        let mut options =
            Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(&runtime));
        options.parameters = vec![(*line).to_owned()];
        let refused = matches!(
            patch::plan(&BootSet::from_images(&images), &options),
            Err(Error::Parameter { .. })
        );
        assert_eq!(refused, *disables, "patch: {line}");
        let facts = bootmode::Facts { cmdline: Some(line), ..Default::default() };
        assert_eq!(bootmode::decide(facts) == Some(Skip::Disabled), *disables, "PID 1: {line}");
        let tree = Tree::new(&format!("parity-disable-{index}"));
        tree.file("proc/cmdline", format!("{line}\n"));
        let checks = doctor::examine(&tree.host());
        let warned = checks
            .iter()
            .any(|check| check.id == "cmdline" && check.status == doctor::Status::Warning);
        assert_eq!(warned, *disables, "doctor: {line}");
    }
}
