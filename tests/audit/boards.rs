//! Advice that fits the board, other hypervisors, other architectures, and what the user adds to what
//! an input tells.

use crate::common::cli::Scratch;
use crate::common::synthetic::CONFIG;

use serde_json::Value;

fn without(symbols: &[&str]) -> String {
    let lines = CONFIG.lines().filter(|line| {
        !symbols.iter().any(|symbol| line.starts_with(&format!("CONFIG_{symbol}=")))
    });
    lines.map(|line| format!("{line}\n")).collect()
}

fn check(config: &str, arguments: &str) -> (i32, Value, String) {
    let scratch = Scratch::new();
    scratch.file("a.config", config.as_bytes());
    let run = scratch.run(&format!("check a.config --format json --fragment f {arguments}"));
    let output = run.get_output();
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let fragment = std::fs::read_to_string(scratch.path("f")).unwrap_or_default();
    (output.status.code().unwrap(), json, fragment)
}

fn fix(report: &Value, id: &str) -> String {
    let findings = report["inputs"][0]["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["id"] == id).unwrap();
    let mut rules = report["rules"].as_array().unwrap().iter();
    let rule = rules.find(|rule| rule["id"] == id).unwrap();
    finding["fix"].as_str().or(rule["fix"].as_str()).unwrap().to_owned()
}

#[test]
fn the_advice_is_for_the_soc_of_the_config() {
    let bare = without(&["ARM_SMMU", "ARM_SMMU_V3", "PCI_HOST_GENERIC"]);
    let pi =
        bare.clone() + "CONFIG_ARCH_BCM2835=y\nCONFIG_ARCH_BRCMSTB=y\nCONFIG_BCM2712_IOMMU=y\n";
    let (status, report, fragment) = check(&pi, "");
    assert_eq!(status, 1);
    let iommu = fix(&report, "VB-IOMMU-002");
    assert!(iommu.contains("no IOMMU before PCIe") && !iommu.contains("ARM_SMMU_V3"), "{iommu}");
    assert!(fix(&report, "VB-PCI-002").contains("CONFIG_PCIE_BRCMSTB=y"));
    assert!(fragment.contains("\nCONFIG_PCIE_BRCMSTB=y\n"), "{fragment}");
    assert!(!fragment.contains("SMMU") && !fragment.contains("PCI_HOST_GENERIC"), "{fragment}");

    let (_, report, fragment) = check(&(bare.clone() + "CONFIG_ARCH_QCOM=y\n"), "");
    assert!(fix(&report, "VB-IOMMU-002").starts_with("Qualcomm: set CONFIG_ARM_SMMU=y"));
    assert!(fragment.contains("\nCONFIG_ARM_SMMU=y\n"), "{fragment}");
    assert!(fragment.contains("\nCONFIG_PCIE_QCOM=y\n"), "{fragment}");

    let two = bare.clone() + "CONFIG_ARCH_QCOM=y\nCONFIG_ARCH_APPLE=y\n";
    let (_, report, fragment) = check(&two, "");
    let iommu = fix(&report, "VB-IOMMU-002");
    assert!(iommu.contains("Qualcomm: ") && iommu.contains("Apple: "), "{iommu}");
    for driver in ["ARM_SMMU", "APPLE_DART", "PCIE_QCOM", "PCIE_APPLE"] {
        let count = fragment.matches(&format!("\nCONFIG_{driver}=y\n")).count();
        assert_eq!(count, 1, "{driver}: {fragment}");
    }

    // A config for every board is for none in particular.
    let all = ["QCOM", "ROCKCHIP", "MESON", "TEGRA"].map(|soc| format!("CONFIG_ARCH_{soc}=y\n"));
    let (_, report, fragment) = check(&(bare + &all.concat()), "");
    assert!(fix(&report, "VB-IOMMU-002").starts_with("Set CONFIG_ARM_SMMU_V3=y"));
    assert!(fragment.contains("\nCONFIG_ARM_SMMU_V3=y\n"), "{fragment}");
}

#[test]
fn the_fragment_builds_in_the_modules_that_the_config_names() {
    let bare = without(&["ARM_SMMU", "ARM_SMMU_V3", "PCI_HOST_GENERIC"]);
    let apple = bare + "CONFIG_ARCH_APPLE=y\nCONFIG_APPLE_DART=m\nCONFIG_PCIE_APPLE=m\n";
    let (status, _, fragment) = check(&apple, "");
    assert_eq!(status, 3);
    assert!(fragment.contains("\nCONFIG_APPLE_DART=y\n"), "{fragment}");
    assert!(fragment.contains("\nCONFIG_PCIE_APPLE=y\n"), "{fragment}");
    assert_eq!(check(&(apple + &fragment), "").0, 0);
}

/// A rule that asks for CPUSETS_V1 applies only where CPUSETS is set: from 6.12 on.
#[test]
fn the_fragment_has_what_applies_when_the_rest_of_it_is_set() {
    let bare = without(&["CPUSETS", "TUN", "HUGETLBFS", "KVM", "VFIO"]);
    for (version, has) in [("5.10.1", false), ("6.1.99", false), ("6.12.1", true), ("7.1.0", true)]
    {
        let bare = bare.replace("6.1.99", version);
        let recommended = "--fail-on recommended";
        let (status, report, fragment) = check(&bare, recommended);
        assert_eq!(status, 1);
        let findings = report["inputs"][0]["findings"].as_array().unwrap();
        let own = findings.iter().find(|finding| finding["id"] == "VB-HOST-008").unwrap();
        assert_eq!(own["verdict"], "not_applicable", "{version}");
        let section = fragment.split("\n# VB-HOST-008").nth(1);
        assert_eq!(section.is_some(), has, "{version}: {fragment}");
        if let Some(section) = section {
            let lines =
                "\n# The rule applies when other lines here are set.\nCONFIG_CPUSETS_V1=y\n";
            assert!(section.contains(lines), "{section}");
        }
        // what Kconfig selects
        let selected = "CONFIG_ARM_GIC_V3_ITS=y\nCONFIG_MEMFD_CREATE=y\n";
        let (status, report, _) = check(&(bare + selected + &fragment), recommended);
        assert_eq!(status, 0, "{version}: {fragment}\n{report:#}");
    }
}

#[test]
fn the_fragment_takes_along_what_would_make_vfio_a_module() {
    let modular = CONFIG.replace("CONFIG_VFIO=y", "CONFIG_VFIO=m");
    let (_, _, fragment) = check(&(modular.clone() + "CONFIG_IOMMUFD=m\n"), "");
    assert!(fragment.contains("\nCONFIG_IOMMUFD=y\n"), "{fragment}");
    for other in ["", "CONFIG_IOMMUFD=y\n"] {
        let (_, _, fragment) = check(&(modular.clone() + other), "");
        assert!(!fragment.contains("IOMMUFD=y\n"), "{fragment}");
    }
}

#[test]
fn the_verdict_names_other_hypervisors() {
    let text = |lines: &str, arguments: &str| {
        let scratch = Scratch::new();
        scratch.file("a.config", format!("{CONFIG}{lines}").as_bytes());
        let output = scratch.run(&format!("check a.config {arguments}")).get_output().clone();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim_end().lines().last().unwrap().to_owned()
    };
    let plain = text("", "");
    assert!(plain.contains("PASS") && !plain.contains("also a kernel for"), "{plain}");
    assert!(text("CONFIG_GUNYAH=y\n", "").contains("PASS"));
    assert!(text("CONFIG_GUNYAH=y\n", "").contains("also a kernel for Gunyah"));
    let both = text("CONFIG_GUNYAH=m\nCONFIG_MTK_GZVM=y\n", "");
    assert!(both.contains("Gunyah and GenieZone"), "{both}");
    assert!(text("", "--cmdline kvm-arm.mode=protected").contains("pKVM"));
}

#[test]
fn other_architectures_are_refused_by_the_header_of_their_kernel() {
    let pe = |machine: u16, own: &dyn Fn(&mut Vec<u8>)| {
        let mut image = vec![0; 4096];
        image[..2].copy_from_slice(b"MZ");
        image[60] = 64;
        image[64..68].copy_from_slice(b"PE\0\0");
        image[68..70].copy_from_slice(&machine.to_le_bytes());
        own(&mut image);
        image
    };
    let elf = |machine: u16| {
        let mut image = vec![0; 4096];
        image[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        image[16..20].copy_from_slice(&[2, 0, machine as u8, (machine >> 8) as u8]);
        image[20] = 1;
        image[52..54].copy_from_slice(&[64, 0]);
        image
    };
    let mut uimage = vec![0; 4096];
    uimage[..4].copy_from_slice(&[0x27, 0x05, 0x19, 0x56]);
    uimage[12..16].copy_from_slice(&4000_u32.to_be_bytes());
    uimage[29] = 5;
    let linux_pe = |image: &mut Vec<u8>| image[56..60].copy_from_slice(&[0xcd, 0x23, 0x82, 0x81]);
    let riscv = |image: &mut Vec<u8>| image[56..60].copy_from_slice(b"RSC\x05");
    let mut old = vec![0; 4096];
    old[48..56].copy_from_slice(b"RISCV\0\0\0");
    for (name, bytes) in [
        ("riscv64", pe(0x5064, &riscv)),
        ("riscv64", old),
        ("riscv32", pe(0x5032, &riscv)),
        ("loongarch64", pe(0x6264, &linux_pe)),
        ("powerpc", elf(21)),
        ("s390", elf(22)),
        ("mips", elf(8)),
        ("sparc", elf(43)),
        ("mips", uimage),
    ] {
        let scratch = Scratch::new();
        scratch.file("Image", &bytes);
        let output = scratch.run("check Image").code(2).get_output().clone();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(&format!("is for {name}")), "{name}: {text}");
    }
}

#[test]
fn the_user_tells_architecture_and_version_where_nothing_else_does() {
    let bare: String = CONFIG
        .lines()
        .filter(|line| !line.starts_with("# Linux/"))
        .map(|l| format!("{l}\n"))
        .collect();
    let (_, report, _) = check(&bare, "");
    assert_eq!(
        (&report["inputs"][0]["arch"], report["inputs"][0]["release"].as_str()),
        (&Value::Null, None)
    );
    let (status, report, _) = check(&bare, "--arch arm64 --kernel-version 6.1");
    assert_eq!((status, report["inputs"][0]["arch"].as_str()), (0, Some("arm64")));
    assert_eq!(check(&bare, "--arch arm64 --kernel-version 6.12").0, 1, "VFIO_GROUP is missing");
    assert_eq!(check(&bare, "--arch riscv64").0, 2);
    // What the config says counts.
    let (status, report, _) = check(CONFIG, "--arch x86_64 --kernel-version 6.12");
    assert_eq!((status, report["inputs"][0]["arch"].as_str()), (0, Some("arm64")));
    assert_eq!(check(CONFIG, "--arch z80").0, 2);
    assert_eq!(check(CONFIG, "--kernel-version new").0, 2);
}

/// A tree whose olddefconfig sets what the config leaves open, as Kconfig does.
#[test]
fn a_fragment_is_expanded_by_the_tree() {
    let scratch = Scratch::new();
    scratch.file("tree/Kconfig", b"");
    let rest: String = CONFIG
        .lines()
        .filter(|line| !line.contains("CONFIG_KVM="))
        .map(|l| format!("{l}\n"))
        .collect();
    scratch.file("tree/rest", rest.as_bytes());
    scratch.file(
        "tree/Makefile",
        b"olddefconfig:\n\t@test $$ARCH = arm64 && cat rest $O/.config > $O/new && mv $O/new $O/.config\n",
    );
    scratch.file("a.config", b"CONFIG_ARM64=y\nCONFIG_KVM=y\n");
    let output = scratch.run("check a.config --expand tree").code(0).get_output().clone();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("olddefconfig in tree") && !text.contains("not a complete"), "{text}");
    assert!(!scratch.path("tree/.config").exists());
    scratch.run("check a.config --expand .").code(2);
    scratch.file("b.config", b"CONFIG_KVM=y\n");
    scratch.run("check b.config --expand tree").code(2);
    scratch.run("check b.config --expand tree --arch arm64").code(0);
}

