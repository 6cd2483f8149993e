//! What QEMU is given and what is kept from it, and what it could not have is said before.

use crate::common::device_tree;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use device_tree::{Tree, at};
use vfioboot::device::bus::vfio::Interface;
use vfioboot::device::guest::file::{Arch, Guest, Hugepages, Missing, Size, parse};
use vfioboot::device::guest::libvirt::NotXml;
use vfioboot::device::guest::memory::{self, MemoryError};
use vfioboot::device::guest::run::preflight::{Options, Refusal, Start};
use vfioboot::device::sys::state::StateDir;

const DISK: &str = "0000:00:02.0";

/// A machine with a disk that could be given away.
fn machine(name: &str) -> Tree {
    let tree = Tree::new(&format!("process-{name}"));
    let meminfo = "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\nHugepagesize: 2048 kB\n";
    tree.file("proc/meminfo", meminfo);
    tree.file("sys/devices/system/cpu/online", "0-1\n");
    tree.device(DISK, ("1b36", "0010"), Some("nvme"));
    tree.iommu_group(7, &[DISK]);
    tree.driver("vfio-pci");
    tree.running_as(100, 7, "boot-one");
    tree
}

fn guest(text: &str) -> Guest {
    parse(&format!("name = \"g\"\n{text}"), "guest.toml").unwrap()
}

fn start_in(tree: &Tree, state: &StateDir, guest: &Guest) -> Start {
    let options = Options { machine: "x86_64".into(), ..Options::default() };
    Start::new(&tree.host(), state, guest, &options)
}

fn start(tree: &Tree, guest: &Guest) -> Start {
    start_in(tree, &StateDir::new(tree.path("state")), guest)
}

fn argv(tree: &Tree, guest: &Guest) -> String {
    start(tree, guest).argv(&tree.host(), guest).join(" ")
}

fn missing(start: &Start) -> Vec<&Missing> {
    let missing = start.refusals.iter().filter_map(|refusal| match refusal {
        Refusal::Missing(missing) => Some(missing),
        _ => None,
    });
    missing.collect()
}

#[test]
fn without_a_container_devices_are_opened_through_iommufd() {
    let tree = machine("iommufd");
    tree.file("sys/class/misc/iommu/dev", "10:125\n");
    let guest = guest("devices = [\"1b36:0010\"]\n");
    let both = start(&tree, &guest);
    assert_eq!(both.interface, Interface::Iommufd);
    assert_eq!(both.nodes.iter().map(|node| node.path.as_str()).collect::<Vec<_>>(), ["dev/iommu"]);
    let text = argv(&tree, &guest);
    assert!(text.contains("-object iommufd,id=iommufd0 -device vfio-pci"), "{text}");
    let place = format!("sysfsdev=/sys/bus/pci/devices/{DISK},iommufd=iommufd0");
    assert!(text.contains(&place), "{text}");
    // A device that is on vfio-pci has a node of its own.
    tree.file(&format!("sys/devices/pci0000:00/{DISK}/vfio-dev/vfio3/dev"), "511:3\n");
    let nodes = start(&tree, &guest).nodes;
    assert_eq!((nodes[1].path.as_str(), nodes[1].number), ("dev/vfio/devices/vfio3", (511, 3)));
    // The container is what every QEMU knows.
    tree.file("sys/class/misc/vfio/dev", "10:196\n");
    assert_eq!(start(&tree, &guest).interface, Interface::Container);
    assert!(argv(&tree, &guest).contains(&format!("host={DISK}")));
}

#[test]
fn a_domain_of_five_digits_is_named_by_its_place_in_sysfs() {
    let tree = machine("vmd");
    let far = "10000:e1:00.0";
    tree.device(far, ("144d", "a808"), Some("nvme"));
    tree.iommu_group(8, &[far]);
    let text = argv(&tree, &guest("devices = [\"144d:a808\", \"1b36:0010\"]\n"));
    assert!(text.contains(&format!(",sysfsdev=/sys/bus/pci/devices/{far}")), "{text}");
    assert!(text.contains(&format!(",host={DISK}")), "{text}");
}

/// The disk is a virtual function of a card on vfio-pci.
fn with_physical(name: &str, driver: &str) -> Tree {
    let tree = machine(name);
    let card = "0000:00:05.0";
    tree.device(card, ("8086", "10c9"), Some(driver));
    tree.iommu_group(9, &[card]);
    let place = |device: &str| tree.path(&format!("sys/devices/pci0000:00/{device}"));
    symlink(format!("../{card}"), place(DISK).join("physfn")).unwrap();
    symlink(format!("../{DISK}"), place(card).join("virtfn0")).unwrap();
    tree
}

