//! What a device is needed for.

use crate::common::device_tree;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use device_tree::{Tree, at};
use vfioboot::device::bind::plan::{Options, Plan, Warning};
use vfioboot::device::bus::holders::{Hold, Holders};

const DISK: &str = "0000:00:02.0";
const OTHER: &str = "0000:00:03.0";

fn tree(name: &str) -> Tree {
    let tree = Tree::new(&format!("holders-{name}"));
    for address in [DISK, OTHER] {
        tree.device(address, ("1b36", "0010"), Some("native"));
    }
    tree.driver("vfio-pci");
    tree.iommu_group(1, &[DISK]);
    tree.iommu_group(2, &[OTHER]);
    tree
}

fn link(tree: &Tree, real: &str, from: &str) {
    fs::create_dir_all(tree.path(real)).unwrap();
    let from = tree.path(from);
    fs::create_dir_all(from.parent().unwrap()).unwrap();
    symlink(tree.path(real), from).unwrap();
}

/// A block device at a place in sysfs, with its number.
fn block(tree: &Tree, real: &str, number: &str) {
    let name = Path::new(real).file_name().unwrap().to_str().unwrap();
    link(tree, real, &format!("sys/class/block/{name}"));
    link(tree, real, &format!("sys/dev/block/{number}"));
}

/// The disk of a PCI device, `nvme0n1`, with a partition.
fn disk(tree: &Tree) -> String {
    let disk = format!("sys/devices/pci0000:00/{DISK}/nvme/nvme0/nvme0n1");
    block(tree, &disk, "259:0");
    block(tree, &format!("{disk}/nvme0n1p1"), "259:1");
    disk
}

fn card(tree: &Tree, address: &str, name: &str) {
    let real = format!("sys/devices/pci0000:00/{address}/net/{name}");
    link(tree, &real, &format!("sys/class/net/{name}"));
    link(tree, &format!("sys/devices/pci0000:00/{address}"), &format!("{real}/device"));
    tree.file(&format!("{real}/carrier"), "1\n");
}

fn holds(tree: &Tree, address: &str, taken: &[&str]) -> Vec<String> {
    let host = tree.host();
    let taken: Vec<_> = taken.iter().map(|address| at(address)).collect();
    Holders::read(&host).of(&host, at(address), &taken).iter().map(ToString::to_string).collect()
}

const ROUTE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n";

#[test]
fn a_free_device_is_needed_for_nothing() {
    let tree = tree("free");
    disk(&tree);
    tree.file("proc/self/mountinfo", "1 0 0:5 / / rw - tmpfs none rw\n");
    assert_eq!(holds(&tree, DISK, &[DISK]), Vec::<String>::new());
}

#[test]
fn a_mounted_partition_holds_its_disk_alone() {
    let tree = tree("mount");
    disk(&tree);
    let line = "36 35 259:1 / /mnt/my\\040disk rw shared:1 - ext4 /dev/root rw\n";
    tree.file("proc/self/mountinfo", line);
    assert_eq!(holds(&tree, DISK, &[DISK]), ["nvme0n1p1 is mounted at /mnt/my disk"]);
    assert_eq!(holds(&tree, OTHER, &[OTHER]), Vec::<String>::new());
    // A bind mount, and the same again in init's namespace.
    tree.file("proc/1/mountinfo", format!("{line}37 35 259:1 /a /b rw - ext4 /dev/root rw\n"));
    let two = ["nvme0n1p1 is mounted at /mnt/my disk and 1 other place"];
    assert_eq!(holds(&tree, DISK, &[DISK]), two);
}

#[test]
fn a_mount_on_what_a_disk_is_part_of_holds_the_disk() {
    let tree = tree("dm");
    let disk = disk(&tree);
    block(&tree, "sys/devices/virtual/block/md0", "9:0");
    block(&tree, "sys/devices/virtual/block/dm-0", "253:0");
    let md = "sys/devices/virtual/block/md0";
    link(&tree, md, "sys/devices/virtual/block/dm-0/slaves/md0");
    link(&tree, &format!("{disk}/nvme0n1p1"), &format!("{md}/slaves/nvme0n1p1"));
    tree.file("proc/self/mountinfo", "36 35 253:0 / / rw - ext4 /dev/mapper/root rw\n");
    assert_eq!(holds(&tree, DISK, &[DISK]), ["nvme0n1p1 is mounted at /"]);
}

#[test]
fn every_disk_of_a_btrfs_is_held() {
    let tree = tree("btrfs");
    let disk = disk(&tree);
    block(&tree, "sys/devices/virtual/block/loop0", "7:0");
    let devices = "sys/fs/btrfs/uuid/devices";
    link(&tree, "sys/devices/virtual/block/loop0", &format!("{devices}/loop0"));
    link(&tree, &disk, &format!("{devices}/nvme0n1"));
    tree.file("proc/self/mountinfo", "36 35 0:30 / / rw - btrfs /dev/loop0 rw\n");
    assert_eq!(holds(&tree, DISK, &[DISK]), ["nvme0n1 is mounted at /"]);
}

