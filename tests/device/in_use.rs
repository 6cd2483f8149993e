//! What a device is needed for.

use crate::common::device_tree;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use device_tree::{Tree, at};
use vfioboot::device::bind::inventory;
use vfioboot::device::bind::lease::{Lease, StepFailure, TakeError};
use vfioboot::device::bind::plan::{Options, Plan, Refusal, Warning};
use vfioboot::device::bus::in_use::{InUse, Need, Survey, Weight};
use vfioboot::device::bus::pci::PciDevice;
use vfioboot::device::sys::state::StateDir;

const ONE: &str = "0000:00:02.0";
const TWO: &str = "0000:00:03.0";

/// Two devices, each in a group of its own.
fn tree(name: &str) -> Tree {
    let tree = Tree::new(&format!("in-use-{name}"));
    for (number, address) in [(1, ONE), (2, TWO)] {
        tree.device(address, ("1b36", "0010"), Some("native"));
        tree.iommu_group(number, &[address]);
    }
    tree.driver("vfio-pci");
    tree.file("proc/self/stat", "4242 (x) S 0 0 0");
    tree
}

fn place(address: &str) -> String {
    format!("sys/devices/pci0000:00/{address}")
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
    tree.file(&format!("{real}/dev"), format!("{number}\n"));
    link(tree, real, &format!("sys/class/block/{name}"));
    link(tree, real, &format!("sys/dev/block/{number}"));
}

/// The disk of the first device, `nvme0n1`, with a partition.
fn disk(tree: &Tree) -> String {
    let disk = format!("{}/nvme/nvme0/nvme0n1", place(ONE));
    block(tree, &disk, "259:0");
    block(tree, &format!("{disk}/nvme0n1p1"), "259:1");
    disk
}

/// `upper` consists of `lower`.
fn holds(tree: &Tree, lower: &str, upper: &str) {
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    link(tree, upper, &format!("{lower}/holders/{}", name(upper)));
    link(tree, lower, &format!("{upper}/slaves/{}", name(lower)));
}

fn interface(tree: &Tree, real: &str, signal: &str) {
    let name = real.rsplit('/').next().unwrap();
    tree.file(&format!("{real}/carrier"), format!("{signal}\n"));
    link(tree, real, &format!("sys/class/net/{name}"));
}

fn card(tree: &Tree, address: &str, name: &str) -> String {
    let real = format!("{}/net/{name}", place(address));
    interface(tree, &real, "1");
    link(tree, &place(address), &format!("{real}/device"));
    real
}

fn virtual_interface(tree: &Tree, name: &str) -> String {
    let real = format!("sys/devices/virtual/net/{name}");
    interface(tree, &real, "1");
    real
}

/// `/proc/net/route`: interface, destination, length of the prefix, gateway.
fn routes(tree: &Tree, routes: &[(&str, [u8; 4], u32, [u8; 4])]) {
    let mut text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n".to_owned();
    for (interface, to, length, via) in routes {
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0).to_be_bytes();
        let hex = |address: &[u8; 4]| format!("{:08X}", u32::from_le_bytes(*address));
        let (to, via, mask) = (hex(to), hex(via), hex(&mask));
        text += &format!("{interface}\t{to}\t{via}\t0003\t0\t0\t100\t{mask}\t0\t0\t0\n");
    }
    tree.file("proc/net/route", text);
}

const ANY: [u8; 4] = [0; 4];
const GATEWAY: [u8; 4] = [192, 168, 2, 1];

fn default_routes(tree: &Tree, interfaces: &[&str]) {
    let all: Vec<_> = interfaces.iter().map(|name| (*name, ANY, 0, GATEWAY)).collect();
    routes(tree, &all);
}

fn mounted(tree: &Tree, number: &str, place: &str, kind: &str, source: &str) {
    let line = format!("36 35 {number} / {place} rw shared:1 - {kind} {source} rw\n");
    tree.file("proc/self/mountinfo", line);
}

fn process(tree: &Tree, pid: u32, name: &str, open: &[&str]) {
    tree.file(&format!("proc/{pid}/comm"), format!("{name}\n"));
    for (number, target) in open.iter().enumerate() {
        let descriptor = tree.path(&format!("proc/{pid}/fd/{number}"));
        fs::create_dir_all(descriptor.parent().unwrap()).unwrap();
        symlink(target, descriptor).unwrap();
    }
}

fn in_use(tree: &Tree, address: &str, taken: &[&str]) -> Vec<InUse> {
    let host = tree.host();
    let taken: Vec<_> = taken.iter().map(|address| at(address)).collect();
    let device = PciDevice::read(&host, at(address)).unwrap();
    Survey::read(&host).of(&host, &device, &taken)
}

/// What the device is needed for when it alone is taken.
fn needs(tree: &Tree, address: &str) -> Vec<Need> {
    in_use(tree, address, &[address]).into_iter().map(|used| used.need).collect()
}

fn is_free(tree: &Tree, address: &str) -> bool {
    needs(tree, address).is_empty()
}

fn mount(block: &str, place: &str) -> Need {
    Need::Mount { place: place.into(), block: block.into(), more: 0, process: None }
}

fn uplink(interface: &str, card: &str) -> Need {
    Need::Uplink { interface: interface.into(), card: card.into(), known: true }
}

fn perhaps_uplink(interface: &str, card: &str) -> Need {
    Need::Uplink { interface: interface.into(), card: card.into(), known: false }
}

// ---- disks ----

#[test]
fn a_free_device_is_needed_for_nothing() {
    let tree = tree("free");
    disk(&tree);
    tree.file("proc/self/mountinfo", "1 0 0:5 / / rw - tmpfs none rw\n");
    assert_eq!(needs(&tree, ONE), []);
}

