//! Trees of modules: lists, dependencies, drivers of a device.

use crate::common;
use crate::common::ko;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{cpio, real_images};
use ko::Ko;
use proptest::prelude::*;
use vfioboot::modules::alias::{MatchKind, PciAlias, matches};
use vfioboot::modules::depmod::{LISTS, Softdep};
use vfioboot::modules::tree::Role;
use vfioboot::modules::{Dependencies, Lists, ModuleSource, ModuleTree, Step};

fn lists(files: &[(&str, &str)]) -> Lists {
    let mut lists = Lists::default();
    files.iter().for_each(|(name, text)| lists.read(name, text.as_bytes()));
    lists
}

fn order(dependencies: &Dependencies, name: &str) -> String {
    let name_of = |step: &Step| match step {
        Step::Load { name, .. } | Step::Builtin(name) | Step::Install { name, .. } => name.clone(),
    };
    match dependencies.probe(name) {
        Ok(steps) => steps.iter().map(name_of).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    }
}

#[test]
fn dependencies_are_loaded_from_the_end_of_their_line() {
    let all = Dependencies::new(
        &lists(&[("modules.dep", "k/a.ko: k/b.ko k/c.ko\nk/b.ko: k/c.ko\nk/c.ko:\n")]),
        &[],
        |_| false,
    );
    assert_eq!(order(&all, "a"), "c b a");
}

#[test]
fn soft_dependencies_are_before_and_after_their_module() {
    let dep = "a.ko: b.ko\nb.ko:\nbefore.ko:\nbehind.ko:\n";
    let soft = "softdep b pre: before nowhere post: behind\n";
    let all =
        Dependencies::new(&lists(&[("modules.dep", dep), ("modules.softdep", soft)]), &[], |_| {
            false
        });
    assert_eq!(order(&all, "a"), "before b behind a");
}

#[test]
fn cycles_of_soft_dependencies_end() {
    let soft = "softdep a pre: b\nsoftdep b pre: a\n";
    let all = Dependencies::new(
        &lists(&[("modules.dep", "a.ko:\nb.ko:\n"), ("modules.softdep", soft)]),
        &[],
        |_| false,
    );
    assert_eq!(order(&all, "a"), "b a");
}

#[test]
fn a_missing_module_is_reported_with_its_dependent() {
    let all = Dependencies::new(&lists(&[("modules.dep", "a.ko: b.ko\n")]), &[], |_| false);
    assert_eq!(order(&all, "a"), "module a needs b, which is missing");
    assert_eq!(order(&all, "c"), "there is no module c");
}

#[test]
fn a_dependency_cycle_is_reported_with_its_modules() {
    let read = |name: &str, depends: &str| {
        let ko = Ko::new(name, "6.1").info(&format!("depends={depends}"));
        vfioboot::kernel::Module::parse(&ko.bytes(), name).unwrap()
    };
    let all = Dependencies::new(&Lists::default(), &[read("a", "b"), read("b", "a")], |_| false);
    assert_eq!(order(&all, "a"), "dependency cycle: a → b → a");
}

