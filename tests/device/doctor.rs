//! `vfiorun doctor` against a fake system: what each prerequisite is said to be, and the fix.

use crate::common::device_tree;

use std::io::Write;

use device_tree::Tree;
use serde_json::Value;
use vfioboot::device::doctor::{Check, Status, examine, verdict};
use vfioboot::rules::Profile;

const SMMU: &str = "sys/class/iommu/smmu3.0x0000000009050000/devices";

/// A system on which passthrough works, as far as files can show it.
fn tree(name: &str) -> Tree {
    let tree = Tree::new(&format!("doctor-{name}"));
    tree.file("proc/sys/kernel/osrelease", "6.1.192-lab\n");
    tree.file("proc/self/status", "Name:\tx\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n");
    tree.file("proc/meminfo", "MemTotal: 2000000 kB\nMemAvailable: 1500000 kB\nHugePages_Free: 4\nHugepagesize: 2048 kB\n");
    tree.file("proc/interrupts", " 14: 3 ITS-MSI 32768 Edge nvme0q0\n 15: 0 IR-PCI-MSI x\n");
    tree.file(SMMU, "");
    tree.device("0000:00:02.0", ("1b36", "0010"), Some("nvme"));
    tree.iommu_group(0, &["0000:00:02.0"]);
    tree.driver("vfio-pci");
    tree.file("dev/kmsg", "6,1,2,-;kvm [1]: VHE mode initialized successfully\n");
    tree
}

fn check(tree: &Tree, id: &str) -> Check {
    let checks = examine(&tree.host());
    let found: Vec<_> = checks.iter().filter(|check| check.id == id).collect();
    assert!(!found.is_empty(), "no check {id}: {checks:#?}");
    // The worst of its name.
    (*found.iter().max_by_key(|check| check.status).unwrap()).clone()
}

/// A check's status, and that its text holds `words` and its fix `fix`.
fn says(tree: &Tree, id: &str, status: Status, words: &str, fix: &str) {
    let check = check(tree, id);
    assert_eq!(check.status, status, "{check:#?}");
    assert!(check.found.contains(words), "{check:#?}");
    let said = check.fix.as_deref().unwrap_or_default();
    assert!(said.contains(fix) && said.is_empty() == fix.is_empty(), "{check:#?}");
}

fn config(tree: &Tree, text: &str) {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    tree.file("proc/config.gz", gzip.finish().unwrap());
}

/// The config of the fixtures that passes on arm64, for any machine that runs the test.
fn good_config() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/configs/lab-6.1-arm64.config");
    let text = std::fs::read_to_string(path).unwrap();
    format!("{text}\nCONFIG_KVM_INTEL=y\nCONFIG_INTEL_IOMMU=y\nCONFIG_IRQ_REMAP=y\n")
}

#[test]
fn what_is_there_is_ok() {
    let tree = tree("ok");
    for id in [
        "arch",
        "kernel",
        "privileges",
        "iommu",
        "iommu-groups",
        "interrupts",
        "vfio-pci",
        "memory",
        "hugepages",
    ] {
        assert_eq!(check(&tree, id).status, Status::Ok, "{:#?}", check(&tree, id));
    }
    assert!(check(&tree, "iommu").found.contains("SMMUv3"));
    assert!(
        check(&tree, "iommu-groups")
            .found
            .contains("1, with 1 of 1 PCI devices, default domain DMA")
    );
}

#[test]
fn other_users_are_asked_to_run_as_root() {
    let tree = tree("user");
    tree.file("proc/self/status", "Uid:\t1000\t1000\nCapEff:\t0000000000000000\n");
    says(&tree, "privileges", Status::Problem, "not root", "as root");
}

#[test]
fn a_missing_capability_of_root_is_named() {
    let tree = tree("capability");
    tree.file("proc/self/status", "Uid:\t0\t0\nCapEff:\t0000000000004000\n");
    says(&tree, "privileges", Status::Problem, "CAP_SYS_ADMIN", "container");
}

#[test]
fn a_selinux_domain_that_is_denied_sysfs_is_a_problem() {
    let tree = tree("selinux");
    tree.file("sys/fs/selinux/enforce", "1");
    tree.file("proc/self/attr/current", "u:r:kernel:s0\0");
    says(&tree, "selinux", Status::Problem, "u:r:kernel:s0", "root shell");
    tree.file("proc/self/attr/current", "u:r:magisk:s0\0");
    says(&tree, "selinux", Status::Ok, "u:r:magisk:s0", "");
    tree.file("proc/self/attr/current", "u:r:shell:s0\0");
    says(&tree, "selinux", Status::Warning, "u:r:shell:s0", "setenforce 0 is not a fix");
}