#[test]
fn swap_holds_its_disk() {
    let tree = tree("swap");
    disk(&tree);
    tree.file("proc/swaps", "Filename Type Size Used Priority\n/dev/nvme0n1p1 partition 1 0 -2\n");
    assert_eq!(holds(&tree, DISK, &[DISK]), ["the system swaps to nvme0n1p1"]);
}

#[test]
fn the_only_default_route_is_kept() {
    let tree = tree("route");
    card(&tree, DISK, "eth0");
    card(&tree, OTHER, "eth1");
    let route =
        |name: &str| format!("{name}\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n");
    tree.file("proc/net/route", format!("{ROUTE}{}", route("eth0")));
    assert_eq!(holds(&tree, DISK, &[DISK]), ["eth0 is the only network uplink"]);
    assert_eq!(holds(&tree, OTHER, &[OTHER]), Vec::<String>::new());
    // Another one over IPv6: each may go, but not both.
    let zeros = "0".repeat(32);
    let six = format!("{zeros} 00 {zeros} 00 {zeros} 00000400 1 0 00000003 eth1\n");
    tree.file("proc/net/ipv6_route", six);
    assert_eq!(holds(&tree, DISK, &[DISK]), Vec::<String>::new());
    let both = holds(&tree, DISK, &[DISK, OTHER]);
    assert_eq!(both, ["eth0 is the only network uplink"]);
}

#[test]
fn a_card_below_a_bridge_counts_as_the_bridge() {
    let tree = tree("bridge");
    card(&tree, DISK, "eth0");
    link(&tree, "sys/devices/virtual/net/br0", "sys/class/net/br0");
    let card = format!("sys/devices/pci0000:00/{DISK}/net/eth0");
    link(&tree, &card, "sys/devices/virtual/net/br0/lower_eth0");
    let route = "br0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
    tree.file("proc/net/route", format!("{ROUTE}{route}"));
    assert_eq!(holds(&tree, DISK, &[DISK]), ["br0 is the only network uplink"]);
}

/// Android routes by policy: the tables that we can read have no default route.
#[test]
fn without_default_routes_the_only_card_with_a_carrier_is_kept() {
    let tree = tree("android");
    card(&tree, DISK, "wlan0");
    assert_eq!(holds(&tree, DISK, &[DISK]), ["wlan0 is the only network uplink"]);
    card(&tree, OTHER, "eth0");
    assert_eq!(holds(&tree, DISK, &[DISK]), Vec::<String>::new());
    tree.file(&format!("sys/devices/pci0000:00/{OTHER}/net/eth0/carrier"), "0\n");
    assert_eq!(holds(&tree, DISK, &[DISK]), ["wlan0 is the only network uplink"]);
}

#[test]
fn what_shows_the_picture_is_kept() {
    let tree = tree("display");
    let device = format!("sys/devices/pci0000:00/{DISK}");
    let connector = format!("{device}/drm/card0/card0-HDMI-A-1");
    link(&tree, &connector, "sys/class/drm/card0-HDMI-A-1");
    tree.file(&format!("{connector}/status"), "connected\n");
    tree.file(&format!("{connector}/enabled"), "disabled\n");
    assert_eq!(holds(&tree, DISK, &[DISK]), Vec::<String>::new());
    tree.file(&format!("{connector}/enabled"), "enabled\n");
    assert_eq!(holds(&tree, DISK, &[DISK]), ["it drives the display (HDMI-A-1 is connected)"]);
    tree.file(&format!("{device}/boot_vga"), "1\n");
    assert_eq!(holds(&tree, DISK, &[DISK]), ["it drives the display (boot VGA)"]);
    let buffer = format!("sys/devices/pci0000:00/{OTHER}/graphics/fb0");
    link(&tree, &buffer, "sys/class/graphics/fb0");
    assert_eq!(holds(&tree, OTHER, &[OTHER]), ["it drives the display (fb0)"]);
}

#[test]
fn a_device_that_is_needed_is_refused_unless_it_is_named() {
    let tree = tree("force");
    disk(&tree);
    tree.file("proc/self/mountinfo", "36 35 259:1 / / rw - ext4 /dev/root rw\n");
    let plan = |force: &[&str]| {
        let force = force.iter().map(|device| device.parse().unwrap()).collect();
        Plan::new(&tree.host(), &[DISK.parse().unwrap()], &Options { force })
    };
    let refused = format!("{DISK} (1b36:0010): nvme0n1p1 is mounted at /");
    assert_eq!(plan(&[]).unwrap_err().to_string(), refused);
    assert_eq!(plan(&[OTHER]).unwrap_err().to_string(), refused);
    let forced = plan(&[DISK]).unwrap();
    let [Warning::Forced { device, holds }] = forced.warnings.as_slice() else {
        panic!("{:?}", forced.warnings)
    };
    assert_eq!(device.address, at(DISK));
    assert!(matches!(holds.as_slice(), [Hold::Mount { place, .. }] if place == "/"), "{holds:?}");
}