#[test]
fn a_mounted_partition_holds_its_disk_alone() {
    let tree = tree("mount");
    disk(&tree);
    mounted(&tree, "259:1", "/mnt/my\\040disk", "ext4", "/dev/root");
    let used = in_use(&tree, ONE, &[ONE]);
    assert_eq!(used.len(), 1);
    assert_eq!(used[0].need, mount("nvme0n1p1", "/mnt/my disk"));
    assert_eq!(used[0].source, "/proc/self/mountinfo");
    assert_eq!(used[0].weight(), Weight::Refuse);
    assert!(used[0].is_storage());
    assert!(is_free(&tree, TWO));
    // A bind mount, and the same again in init's namespace.
    let line = "36 35 259:1 / /mnt/my\\040disk rw shared:1 - ext4 /dev/root rw\n";
    tree.file("proc/1/mountinfo", format!("{line}37 35 259:1 /a /b rw - ext4 /dev/root rw\n"));
    assert!(matches!(needs(&tree, ONE)[..], [Need::Mount { more: 1, .. }]));
}

#[test]
fn a_mount_in_the_namespace_of_any_process_holds_its_disk() {
    let tree = tree("namespaces");
    disk(&tree);
    process(&tree, 900, "containerd", &[]);
    let namespace = |pid: &str, name: &str| {
        fs::create_dir_all(tree.path(&format!("proc/{pid}/ns"))).unwrap();
        symlink(name, tree.path(&format!("proc/{pid}/ns/mnt"))).unwrap();
    };
    namespace("self", "mnt:[1]");
    namespace("900", "mnt:[2]");
    tree.file("proc/900/mountinfo", "36 35 259:1 / /data rw - ext4 /dev/nvme0n1p1 rw\n");
    let found = needs(&tree, ONE);
    let [Need::Mount { process: Some(process), place, .. }] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((process.pid, process.name.as_str(), place.as_str()), (900, "containerd", "/data"));
    // One namespace is read once.
    namespace("901", "mnt:[2]");
    tree.file("proc/901/mountinfo", "36 35 259:1 / /other rw - ext4 /dev/nvme0n1p1 rw\n");
    assert!(matches!(needs(&tree, ONE)[..], [Need::Mount { more: 0, .. }]));
}

/// With `NVME_MULTIPATH` the disk of a drive that says it could have two controllers is below the
/// subsystem.
#[test]
fn the_disk_of_an_nvme_subsystem_is_on_every_controller_of_it() {
    let tree = tree("multipath");
    let subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys0";
    block(&tree, &format!("{subsystem}/nvme0n1"), "259:0");
    block(&tree, &format!("{subsystem}/nvme0n1/nvme0n1p2"), "259:3");
    for (address, name) in [(ONE, "nvme0"), (TWO, "nvme1")] {
        let controller = format!("{}/nvme/{name}", place(address));
        link(&tree, &controller, &format!("{subsystem}/{name}"));
    }
    assert!(is_free(&tree, ONE));
    mounted(&tree, "259:3", "/", "ext4", "/dev/nvme0n1p2");
    for address in [ONE, TWO] {
        assert_eq!(needs(&tree, address), [mount("nvme0n1p2", "/")]);
    }
}

#[test]
fn a_mount_on_what_a_disk_is_part_of_holds_the_disk() {
    let tree = tree("dm");
    let disk = disk(&tree);
    let (md, dm) = ("sys/devices/virtual/block/md0", "sys/devices/virtual/block/dm-0");
    block(&tree, md, "9:0");
    block(&tree, dm, "253:0");
    holds(&tree, md, dm);
    holds(&tree, &format!("{disk}/nvme0n1p1"), md);
    mounted(&tree, "253:0", "/", "ext4", "/dev/mapper/root");
    assert_eq!(needs(&tree, ONE), [mount("nvme0n1p1", "/")]);
}

#[test]
fn what_is_made_of_a_disk_holds_it_mounted_or_not() {
    let tree = tree("holder");
    let disk = disk(&tree);
    let dm = "sys/devices/virtual/block/dm-3";
    block(&tree, dm, "253:3");
    tree.file(&format!("{dm}/dm/name"), "data-vm--100\n");
    // Only the one direction is shown.
    link(&tree, dm, &format!("{disk}/nvme0n1p1/holders/dm-3"));
    let holder = "dm-3 (data-vm--100)".to_owned();
    assert_eq!(needs(&tree, ONE), [Need::Holder { block: "nvme0n1p1".into(), holder }]);
    process(&tree, 900, "qemu", &["/dev/dm-3"]);
    assert!(
        matches!(needs(&tree, ONE)[..], [Need::Holder { .. }, Need::Open { binds: true, .. }]),
        "what has it open has the disk open"
    );
}

/// Which has no `slaves`.
#[test]
fn a_loop_device_on_a_disk_holds_it() {
    let tree = tree("loop");
    disk(&tree);
    let looped = "sys/devices/virtual/block/loop0";
    block(&tree, looped, "7:0");
    tree.file(&format!("{looped}/loop/backing_file"), "/dev/nvme0n1p1\n");
    assert!(matches!(needs(&tree, ONE)[..], [Need::Holder { .. }]));
    mounted(&tree, "7:0", "/mnt", "ext4", "/dev/loop0");
    assert_eq!(needs(&tree, ONE), [mount("nvme0n1p1", "/mnt")]);
    tree.file(&format!("{looped}/loop/backing_file"), "/images/disk.img\n");
    assert!(is_free(&tree, ONE));
}