#[test]
fn without_an_iommu_nothing_can_be_passed_through() {
    let tree = tree("no-iommu");
    std::fs::remove_dir_all(tree.path("sys/class/iommu")).unwrap();
    std::fs::remove_dir_all(tree.path("sys/kernel/iommu_groups")).unwrap();
    std::fs::remove_file(tree.path("sys/devices/pci0000:00/0000:00:02.0/iommu_group")).unwrap();
    assert_eq!(check(&tree, "iommu").status, Status::Problem);
    let groups = check(&tree, "iommu-groups");
    assert_eq!((groups.status, &groups.found[..]), (Status::Problem, "none, for 1 PCI devices"));
}

#[test]
fn a_device_without_a_group_may_get_one_when_it_is_probed() {
    let tree = tree("late-group");
    std::fs::remove_file(tree.path("sys/devices/pci0000:00/0000:00:02.0/iommu_group")).unwrap();
    says(&tree, "iommu-groups", Status::Problem, "drivers have probed them", "SMMU");
    tree.unlink_driver("0000:00:02.0");
    says(&tree, "iommu-groups", Status::Warning, "when a driver first probes it", "vfiorun bind");
}

#[test]
fn unsafe_interrupts_are_a_warning() {
    let tree = tree("unsafe");
    tree.file("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");
    says(&tree, "interrupts", Status::Warning, "any interrupt of the host", "write N");
}

#[test]
fn who_keeps_kvm_away_is_named() {
    let tree = tree("kvm");
    says(&tree, "kvm", Status::Problem, "/dev/kvm: no such file", "CONFIG_KVM");
    tree.file("dev/kmsg", "6,1,2,-;kvm [1]: HYP mode not available\n");
    says(&tree, "kvm", Status::Problem, "HYP mode not available", "EL1");
    tree.file("dev/kmsg", "6,1,2,-;kvm [1]: KVM disabled from command line\n");
    says(&tree, "kvm", Status::Problem, "disabled from command line", "remove kvm-arm.mode=none");
    tree.file("dev/gunyah", "");
    says(&tree, "kvm", Status::Problem, "Gunyah", "firmware");
}

#[test]
fn a_regular_file_is_not_kvm() {
    let tree = tree("kvm-file");
    tree.file("dev/kvm", "");
    says(&tree, "kvm", Status::Problem, "/dev/kvm is not KVM: ENOTTY", "remove it");
}

#[test]
fn vfio_pci_that_is_not_registered_is_a_problem() {
    let tree = tree("no-vfio-pci");
    std::fs::remove_dir_all(tree.path("sys/bus/pci/drivers/vfio-pci")).unwrap();
    says(&tree, "vfio-pci", Status::Problem, "not registered", "modprobe vfio-pci");
    says(&tree, "vfio", Status::Problem, "/dev/vfio/vfio: no such file", "CONFIG_VFIO");
    tree.file("sys/class/misc/vfio/dev", "10:196");
    says(&tree, "vfio", Status::Warning, "though the kernel has it", "makes the node itself");
}

#[test]
fn iommufd_without_a_container_is_an_interface() {
    let tree = tree("iommufd");
    tree.file("dev/iommu", "");
    tree.file("sys/class/misc/iommu/dev", "10:125");
    tree.file("proc/devices", "Character devices:\n  1 mem\n511 vfio-dev\n\nBlock devices:\n");
    says(&tree, "vfio", Status::Ok, "/dev/iommu (iommufd), with a node for each device", "");
    // a kernel without CONFIG_VFIO_DEVICE_CDEV
    tree.file("proc/devices", "Character devices:\n  1 mem\n510 vfio\n");
    says(&tree, "vfio", Status::Problem, "neither a container nor nodes", "VFIO_DEVICE_CDEV");
    std::fs::remove_file(tree.path("dev/iommu")).unwrap();
    says(&tree, "vfio", Status::Warning, "though the kernel has it", "makes the node itself");
}

