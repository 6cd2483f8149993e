//! The same kernels, command lines and modules for both programs: each rule that both have comes
//! to the same verdict.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

use vfioboot::audit::{
    EffectiveCmdline, Evaluation, Facts, Profile, Provenance, Verdict, evaluate,
};
use vfioboot::device::doctor::findings;
use vfioboot::kernel::{KernelConfig, Module};
use vfioboot::rules::Cause;

use crate::common::device_tree::Tree;
use crate::common::fixture_path;

/// A kernel as both programs are shown it.
#[derive(Clone, Default)]
struct Machine {
    config: Option<String>,
    /// Of the running kernel; None: what the config's header says.
    release: Option<String>,
    cmdline: String,
    /// Names of the modules, all of which fit and are loaded.
    modules: Vec<&'static str>,
}

type Verdicts = BTreeMap<String, Verdict>;

impl Machine {
    fn of_config(config: &str) -> Self {
        Machine { config: Some(config.to_owned()), ..Machine::default() }
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        if let Some(text) = &self.config {
            let config = KernelConfig::parse(text.as_bytes()).unwrap();
            facts.set_config(config, Provenance::File("the.config".into()));
        } else {
            facts.arch = vfioboot::kernel::Arch::from_name(std::env::consts::ARCH);
        }
        facts.release = self.release.clone().or(facts.release);
        facts.cmdline = Some(self.cmdline.clone());
        let module = |name: &&str| Module {
            name: (*name).to_owned(),
            vermagic: facts.release.clone(),
            ..Module::default()
        };
        facts.modules = Some(self.modules.iter().map(module).collect());
        facts
    }

    fn desktop(&self) -> Verdicts {
        let findings = self.report().findings;
        findings.into_iter().map(|own| (own.rule.id.to_string(), own.verdict)).collect()
    }

    fn report(&self) -> Evaluation {
        evaluate(&Profile::builtin("passthrough").unwrap(), &self.facts())
    }

    fn device(&self, name: &str) -> Verdicts {
        let tree = Tree::new(&format!("parity-{name}"));
        let facts = self.facts();
        if let Some(text) = &self.config {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(text.as_bytes()).unwrap();
            tree.file("proc/config.gz", gzip.finish().unwrap());
        }
        if let Some(release) = &facts.release {
            tree.file("proc/sys/kernel/osrelease", format!("{release}\n"));
        }
        // A running kernel shows the line that it acts on.
        let line = EffectiveCmdline::new(&facts);
        let seen = line.iter().flat_map(|line| &line.entries).filter(|own| own.counts);
        let quoted = seen.map(|own| match own.text.contains(' ') {
            true => format!("\"{}\"", own.text),
            false => own.text.clone(),
        });
        let line: Vec<String> = quoted.collect();
        tree.file("proc/cmdline", line.join(" ") + "\n");
        for module in &self.modules {
            tree.file(&format!("sys/module/{module}/refcnt"), "0\n");
        }
        let (findings, _) = findings(&tree.host());
        findings.into_iter().map(|own| (own.rule.id.to_string(), own.judgement.verdict)).collect()
    }

    /// The verdicts of the rules that both programs have, which are the same.
    fn agreed(&self, name: &str) -> Verdicts {
        let (report, device) = (self.report(), self.device(name));
        assert!(device.len() > 25, "{name}: {} rules", device.len());
        for (id, verdict) in &device {
            // The running kernel shows which of two values comes last.
            let finding = report.finding(id).unwrap();
            if !matches!(
                finding.reason.cause,
                Cause::Ambiguous { .. } | Cause::Overruled { ambiguous: true, .. }
            ) {
                assert_eq!(
                    finding.verdict, *verdict,
                    "{name}: {id}, the desktop before the device"
                );
            }
        }
        device
    }
}

fn lab_config() -> String {
    fs::read_to_string(fixture_path("configs/lab-6.1-arm64.config")).unwrap()
}