#[test]
fn every_disk_of_a_filesystem_that_spans_several_is_held() {
    let spanning = tree("btrfs");
    let first = disk(&spanning);
    block(&spanning, "sys/devices/virtual/block/loop0", "7:0");
    let devices = "sys/fs/btrfs/uuid/devices";
    link(&spanning, "sys/devices/virtual/block/loop0", &format!("{devices}/loop0"));
    link(&spanning, &first, &format!("{devices}/nvme0n1"));
    mounted(&spanning, "0:30", "/", "btrfs", "/dev/loop0");
    assert_eq!(needs(&spanning, ONE), [mount("nvme0n1", "/")]);
    // Mounted where nobody can look.
    spanning.file("proc/self/mountinfo", "");
    let used = |kind: &str, block: &str| Need::Filesystem {
        kind: kind.into(),
        name: None,
        block: block.into(),
    };
    assert_eq!(needs(&spanning, ONE), [used("btrfs", "nvme0n1")]);

    let tree = tree("bcachefs");
    let disk = disk(&tree);
    link(&tree, &disk, "sys/fs/bcachefs/uuid/dev-0/block");
    assert_eq!(needs(&tree, ONE), [used("bcachefs", "nvme0n1")]);
    fs::create_dir_all(tree.path("sys/fs/ext4/nvme0n1p1")).unwrap();
    assert!(needs(&tree, ONE).contains(&used("ext4", "nvme0n1p1")));
}

#[test]
fn a_disk_of_an_imported_pool_is_held() {
    let tree = tree("pool");
    disk(&tree);
    tree.file("run/udev/data/b259:1", "E:ID_FS_TYPE=zfs_member\nE:ID_FS_LABEL=tank\n");
    assert!(is_free(&tree, ONE), "not imported");
    tree.file("proc/spl/kstat/zfs/tank/state", "ONLINE\n");
    let needs = needs(&tree, ONE);
    assert!(
        matches!(&needs[..], [Need::Filesystem { kind, name: Some(name), .. }] if kind == "zfs" && name == "tank"),
        "{needs:?}"
    );
}

#[test]
fn swap_holds_its_disk() {
    let tree = tree("swap");
    disk(&tree);
    tree.file("proc/swaps", "Filename Type Size Used Priority\n/dev/nvme0n1p1 partition 1 0 -2\n");
    assert_eq!(needs(&tree, ONE), [Need::Swap { block: "nvme0n1p1".into() }]);
}

// ---- processes ----

#[test]
fn a_process_that_has_a_node_open_is_named() {
    let tree = tree("open");
    disk(&tree);
    let nodes = [
        ("block", "/dev/nvme0n1p1", true),
        ("drm", "/dev/dri/card1", true),
        ("sound", "/data/debian/dev/snd/controlC1", true),
        ("input", "/dev/input/event3", false),
    ];
    for (class, node, _) in nodes {
        let name = node.rsplit('/').next().unwrap();
        if class != "block" {
            let real = format!("{}/{class}/{name}", place(ONE));
            link(&tree, &real, &format!("sys/class/{class}/{name}"));
        }
    }
    for (_, node, binds) in nodes {
        _ = fs::remove_dir_all(tree.path("proc/900"));
        _ = fs::remove_dir_all(tree.path("proc/901"));
        process(&tree, 900, "vmm", &[node, "/dev/null", "socket:[1]"]);
        process(&tree, 901, "vmm", &[node, node]);
        let used = in_use(&tree, ONE, &[ONE]);
        let [used] = &used[..] else { panic!("{node}: {used:?}") };
        let Need::Open { process, more, binds: found, .. } = &used.need else { panic!("{used:?}") };
        assert_eq!((process.pid, *more, *found), (900, 1, binds), "{node}");
        let weight = if binds { Weight::Refuse } else { Weight::Warn };
        assert_eq!(used.weight(), weight, "{node}");
        assert!(is_free(&tree, TWO));
    }
    // Our own are ours.
    fs::remove_dir_all(tree.path("proc/900")).unwrap();
    fs::remove_dir_all(tree.path("proc/901")).unwrap();
    process(&tree, 4242, "vfiorun", &["/dev/nvme0n1"]);
    assert!(is_free(&tree, ONE));
}

#[test]
fn a_graphics_card_of_a_driver_that_sysfs_knows_nothing_of() {
    let tree = tree("nvidia");
    tree.file(&format!("proc/driver/nvidia/gpus/{ONE}/information"), "Device Minor: \t 0\n");
    tree.file(&format!("proc/driver/nvidia/gpus/{TWO}/information"), "Device Minor: \t 1\n");
    process(&tree, 901, "ollama", &["/dev/nvidiactl", "/dev/nvidia1"]);
    assert!(is_free(&tree, ONE));
    assert!(matches!(needs(&tree, TWO)[..], [Need::Open { binds: true, .. }]));
}

// ---- virtual functions ----

#[test]
fn a_physical_function_carries_what_its_functions_carry() {
    let tree = tree("functions");
    link(&tree, &place(ONE), &format!("{}/physfn", place(TWO)));
    card(&tree, TWO, "eth1");
    default_routes(&tree, &["eth1"]);
    let used = in_use(&tree, ONE, &[ONE]);
    assert_eq!(used.len(), 1);
    assert_eq!((&used[0].need, used[0].function), (&uplink("eth1", "eth1"), Some(at(TWO))));
    assert_eq!(in_use(&tree, TWO, &[TWO])[0].function, None);
    // The ordinary use: the function is for a guest, the rest stays.
    card(&tree, ONE, "eth0");
    default_routes(&tree, &["eth0"]);
    assert!(is_free(&tree, TWO));
    // Also a function that nothing is known to need goes with it.
    let function = Need::Function { driver: "native".into() };
    assert_eq!(needs(&tree, ONE), [function, uplink("eth0", "eth0")]);
}

#[test]
fn a_function_in_a_guest_keeps_its_physical_function() {
    let tree = tree("function-guest");
    link(&tree, &place(ONE), &format!("{}/physfn", place(TWO)));
    tree.unlink_driver(TWO);
    assert!(is_free(&tree, ONE));
    tree.link_driver(TWO, "vfio-pci");
    assert_eq!(needs(&tree, ONE), [Need::Function { driver: "vfio-pci".into() }]);
    process(&tree, 900, "qemu", &["/dev/vfio/2", "/dev/vfio/vfio"]);
    assert!(matches!(needs(&tree, ONE)[..], [Need::Open { .. }]));
}