#[test]
fn a_config_that_passes_the_rules_of_the_audit_is_ok() {
    let tree = tree("config");
    config(&tree, &good_config());
    let failed: Vec<_> = examine(&tree.host())
        .into_iter()
        .filter(|check| check.id == "config" && check.status == Status::Problem)
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_config_that_fails_a_rule_names_it_with_its_fix() {
    let tree = tree("config-bad");
    std::fs::remove_dir_all(tree.path("sys/bus/pci/drivers/vfio-pci")).unwrap();
    config(&tree, &good_config().replace("CONFIG_VFIO_PCI=y", "# CONFIG_VFIO_PCI is not set"));
    says(
        &tree,
        "config",
        Status::Problem,
        "VB-VFIO-003: The vfio-pci driver: VFIO_PCI is not set",
        "Set CONFIG_VFIO_PCI=y",
    );
}

#[test]
fn what_is_there_counts_more_than_the_config() {
    let tree = tree("config-kvm");
    config(&tree, &good_config().replace("CONFIG_KVM=y", "# CONFIG_KVM is not set"));
    says(&tree, "config", Status::Problem, "VB-KVM-001", "CONFIG_KVM=y");
    tree.file("dev/kvm", "");
    assert!(!check(&tree, "config").found.contains("VB-KVM-001"));
}

#[test]
fn a_module_counts_when_it_is_loaded() {
    let tree = tree("config-module");
    std::fs::remove_dir_all(tree.path("sys/bus/pci/drivers/vfio-pci")).unwrap();
    config(&tree, &good_config().replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m"));
    says(&tree, "config", Status::Problem, "VFIO_PCI=m, and vfio_pci is not loaded", "Set");
    tree.file("sys/module/vfio_pci/refcnt", "0");
    assert!(!check(&tree, "config").found.contains("VB-VFIO-003"));
}

#[test]
fn a_config_that_cannot_be_read_is_a_warning() {
    let tree = tree("config-none");
    says(&tree, "config", Status::Warning, "/proc/config.gz: no such file", "CONFIG_IKCONFIG_PROC");
    tree.file("proc/config.gz", "CONFIG_X=y");
    says(&tree, "config", Status::Warning, "not a gzip file", "CONFIG_IKCONFIG_PROC");
    tree.file("proc/config.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff]);
    says(&tree, "config", Status::Warning, "damaged", "CONFIG_IKCONFIG_PROC");
}

/// The checks of the command line: each one's status and text.
fn said_of(tree: &Tree, line: &str) -> Vec<(Status, String)> {
    tree.file("proc/cmdline", format!("{line}\n"));
    let checks = examine(&tree.host()).into_iter().filter(|check| check.id == "cmdline");
    checks.map(|check| (check.status, check.found)).collect()
}

#[test]
fn what_the_profile_notes_about_the_command_line_is_shown() {
    let tree = tree("cmdline");
    let profile = Profile::builtin("passthrough").unwrap();
    let note = |parameter: &str| {
        let mut notes = profile.notes.iter();
        notes.find(|note| note.parameter.as_deref() == Some(parameter)).unwrap().text.clone()
    };
    let said = said_of(&tree, "iommu.passthrough=1 vfioboot.disable");
    let text = format!("iommu.passthrough=1: {}", note("iommu.passthrough"));
    assert_eq!(said.len(), 2, "{said:#?}");
    assert!(said.iter().all(|(status, _)| *status == Status::Warning), "{said:#?}");
    assert_eq!(said[1].1, text);
    // Notes for some kernels are shown where the config says that it is one.
    let ids = "vfio-pci.ids=1b36:0010";
    assert_eq!(said_of(&tree, ids).len(), 1);
    let [(Status::Ok, without_config)] = &said_of(&tree, ids)[..] else { panic!() };
    config(&tree, "CONFIG_VFIO_PCI=y\n");
    let [(Status::Ok, built_in)] = &said_of(&tree, ids)[..] else { panic!() };
    config(&tree, "# CONFIG_VFIO_PCI is not set\n");
    let [(Status::Warning, left_out)] = &said_of(&tree, ids)[..] else { panic!() };
    assert!(without_config != built_in && built_in != left_out && without_config != left_out);
    // Another value than the noted ones.
    let [(Status::Ok, _)] = &said_of(&tree, "iommu.passthrough=0")[..] else { panic!() };
}

#[test]
fn the_log_of_pid_1_is_reported_and_its_warnings_count() {
    let tree = tree("boot");
    tree.file("dev/kmsg", "6,1,2,-;vfioboot: 0.1.0 starts\n SUBSYSTEM=x\n6,2,3,-;vfioboot: done\n");
    says(&tree, "boot", Status::Ok, "0.1.0 starts; done", "");
    tree.file("dev/kmsg", "4,1,2,-;vfioboot: 10de:2684: no such device\n");
    says(&tree, "boot", Status::Warning, "no such device", "dmesg");
}

#[test]
fn a_system_without_a_kernel_log_is_not_asked_for_root() {
    let tree = tree("no-log");
    std::fs::remove_file(tree.path("dev/kmsg")).unwrap();
    says(&tree, "boot", Status::Warning, "/dev/kmsg cannot be read", "CONFIG_PRINTK");
}

/// A line that came a hundred times is one, and what an earlier boot left in the log is not looked at.
#[test]
fn repeated_lines_of_pid_1_are_one_and_of_the_last_boot() {
    let tree = tree("boot-twice");
    let mut log = "4,1,2,-;vfioboot: of an earlier boot\n5,2,0,-;Linux version 6.1.0\n".to_owned();
    log += &"6,3,3,-;vfioboot: waiting\n".repeat(100);
    log += "6,4,4,-;vfioboot: done\n";
    tree.file("dev/kmsg", &log);
    let said = said_of_check(&tree, "boot");
    assert_eq!(said, (Status::Ok, "waiting (100 times); done".to_owned()));
    log += &(0..20).map(|n| format!("6,5,5,-;vfioboot: line {n}\n")).collect::<String>();
    tree.file("dev/kmsg", &log);
    let (_, found) = said_of_check(&tree, "boot");
    assert!(found.ends_with("; line 9; and 10 other lines (dmesg has them)"), "{found}");
}

fn said_of_check(tree: &Tree, id: &str) -> (Status, String) {
    let checks = examine(&tree.host());
    let check = checks.into_iter().find(|check| check.id == id).unwrap();
    (check.status, check.found)
}

#[test]
fn little_memory_and_small_pages_are_warnings() {
    let tree = tree("memory");
    tree.file("proc/meminfo", "MemTotal: 300000 kB\nMemAvailable: 100000 kB\n");
    says(&tree, "memory", Status::Warning, "97 of 292 MiB available", "less");
    says(&tree, "hugepages", Status::Warning, "small pages", "madvise");
}

#[test]
fn kinds_of_processors_are_counted() {
    let tree = tree("cpus");
    for (cpu, midr) in [(0, "0x410fd0b1"), (1, "0x410fd0b1"), (2, "0x411fd440")] {
        tree.file(&format!("sys/devices/system/cpu/cpu{cpu}/regs/identification/midr_el1"), midr);
    }
    tree.file("sys/devices/system/cpu/online", "0-2\n");
    says(
        &tree,
        "cpus",
        Status::Ok,
        "3 of 2 kinds (0-1: midr_el1 0x410fd0b1; 2: midr_el1 0x411fd440)",
        "",
    );
}

#[test]
fn the_verdict_is_the_worst_check() {
    let tree = tree("verdict");
    assert_eq!(verdict(&examine(&tree.host())), Status::Problem, "there is no KVM in a directory");
    assert_eq!(verdict(&[]), Status::Ok);
}

// --- the program ------------------------------------------------------------------------------

fn doctor(tree: &Tree, json: bool) -> (i32, String) {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_vfiorun"));
    command.arg("doctor").arg("--sysroot").arg(&tree.root);
    if json {
        command.arg("--json");
    }
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_program_prints_a_line_a_check_and_the_fix_below() {
    let (status, text) = doctor(&tree("program"), false);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("problem  KVM: /dev/kvm: no such file\n         fix: "), "{text}");
    assert!(text.contains("ok       IOMMU: SMMUv3"), "{text}");
    assert!(
        text.trim_end().lines().last().unwrap().starts_with("passthrough does not work"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn the_program_prints_json() {
    let (status, text) = doctor(&tree("json"), true);
    assert_eq!(status, 1);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&json["format"], &json["verdict"]), (&Value::from(1), &Value::from("problem")));
    let kvm = json["checks"].as_array().unwrap().iter().find(|check| check["id"] == "kvm").unwrap();
    assert_eq!(kvm["status"], "problem");
}

#[test]
fn the_program_looks_at_this_machine_without_failing() {
    let output =
        assert_cmd::Command::new(env!("CARGO_BIN_EXE_vfiorun")).arg("doctor").output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn an_empty_tree_gives_problems_and_no_crash() {
    let root = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("device/doctor-empty");
    std::fs::create_dir_all(&root).unwrap();
    let checks = examine(&vfioboot::device::sys::host::Host::new(root));
    assert_eq!(verdict(&checks), Status::Problem);
}

// --- the first cause ---------------------------------------------------------------------------

/// Problems that nothing explains, and what each check follows from.
fn roots(tree: &Tree) -> (Vec<&'static str>, Vec<(&'static str, &'static str)>) {
    let checks = examine(&tree.host());
    let own = checks.iter().filter(|c| c.status == Status::Problem && c.follows_from.is_none());
    let own = own.map(Check::key).collect();
    let follow = checks.iter().filter_map(|check| Some((check.key(), check.follows_from?)));
    (own, follow.collect())
}

#[test]
fn a_kernel_without_vfio_and_iommu_is_two_problems() {
    let tree = tree("two-problems");
    std::fs::remove_dir_all(tree.path("sys/bus/pci/drivers/vfio-pci")).unwrap();
    std::fs::remove_dir_all(tree.path("sys/class/iommu")).unwrap();
    std::fs::remove_dir_all(tree.path("sys/kernel/iommu_groups")).unwrap();
    std::fs::remove_file(tree.path("sys/devices/pci0000:00/0000:00:02.0/iommu_group")).unwrap();
    tree.file("proc/sys/kernel/arch", "aarch64\n");
    let mut text = good_config();
    for symbol in
        ["VFIO", "VFIO_PCI", "VFIO_IOMMU_TYPE1", "IOMMU_SUPPORT", "ARM_SMMU_V3", "ARM_SMMU"]
    {
        text = text.replace(&format!("CONFIG_{symbol}=y\n"), "");
    }
    config(&tree, &text);
    let (own, follow) = roots(&tree);
    // There is no KVM in a directory, and perhaps no QEMU here.
    let own: Vec<_> = own.into_iter().filter(|key| !["kvm", "qemu"].contains(key)).collect();
    assert_eq!(own, ["VB-VFIO-001", "VB-IOMMU-001"]);
    for (key, cause) in [
        ("VB-VFIO-003", "VB-VFIO-001"),
        ("vfio", "VB-VFIO-001"),
        ("vfio-pci", "VB-VFIO-001"),
        ("iommu", "VB-IOMMU-001"),
        ("iommu-groups", "VB-IOMMU-001"),
    ] {
        assert!(follow.contains(&(key, cause)), "{key}: {follow:?}");
    }
    // The first cause leads, with what follows from it behind it, and what mends all of it.
    let checks = examine(&tree.host());
    let place = |key| checks.iter().position(|check| check.key() == key).unwrap();
    let first = &checks[place("VB-VFIO-001")];
    assert!(first.fix.as_ref().unwrap().contains("CONFIG_VFIO_PCI=y"), "{first:#?}");
    assert!(place("VB-VFIO-001") < place("vfio-pci"));
    assert!(place("vfio-pci") < place("VB-IOMMU-001"));
    assert!(checks[place("VB-IOMMU-001")..].iter().any(|check| check.status == Status::Ok));
    assert!(checks[..place("VB-IOMMU-001")].iter().all(|check| check.status != Status::Ok));
}

#[test]
fn without_a_config_the_first_thing_that_is_missing_leads() {
    let tree = tree("no-config");
    std::fs::remove_dir_all(tree.path("sys/bus/pci/drivers/vfio-pci")).unwrap();
    let (own, follow) = roots(&tree);
    assert!(own.contains(&"vfio"), "{own:?}");
    assert_eq!(follow, [("vfio-pci", "vfio")]);
}

#[test]
fn the_program_marks_what_follows() {
    let tree = tree("marks");
    std::fs::remove_dir_all(tree.path("sys/bus/pci/drivers/vfio-pci")).unwrap();
    let (_, text) = doctor(&tree, true);
    let json: Value = serde_json::from_str(&text).unwrap();
    let checks = json["checks"].as_array().unwrap();
    let check = |id| checks.iter().find(|check| check["id"] == id).unwrap();
    assert_eq!(check("vfio-pci")["follows_from"], "vfio");
    assert_eq!(check("vfio")["follows_from"], Value::Null);
    let (_, text) = doctor(&tree, false);
    assert!(text.contains("\n  hence  vfio-pci driver: "), "{text}");
}
