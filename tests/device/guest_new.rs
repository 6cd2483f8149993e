//! `vfiorun guest new` and `guest check`: a file that fits the machine, and what it needs besides.

use crate::common::device_tree;

use std::path::{Path, PathBuf};
use std::process::Command;

use device_tree::Tree;
use vfioboot::device::guest::file::{Cluster, DiskFormat, Guest, parse};

/// A machine with memory, four processors, and a graphics card whose sound is in its group, as is a USB
/// controller with a driver.
fn tree(name: &str) -> Tree {
    let tree = Tree::new(&format!("guest-new-{name}"));
    tree.file("proc/sys/kernel/arch", "x86_64\n");
    tree.file("proc/meminfo", "MemTotal: 9 kB\nMemAvailable: 3000000 kB\n");
    tree.file("sys/devices/system/cpu/online", "0-3\n");
    tree.driver("vfio-pci");
    for (address, ids, class) in [
        ("0000:01:00.0", ("10de", "1c82"), "030000"),
        ("0000:01:00.1", ("10de", "0fb9"), "040300"),
        ("0000:02:00.0", ("1912", "0014"), "0c0330"),
    ] {
        tree.device(address, ids, (ids.0 == "1912").then_some("xhci_hcd"));
        tree.file(&format!("sys/devices/pci0000:00/{address}/class"), format!("0x{class}\n"));
        tree.group(address, 7);
        let members = tree.path("sys/kernel/iommu_groups/7/devices");
        std::fs::create_dir_all(&members).unwrap();
        let device = format!("../../../../bus/pci/devices/{address}");
        std::os::unix::fs::symlink(device, members.join(address)).unwrap();
    }
    tree
}

/// The directory that files are written to.
fn place(tree: &Tree) -> PathBuf {
    let place = tree.path("written");
    std::fs::create_dir_all(&place).unwrap();
    place
}