// ---- the way out ----

#[test]
fn the_only_default_route_is_kept() {
    let tree = tree("route");
    card(&tree, ONE, "eth0");
    let other = card(&tree, TWO, "eth1");
    default_routes(&tree, &["eth0"]);
    assert_eq!(needs(&tree, ONE), [uplink("eth0", "eth0")]);
    assert!(is_free(&tree, TWO));
    // Another one over IPv6: each may go, but not both.
    let zeros = "0".repeat(32);
    let six = format!("{zeros} 00 {zeros} 00 {zeros} 00000400 1 0 00000003 eth1\n");
    tree.file("proc/net/ipv6_route", six);
    assert!(is_free(&tree, ONE));
    assert!(!in_use(&tree, ONE, &[ONE, TWO]).is_empty());
    // A route without a link does not count, nor does one whose link is unknown.
    tree.file(&format!("{other}/carrier"), "0\n");
    assert_eq!(needs(&tree, ONE), [uplink("eth0", "eth0")]);
    fs::remove_file(tree.path(&format!("{other}/carrier"))).unwrap();
    assert_eq!(needs(&tree, ONE), [uplink("eth0", "eth0")]);
}

#[test]
fn a_long_table_is_read_to_its_end() {
    let tree = tree("long-table");
    card(&tree, ONE, "eth0");
    card(&tree, TWO, "eth1");
    let mut all: Vec<(&str, [u8; 4], u32, [u8; 4])> = (0..3000_u16)
        .map(|number| ("eth1", [10, 9, number.to_be_bytes()[0], number.to_be_bytes()[1]], 32, ANY))
        .collect();
    all.push(("eth0", ANY, 0, GATEWAY));
    routes(&tree, &all);
    assert!(fs::metadata(tree.path("proc/net/route")).unwrap().len() > 128 * 1024);
    assert_eq!(needs(&tree, ONE), [uplink("eth0", "eth0")]);
}

/// Each with the interface of the default route; it stands on the first card and not on the second.
#[test]
fn a_way_is_followed_down_to_the_card() {
    let followed = |name: &str, interface: &str, make: &dyn Fn(&Tree, &str, &str)| {
        let tree = tree(&format!("follow-{name}"));
        let real = card(&tree, ONE, "eth0");
        tree.file(&format!("{real}/ifindex"), "2\n");
        tree.file(&format!("{real}/iflink"), "2\n");
        card(&tree, TWO, "eth1");
        default_routes(&tree, &[interface]);
        let above = virtual_interface(&tree, interface);
        make(&tree, &above, &real);
        assert_eq!(needs(&tree, ONE), [uplink(interface, "eth0")], "{name}");
        assert!(is_free(&tree, TWO), "{name}: {:?}", needs(&tree, TWO));
    };
    followed("lower", "br0", &|tree, above, real| {
        link(tree, real, &format!("{above}/lower_eth0"));
        // The port of a guest.
        let tap = virtual_interface(tree, "tap0");
        tree.file(&format!("{tap}/tun_flags"), "0x1002\n");
        link(tree, &tap, &format!("{above}/lower_tap0"));
    });
    followed("port", "br0", &|tree, above, real| link(tree, real, &format!("{above}/brif/eth0")));
    followed("macvlan", "macvlan0", &|tree, above, _| {
        tree.file(&format!("{above}/ifindex"), "9\n");
        tree.file(&format!("{above}/iflink"), "2\n");
    });
    followed("vlan", "lan.5", &|tree, _, _| {
        let text = "VLAN Dev name\t | VLAN ID\nName-Type: X\nlan.5          | 5  | eth0\n";
        tree.file("proc/net/vlan/config", text);
    });
    followed("pppoe", "ppp0", &|tree, above, _| {
        tree.file(&format!("{above}/type"), "512\n");
        tree.file("proc/net/pppoe", "Id Address Device\n00000001 00:11:22:33:44:55 eth0\n");
    });
    followed("openvswitch", "br-ext", &|tree, _, real| {
        let datapath = virtual_interface(tree, "ovs-system");
        link(tree, &datapath, &format!("{real}/master"));
    });
    followed("gre", "gre1", &|tree, above, _| {
        tree.file(&format!("{above}/type"), "778\n");
        tree.file(&format!("{above}/broadcast"), "cb:00:71:09\n");
        routes(
            tree,
            &[
                ("gre1", ANY, 0, ANY),
                ("eth0", [203, 0, 113, 9], 32, GATEWAY),
                ("eth1", [10, 0, 0, 0], 8, ANY),
            ],
        );
    });
}

#[test]
fn what_cannot_be_followed_refuses_every_card_that_it_may_stand_on() {
    let tree = tree("unknown");
    card(&tree, ONE, "eth0");
    let other = card(&tree, TWO, "eth1");
    let tunnel = virtual_interface(&tree, "wg0");
    tree.file(&format!("{tunnel}/type"), "65534\n");
    routes(&tree, &[("wg0", ANY, 0, ANY), ("eth0", [203, 0, 113, 9], 32, GATEWAY)]);
    assert_eq!(needs(&tree, ONE), [perhaps_uplink("wg0", "eth0")]);
    assert!(is_free(&tree, TWO), "no route leads through it");
    // Ethernet in something unknown may also leave by what is a port of something.
    let known = perhaps_uplink("wg0", "eth1");
    tree.file(&format!("{tunnel}/type"), "1\n");
    assert!(is_free(&tree, TWO));
    tree.file(&format!("{other}/flags"), "0x1103\n");
    assert_eq!(needs(&tree, TWO), [known]);
    tree.file(&format!("{other}/carrier"), "0\n");
    assert!(is_free(&tree, TWO));
}

