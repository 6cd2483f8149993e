//! The commands of vfiorun, as a person or a script meets them.
#![cfg(feature = "device")]

mod device_tree;

use assert_cmd::Command;
use device_tree::Tree;
use serde_json::Value;

const DISK: &str = "0000:00:02.0";

fn tree(name: &str) -> Tree {
    let tree = Tree::new(&format!("cli-{name}"));
    tree.device(DISK, ("1b36", "0010"), Some("nvme"));
    let device = format!("sys/devices/pci0000:00/{DISK}");
    tree.file(&format!("{device}/class"), "0x010802\n");
    tree.file(&format!("{device}/reset_method"), "flr bus\n");
    tree.driver("vfio-pci");
    tree.iommu_group(3, &[DISK]);
    tree.running_as(100, 7, "boot-one");
    tree
}

fn vfiorun(tree: &Tree, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfiorun"));
    command.arg("--sysroot").arg(&tree.root).args(words);
    command
}

fn stdout(mut command: Command, status: i32) -> String {
    String::from_utf8(command.assert().code(status).get_output().stdout.clone()).unwrap()
}

fn json(command: Command, status: i32) -> Value {
    let document: Value = serde_json::from_str(&stdout(command, status)).unwrap();
    assert_eq!(document["format"], 1);
    document
}

#[test]
fn devices_are_shown_by_group() {
    let tree = tree("devices");
    tree.device("0000:00:03.0", ("8086", "10d3"), Some("e1000e"));
    let text = stdout(vfiorun(&tree, &["devices"]), 0);
    assert_eq!(
        text,
        "IOMMU group 3 (DMA)\n  \
         0000:00:02.0 Non-Volatile memory controller: Red Hat (QEMU) NVMe controller [1b36:0010]\n    \
         driver: nvme  reset: flr, bus  passthrough: yes\n\
         in no IOMMU group\n  \
         0000:00:03.0 Intel 82574L Gigabit Ethernet controller [8086:10d3]\n    \
         driver: e1000e  passthrough: no, no IOMMU stands before it\n    \
         warning: it cannot be reset\n"
    );
    let document = json(vfiorun(&tree, &["devices", "--json"]), 0);
    let disk = &document["groups"][0]["devices"][0];
    assert_eq!((&disk["passthrough"], &disk["class"]), (&true.into(), &"010802".into()));
    assert_eq!(document["groups"][1]["group"], Value::Null);
}

#[test]
fn names_come_from_the_database_of_the_system() {
    let tree = tree("names");
    let text = "# c\n1b36  Red Hat, Inc.\n\t0010  QEMU NVM Express Controller\n\t\t1af4 1100  Sub\n\
                ffff  Nobody\n\nC 01  Mass\n\t08  NVM\n\t\t02  NVMe\n";
    tree.file("usr/share/misc/pci.ids", text);
    let text = stdout(vfiorun(&tree, &["devices"]), 0);
    assert!(text.contains(" NVM: Red Hat, Inc. QEMU NVM Express Controller [1b36:0010]"), "{text}");
}

#[test]
fn a_system_without_pci_is_an_answer() {
    let tree = tree("no-pci");
    std::fs::remove_dir_all(tree.path("sys/bus")).unwrap();
    let text = stdout(vfiorun(&tree, &["devices"]), 1);
    assert_eq!(text, "no PCI devices on this system (list /sys/bus/pci/devices: ENOENT)\n");
    assert_eq!(json(vfiorun(&tree, &["devices", "--json"]), 1)["pci"], false);
}

#[test]
fn a_dry_run_shows_every_write_and_makes_none() {
    let tree = tree("dry-run");
    let text = stdout(vfiorun(&tree, &["bind", DISK, "--dry-run"]), 0);
    assert_eq!(
        text,
        "# 0000:00:02.0 (1b36:0010)\n\
         echo vfio-pci > /sys/bus/pci/devices/0000:00:02.0/driver_override\n\
         echo 0000:00:02.0 > /sys/bus/pci/devices/0000:00:02.0/driver/unbind\n\
         echo 0000:00:02.0 > /sys/bus/pci/drivers_probe\n"
    );
    assert_eq!(tree.get_override(DISK), "(null)\n");
    assert!(!tree.path("run").exists());
    let document = json(vfiorun(&tree, &["bind", DISK, "--dry-run", "--json"]), 0);
    assert_eq!(document["devices"][0]["writes"][0]["value"], "vfio-pci");
}

