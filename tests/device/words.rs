//! What is said about devices that are not taken and functions that stay: every part of each sentence.

use crate::common::device_tree;

use std::fs;
use std::os::unix::fs::symlink;

use device_tree::{Tree, at};
use vfioboot::device::bind::driver::to_vfio_pci;
use vfioboot::device::bind::functions::{self, Wanted};
use vfioboot::device::bind::plan::{Options, Plan, PlanError, Refusal};
use vfioboot::device::bus::pci::PciDevice;

const DISK: &str = "0000:00:02.0";

fn tree(name: &str) -> Tree {
    let tree = Tree::new(&format!("words-{name}"));
    tree.device(DISK, ("1b36", "0010"), Some("nvme"));
    tree.driver("vfio-pci");
    tree
}

fn disk(tree: &Tree) -> PciDevice {
    PciDevice::read(&tree.host(), at(DISK)).unwrap()
}

#[test]
fn a_device_that_is_held_names_others_with_the_same_id() {
    let tree = tree("held");
    let with = |others: &[&str]| {
        let others = others.iter().map(|other| at(other)).collect();
        Refusal::Held { device: disk(&tree), holds: Vec::new(), others }.to_string()
    };
    assert_eq!(with(&[]), format!("{DISK} (1b36:0010): "));
    assert_eq!(
        with(&["0000:00:03.0"]),
        format!(
            "{DISK} (1b36:0010): ; 0000:00:03.0, which has the same id, is not in use: name it by this address"
        )
    );
    assert_eq!(
        with(&["0000:00:03.0", "0000:00:04.0"]),
        format!("{DISK} (1b36:0010): ; not in use, with the same id: 0000:00:03.0, 0000:00:04.0")
    );
}

#[test]
fn every_reason_has_a_line() {
    let tree = tree("reasons");
    let specs = ["0000:00:08.0".parse().unwrap(), "abcd:1234".parse().unwrap()];
    let error = Plan::new(&tree.host(), &specs, &Options::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "0000:00:08.0: no such device (vfiorun devices lists them)\n\
         abcd:1234: no such device (vfiorun devices lists them)"
    );
    let none = PlanError { refusals: Vec::new() };
    assert_eq!(none.to_string(), "");
}

#[test]
fn functions_in_use_name_who_has_them() {
    let (card, function) = ("0000:00:05.0", "0000:00:05.1");
    let tree = tree("functions");
    tree.device(card, ("8086", "10c9"), Some("igb"));
    for (name, value) in [("sriov_totalvfs", 7), ("sriov_numvfs", 1)] {
        tree.file(&format!("sys/devices/pci0000:00/{card}/{name}"), format!("{value}\n"));
    }
    tree.device(function, ("8086", "10ca"), Some("igbvf"));
    tree.iommu_group(4, &[function]);
    let place = tree.path(&format!("sys/devices/pci0000:00/{card}/virtfn0"));
    symlink(format!("../{function}"), place).unwrap();
    let none = Wanted { count: 0, macs: Vec::new(), vlans: Vec::new() };
    let says = || functions::plan(&tree.host(), at(card), &none).unwrap_err().to_string();
    let stay = "the functions stay as they are";
    assert_eq!(says(), format!("{function} (8086:10ca): it is in use: {stay}"));
    tree.unlink_driver(function);
    tree.link_driver(function, "vfio-pci");
    assert!(functions::plan(&tree.host(), at(card), &none).is_ok());
    for (pid, name) in [(55, "qemu"), (56, "spdk")] {
        tree.file(&format!("proc/{pid}/comm"), format!("{name}\n"));
        fs::create_dir_all(tree.path(&format!("proc/{pid}/fd"))).unwrap();
        symlink("/dev/vfio/4", tree.path(&format!("proc/{pid}/fd/9"))).unwrap();
    }
    let by = "by qemu (pid 55), spdk (pid 56)";
    assert_eq!(says(), format!("{function} (8086:10ca): it is in use {by}: {stay}"));
}

#[test]
fn what_the_probe_said_is_said() {
    let tree = tree("probe");
    let (host, kernel) = tree.kernel();
    *kernel.refused.lock().unwrap() = Some(("drivers_probe", libc::EINVAL));
    let error = to_vfio_pci(&host, at(DISK)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "vfio-pci did not take it (drivers_probe: EINVAL); it is on nvme now"
    );
    assert_eq!(tree.driver_of(DISK).as_deref(), Some("nvme"));
}
