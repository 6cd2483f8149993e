//! `vfiorun doctor DEVICE` and `doctor --bundle`: everything about one device, and a system packed for
//! another machine to judge.

use crate::common::device_tree;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Output;

use device_tree::{Tree, at};
use serde_json::Value;
use vfioboot::device::bus::pci::PciDevice;
use vfioboot::device::doctor::{self, Check, Status, bundle};
use vfioboot::device::sys::host::Host;

const DISK: &str = "0000:00:02.0";
const CARD: &str = "0000:00:03.0";

fn tree(name: &str) -> Tree {
    let tree = Tree::new(&format!("doctor-device-{name}"));
    tree.file("proc/sys/kernel/osrelease", "6.12.0\n");
    tree.file("proc/sys/kernel/arch", "aarch64\n");
    tree.file("sys/class/iommu/smmu3.0x0000000009050000/x", "");
    tree.driver("vfio-pci");
    tree.device(DISK, ("1b36", "0010"), Some("nvme"));
    let place = format!("sys/devices/pci0000:00/{DISK}");
    tree.file(&format!("{place}/class"), "0x010802\n");
    tree.file(&format!("{place}/reset_method"), "flr bus\n");
    tree.file(&format!("{place}/power_state"), "D0\n");
    tree.file(&format!("{place}/msi_irqs/40"), "msix\n");
    tree.file(&format!("{place}/config"), [0x36, 0x1b, 0x10, 0x00]);
    tree.file("sys/kernel/irq/40/chip_name", "ITS-PCI-MSIX-0000:00:02.0\n");
    tree.iommu_group(1, &[DISK]);
    tree
}

fn examine(tree: &Tree) -> Vec<Check> {
    let host = tree.host();
    doctor::device::examine(&host, &PciDevice::read(&host, at(DISK)).unwrap())
}

fn check(tree: &Tree, id: &str) -> Check {
    examine(tree).into_iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no {id}"))
}

#[test]
fn a_device_that_can_be_taken_is_described() {
    let tree = tree("ok");
    let ids: Vec<_> = examine(&tree).iter().map(|check| check.id).collect();
    assert_eq!(
        ids,
        [
            "driver",
            "group",
            "reserved-regions",
            "interrupts",
            "reset",
            "power",
            "rom",
            "use",
            "bind"
        ]
    );
    assert!(examine(&tree).iter().all(|check| check.status == Status::Ok), "{:#?}", examine(&tree));
    for (id, fact) in [
        ("driver", "nvme"),
        ("group", "1 (DMA)"),
        ("interrupts", "ITS-PCI-MSIX"),
        ("reset", "flr, bus"),
        ("power", "D0"),
        ("bind", "drivers_probe"),
    ] {
        assert!(check(&tree, id).found.contains(fact), "{:#?}", check(&tree, id));
    }
}

#[test]
fn what_stands_in_its_way_is_said_where_it_belongs_and_bind_follows() {
    let tree = tree("bad");
    tree.file("sys/kernel/iommu_groups/1/reserved_regions", "0x1000 0x1fff direct\n");
    tree.file("sys/kernel/irq/40/chip_name", "PCI-MSI\n");
    tree.file(&format!("sys/devices/pci0000:00/{DISK}/reset_method"), "\n");
    let status = |id| check(&tree, id).status;
    assert_eq!(status("reserved-regions"), Status::Problem);
    assert_eq!(status("interrupts"), Status::Warning);
    assert_eq!(status("reset"), Status::Warning);
    let bind = check(&tree, "bind");
    assert_eq!((bind.status, bind.follows_from), (Status::Problem, Some("reserved-regions")));
    tree.file(&format!("sys/devices/pci0000:00/{DISK}/config"), [0xff; 64]);
    assert_eq!(status("power"), Status::Problem);
}