/// Kconfig asks the compiler of the kernel's architecture: Debian's cross compiler where it is installed, and what
/// the user names before it.
#[test]
fn the_tree_is_asked_with_the_cross_compiler() {
    let scratch = Scratch::new();
    scratch.file("tree/Kconfig", b"");
    scratch.file(
        "tree/Makefile",
        b"olddefconfig:\n\t@echo \"CONFIG_CC_VERSION_TEXT=\\\"$(CROSS_COMPILE)cc\\\"\" >> $O/.config\n",
    );
    let (arm64, x86) = (CONFIG, CONFIG.replace("Linux/arm64", "Linux/x86") + "CONFIG_64BIT=y\n");
    scratch.file("arm64.config", arm64.as_bytes());
    scratch.file("x86.config", x86.as_bytes());
    let usual = std::env::var("PATH").unwrap();
    // A directory without compilers, in which make finds a shell.
    std::fs::create_dir(scratch.path("bin")).unwrap();
    for program in ["make", "sh", "echo"] {
        let place = usual.split(':').map(|dir| std::path::Path::new(dir).join(program));
        let place = place.into_iter().find(|place| place.exists()).unwrap();
        std::os::unix::fs::symlink(place, scratch.path(&format!("bin/{program}"))).unwrap();
    }
    let compiler = |name: &str, own: &[(&str, &str)]| {
        scratch.file("profile.toml", PROFILE.as_bytes());
        let words = format!("check {name}.config --expand tree --profile profile.toml");
        let mut command = scratch.command(&words);
        command.env("PATH", scratch.path("bin")).env_remove("CROSS_COMPILE").env_remove("LLVM");
        let output = command.envs(own.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.split_once("CC_VERSION_TEXT="));
        line.unwrap_or_else(|| panic!("{text}")).1.to_owned()
    };
    let (native, other, prefix) = match std::env::consts::ARCH {
        "aarch64" => ("arm64", "x86", "x86_64-linux-gnu-"),
        _ => ("x86", "arm64", "aarch64-linux-gnu-"),
    };
    assert_eq!((compiler(native, &[]), compiler(other, &[])), ("cc".into(), "cc".into()));
    scratch.file(&format!("bin/{prefix}gcc"), b"");
    assert_eq!((compiler(native, &[]), compiler(other, &[])), ("cc".into(), format!("{prefix}cc")));
    assert_eq!(compiler(other, &[("CROSS_COMPILE", "mine-")]), "mine-cc");
    assert_eq!(compiler(other, &[("LLVM", "1")]), "cc");
}

/// Its one rule fails, and says which compiler the config names.
const PROFILE: &str = "title = \"t\"\n[[rule]]\nid = \"X-1\"\ntitle = \"t\"\nlevel = \"required\"\n\
    why = \"w\"\neffect = \"e\"\nfix = \"f\"\nsymbol = \"CC_VERSION_TEXT\"\naccept = [\"none\"]\n\
    set = [\"KVM=y\"]\n";