#[test]
fn a_virtual_function_gets_the_token_of_its_physical_one() {
    let tree = with_physical("token", "vfio-pci");
    let plain = guest("devices = [\"1b36:0010\"]\n");
    let text = argv(&tree, &plain);
    let token = text.split("vf-token=").nth(1).unwrap().split([',', ' ']).next().unwrap();
    let parts: Vec<usize> = token.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{token}");
    assert_eq!(&token[14..15], "4", "random: {token}");
    let given = guest(
        "devices = [{ device = \"1b36:0010\", options = [\"vf-token=00112233-4455-6677-8899-aabbccddeeff\"] }]\n",
    );
    let text = argv(&tree, &given);
    assert_eq!(text.matches("vf-token=").count(), 1, "{text}");
    // Through iommufd it is the same one that the physical function gets.
    tree.file("sys/class/misc/iommu/dev", "10:125\n");
    let start = start(&tree, &plain);
    assert_eq!(start.interface, Interface::Iommufd);
    let token = start.tokens[0].token.to_string();
    let text = start.argv(&tree.host(), &plain).join(" ");
    assert!(text.contains(&format!(",iommufd=iommufd0,vf-token={token}")), "{text}");
    assert!(start.steps(None).iter().any(|step| step.contains(&token)));
    // Its physical function is the host's.
    let tree = with_physical("token-host", "igb");
    assert!(!argv(&tree, &plain).contains("vf-token"));
}

#[test]
fn a_token_that_somebody_else_set_is_asked_for() {
    let tree = with_physical("token-users", "vfio-pci");
    let plain = guest("devices = [\"1b36:0010\"]\n");
    tree.file("proc/77/comm", "dpdk-testpmd\n");
    fs::create_dir_all(tree.path("proc/77/fd")).unwrap();
    symlink("/dev/vfio/9", tree.path("proc/77/fd/5")).unwrap();
    let refusals = start(&tree, &plain).refusals;
    let token = refusals.iter().find_map(|refusal| match refusal {
        Refusal::Token(shared) => Some(shared),
        _ => None,
    });
    assert_eq!(token.unwrap().users[0].pid, 77);
    // One that vfiorun set before is known.
    let state = StateDir::new(tree.path("state"));
    let known = "00112233-4455-4677-8899-aabbccddeeff";
    fs::write(state.directory("vf-tokens").unwrap().join("0000:00:05.0"), known).unwrap();
    let start = start(&tree, &plain);
    assert!(!start.refusals.iter().any(|refusal| matches!(refusal, Refusal::Token(_))));
    assert!(start.argv(&tree.host(), &plain).join(" ").contains(known));
}

#[test]
fn a_chroot_gets_the_nodes_that_the_guest_file_names() {
    let tree = machine("nodes");
    for path in ["dev/block/by-name/vm", "dev/vhost-vsock", "dev/sdx", "root/images/vm.img"] {
        tree.file(path, "");
    }
    symlink("/dev/sdx", tree.path("root/images/link")).unwrap();
    let root = tree.path("root").display().to_string();
    let disk = |path: &str| format!("[[disks]]\npath = \"{path}\"\nformat = \"raw\"\n");
    let all = [disk("/dev/block/by-name/vm"), disk("/images/link"), disk("/images/vm.img")];
    let text = format!(
        "chroot = \"{root}\"\nqemu_arguments = [\"-device\", \"vhost-vsock-pci,guest-cid=3\"]\n{}",
        all.concat()
    );
    let found = start(&tree, &guest(&text));
    assert_eq!(found.chroot_nodes, ["/dev/block/by-name/vm", "/dev/sdx", "/dev/vhost-vsock"]);
    assert!(missing(&found).is_empty(), "{:?}", missing(&found));
    let step = format!("mount --bind /dev/sdx {root}/dev/sdx");
    assert!(found.steps(Some(&root)).contains(&step));
}

#[test]
fn a_disk_that_qemu_would_not_find_in_its_chroot_is_refused() {
    let tree = machine("hidden");
    // It is in the chroot, but QEMU has another /dev and another /run there.
    tree.file("root/dev/vm.img", "");
    tree.file("root/run/vm.img", "");
    symlink("/run/vm.img", tree.path("root/link.img")).unwrap();
    let root = tree.path("root").display().to_string();
    for path in ["/dev/vm.img", "/run/vm.img", "/link.img"] {
        let text = format!("chroot = \"{root}\"\n[[disks]]\npath = \"{path}\"\nformat = \"raw\"\n");
        let found = start(&tree, &guest(&text));
        let refused = missing(&found);
        assert!(
            matches!(
                refused.as_slice(),
                [Missing::Hidden { key: "disks.path", .. }
                    | Missing::File { key: "disks.path", .. }]
            ),
            "{path}: {refused:?}"
        );
    }
}