/// A share of a virtual machine's host is on no disk and on no network.
#[test]
fn mounted_shares_keep_the_device_that_carries_them() {
    let tree = tree("shares");
    let line = |place: &str, kind: &str, tag: &str| {
        format!("36 35 0:40 / {place} rw - {kind} {tag} rw,trans=virtio\n")
    };
    let mounts = [line("/a", "9p", "one"), line("/b", "9p", "one"), line("/c", "virtiofs", "two")];
    tree.file("proc/self/mountinfo", mounts.concat());
    let nine = format!("{}/virtio0", place(ONE));
    tree.file(&format!("{nine}/mount_tag"), "one\0");
    link(&tree, &nine, "sys/bus/virtio/devices/virtio0");
    let share = |place: &str, tag: &str, more| Need::Mount {
        place: place.to_owned(),
        block: tag.to_owned(),
        more,
        process: None,
    };
    assert_eq!(needs(&tree, ONE), [share("/a", "one", 1)]);
    assert!(is_free(&tree, TWO));
    tree.file("sys/fs/virtiofs/0/tag", "two\n");
    link(&tree, &format!("{}/virtio1", place(TWO)), "sys/fs/virtiofs/0/device");
    assert_eq!(needs(&tree, TWO), [share("/c", "two", 0)]);
    // another one of the same kind that nobody mounted
    tree.file("sys/fs/virtiofs/0/tag", "three\n");
    assert!(is_free(&tree, TWO));
}

/// OpenVPN leaves the default route alone and goes before it.
#[test]
fn two_halves_of_everything_are_a_way_out() {
    let tree = tree("halves");
    card(&tree, ONE, "eth0");
    card(&tree, TWO, "eth1");
    let tunnel = virtual_interface(&tree, "tun0");
    tree.file(&format!("{tunnel}/type"), "65534\n");
    let half = [128, 0, 0, 0];
    routes(&tree, &[("tun0", ANY, 1, ANY), ("tun0", half, 1, ANY), ("eth0", ANY, 0, GATEWAY)]);
    assert!(needs(&tree, ONE).contains(&uplink("eth0", "eth0")));
    assert!(is_free(&tree, TWO));
}

#[test]
fn a_bond_stands_while_one_of_its_legs_does() {
    let tree = tree("bond");
    let (one, two) = (card(&tree, ONE, "eth0"), card(&tree, TWO, "eth1"));
    let bond = virtual_interface(&tree, "bond0");
    tree.file("proc/net/bonding/bond0", "");
    link(&tree, &one, &format!("{bond}/lower_eth0"));
    link(&tree, &two, &format!("{bond}/lower_eth1"));
    default_routes(&tree, &["bond0"]);
    assert!(is_free(&tree, ONE));
    assert_eq!(in_use(&tree, ONE, &[ONE, TWO])[0].need, uplink("bond0", "eth0"));
    tree.file(&format!("{two}/carrier"), "0\n");
    assert_eq!(needs(&tree, ONE), [uplink("bond0", "eth0")]);
    assert!(is_free(&tree, TWO));
    // Of a bridge nobody knows which port leads out.
    tree.file(&format!("{two}/carrier"), "1\n");
    fs::remove_file(tree.path("proc/net/bonding/bond0")).unwrap();
    assert_eq!(needs(&tree, ONE), [uplink("bond0", "eth0")]);
}

/// Android routes by rules: the tables of proc have no default route.
#[test]
fn without_default_routes_the_only_card_with_a_link_is_kept() {
    let tree = tree("android");
    card(&tree, ONE, "wlan0");
    assert_eq!(needs(&tree, ONE), [uplink("wlan0", "wlan0")]);
    let other = card(&tree, TWO, "eth0");
    assert!(is_free(&tree, ONE));
    tree.file(&format!("{other}/carrier"), "0\n");
    assert_eq!(needs(&tree, ONE), [uplink("wlan0", "wlan0")]);
}

// ---- the present session ----

#[test]
fn the_card_of_the_present_session_is_kept_whatever_other_ways_there_are() {
    let tree = tree("session");
    card(&tree, ONE, "eth0");
    card(&tree, TWO, "eth1");
    let all = [
        ("eth0", ANY, 0, GATEWAY),
        ("eth1", ANY, 0, GATEWAY),
        ("eth1", [10, 9, 0, 0], 16, ANY),
        ("eth0", [192, 168, 2, 0], 24, ANY),
    ];
    routes(&tree, &all);
    assert!(is_free(&tree, TWO));
    // sudo has taken the variable from us; the shell above has it still.
    tree.file("proc/self/stat", "4242 (x) S 4000 0 0");
    tree.file("proc/4000/stat", "4000 (a ) b) S 1 0 0");
    tree.file("proc/4000/environ", "HOME=/\0SSH_CONNECTION=10.9.0.7 5000 10.9.0.2 22\0");
    let session = || [Need::Session { card: "eth1".into(), peer: "10.9.0.7".into(), known: true }];
    assert_eq!(needs(&tree, TWO), session());
    assert!(is_free(&tree, ONE));
    // adb: the connection that a parent has.
    tree.file("proc/4000/environ", "");
    process(&tree, 4000, "adbd", &["socket:[77]"]);
    let tcp = "  sl  local_address rem_address   st\n   \
        0: 0200090A:15B3 0700090A:C350 01 00000000:00000000 00:00000000 00000000  0  0 77 1\n   \
        1: 0202A8C0:15B3 0902A8C0:C350 01 00000000:00000000 00:00000000 00000000  0  0 78 1\n";
    tree.file("proc/net/tcp", tcp);
    assert_eq!(needs(&tree, TWO), session());
    assert!(is_free(&tree, ONE), "another process's connection");
    // Through a port forwarded from the machine itself.
    tree.file("proc/net/tcp", tcp.replace("0700090A", "0100007F").replace("0200090A", "0100007F"));
    assert!(is_free(&tree, TWO));
}

// ---- servers ----

fn two_networks(name: &str) -> Tree {
    let tree = tree(name);
    card(&tree, ONE, "eth0");
    card(&tree, TWO, "eth1");
    routes(&tree, &[("eth0", ANY, 0, GATEWAY), ("eth1", [10, 9, 0, 0], 16, ANY)]);
    tree
}