fn vfiorun(tree: &Tree, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfiorun"));
    command.arg("--sysroot").arg(&tree.root).args(words).current_dir(place(tree));
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The guest file that was written, as it is read.
fn written(tree: &Tree, name: &str) -> (String, Guest) {
    let text = std::fs::read_to_string(place(tree).join(name)).unwrap();
    let guest = parse(&text, name).unwrap();
    (text, guest)
}

/// Descriptors as Debian's packages have them.
fn firmware(tree: &Tree) {
    let descriptor = |arch: &str, board: &str, code: &str, features: &str| {
        format!(
            r#"{{"interface-types": ["uefi"], "features": [{features}], "tags": [],
                "mapping": {{"device": "flash",
                    "executable": {{"filename": "/usr/share/{code}.fd", "format": "raw"}},
                    "nvram-template": {{"filename": "/usr/share/{code}.vars.fd", "format": "raw"}}}},
                "targets": [{{"architecture": "{arch}", "machines": ["{board}-*"]}}]}}"#
        )
    };
    for (number, board, arch) in [(40, "pc-q35", "x86_64"), (45, "virt", "aarch64")] {
        for (order, code, features) in
            [(0, "smm", r#""requires-smm""#), (1, "plain", ""), (2, "last", "")]
        {
            let code = format!("{arch}-{code}");
            let path = format!("usr/share/qemu/firmware/{}-{code}.json", number + order);
            tree.file(&path, descriptor(arch, board, &code, features));
            tree.file(&format!("usr/share/{code}.fd"), "code");
            tree.file(&format!("usr/share/{code}.vars.fd"), "variables");
        }
    }
}

#[test]
fn a_new_guest_fits_the_machine() {
    let tree = tree("fits");
    firmware(&tree);
    tree.file("written/debian.qcow2", b"QFI\xfb and more");
    tree.file("written/data.img", "");
    let words = ["guest", "new", "debian", "--device", "0000:01:00.0"];
    let words = [&words[..], &["--disk", "debian.qcow2", "--disk", "data.img"]].concat();
    let (status, text, errors) = vfiorun(&tree, &words);
    // There is no KVM.
    assert_eq!((status, errors.as_str()), (1, ""), "{text}");
    assert!(text.ends_with("debian.toml: guest debian cannot be started\n"), "{text}");
    let (text, guest) = written(&tree, "debian.toml");
    assert_eq!(guest.name.as_str(), "debian");
    // The sound of the card is for the guest, the USB controller is not.
    let devices: Vec<String> = guest.devices.iter().map(|one| one.spec.to_string()).collect();
    assert_eq!(devices, ["0000:01:00.0", "0000:01:00.1"]);
    assert_eq!(guest.hold[0].0.to_string(), "0000:02:00.0");
    assert!(text.contains("\"0000:01:00.0\",  # 10de:1c82 "), "{text}");
    // Half of what is available, of which 128 MiB are the host's.
    assert_eq!(guest.memory.size.0, 1280 << 20);
    assert_eq!((guest.cpus.count, guest.cpus.cluster), (4, Cluster::Any));
    for (disk, (name, format)) in
        guest.disks.iter().zip([("debian.qcow2", DiskFormat::Qcow2), ("data.img", DiskFormat::Raw)])
    {
        let path = place(&tree).join(name).display().to_string();
        assert_eq!((&disk.path, disk.format), (&path, format));
    }
    // The first firmware that needs no SMM, with variables of this guest's own.
    assert_eq!(guest.boot.firmware.as_deref(), Some("/usr/share/x86_64-plain.fd"));
    assert_eq!(guest.boot.firmware_variables.as_deref(), Some("debian-vars.fd"));
    assert_eq!(std::fs::read_to_string(place(&tree).join("debian-vars.fd")).unwrap(), "variables");
}

#[test]
fn an_administrators_descriptor_hides_the_packages() {
    let tree = tree("hidden");
    firmware(&tree);
    tree.file("proc/sys/kernel/arch", "aarch64\n");
    let shown = || vfiorun(&tree, &["guest", "new", "one", "--dry-run"]).1;
    let text = shown();
    assert!(text.contains("firmware = \"/usr/share/aarch64-plain.fd\""), "{text}");
    tree.file("etc/qemu/firmware/46-aarch64-plain.json", "");
    let text = shown();
    assert!(text.contains("firmware = \"/usr/share/aarch64-last.fd\""), "{text}");
    assert!(!place(&tree).join("one.toml").exists(), "a dry run writes nothing");
}

#[test]
fn without_firmware_the_file_says_where_it_is_from() {
    let tree = tree("none");
    // A PC has a BIOS of QEMU's.
    for (arch, missing) in [("x86_64", false), ("aarch64", true)] {
        tree.file("proc/sys/kernel/arch", arch);
        let (_, text, errors) = vfiorun(&tree, &["guest", "new", "one", "--dry-run"]);
        assert!(text.contains(": Debian has UEFI in "), "{text}");
        assert!(parse(&text, "one.toml").unwrap().boot.firmware.is_none());
        assert_eq!(errors.contains("there is no UEFI firmware"), missing, "{errors}");
    }
}

#[test]
fn what_is_there_is_not_replaced() {
    let tree = tree("there");
    firmware(&tree);
    tree.file("written/one.toml", "mine");
    let (status, _, errors) = vfiorun(&tree, &["guest", "new", "one"]);
    assert_eq!(status, 2);
    assert!(errors.ends_with("one.toml: exists already\n"), "{errors}");
    assert_eq!(tree.read("written/one.toml"), "mine");
    assert!(!place(&tree).join("one-vars.fd").exists(), "and nothing is left of the try");
}

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ somebody's";

/// A seed with a login, as QEMU gives it to the guest.
fn seed(tree: &Tree, more: &[&str]) -> PathBuf {
    tree.file("written/key.pub", format!("{KEY}\n"));
    let words = [&["guest", "new", "cloud", "--ssh-key", "key.pub"][..], more].concat();
    let (_, text, errors) = vfiorun(tree, &words);
    assert_eq!(errors, "", "{text}");
    place(tree).join("cloud-seed.iso")
}

/// What follows the first block that begins with `start`: a file of the seed.
fn file_of(image: &[u8], start: &str) -> String {
    let block = image.chunks(2048).find(|block| block.starts_with(start.as_bytes())).unwrap();
    String::from_utf8(block.to_vec()).unwrap().trim_end_matches('\0').to_owned()
}

#[test]
fn the_seed_lets_somebody_log_in() {
    let tree = tree("seed");
    let image = std::fs::read(seed(&tree, &["--user", "ada"])).unwrap();
    let user_data = file_of(&image, "#cloud-config");
    let key = KEY.replace('\'', "''");
    assert_eq!(
        user_data,
        format!(
            "#cloud-config\nhostname: cloud\nusers:\n  - name: 'ada'\n    shell: /bin/bash\n    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n    lock_passwd: true\n    ssh_authorized_keys:\n      - '{key}'\n"
        )
    );
    assert!(file_of(&image, "instance-id: cloud-").ends_with("\nlocal-hostname: cloud\n"));
    let (text, guest) = written(&tree, "cloud.toml");
    assert_eq!((guest.disks[0].path.as_str(), guest.disks[0].readonly), ("cloud-seed.iso", true));
    let port = guest.network.forwards[0].host;
    assert!(text.contains(&format!("# ssh -p {port} ada@localhost")), "{text}");
}

/// By libblkid, which cloud-init asks for the label, and by Debian's isoinfo where it is installed.
#[test]
fn others_read_the_seed() {
    let tree = tree("judged");
    let seed = seed(&tree, &[]);
    let run = |program: &str, words: &[&str]| -> Option<String> {
        let output = Command::new(program).args(words).arg(&seed).output().ok()?;
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let blkid =
        ["/usr/sbin/blkid", "/sbin/blkid"].into_iter().find(|path| Path::new(path).exists());
    if let Some(text) = blkid.and_then(|blkid| run(blkid, &["-p", "-o", "export"])) {
        assert!(text.contains("LABEL=cidata\n") && text.contains("TYPE=iso9660\n"), "{text}");
    }
    if let Some(text) = run("isoinfo", &["-x", "/USER-DATA.;1", "-i"]) {
        assert!(
            text.starts_with("#cloud-config\nhostname: cloud\nssh_authorized_keys:\n"),
            "{text}"
        );
    }
}

#[test]
fn a_private_key_or_a_user_without_any_is_refused() {
    let tree = tree("keys");
    tree.file("written/key", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    let (status, _, errors) = vfiorun(&tree, &["guest", "new", "one", "--ssh-key", "key"]);
    assert_eq!(status, 2);
    assert!(errors.contains("--ssh-key key: this is not a public key"), "{errors}");
    let (status, _, errors) = vfiorun(&tree, &["guest", "new", "one", "--user", "ada"]);
    assert_eq!(status, 2);
    assert!(errors.contains("--user: with which --ssh-key?"), "{errors}");
}

#[test]
fn in_a_chroot_everything_is_where_qemu_finds_it() {
    let tree = tree("chroot");
    tree.file("written/root/home/disk.img", "");
    let more = ["--chroot", "root", "--disk", "home/disk.img"];
    seed(&tree, &more);
    let (_, guest) = written(&tree, "cloud.toml");
    assert_eq!(guest.chroot.unwrap(), place(&tree).join("root").display().to_string());
    let paths: Vec<&str> = guest.disks.iter().map(|disk| disk.path.as_str()).collect();
    assert_eq!(paths, ["/home/disk.img", "/home/cloud-seed.iso"]);
    assert!(place(&tree).join("root/home/cloud-seed.iso").exists());
}

#[test]
fn check_says_what_is_in_the_way() {
    let tree = tree("check");
    tree.file("written/g.toml", "devices = [\"0000:01:00.0\"]\n");
    let (status, text, errors) = vfiorun(&tree, &["guest", "check", "g.toml"]);
    assert_eq!((status, errors.as_str()), (1, ""));
    assert!(text.lines().any(|line| line.starts_with("problem: /dev/kvm: ")), "{text}");
    assert!(text.ends_with("g.toml: guest g cannot be started\n"), "{text}");
    let (_, text, _) = vfiorun(&tree, &["guest", "check", "g.toml", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&document["runs"], &document["name"]), (&false.into(), &"g".into()));
    tree.file("written/g.toml", "nonsense = 1\n");
    let (status, _, errors) = vfiorun(&tree, &["guest", "check", "g.toml"]);
    assert_eq!(status, 2);
    assert!(errors.contains("g.toml:1: "), "{errors}");
}