#[test]
fn a_refusal_is_a_negative_answer() {
    let tree = tree("refusal");
    let mut command = vfiorun(&tree, &["bind", "dead:beef"]);
    command
        .assert()
        .code(1)
        .stderr("vfiorun: dead:beef: no such device (vfiorun devices lists them)\n");
    let document = json(vfiorun(&tree, &["bind", "dead:beef", "--json"]), 1);
    assert_eq!(document["refusals"][0], "dead:beef: no such device (vfiorun devices lists them)");
}

/// In a tree nobody answers, so vfio-pci does not take it, and the attributes show what was
/// written, last what undoes it.
#[test]
fn a_failure_is_told_and_undone() {
    let tree = tree("failure");
    vfiorun(&tree, &["bind", DISK]).assert().code(2).stderr(
        "vfiorun: 0000:00:02.0 (1b36:0010): vfio-pci did not take it; it is on nvme now; everything is as it was\n",
    );
    assert_eq!(tree.get_override(DISK), "\n");
    assert_eq!(tree.read("sys/bus/pci/drivers/nvme/unbind"), DISK);
}

#[test]
fn killed_after_a_record_it_is_recovered() {
    let tree = tree("killed");
    // The header, and the device's record; not yet the override.
    vfiorun(&tree, &["bind", DISK]).env("VFIORUN_CRASH_AFTER", "2").assert().interrupted();
    assert_eq!(tree.get_override(DISK), "(null)\n");
    tree.process("100", 100, 8);
    let text = stdout(vfiorun(&tree, &["recover", "--dry-run"]), 0);
    assert_eq!(
        text,
        "\"bind 0000:00:02.0\" was killed; to be undone:\n  0000:00:02.0: back to nvme\n"
    );
    let text = stdout(vfiorun(&tree, &["recover"]), 0);
    assert_eq!(
        text,
        "\"bind 0000:00:02.0\" was killed; undone:\n  0000:00:02.0: back to nvme: it was so already\n"
    );
    assert_eq!(stdout(vfiorun(&tree, &["recover"]), 0), "nothing to recover\n");
}

#[test]
fn an_owner_at_work_is_not_recovered() {
    let tree = tree("at-work");
    vfiorun(&tree, &["bind", DISK]).env("VFIORUN_CRASH_AFTER", "2").assert().interrupted();
    let text = stdout(vfiorun(&tree, &["recover"]), 1);
    assert_eq!(text, "\"bind 0000:00:02.0\" is at work (pid 100): left alone (--force ends it)\n");
    let document = json(vfiorun(&tree, &["recover", "--json"]), 1);
    assert_eq!(document["journals"][0]["verdict"], "alive");
}

#[test]
fn a_device_that_is_on_its_driver_is_released_already() {
    let tree = tree("release");
    let text = stdout(vfiorun(&tree, &["release", DISK]), 0);
    assert_eq!(text, "0000:00:02.0 (1b36:0010): is not on vfio-pci, but on nvme\n");
    tree.unlink_driver(DISK);
    tree.link_driver(DISK, "vfio-pci");
    let text = stdout(vfiorun(&tree, &["release", DISK, "--dry-run"]), 0);
    assert_eq!(
        text,
        "# 0000:00:02.0 (1b36:0010)\n\
         echo 0000:00:02.0 > /sys/bus/pci/devices/0000:00:02.0/driver/unbind\n\
         echo 1b36 0010 > /sys/bus/pci/drivers/vfio-pci/remove_id\n\
         echo 0000:00:02.0 > /sys/bus/pci/drivers_probe\n"
    );
    let mut command = vfiorun(&tree, &["release", "dead:beef"]);
    command
        .assert()
        .code(2)
        .stderr("vfiorun: dead:beef: no such device (vfiorun devices lists them)\n");
}

#[test]
fn a_wrong_command_line_says_what_is_right() {
    let tree = tree("usage");
    let output = vfiorun(&tree, &["bind", "what"]).assert().code(2).get_output().stderr.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(
        text.contains("\"what\" is no PCI device: expected VENDOR:DEVICE (1b36:0010)"),
        "{text}"
    );
    vfiorun(&tree, &[]).assert().code(2);
}