fn servers(tree: &Tree, address: &str) -> Vec<(String, String, bool)> {
    let found = needs(tree, address).into_iter().filter_map(|need| match need {
        Need::Server { server, card, known, .. } => Some((server, card, known)),
        _ => None,
    });
    found.collect()
}

#[test]
fn the_card_that_a_server_of_a_mount_is_reached_through_is_kept() {
    let tree = two_networks("server");
    let known = |server: &str, card: &str| [(server.to_owned(), card.to_owned(), true)];
    for (kind, source, server) in [
        ("nfs4", "10.9.0.2:/root", "10.9.0.2"),
        ("cifs", "//10.9.0.2/share", "10.9.0.2"),
        ("ceph", "10.9.0.2:6789,10.9.0.3:6789:/", "10.9.0.2"),
        ("fuse.sshfs", "me@10.9.0.2:/", "10.9.0.2"),
    ] {
        mounted(&tree, "0:40", "/", kind, source);
        assert_eq!(servers(&tree, TWO), known(server, "eth1"), "{kind}");
        assert_eq!(servers(&tree, ONE), [], "{kind}");
    }
    // A name, with the address it was resolved to; and one without.
    let line = "36 35 0:40 / /srv rw - nfs4 nas:/srv rw,vers=4.2,addr=10.9.0.2\n";
    tree.file("proc/self/mountinfo", line);
    assert_eq!(servers(&tree, TWO), known("nas", "eth1"));
    mounted(&tree, "0:40", "/srv", "fuse.sshfs", "nas:/srv");
    let unknown = |card: &str| [("nas".to_owned(), card.to_owned(), false)];
    assert_eq!(servers(&tree, ONE), unknown("eth0"));
    assert_eq!(servers(&tree, TWO), unknown("eth1"));
    // A directory that the host of this machine shares comes through no card.
    mounted(&tree, "0:40", "/", "9p", "share");
    assert_eq!(servers(&tree, TWO), []);
}

#[test]
fn the_card_that_a_disk_is_reached_through_is_kept() {
    let to_the_server = [("10.9.0.2".to_owned(), "eth1".to_owned(), true)];
    let tree = two_networks("iscsi");
    let disk = "sys/devices/platform/host6/session1/target6:0:0/6:0:0:0/block/sda";
    block(&tree, disk, "8:0");
    tree.file("sys/class/iscsi_connection/connection1:0/address", "10.9.0.2\n");
    tree.file("sys/class/iscsi_connection/connection2:0/address", "192.168.2.9\n");
    assert_eq!(servers(&tree, TWO), [], "not in use");
    mounted(&tree, "8:0", "/", "ext4", "/dev/sda");
    assert_eq!(servers(&tree, TWO), to_the_server);

    let tree = two_networks("nvme-tcp");
    let fabrics = "sys/devices/virtual/nvme-fabrics/ctl/nvme1";
    block(&tree, &format!("{fabrics}/nvme1n1"), "259:9");
    tree.file(&format!("{fabrics}/transport"), "tcp\n");
    tree.file(&format!("{fabrics}/address"), "traddr=10.9.0.2,trsvcid=4420\n");
    link(&tree, fabrics, "sys/class/nvme/nvme1");
    mounted(&tree, "259:9", "/", "ext4", "/dev/nvme1n1");
    assert_eq!(servers(&tree, TWO), to_the_server);

    let tree = two_networks("nbd");
    block(&tree, "sys/devices/virtual/block/nbd0", "43:0");
    tree.file("sys/devices/virtual/block/nbd0/pid", "700\n");
    process(&tree, 700, "nbd-client", &["socket:[5]"]);
    let tcp = "  sl  local_address rem_address   st\n   \
        0: 0300090A:15B3 0200090A:2A45 01 00000000:00000000 00:00000000 00000000  0  0 5 1\n";
    tree.file("proc/net/tcp", tcp);
    mounted(&tree, "43:0", "/", "ext4", "/dev/nbd0");
    assert_eq!(servers(&tree, TWO), to_the_server);
}

// ---- the machine ----

#[test]
fn what_shows_the_picture_is_kept() {
    let tree = tree("display");
    let connector = format!("{}/drm/card0/card0-HDMI-A-1", place(ONE));
    link(&tree, &connector, "sys/class/drm/card0-HDMI-A-1");
    tree.file(&format!("{connector}/status"), "connected\n");
    tree.file(&format!("{connector}/enabled"), "disabled\n");
    assert!(is_free(&tree, ONE));
    tree.file(&format!("{connector}/enabled"), "enabled\n");
    assert!(matches!(needs(&tree, ONE)[..], [Need::Display { .. }]));
    tree.file(&format!("{}/boot_vga", place(TWO)), "1\n");
    assert!(matches!(needs(&tree, TWO)[..], [Need::Display { .. }]));
    tree.file(&format!("{}/boot_vga", place(TWO)), "0\n");
    assert!(is_free(&tree, TWO));
    link(&tree, &format!("{}/graphics/fb0", place(TWO)), "sys/class/graphics/fb0");
    assert!(matches!(needs(&tree, TWO)[..], [Need::Display { .. }]));
}

#[test]
fn the_framebuffer_of_the_firmware_is_found_in_the_memory_of_the_card() {
    for name in ["BOOTFB", "efifb", "vesafb", "simplefb", "simple-framebuffer"] {
        let tree = tree(&format!("firmware-{name}"));
        let bars = "0x0000000000000000 0x0000000000000000 0x0\n\
            0x00000000e0000000 0x00000000efffffff 0x000000000014220c\n";
        tree.file(&format!("{}/resource", place(ONE)), bars);
        tree.file(
            &format!("{}/resource", place(TWO)),
            bars.replace("000e", "000c").replace("0ef", "0cf"),
        );
        let iomem = |range: &str| format!("e0000000-efffffff : 0000:00:02.0\n  {range} : {name}\n");
        tree.file("proc/iomem", iomem("e0000000-e07e8fff"));
        assert!(matches!(needs(&tree, ONE)[..], [Need::Display { .. }]), "{name}");
        assert!(is_free(&tree, TWO));
        // What the kernel shows to others than root.
        tree.file("proc/iomem", iomem("00000000-00000000"));
        assert!(is_free(&tree, ONE));
    }
}

