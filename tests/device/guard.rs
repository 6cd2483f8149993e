//! When PID 1 leaves devices alone although the boot file names them.

use crate::common::device_tree;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use device_tree::{Tree, at};
use vfioboot::bootfile::{BootFile, DeviceSpec};
use vfioboot::device::boot::apply;
use vfioboot::device::boot::guard::{
    ATTEMPTS, Refusal, examine, failed_boots, has_volume_keys, held_in,
};
use vfioboot::device::boot::mode::Skip;
use vfioboot::device::bus::pci::{self, PciDevice};

const FIRST: &str = "0000:00:02.0";
const SECOND: &str = "0000:00:03.0";

/// Two equal disks; the second has a partition.
fn tree(name: &str) -> Tree {
    let tree = Tree::new(&format!("guard-{name}"));
    tree.driver("vfio-pci");
    for address in [FIRST, SECOND] {
        tree.device(address, ("144d", "a808"), Some("nvme"));
        tree.file(&format!("sys/devices/pci0000:00/{address}/class"), "0x010802\n");
    }
    let disk = format!("sys/devices/pci0000:00/{SECOND}/nvme/nvme1/nvme1n1");
    tree.file(&format!("{disk}/dev"), "259:4\n");
    tree.file(&format!("{disk}/nvme1n1p2/dev"), "259:6\n");
    let uevent = "MAJOR=259\nMINOR=6\nPARTN=2\nPARTNAME=system\nPARTUUID=0a1b-02\n";
    tree.file(&format!("{disk}/nvme1n1p2/uevent"), uevent);
    fs::create_dir_all(tree.path("sys/class/block")).unwrap();
    fs::create_dir_all(tree.path("sys/dev/block")).unwrap();
    for (link, place) in [
        ("sys/class/block/nvme1n1", disk.clone()),
        ("sys/class/block/nvme1n1p2", format!("{disk}/nvme1n1p2")),
        ("sys/dev/block/259:6", format!("{disk}/nvme1n1p2")),
    ] {
        symlink(tree.path(&place), tree.path(link)).unwrap();
    }
    tree
}

fn examined(tree: &Tree, spec: &str, cmdline: &str) -> Result<(), Refusal> {
    tree.file("proc/cmdline", format!("{cmdline}\n"));
    let spec: DeviceSpec = spec.parse().unwrap();
    let devices = pci::enumerate(&tree.host()).unwrap();
    let found: Vec<&PciDevice> = devices.iter().filter(|device| device.matches(&spec)).collect();
    examine(&tree.host(), &spec, &found)
}

fn carries(result: Result<(), Refusal>) -> bool {
    matches!(result, Err(Refusal::Carries { address, .. }) if address == at(SECOND))
}

#[test]
fn an_id_of_two_disks_is_refused_when_one_has_the_root() {
    let tree = tree("root");
    for root in ["/dev/nvme1n1p2", "259:6", "PARTUUID=0A1B-02", "PARTLABEL=system"] {
        assert!(carries(examined(&tree, "144d:a808", &format!("root={root} ro"))), "{root}");
    }
    // By its address a device is meant.
    assert_eq!(examined(&tree, FIRST, "root=/dev/nvme1n1p2"), Ok(()));
    // The root is elsewhere, or nowhere.
    for line in ["root=/dev/mmcblk0p2", "root=/dev/nfs", "root=/dev/ram0", "console=ttyS0"] {
        assert_eq!(examined(&tree, "144d:a808", line), Ok(()), "{line}");
    }
}

#[test]
fn what_cannot_be_told_yet_is_refused_where_it_could_be() {
    let tree = tree("unknown");
    for root in ["UUID=1234", "PARTUUID=ffff", "/dev/nvme7n1p1", "/dev/sda1", "LABEL=x"] {
        let result = examined(&tree, "144d:a808", &format!("root={root}"));
        assert!(matches!(result, Err(Refusal::MayCarry(_))), "{root}: {result:?}");
    }
    for address in [FIRST, SECOND] {
        tree.file(&format!("sys/devices/pci0000:00/{address}/class"), "0x020000\n");
    }
    assert_eq!(
        examined(&tree, "144d:a808", "root=UUID=1234"),
        Ok(()),
        "no disk is on a network card"
    );
}

#[test]
fn one_device_of_an_id_is_taken() {
    let tree = tree("single");
    fs::remove_file(tree.path(&format!("sys/bus/pci/devices/{FIRST}"))).unwrap();
    assert_eq!(examined(&tree, "144d:a808", "root=/dev/nvme1n1p2"), Ok(()));
}