#[test]
fn those_that_must_come_along_are_named() {
    let tree = tree("mates");
    tree.device(CARD, ("8086", "10d3"), Some("e1000e"));
    std::fs::remove_dir_all(tree.path("sys/kernel/iommu_groups/1")).unwrap();
    std::fs::remove_file(tree.path(&format!("sys/devices/pci0000:00/{DISK}/iommu_group"))).unwrap();
    tree.iommu_group(1, &[DISK, CARD]);
    let group = check(&tree, "group");
    assert_eq!(group.status, Status::Problem);
    assert!(group.fix.unwrap().contains(CARD));
}

// --- the program ----------------------------------------------------------------------------------

fn vfiorun(tree: &Tree, arguments: &[&str]) -> Output {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_vfiorun"));
    command.arg("--sysroot").arg(&tree.root).args(arguments).output().unwrap()
}

#[test]
fn the_program_examines_the_devices_that_are_named() {
    let tree = tree("program");
    let output = vfiorun(&tree, &["doctor", "1b36:0010", DISK, "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let devices = json["devices"].as_array().unwrap();
    assert_eq!((devices.len(), &devices[0]["address"]), (1, &Value::from(DISK)));
    assert_eq!((&json["verdict"], &devices[0]["verdict"]), (&"ok".into(), &"ok".into()));
    tree.file("sys/kernel/iommu_groups/1/reserved_regions", "0x1000 0x1fff direct\n");
    let output = vfiorun(&tree, &["doctor", DISK]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.starts_with(DISK) && text.contains("\nproblem  reserved regions: "), "{text}");
    assert!(text.contains("\n  hence  bind: "), "{text}");
    let output = vfiorun(&tree, &["doctor", "dead:beef"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
}

// --- bundles --------------------------------------------------------------------------------------

/// What nobody else may learn.
const SECRETS: &[&str] = &[
    "52:54:00:ab:cd:ef",
    "525400abcdef",
    "SERIAL-1234",
    "alices-phone",
    "hunter2",
    "10.9.8.7",
    "/home/alice",
    "vg-alice",
    "ffffc0de",
];

/// A system with everything that a bundle may hold and must not.
fn full(name: &str) -> Tree {
    let tree = tree(name);
    let place = format!("sys/devices/pci0000:00/{DISK}");
    let mut config = vec![0x36, 0x1b, 0x10, 0x00];
    config.resize(64, 0);
    config.extend_from_slice(b"SERIAL-1234");
    tree.file(&format!("{place}/config"), config);
    tree.file(&format!("{place}/nvme/nvme0/serial"), "SERIAL-1234\n");
    tree.file(&format!("{place}/net/enx525400abcdef/address"), "52:54:00:ab:cd:ef\n");
    tree.file(&format!("{place}/net/enx525400abcdef/carrier"), "1\n");
    tree.file("sys/class/net/x", "");
    std::os::unix::fs::symlink(
        format!("../../devices/pci0000:00/{DISK}/net/enx525400abcdef"),
        tree.path("sys/class/net/enx525400abcdef"),
    )
    .unwrap();
    tree.file(
        "proc/cmdline",
        "kvm-arm.mode=nvhe androidboot.serialno=SERIAL-1234 ip=10.9.8.7 quiet -- hunter2\n",
    );
    tree.file(
        "proc/self/status",
        "Name:\talices-phone\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n",
    );
    tree.file("proc/sys/kernel/hostname", "alices-phone\n");
    tree.file("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd05\nSerial\t\t: SERIAL-1234\nModel\t: alices-phone\n");
    tree.file("proc/iomem", "00000000-ffffc0de : Kernel code\n10000000-1fffffff : pcie\n");
    tree.file("proc/meminfo", "MemTotal: 2000000 kB\nMemAvailable: 1500000 kB\n");
    tree.file(
        "proc/interrupts",
        "      CPU0 CPU1\n 40: 5 7 ITS-PCI-MSIX-0000:00:02.0 0 Edge enx525400abcdef-rx\n",
    );
    tree.file(
        "proc/self/mountinfo",
        "20 1 259:1 / / rw,relatime - ext4 /dev/nvme0n1p1 rw\n21 20 259:2 / /home/alice rw - ext4 /dev/mapper/vg-alice rw\n22 20 0:40 / /mnt rw - nfs4 10.9.8.7:/x rw\n",
    );
    tree.file(
        "proc/swaps",
        "Filename Type Size\n/dev/nvme0n1p3 partition 1\n/home/alice/swap file 1\n",
    );
    tree.file("proc/net/route", "eth0 00000000 0708090A\n");
    tree.file(
        "dev/kmsg",
        "6,1,2,-;Kernel command line: iommu=pt pw=hunter2\n6,1,2,-;kvm [1]: VHE mode initialized successfully\n4,1,2,-;vfio: 52:54:00:ab:cd:ef\n6,1,2,-;usb 1-1: SerialNumber: SERIAL-1234\n",
    );
    let node = "sys/firmware/devicetree/base";
    tree.file(&format!("{node}/serial-number"), "SERIAL-1234\0");
    tree.file(&format!("{node}/pcie@10000000/compatible"), "pci-host-ecam-generic\0");
    tree.file(&format!("{node}/pcie@10000000/local-mac-address"), "525400abcdef");
    tree.file(&format!("{node}/chosen/bootargs"), "pw=hunter2\0");
    tree
}

/// Unpacks a bundle; returns its tree.
fn unpacked(tree: &Tree, packed: &bundle::Bundle) -> PathBuf {
    let root = tree.path("unpacked");
    tar::Archive::new(packed.tar.as_slice()).unpack(&root).unwrap();
    root
}

#[test]
fn a_bundle_is_judged_as_its_system_is() {
    let tree = full("bundle");
    let packed = bundle::pack(&tree.host());
    let host = Host::new(unpacked(&tree, &packed));
    let all = |host: &Host| {
        let checks = doctor::examine(host).into_iter();
        let said = checks.map(|check| (check.key(), check.status, check.found, check.follows_from));
        said.collect::<Vec<_>>()
    };
    let (here, there) = (all(&tree.host()), all(&host));
    for (one, other) in here.iter().zip(&there) {
        // What the command line says of others is left out.
        assert_eq!(one, other);
    }
    assert_eq!(here.len(), there.len());
    let device = PciDevice::read(&host, at(DISK)).unwrap();
    assert_eq!(doctor::device::examine(&host, &device), examine(&tree));
    // What only the running system can answer is not asked of this one.
    let kvm = there.iter().find(|(key, ..)| *key == "kvm").unwrap();
    assert!(kvm.2.contains("no such file"), "{kvm:?}");
    std::fs::write(host.path("dev/kvm"), "").unwrap();
    assert!(all(&host).contains(kvm));
}

#[test]
fn a_bundle_tells_nothing_about_its_owner() {
    let tree = full("secrets");
    let packed = bundle::pack(&tree.host());
    let mut archive = tar::Archive::new(packed.tar.as_slice());
    let mut paths = BTreeSet::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let target = entry.link_name().unwrap().map(|target| target.into_owned());
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let text = format!("{} {target:?} {}", path.display(), String::from_utf8_lossy(&bytes));
        for secret in SECRETS {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        paths.insert(path);
    }
    assert_eq!(paths.len(), packed.entries);
    for kept in ["proc/interrupts", "proc/self/mountinfo", "dev/kmsg", "vfiorun-bundle.json"] {
        assert!(paths.contains(Path::new(kept)), "{kept}: {paths:?}");
    }
    let said = packed.left_out.join("\n");
    assert!(said.contains("androidboot.serialno") && !said.contains("kvm-arm.mode"), "{said}");
}

#[test]
fn the_program_writes_a_bundle_and_no_file_twice() {
    let tree = full("bundle-program");
    let file = tree.path("a.tar");
    let arguments = ["doctor", "--bundle", file.to_str().unwrap()];
    assert_eq!(vfiorun(&tree, &arguments).status.code(), Some(0));
    let written = std::fs::read(&file).unwrap();
    assert_eq!(vfiorun(&tree, &arguments).status.code(), Some(2));
    assert_eq!(std::fs::read(&file).unwrap(), written);
    assert_eq!(written, bundle::pack(&tree.host()).tar, "the same system gives the same bytes");
    // GNU tar reads it, too.
    let root = tree.path("gnu");
    std::fs::create_dir(&root).unwrap();
    let mut command = assert_cmd::Command::new("tar");
    command.arg("-xf").arg(&file).arg("-C").arg(&root).assert().success();
    assert_eq!(std::fs::read_to_string(root.join("proc/sys/kernel/arch")).unwrap(), "aarch64\n");
}

/// `vfiorun --sysroot FILE`, with a directory of its own for temporary files.
fn judge(tree: &Tree, file: &Path, arguments: &[&str]) -> Output {
    let temporary = tree.path("temporary");
    std::fs::create_dir_all(&temporary).unwrap();
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_vfiorun"));
    command.env("TMPDIR", &temporary).arg("--sysroot").arg(file).args(arguments);
    let output = command.output().unwrap();
    let left = std::fs::read_dir(&temporary).unwrap().count();
    assert_eq!(left, 0, "what was unpacked is removed");
    output
}

#[test]
fn the_program_judges_the_file_that_it_wrote() {
    let tree = full("bundle-file");
    // a name that needs a record of its own
    let far = format!("sys/devices/{}/0000:00:04.0", ["pci0000:00"; 12].join("/"));
    tree.file(&format!("{far}/vendor"), "0x8086\n");
    tree.file(&format!("{far}/device"), "0x10d3\n");
    tree.file(&format!("{far}/class"), "0x020000\n");
    std::os::unix::fs::symlink(
        format!("../../../../{far}"),
        tree.path("sys/bus/pci/devices/0000:00:04.0"),
    )
    .unwrap();
    let file = tree.path("a.tar");
    vfiorun(&tree, &["doctor", "--bundle", file.to_str().unwrap()]);
    for arguments in
        [&["doctor", "--json"][..], &["doctor", DISK, "--json"], &["devices", "--json"]]
    {
        let (here, there) = (vfiorun(&tree, arguments), judge(&tree, &file, arguments));
        assert_eq!(here.status.code(), there.status.code(), "{arguments:?}");
        let json = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
        assert_eq!(json(&here), json(&there), "{arguments:?}");
    }
}

/// An archive with one entry.
fn archive(kind: tar::EntryType, path: &str, target: &str) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    // `set_path` refuses what is wanted here.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, &b""[..]).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn no_bundle_makes_or_reads_anything_outside_of_its_tree() {
    use tar::EntryType;
    let tree = full("bundle-hostile");
    let file = tree.path("a.tar");
    let whole = bundle::pack(&tree.host()).tar;
    let cut = whole[..whole.len() / 2].to_vec();
    let mut damaged = whole.clone();
    damaged[3] ^= 1;
    let link = archive(EntryType::Symlink, "sys", "proc");
    let behind = [&link[..512], &archive(EntryType::Regular, "sys/x", "")].concat();
    for (bytes, expected) in [
        (archive(EntryType::Regular, "../outside", ""), "expected a path inside of the tree"),
        (archive(EntryType::Regular, "/outside", ""), "expected a path inside of the tree"),
        (archive(EntryType::Symlink, "a/b", "../../outside"), "expected a path inside"),
        (archive(EntryType::Symlink, "a/b", "/etc"), "expected a path inside of the tree"),
        (archive(EntryType::Char, "dev/kvm", ""), "expected a file, a directory"),
        (behind, "sys/x is behind a link"),
        (cut, "expected"),
        (damaged, "offset 0: expected a header with the right checksum"),
        (b"not a tar".to_vec(), "offset 0: expected a header of 512 bytes"),
    ] {
        std::fs::write(&file, &bytes).unwrap();
        let output = judge(&tree, &file, &["doctor"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{expected}: {said}");
        assert!(said.contains("a.tar: ") && said.contains(expected), "{expected}: {said}");
        assert!(!tree.path("outside").exists());
    }
    std::fs::write(&file, archive(EntryType::Symlink, "a/b", "../c")).unwrap();
    assert_ne!(judge(&tree, &file, &["doctor"]).status.code(), Some(2));
}