#[test]
fn the_console_of_the_kernel_is_kept() {
    let tree = tree("console");
    link(&tree, &format!("{}/tty/ttyS4", place(ONE)), "sys/class/tty/ttyS4");
    link(&tree, &format!("{}/tty/ttyS5", place(TWO)), "sys/class/tty/ttyS5");
    tree.file("proc/consoles", "ttyS4                -W- (EC p a)    4:68\n");
    assert_eq!(needs(&tree, ONE), [Need::Console { name: "ttyS4".into() }]);
    assert!(is_free(&tree, TWO));
}

#[test]
fn the_last_keyboard_is_kept() {
    let tree = tree("keyboard");
    let keyboard = |address: &str, event: &str, handlers: &str| {
        let real = format!("{}/usb1/1-1/input/input3/{event}", place(address));
        link(&tree, &real, &format!("sys/class/input/{event}"));
        format!("I: Bus=0003\nN: Name=\"USB Keyboard\"\nH: Handlers={handlers} {event} \n\n")
    };
    let one = keyboard(ONE, "event3", "sysrq kbd");
    let button = keyboard(TWO, "event4", "kbd");
    let two = keyboard(TWO, "event5", "sysrq kbd leds");
    tree.file("proc/bus/input/devices", format!("{one}{button}"));
    assert!(matches!(needs(&tree, ONE)[..], [Need::Keyboard { .. }]));
    assert!(is_free(&tree, TWO), "a button is not a keyboard");
    tree.file("proc/bus/input/devices", format!("{one}{two}"));
    assert!(is_free(&tree, ONE));
    assert!(matches!(
        in_use(&tree, ONE, &[ONE, TWO])[..],
        [InUse { need: Need::Keyboard { .. }, .. }]
    ));
    // What a program made is on nothing.
    link(&tree, "sys/devices/virtual/input/input9/event9", "sys/class/input/event9");
    let made = "N: Name=\"ydotool\"\nH: Handlers=sysrq kbd event9 \n\n";
    tree.file("proc/bus/input/devices", format!("{one}{made}"));
    assert!(matches!(needs(&tree, ONE)[..], [Need::Keyboard { .. }]));
}

#[test]
fn what_other_devices_of_the_board_cannot_do_without_is_kept() {
    let tree = tree("supplier");
    let consumer = |name: &str| {
        fs::create_dir_all(tree.path(&format!("{}/consumer:{name}", place(ONE)))).unwrap();
    };
    // The sound of the same card, which sleeps with it.
    consumer("pci:0000:00:02.1");
    assert!(is_free(&tree, ONE));
    consumer("platform:fan0");
    assert_eq!(needs(&tree, ONE), [Need::Supplier { consumer: "platform:fan0".into() }]);
    // A chip below the other device.
    let devlink = "sys/devices/virtual/devlink/platform:gpio0--platform:led0";
    link(&tree, &format!("{}/gpio0", place(TWO)), &format!("{devlink}/supplier"));
    link(&tree, "sys/devices/platform/led0", &format!("{devlink}/consumer"));
    link(&tree, devlink, "sys/class/devlink/platform:gpio0--platform:led0");
    assert_eq!(needs(&tree, TWO), [Need::Supplier { consumer: "platform:led0".into() }]);
}

#[test]
fn parts_of_the_machine_are_named() {
    let tree = tree("parts");
    link(&tree, &format!("{}/wwan/wwan0", place(ONE)), "sys/class/wwan/wwan0");
    link(&tree, &format!("{}/gpiochip2", place(TWO)), "sys/bus/gpio/devices/gpiochip2");
    let weight = |address| match &in_use(&tree, address, &[address])[..] {
        [used @ InUse { need: Need::Part { .. }, .. }] => used.weight(),
        other => panic!("{other:?}"),
    };
    assert_eq!(weight(ONE), Weight::Refuse);
    assert_eq!(weight(TWO), Weight::Warn);
    // By what it is, and by the driver that it has.
    let chip = "0000:00:04.0";
    tree.device(chip, ("1de4", "0001"), None);
    assert_eq!(weight(chip), Weight::Refuse);
    let modem = "0000:00:05.0";
    tree.device(modem, ("17cb", "0306"), Some("mhi-pci-generic"));
    assert_eq!(weight(modem), Weight::Refuse);
}

// ---- who asks ----

#[test]
fn a_device_that_is_needed_is_refused_unless_it_is_named() {
    let tree = tree("force");
    disk(&tree);
    mounted(&tree, "259:1", "/", "ext4", "/dev/root");
    let plan = |force: &[&str]| {
        let force = force.iter().map(|device| device.parse().unwrap()).collect();
        let options = Options { force, ..Options::default() };
        Plan::new(&tree.host(), &[ONE.parse().unwrap()], &options)
    };
    for force in [&[][..], &[TWO]] {
        let refusals = plan(force).unwrap_err().refusals;
        let [Refusal::Held { device, holds, .. }] = refusals.as_slice() else {
            panic!("{refusals:?}")
        };
        assert_eq!((device.address, holds.len()), (at(ONE), 1));
        assert_eq!(holds[0].need, mount("nvme0n1p1", "/"));
    }
    let forced = plan(&[ONE]).unwrap();
    let [Warning::Forced { device, holds }] = forced.warnings.as_slice() else {
        panic!("{:?}", forced.warnings)
    };
    assert_eq!(device.address, at(ONE));
    assert_eq!(holds[0].need, mount("nvme0n1p1", "/"));
}