#[test]
fn android_says_by_its_boot_devices() {
    let tree = tree("android");
    let path = format!("androidboot.boot_devices=soc/1d84000.ufshc,pci0000:00/{SECOND}");
    assert!(carries(examined(&tree, "144d:a808", &path)));
    let elsewhere = "androidboot.boot_devices=soc/1d84000.ufshc root=/dev/nvme1n1p2";
    assert_eq!(examined(&tree, "144d:a808", elsewhere), Ok(()));
    tree.file("proc/bootconfig", format!("androidboot.boot_devices = \"pci0000:00/{SECOND}\"\n"));
    assert!(carries(examined(&tree, "144d:a808", "console=ttyS0")));
}

#[test]
fn pid_1_leaves_them_on_their_drivers_and_says_so() {
    let tree = tree("apply");
    let file = BootFile {
        version: BootFile::VERSION,
        init: "/init".into(),
        deadline_ms: 5000,
        wait_ms: 0,
        devices: vec!["144d:a808".into()],
        shadows: Vec::new(),
        runtime_names: Vec::new(),
        modules: Vec::new(),
    };
    let said = |cmdline: &str| {
        tree.file("proc/cmdline", cmdline);
        let mut lines = Vec::new();
        let log = &mut |_, text: &str| lines.push(text.to_owned());
        let done = apply::carry_out(&file, &tree.host(), Path::new("/none"), log);
        (done, lines.join("\n"))
    };
    let (done, lines) = said("root=/dev/nvme1n1p2\n");
    assert_eq!((done.bound, done.problems), (0, 1), "{lines}");
    assert!(lines.contains("144d:a808: left alone") && lines.contains(SECOND), "{lines}");
    assert_eq!(tree.read(&format!("sys/devices/pci0000:00/{FIRST}/driver_override")), "(null)\n");
    // Without a reason they are tried.
    assert_eq!(said("console=ttyS0\n").0.problems, 2);
}

fn record(kind: &str, attempt: Option<u32>, end: f64) -> String {
    let attempt =
        attempt.map(|n| format!("<4>[    1.300000] vfioboot: attempt {n} of {ATTEMPTS}: x\n"));
    format!(
        "{kind}#1 Part1\n<6>[    0.000000] Linux version 6.6\n<6>[    1.200000] vfioboot: 0.1.0 starts\n{}\
         <0>[{end:12.6}] Kernel panic - not syncing: VFS: Unable to mount root fs\n",
        attempt.unwrap_or_default()
    )
}

#[test]
fn boots_that_ended_in_a_panic_are_counted_where_pstore_has_them() {
    let tree = tree("boots");
    let counted = |text: &str| {
        tree.file("sys/fs/pstore/dmesg-ramoops-0", text);
        failed_boots(&tree.host())
    };
    assert_eq!(failed_boots(&tree.host()), 0, "no pstore");
    assert_eq!(counted(&record("Panic", None, 3.0)), 1);
    assert_eq!(counted(&record("Panic", Some(2), 3.0)), 2);
    // Long after, without us, no end, not text.
    assert_eq!(counted(&record("Panic", Some(2), 4000.0)), 0);
    assert_eq!(counted("Panic#1 Part1\n<0>[    3.000000] Kernel panic\n"), 0);
    assert_eq!(counted(&record("Oops", Some(2), 3.0)), 0);
    assert_eq!(counted("\u{0}\u{1}["), 0);
    // The highest of several.
    tree.file("sys/fs/pstore/dmesg-ramoops-1", record("Panic", Some(ATTEMPTS), 3.0));
    let mode = || apply::mode(&tree.host(), Path::new("/none"));
    assert_eq!(mode(), Some(Skip::FailedBoots(ATTEMPTS)));
    fs::remove_file(tree.path("sys/fs/pstore/dmesg-ramoops-1")).unwrap();
    assert_eq!(mode(), None);
}

#[test]
fn volume_keys_are_known_by_their_bits() {
    // Of a phone's gpio-keys, and of a power button.
    assert!(has_volume_keys("c000000000000 0"));
    assert!(has_volume_keys("4000000000000 0\n"));
    assert!(!has_volume_keys("10000000000000 0"));
    assert!(!has_volume_keys("0") && !has_volume_keys(""));
    let mut keys = [0_u8; 96];
    assert_eq!(held_in(&keys), None);
    keys[14] = 1 << 2;
    assert_eq!(held_in(&keys), Some("volume down"));
    keys[14] = 1 << 3;
    assert_eq!(held_in(&keys), Some("volume up"));
    assert_eq!(held_in(&[]), None);
}