#[test]
fn a_socket_that_cannot_be_made_is_refused_before() {
    let tree = machine("sockets");
    let long = StateDir::new(tree.path(&"d".repeat(100)));
    let found = start_in(&tree, &long, &guest(""));
    assert!(matches!(missing(&found).as_slice(), [Missing::LongSocket { key: "--state", .. }]));
    tree.file("precious", "precious");
    let vnc = |path: &str| guest(&format!("[display]\ntype = \"vnc\"\nsocket = \"{path}\"\n"));
    let found = start(&tree, &vnc(tree.path("precious").to_str().unwrap()));
    let refused = missing(&found);
    assert!(matches!(refused.as_slice(), [Missing::NotSocket { key: "display.socket", .. }]));
    let found = start(&tree, &vnc(&format!("/tmp/{}", "v".repeat(110))));
    assert!(matches!(
        missing(&found).as_slice(),
        [Missing::LongSocket { key: "display.socket", .. }]
    ));
    let place = std::env::temp_dir().join(format!("vfiorun-test-{}.vnc", std::process::id()));
    let _old = UnixListener::bind(&place).unwrap();
    let found = start(&tree, &vnc(place.to_str().unwrap()));
    fs::remove_file(&place).unwrap();
    assert!(missing(&found).is_empty(), "one that an earlier QEMU left");
}

#[test]
fn memory_that_only_cma_has_is_not_there() {
    let tree = machine("cma");
    let available = |cma: u64| {
        let text = format!("MemAvailable: 800000 kB\nCmaFree: {cma} kB\nHugepagesize: 2048 kB\n");
        tree.file("proc/meminfo", text);
        memory::plan(&tree.host(), Size(512 << 20), Hugepages::None, true)
    };
    assert!(available(0).is_ok());
    let error = available(690_000).unwrap_err();
    assert!(matches!(error, MemoryError::TooLittle { available: 107, cma: 673, .. }), "{error:?}");
}

#[test]
fn a_guest_has_no_more_memory_than_addresses() {
    const GIB: u64 = 1 << 30;
    let fits = |gib: u64, bits| memory::fits(Size(gib * GIB), Arch::Aarch64, bits).is_ok();
    // The first GiB is for devices.
    assert!(fits(63, Some(36)) && !fits(64, Some(36)));
    assert!(fits(255, Some(38)) && !fits(256, Some(38)));
    // What arm64 has where KVM does not say.
    assert!(fits(1023, None) && !fits(1024, None));
    assert!(memory::fits(Size(64 * GIB), Arch::X86_64, Some(36)).is_ok());
}

/// An ELF file that needs one library.
fn program(library: &str) -> Vec<u8> {
    let mut elf = vec![0; 64 + 2 * 56];
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    elf[32] = 64;
    elf[54] = 56;
    elf[56] = 2;
    let load = [1_u64, 0, 0x1000, 0, 0x400, 0x400];
    let dynamic = [2_u64, 0x100, 0x1100, 0, 0x40, 0x40];
    for (at, segment) in [(64, load), (120, dynamic)] {
        for (number, word) in segment.iter().enumerate() {
            elf[at + number * 8..][..8].copy_from_slice(&word.to_le_bytes());
        }
    }
    elf.resize(0x100, 0);
    // NEEDED the string at 1, STRTAB at its address.
    for word in [1_u64, 1, 5, 0x1200, 0, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.resize(0x200, 0);
    elf.push(0);
    elf.extend(library.as_bytes());
    elf.resize(0x400, 0);
    elf
}

#[test]
fn a_qemu_that_can_filter_its_system_calls_does() {
    let tree = machine("filter");
    let argv = |library: &str, more: &str| {
        tree.file("qemu", program(library));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(tree.path("qemu"), mode).unwrap();
        let path = tree.path("qemu").display().to_string();
        argv(&tree, &guest(&format!("qemu = \"{path}\"\n{more}")))
    };
    let filtered = argv("libseccomp.so.2", "");
    assert!(filtered.contains("-sandbox on,obsolete=deny,"), "{filtered}");
    assert!(filtered.contains("spawn=deny"), "{filtered}");
    assert!(!argv("libzstd.so.1", "").contains("-sandbox"));
    // Helpers of the user's own are programs that QEMU starts.
    let helpers = argv("libseccomp.so.2", "qemu_arguments = [\"-netdev\", \"bridge,id=b\"]");
    assert!(helpers.contains("-sandbox on") && !helpers.contains("spawn=deny"), "{helpers}");
    let own = argv("libseccomp.so.2", "qemu_arguments = [\"-sandbox\", \"off\"]");
    assert_eq!(own.matches("-sandbox").count(), 1, "{own}");
}

#[test]
fn what_xml_cannot_have_is_refused_by_its_key() {
    for character in ['\u{1}', '\u{1b}', '\u{7f}', '\u{9b}', '\u{fffe}'] {
        let escape = format!("\\u{:04x}", u32::from(character));
        let guest = guest(&format!("[boot]\nkernel = \"/k\"\ncmdline = \"a{escape}b\"\n"));
        let error = guest.domain(Arch::X86_64, "q", &[]).unwrap_err();
        assert_eq!(error, NotXml { key: "boot.cmdline", character });
    }
    let guest = guest("[[disks]]\npath = \"/a\\nb\\tc\"\nformat = \"raw\"\n");
    let xml = guest.domain(Arch::X86_64, "q", &[(at(DISK), &parse_device())]).unwrap();
    assert!(xml.contains("file='/a&#10;b&#9;c'"), "{xml}");
}

fn parse_device() -> vfioboot::device::guest::file::Device {
    guest("devices = [\"1b36:0010\"]\n").devices.remove(0)
}
