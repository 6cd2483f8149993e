//! Putting a device on vfio-pci, and back.

use crate::common::device_tree;

use std::fs;
use std::io::Read as _;
use std::thread;

use device_tree::{Tree, at, fifo};
use vfioboot::device::bind::driver::{BindError, Origin, to_vfio_pci};

const DISK: &str = "0000:00:02.0";

/// A tree with a disk on nvme.
fn tree(name: &str) -> Tree {
    let tree = Tree::new(name);
    tree.device(DISK, ("1b36", "0010"), Some("nvme"));
    tree
}

#[test]
fn without_vfio_pci_nothing_is_touched() {
    let tree = tree("bind-no-driver");
    let error = to_vfio_pci(&tree.host(), at(DISK)).unwrap_err();
    assert!(matches!(error, BindError::NoVfioPci));
    assert_eq!(tree.get_override(DISK), "(null)\n");
    assert_eq!(tree.read("sys/bus/pci/drivers/nvme/unbind"), "");
    assert_eq!(tree.read("sys/bus/pci/drivers_probe"), "");
}

#[test]
fn a_device_that_is_there_already_is_left_alone() {
    let tree = Tree::new("bind-already");
    tree.device(DISK, ("1b36", "0010"), Some("vfio-pci"));
    tree.group(DISK, 3);
    for _ in 0..2 {
        let bound = to_vfio_pci(&tree.host(), at(DISK)).unwrap();
        assert_eq!((bound.from, bound.device.iommu_group), (Origin::VfioPci, Some(3)));
    }
    assert_eq!(tree.get_override(DISK), "(null)\n");
    assert_eq!(tree.read("sys/bus/pci/drivers_probe"), "");
}

#[test]
fn a_missing_device_is_an_error() {
    let tree = tree("bind-missing");
    tree.driver("vfio-pci");
    let error = to_vfio_pci(&tree.host(), at("0000:00:03.0")).unwrap_err();
    assert_eq!(error.to_string(), "read /sys/bus/pci/devices/0000:00:03.0/vendor: no such file");
}

/// Plays the kernel: opening a FIFO for writing blocks until it is opened for
/// reading, and before that happens the links are moved.
#[test]
fn moves_a_device_from_its_driver() {
    let tree = tree("bind-good");
    tree.driver("vfio-pci");
    let unbind = tree.path("sys/bus/pci/drivers/nvme/unbind");
    let probe = tree.path("sys/bus/pci/drivers_probe");
    fifo(&unbind);
    fifo(&probe);
    let bound = thread::scope(|scope| {
        let kernel = scope.spawn(|| {
            let unbound = fs::read_to_string(&unbind).unwrap();
            let chosen = tree.get_override(DISK);
            tree.unlink_driver(DISK);
            tree.link_driver(DISK, &chosen);
            // The group appears with the first probe.
            tree.group(DISK, 7);
            (unbound, chosen, fs::read_to_string(&probe).unwrap())
        });
        let bound = to_vfio_pci(&tree.host(), at(DISK)).unwrap();
        let seen = kernel.join().unwrap();
        assert_eq!(seen, (DISK.into(), "vfio-pci".into(), DISK.into()));
        bound
    });
    assert_eq!(bound.from, Origin::Driver("nvme".into()));
    assert_eq!(bound.device.iommu_group, Some(7));
    assert_eq!(bound.device.driver_override.as_deref(), Some("vfio-pci"));
    let again = to_vfio_pci(&tree.host(), at(DISK)).unwrap();
    assert_eq!(again.from, Origin::VfioPci);
}

/// The link does not move: the probe "succeeded" but vfio-pci is not the driver.
#[test]
fn a_probe_that_says_yes_and_does_nothing_is_undone() {
    let tree = tree("bind-lying-probe");
    tree.driver("vfio-pci");
    for (original, restored) in [("(null)\n", "\n"), ("\n", "\n"), ("nvme\n", "nvme")] {
        tree.set_override(DISK, original);
        let error = to_vfio_pci(&tree.host(), at(DISK)).unwrap_err();
        assert_eq!(error.to_string(), "vfio-pci did not take it; it is on nvme now");
        assert_eq!(tree.get_override(DISK), restored);
        assert_eq!(tree.read("sys/bus/pci/drivers/nvme/unbind"), DISK);
        assert_eq!(tree.read("sys/bus/pci/drivers_probe"), DISK);
    }
}

/// vfio-pci refuses after the unbind: the original driver is asked by name, and what
/// came of it is reported, whatever the writes said.
#[test]
fn a_refused_device_is_given_back_to_its_driver() {
    let tree = tree("bind-refused");
    tree.driver("vfio-pci");
    let unbind = tree.path("sys/bus/pci/drivers/nvme/unbind");
    let probe = tree.path("sys/bus/pci/drivers_probe");
    let bind = tree.path("sys/bus/pci/drivers/nvme/bind");
    fifo(&unbind);
    fifo(&probe);
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            fs::read_to_string(&unbind).unwrap();
            tree.unlink_driver(DISK);
            // Its own driver does not take it either: perhaps another one does. Both through one file, or
            // the second may come before the first has been read to its end.
            let mut probes = fs::File::options().read(true).write(true).open(&probe).unwrap();
            let mut both = [0; 2 * DISK.len()];
            probes.read_exact(&mut both).unwrap();
            assert_eq!(both, *[DISK, DISK].concat().as_bytes());
        });
        to_vfio_pci(&tree.host(), at(DISK)).unwrap_err()
    });
    assert_eq!(error.to_string(), "vfio-pci did not take it; it is on no driver now");
    assert_eq!(tree.get_override(DISK), "\n");
    assert_eq!(fs::read_to_string(&bind).unwrap(), DISK);
}

#[test]
fn a_device_without_driver_stays_without() {
    let tree = Tree::new("bind-none");
    tree.driver("vfio-pci");
    tree.device(DISK, ("1b36", "0010"), None);
    let error = to_vfio_pci(&tree.host(), at(DISK)).unwrap_err();
    assert_eq!(error.to_string(), "vfio-pci did not take it; it is on no driver now");
    assert_eq!(tree.get_override(DISK), "\n");
}

#[test]
fn a_driver_that_does_not_let_go_keeps_its_device() {
    let tree = tree("bind-stuck");
    tree.driver("vfio-pci");
    fs::remove_file(tree.path("sys/bus/pci/drivers/nvme/unbind")).unwrap();
    let error = to_vfio_pci(&tree.host(), at(DISK)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "write \"0000:00:02.0\" to /sys/bus/pci/devices/0000:00:02.0/driver/unbind: no such file; \
         it is on nvme now"
    );
    assert_eq!(tree.get_override(DISK), "\n");
    assert_eq!(tree.read("sys/bus/pci/drivers_probe"), "");
}

#[test]
fn a_kernel_without_driver_override_is_an_error_before_anything_is_done() {
    let tree = tree("bind-no-override");
    tree.driver("vfio-pci");
    fs::remove_file(tree.path("sys/devices/pci0000:00/0000:00:02.0/driver_override")).unwrap();
    let error = to_vfio_pci(&tree.host(), at(DISK)).unwrap_err();
    assert!(matches!(error, BindError::Override(_)), "{error}");
    assert_eq!(tree.read("sys/bus/pci/drivers/nvme/unbind"), "");
}