/// Compared with kmod: the same tree, every module.
#[test]
fn the_closure_is_what_modprobe_shows() {
    if Command::new("/sbin/depmod").arg("--version").output().is_err() {
        eprintln!("no kmod here: not compared with modprobe");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("lib/modules/6.1.99");
    fs::create_dir_all(&root).unwrap();
    fs::create_dir(dir.path().join("config")).unwrap();
    // A diamond with soft dependencies by name, by alias and on each other.
    let modules = [
        Ko::new("base", "6.1.99").export("base_x", true).info("softdep=post: late crypto-fast"),
        Ko::new("left", "6.1.99").import("base_x", None).export("left_x", false),
        Ko::new("right", "6.1.99")
            .import("base_x", None)
            .export("right_x", true)
            .info("softdep=pre: late"),
        Ko::new("top-most", "6.1.99").import("left_x", None).import("right_x", None),
        Ko::new("late", "6.1.99").import("base_x", None).info("softdep=pre: top-most"),
        Ko::new("fast_one", "6.1.99").info("alias=crypto-fast"),
        Ko::new("fast_two", "6.1.99").info("alias=crypto-f*").import("left_x", None),
    ];
    let names = ["base", "left", "right", "top-most", "late", "fast_one", "fast_two"];
    for (name, ko) in names.iter().zip(&modules) {
        fs::write(root.join(format!("{name}.ko")), ko.bytes()).unwrap();
    }
    fs::write(root.join("modules.order"), "").unwrap();
    fs::write(root.join("modules.builtin"), "").unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let place = dir.path().to_str().unwrap();
    run("/sbin/depmod", &["-b", place, "6.1.99"]);
    let all = Dependencies::new(&read_lists(&root), &[], |_| false);
    for name in names {
        let config = format!("{place}/config");
        let shown = run(
            "/sbin/modprobe",
            &["-C", &config, "-d", place, "-S", "6.1.99", "--show-depends", name],
        );
        let steps = all.probe(name).unwrap();
        let ours: String = steps
            .iter()
            .map(|step| match step {
                Step::Load { path, .. } => format!("insmod {}/{path} \n", root.display()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(ours, shown, "{name}");
    }
}

fn read_lists(directory: &Path) -> Lists {
    let mut lists = Lists::default();
    for name in LISTS {
        if let Ok(bytes) = fs::read(directory.join(name)) {
            lists.read(name, &bytes);
        }
    }
    lists
}

#[test]
fn lists_are_read_as_android_and_depmod_write_them() {
    let lists = lists(&[
        ("modules.load", "# first\nkernel/drivers/vfio-pci.ko\nnvme.ko\n"),
        ("modules.softdep", "softdep vfio post: vfio_iommu_type1 b\n"),
        ("modules.options", "options vfio-pci ids=1b36:0010\n"),
        ("modules.blocklist", "blocklist bad-one\n"),
        ("modules.builtin.modinfo", "nvme.alias=pci:v*d*sv*sd*bc01sc08i02*\0nvme.license=GPL\0"),
    ]);
    assert_eq!(lists.load.unwrap(), ["vfio_pci", "nvme"]);
    assert_eq!(lists.softdeps, [Softdep::parse("vfio", "post: vfio_iommu_type1 b")]);
    assert_eq!(lists.softdeps[0].post, ["vfio_iommu_type1", "b"]);
    assert_eq!(lists.options["vfio_pci"], "ids=1b36:0010");
    assert!(lists.blocklist.contains("bad_one") && lists.builtin.contains("nvme"));
    assert_eq!(lists.builtin_aliases[0].1, "nvme");
}

#[test]
fn pci_aliases_match_devices() {
    let wants =
        |alias: &str| PciAlias::parse(alias).and_then(|alias| alias.match_kind(0x1b36, 0x0010));
    assert_eq!(wants("pci:v00001B36d00000010sv*sd*bc*sc*i*"), Some(MatchKind::Id));
    assert_eq!(wants("pci:v00001B36d00000010sv00001AF4sd*bc*sc*i*"), Some(MatchKind::Subsystem));
    assert_eq!(wants("pci:v*d*sv*sd*bc01sc08i02*"), Some(MatchKind::Class));
    assert_eq!(wants("pci:v00001B36d00000011sv*sd*bc*sc*i*"), None);
    assert_eq!(wants("usb:v1B36p0010d*"), None);
    let nvme = PciAlias::parse("pci:v*d*sv*sd*bc01sc08i02*").unwrap();
    assert_eq!(nvme.class_name(), Some("NVM Express controllers"));
}

#[test]
fn patterns_match_as_fnmatch_does() {
    for (pattern, text, expected) in [
        ("pci:v*d*", "pci:v0001d0002", true),
        ("a*b*c", "a-x-b-y-c", true),
        ("a*b*c", "a-x-c-y-b", false),
        ("a?c", "abc", true),
        ("[a-c]x[!0]", "bx1", true),
        ("[a-c]x[!0]", "bx0", false),
        ("a-b", "a_b", true),
        ("*", "", true),
        ("", "a", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

proptest! {
    #[test]
    fn a_star_matches_anything(head in "[a-z]{0,5}", middle in ".{0,20}", tail in "[a-z]{0,5}") {
        let (pattern, text) = (format!("{head}*{tail}"), format!("{head}{middle}{tail}"));
        prop_assert!(matches(&pattern, &text));
    }
}

#[test]
fn a_tree_identifies_host_bridges_iommus_and_drivers() {
    let of = |compatible: &str| format!("alias=of:N*T*C{compatible}");
    let bridge =
        Ko::new("pcie_qcom", "6.1").info(&of("qcom,pcie-sm8450")).import("dw_pcie_host_init", None);
    let generic = Ko::new("pci_host_generic", "6.1")
        .info(&of("pci-host-ecam-generic"))
        .import("pci_host_common_probe", None);
    let smmu =
        Ko::new("arm_smmu", "6.1").info(&of("arm,smmu-v2")).import("iommu_device_register", None);
    let nvme = Ko::new("nvme", "6.1").info("alias=pci:v*d*sv*sd*bc01sc08i02*");
    let ramdisk = cpio(&[
        ("lib/modules/pcie-qcom.ko", &bridge.bytes()),
        ("lib/modules/generic.ko", &generic.bytes()),
        ("lib/modules/arm-smmu.ko", &smmu.bytes()),
        ("lib/modules/nvme.ko", &nvme.bytes()),
        ("lib/modules/modules.load", b"nvme.ko\n"),
    ]);
    let tree =
        ModuleTree::read(&[ModuleSource::Bytes { name: "r".into(), bytes: &ramdisk }]).unwrap();
    assert_eq!(tree.with_role(Role::HostBridge), ["pci_host_generic", "pcie_qcom"]);
    assert_eq!(tree.with_role(Role::Iommu), ["arm_smmu"]);
    assert!(tree.is_self_contained("pci_host_generic") && !tree.is_self_contained("pcie_qcom"));
    assert_eq!(tree.directory, "lib/modules");
    assert_eq!(tree.drivers(0x1b36, 0x0010)[0].module, "nvme");
    assert_eq!(tree.releases(), ["6.1"]);
}

#[test]
fn a_real_vendor_ramdisk_names_its_kernel_and_drivers() {
    let images = real_images();
    let Some((_, bytes)) = images.iter().find(|(name, _)| name.starts_with("gki-virtdev")) else {
        return;
    };
    let tree = ModuleTree::read(&[ModuleSource::Bytes { name: "r".into(), bytes }]).unwrap();
    assert_eq!(tree.modules.len(), 48);
    assert_eq!(tree.releases(), ["5.4.125-android12-8-00278-g18f5581af79d-ab7557496"]);
    assert!(tree.pci_drivers().contains("virtio_pci"));
}