#[test]
fn of_two_with_the_same_id_the_free_one_is_named() {
    let tree = tree("namesakes");
    disk(&tree);
    mounted(&tree, "259:1", "/", "ext4", "/dev/root");
    let spec = "1b36:0010".parse().unwrap();
    let refusals = Plan::new(&tree.host(), &[spec], &Options::default()).unwrap_err().refusals;
    let [Refusal::Held { others, .. }] = refusals.as_slice() else { panic!("{refusals:?}") };
    assert_eq!(others, &[at(TWO)]);
}

#[test]
fn what_weighs_little_is_said_and_keeps_nobody() {
    let tree = tree("warn");
    link(&tree, &format!("{}/gpiochip2", place(ONE)), "sys/bus/gpio/devices/gpiochip2");
    let plan = Plan::new(&tree.host(), &[ONE.parse().unwrap()], &Options::default()).unwrap();
    assert!(matches!(plan.warnings[..], [Warning::InUse { .. }]), "{:?}", plan.warnings);
    let entries = inventory::read(&tree.host()).unwrap();
    assert!(entries[0].obstacles.is_empty());
    assert_eq!(entries[0].in_use().count(), 1);
}

/// What came after the plan is seen before anything is written.
#[test]
fn a_device_is_asked_about_again_before_it_is_unbound() {
    let tree = tree("again");
    disk(&tree);
    tree.running_as(100, 7, "boot");
    let (host, kernel) = tree.kernel();
    let state = StateDir::new(tree.path("state"));
    let take =
        |plan: &Plan| Lease::take(&host, &state, "test", "a test", plan, &|| false, &mut |_| {});
    let spec = || [ONE.parse().unwrap()];
    let plan = Plan::new(&host, &spec(), &Options::default()).unwrap();
    mounted(&tree, "259:1", "/late", "ext4", "/dev/nvme0n1p1");
    let Err(TakeError::Step { cause, undone }) = take(&plan) else { panic!() };
    assert!(undone.is_clean());
    let StepFailure::Held { device, holds } = *cause else { panic!("{cause:?}") };
    assert_eq!((device.address, &holds[0].need), (at(ONE), &mount("nvme0n1p1", "/late")));
    assert_eq!(*kernel.writes.lock().unwrap(), Vec::<String>::new());
    assert!(state.journals().unwrap().is_empty());
    // By force it is taken all the same.
    let options = Options { force: spec().to_vec(), ..Options::default() };
    take(&Plan::new(&host, &spec(), &options).unwrap()).unwrap().release().unwrap();
}

// ---- groups ----

/// A group of three: the device, another one that its driver has, and one without a driver.
fn grouped(name: &str) -> Tree {
    let tree = Tree::new(&format!("in-use-{name}"));
    tree.driver("vfio-pci");
    for (address, driver) in [(ONE, Some("native")), (TWO, Some("smbus")), ("0000:00:1f.0", None)] {
        tree.device(address, ("1b36", "0010"), driver);
    }
    tree.iommu_group(1, &[ONE, TWO, "0000:00:1f.0"]);
    tree.file(&format!("{}/class", place("0000:00:1f.0")), "0x060100\n");
    tree
}

fn moved(plan: &Plan) -> Vec<String> {
    plan.moves.iter().map(|a_move| a_move.before.address.to_string()).collect()
}

#[test]
fn a_whole_group_is_taken_when_that_is_asked_for() {
    let tree = grouped("with-group");
    let plan = |options: Options| Plan::new(&tree.host(), &[ONE.parse().unwrap()], &options);
    let refusals = plan(Options::default()).unwrap_err().refusals;
    let [Refusal::Mates { mates, .. }] = refusals.as_slice() else { panic!("{refusals:?}") };
    assert_eq!(mates.len(), 1, "the one with a driver");
    let whole = plan(Options { with_group: true, ..Options::default() }).unwrap();
    assert_eq!(moved(&whole), [ONE, TWO, "0000:00:1f.0"]);
    // Or the one in the way is held.
    let held = plan(Options { hold: vec![TWO.parse().unwrap()], ..Options::default() }).unwrap();
    assert_eq!(moved(&held), [ONE, TWO]);
    // What the machine needs of it counts as ever.
    link(&tree, &format!("{}/tty/ttyS4", place(TWO)), "sys/class/tty/ttyS4");
    tree.file("proc/consoles", "ttyS4 -W- (EC p a) 4:68\n");
    for options in [
        Options { with_group: true, ..Options::default() },
        Options { hold: vec![TWO.parse().unwrap()], ..Options::default() },
    ] {
        let refusals = plan(options).unwrap_err().refusals;
        assert!(
            matches!(&refusals[..], [Refusal::Held { device, .. }] if device.address == at(TWO))
        );
    }
}

/// The header of the config space, and not the class.
#[test]
fn a_bridge_is_what_says_so_itself() {
    let tree = tree("header");
    let header = |byte: u8| {
        let mut config = [0_u8; 64];
        config[0x0e] = byte;
        tree.file(&format!("{}/config", place(ONE)), config);
    };
    let is_bridge = || inventory::read(&tree.host()).unwrap()[0].bridge;
    for (class, byte, bridge) in [
        ("0x068000", 0x00, false), // an FPGA
        ("0x060100", 0x80, false), // what is left of ISA
        ("0x088000", 0x01, true),  // a switch
        ("0x060400", 0x81, true),
        ("0x060700", 0x02, true),
        ("0x060000", 0x00, true), // the host bridge is the machine's
        ("0x060400", 0xff, true), // it does not answer: the class is all there is
        ("0x068000", 0xff, false),
    ] {
        tree.file(&format!("{}/class", place(ONE)), format!("{class}\n"));
        header(byte);
        assert_eq!(is_bridge(), bridge, "{class} {byte:#x}");
    }
}