#[test]
fn every_config_of_the_fixtures() {
    let mut count = 0;
    for entry in fs::read_dir(fixture_path("configs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "config") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let plain = Machine::of_config(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        plain.agreed(name);
        let with = |cmdline: &str, modules: &[&'static str], release: Option<&str>| Machine {
            cmdline: cmdline.to_owned(),
            modules: modules.to_vec(),
            release: release.map(str::to_owned),
            ..plain.clone()
        };
        with("iommu.strict=0 kvm-arm.mode=protected", &[], None).agreed(name);
        with("quiet iommu.strict=0 iommu.strict=1 kvm_arm.mode=none", &[], None).agreed(name);
        with("a=\"b iommu.strict=0\" -- iommu.strict=0", &[], None).agreed(name);
        let vfio = ["vfio", "vfio_iommu_type1", "vfio_pci", "arm_smmu_v3", "pcie_qcom"];
        with("", &vfio, None).agreed(name);
        with("", &["samsung_iommu_v9", "pci_msm_drv"], Some("6.1.57-android14-11")).agreed(name);
        with("", &["my_iommu", "my_pci"], Some("6.6.1-android15-8")).agreed(name);
        for release in ["4.9.1", "5.1.9", "5.2", "5.17.3", "6.6", "6.12.5-mine"] {
            with("arm-smmu.disable_bypass=0", &[], Some(release)).agreed(name);
        }
        count += 1;
    }
    assert!(count > 3, "{count} configs");
}

/// Kernel parameters in rules override the symbols, in both programs.
#[test]
fn parameters_overrule_symbols() {
    let strict = "\nCONFIG_IOMMU_DEFAULT_DMA_STRICT=y\nCONFIG_ARM_SMMU=y\n\
        CONFIG_ARM_SMMU_DISABLE_BYPASS_BY_DEFAULT=y\n";
    let lenient = "\nCONFIG_ARM_SMMU=y\n# CONFIG_IOMMU_DEFAULT_DMA_STRICT is not set\n\
        # CONFIG_ARM_SMMU_DISABLE_BYPASS_BY_DEFAULT is not set\n";
    let cases = [
        (strict, "quiet", "VB-IOMMU-007", Verdict::Pass),
        (strict, "iommu.strict=0", "VB-IOMMU-007", Verdict::Fail),
        (strict, "iommu.strict=0 iommu.strict=1", "VB-IOMMU-007", Verdict::Pass),
        (strict, "iommu.strict=\"0\"", "VB-IOMMU-007", Verdict::Fail),
        (lenient, "quiet", "VB-IOMMU-007", Verdict::Fail),
        (lenient, "iommu.strict=1", "VB-IOMMU-007", Verdict::Pass),
        (lenient, "-- iommu.strict=1", "VB-IOMMU-007", Verdict::Fail),
        (strict, "arm_smmu.disable_bypass=n", "VB-IOMMU-005", Verdict::Fail),
        (lenient, "arm-smmu.disable_bypass", "VB-IOMMU-005", Verdict::Pass),
        (strict, "kvm-arm.mode=none", "VB-KVM-003", Verdict::Fail),
        (strict, "kvm_arm.mode=none", "VB-KVM-003", Verdict::Fail),
        (strict, "kvm-arm.mode=none kvm-arm.mode=nvhe", "VB-KVM-003", Verdict::Pass),
        (strict, "kvm-arm.mode=\"protected\"", "VB-KVM-004", Verdict::Fail),
        (strict, "kvm-arm.mode=protected kvm-arm.mode=vhe", "VB-KVM-004", Verdict::Fail),
        (strict, "kvm-arm.mode=vhe", "VB-KVM-004", Verdict::Pass),
    ];
    for (index, (symbols, cmdline, id, expected)) in cases.into_iter().enumerate() {
        let machine = Machine {
            config: Some(lab_config() + symbols),
            cmdline: cmdline.to_owned(),
            ..Machine::default()
        };
        let verdicts = machine.agreed(&format!("parameters-{index}"));
        assert_eq!(verdicts.get(id), Some(&expected), "{cmdline}");
    }
}

/// arm64 has no KVM=m: such a config is another kernel's, loaded or not.
#[test]
fn kvm_is_never_a_module_on_arm64() {
    let config = lab_config().replace("CONFIG_KVM=y", "CONFIG_KVM=m");
    let machine = Machine { modules: vec!["kvm"], ..Machine::of_config(&config) };
    let verdicts = machine.agreed("never-module");
    assert_eq!(verdicts["VB-KVM-001"], Verdict::Fail);
}

#[test]
fn a_module_counts_when_it_is_there() {
    let config = lab_config().replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m");
    let absent = Machine::of_config(&config);
    assert_eq!(absent.agreed("module-absent")["VB-VFIO-003"], Verdict::Fail);
    let present = Machine { modules: vec!["vfio_pci"], ..absent };
    assert_eq!(present.agreed("module-present")["VB-VFIO-003"], Verdict::Pass);
}

#[test]
fn a_module_that_a_blacklist_names_does_not_count() {
    let config = lab_config().replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m");
    let loaded = Machine { modules: vec!["vfio_pci"], ..Machine::of_config(&config) };
    for (index, (cmdline, expected)) in [
        ("module_blacklist=vfio_pci", Verdict::Fail),
        ("modprobe.blacklist=vfio-pci", Verdict::Fail),
        ("module_blacklist=nouveau", Verdict::Pass),
    ]
    .into_iter()
    .enumerate()
    {
        let machine = Machine { cmdline: cmdline.to_owned(), ..loaded.clone() };
        let verdicts = machine.agreed(&format!("blacklist-{index}"));
        assert_eq!(verdicts["VB-VFIO-003"], expected, "{cmdline}");
    }
}

/// Rules for some versions only: in, below and above their range, and where the version is not
/// known.
#[test]
fn versions_and_what_is_not_known() {
    let config = lab_config().replace("CONFIG_VFIO_GROUP", "CONFIG_X");
    let of = |release: &str| Machine {
        release: Some(release.to_owned()),
        ..Machine::of_config(&config)
    };
    assert_eq!(of("6.5.9").agreed("below")["VB-VFIO-004"], Verdict::NotApplicable);
    assert_eq!(of("6.6").agreed("in")["VB-VFIO-004"], Verdict::Fail);
    let headless: String =
        config.lines().filter(|line| !line.starts_with("# Linux/")).collect::<Vec<_>>().join("\n");
    let unknown = Machine::of_config(&headless).desktop();
    assert_eq!(unknown["VB-VFIO-004"], Verdict::Unknown);
    // The device always knows its architecture, so only what depends on the version is compared.
    assert_eq!(Machine::of_config(&headless).device("no-version")["VB-VFIO-004"], Verdict::Unknown);
}

#[test]
fn without_a_config_only_the_command_line_decides() {
    let machine = Machine { cmdline: "iommu.strict=0".into(), ..Machine::default() };
    let machine = Machine { release: Some("6.1.9".into()), ..machine };
    let verdicts = machine.agreed("no-config");
    assert_eq!(verdicts["VB-VFIO-003"], Verdict::Unknown);
    assert_eq!(verdicts["VB-IOMMU-007"], Verdict::Fail);
}
