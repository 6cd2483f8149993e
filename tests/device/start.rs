//! What is looked at before a guest is started, and what a start consists of.

use crate::common::device_tree;

use device_tree::Tree;
use vfioboot::device::bus::vfio;
use vfioboot::device::guest::cgroup;
use vfioboot::device::guest::cpu::{choose, core_types};
use vfioboot::device::guest::file::{Cluster, Guest, Hugepages, Size, parse};
use vfioboot::device::guest::memory;
use vfioboot::device::guest::qemu::argv::Backing;
use vfioboot::device::guest::run::preflight::{Options, Start};
use vfioboot::device::sys::cpu_list;
use vfioboot::device::sys::state::StateDir;

/// Two fast cores (4, 5) and four slow ones.
fn big_little(name: &str) -> Tree {
    let tree = Tree::new(&format!("start-{name}"));
    tree.file("sys/devices/system/cpu/online", "0-5\n");
    for cpu in 0..6 {
        let (midr, capacity) =
            if cpu < 4 { ("0x00000000410fd050", 300) } else { ("0x00000000410fd410", 1024) };
        let directory = format!("sys/devices/system/cpu/cpu{cpu}");
        tree.file(&format!("{directory}/regs/identification/midr_el1"), format!("{midr}\n"));
        tree.file(&format!("{directory}/cpu_capacity"), format!("{capacity}\n"));
    }
    tree
}

fn chosen(tree: &Tree, cluster: Cluster, count: u32) -> Result<Option<Vec<u32>>, String> {
    let types = core_types(&tree.host()).unwrap();
    choose(count, &cluster, &types).map_err(|error| error.to_string())
}

#[test]
fn a_guest_stays_on_one_type_of_core() {
    let tree = big_little("clusters");
    assert_eq!(chosen(&tree, Cluster::Big, 2), Ok(Some(vec![4, 5])));
    assert_eq!(chosen(&tree, Cluster::Little, 2), Ok(Some(vec![0, 1, 2, 3])));
    // The fastest that has enough of them.
    assert_eq!(chosen(&tree, Cluster::Any, 2), Ok(Some(vec![4, 5])));
    assert_eq!(chosen(&tree, Cluster::Any, 3), Ok(Some(vec![0, 1, 2, 3])));
    assert_eq!(chosen(&tree, Cluster::Any, 9), Ok(Some(vec![0, 1, 2, 3])));
    assert_eq!(chosen(&tree, Cluster::List(vec![1, 2]), 2), Ok(Some(vec![1, 2])));
}

#[test]
fn cores_of_two_types_are_refused_by_number() {
    let tree = big_little("mixed");
    let error = chosen(&tree, Cluster::List(vec![3, 4]), 2).unwrap_err();
    assert!(
        error.starts_with(
            "cpus.cluster: CPUs 3 and 4 are of different types (midr_el1 0x410fd050 and midr_el1 0x410fd410)"
        ),
        "{error}"
    );
}

#[test]
fn a_core_that_is_not_online_is_refused() {
    let tree = big_little("offline");
    let error = chosen(&tree, Cluster::List(vec![7]), 1).unwrap_err();
    assert!(error.starts_with("cpus.cluster: CPU 7 is not online"), "{error}");
}

#[test]
fn where_all_cores_are_of_one_type_a_guest_runs_anywhere() {
    let tree = Tree::new("start-one-type");
    tree.file("sys/devices/system/cpu/online", "0-1\n");
    assert_eq!(chosen(&tree, Cluster::Any, 2), Ok(None));
    assert_eq!(chosen(&tree, Cluster::Big, 2), Ok(None));
}

#[test]
fn cpu_lists_are_the_kernels() {
    assert_eq!(cpu_list::parse("0-2,5\n"), [0, 1, 2, 5]);
    assert_eq!(cpu_list::format(&[0, 1, 2, 5]), "0-2,5");
}

/// `free` hugetlb pages, and so many MiB of other memory.
fn with_memory(name: &str, available: u64, free: u64) -> Tree {
    let tree = Tree::new(&format!("start-{name}"));
    let kib = available * 1024;
    tree.file(
        "proc/meminfo",
        format!("MemTotal: 9 kB\nMemAvailable: {kib} kB\nHugepagesize: 2048 kB\n"),
    );
    let directory = "sys/kernel/mm/hugepages/hugepages-2048kB";
    for (name, number) in [("free_hugepages", free), ("nr_hugepages", free), ("resv_hugepages", 0)]
    {
        tree.file(&format!("{directory}/{name}"), format!("{number}\n"));
    }
    tree.file("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
    tree
}

fn planned(tree: &Tree, hugepages: Hugepages) -> Result<(Backing, Option<String>), String> {
    memory::plan(&tree.host(), Size(512 << 20), hugepages, true)
        .map(|plan| (plan.backing, plan.write.map(|write| write.to_string())))
        .map_err(|error| error.to_string())
}

#[test]
fn free_hugetlb_pages_are_taken_as_they_are() {
    let tree = with_memory("hugetlb-free", 500, 300);
    assert_eq!(planned(&tree, Hugepages::Auto), Ok((Backing::Hugetlb(2 << 20), None)));
}

#[test]
fn missing_hugetlb_pages_are_asked_for() {
    let tree = with_memory("hugetlb-more", 1000, 6);
    let write = "echo 256 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages".to_owned();
    assert_eq!(planned(&tree, Hugepages::Auto), Ok((Backing::Hugetlb(2 << 20), Some(write))));
}

#[test]
fn without_hugetlb_transparent_pages_are_switched_on() {
    let tree = with_memory("transparent", 1000, 0);
    std::fs::remove_dir_all(tree.path("sys/kernel/mm/hugepages")).unwrap();
    let write = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled".to_owned();
    assert_eq!(planned(&tree, Hugepages::Auto), Ok((Backing::Anonymous, Some(write))));
}

#[test]
fn no_huge_pages_means_nothing_is_changed() {
    let tree = with_memory("none", 1000, 300);
    assert_eq!(planned(&tree, Hugepages::None), Ok((Backing::Anonymous, None)));
}

#[test]
fn hugetlb_or_nothing() {
    let tree = with_memory("hugetlb-only", 200, 3);
    assert_eq!(
        planned(&tree, Hugepages::Hugetlb),
        Err("memory.hugepages: no hugetlb pages: 256 of 2048 KiB are needed, 3 are free, and 200 MiB of memory are available; \"auto\" takes what there is".to_owned())
    );
}

#[test]
fn a_guest_that_pins_more_than_there_is_is_refused() {
    let tree = with_memory("too-little", 600, 0);
    let error = planned(&tree, Hugepages::Auto).unwrap_err();
    assert!(error.starts_with("memory.size: the guest wants 512 MiB, all of which its devices pin, but 600 MiB are available and 128 MiB must stay for the host"), "{error}");
}

#[test]
fn a_guest_without_devices_may_have_more_than_is_available() {
    let tree = with_memory("overcommit", 100, 0);
    assert!(memory::plan(&tree.host(), Size(512 << 20), Hugepages::None, false).is_ok());
}

#[test]
fn androids_cpuset_has_a_new_child_and_is_unchanged() {
    let tree = Tree::new("start-cpuset");
    tree.file("dev/cpuset/cpus", "0-7\n");
    tree.file("dev/cpuset/mems", "0\n");
    let groups = cgroup::plan(&tree.host(), "g", Some(&[4, 5]));
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].directory, "dev/cpuset/vfiorun-g");
    let writes: Vec<String> = groups[0].writes.iter().map(ToString::to_string).collect();
    assert_eq!(
        writes,
        ["echo 4-5 > /dev/cpuset/vfiorun-g/cpus", "echo 0 > /dev/cpuset/vfiorun-g/mems"]
    );
}

#[test]
fn nodes_get_the_numbers_of_sysfs() {
    let tree = Tree::new("start-nodes");
    tree.file("sys/class/misc/vfio/dev", "10:196\n");
    tree.file("sys/class/vfio/7/dev", "243:0\n");
    let nodes: Vec<_> =
        vfio::nodes(&tree.host(), &[7]).into_iter().map(|node| (node.path, node.number)).collect();
    assert_eq!(
        nodes,
        [("dev/vfio/vfio".to_owned(), (10, 196)), ("dev/vfio/7".to_owned(), (243, 0))]
    );
}

/// A machine with an NVMe disk that could be given away, but without KVM.
fn machine(name: &str) -> Tree {
    let tree = with_memory(name, 4000, 0);
    tree.file("sys/devices/system/cpu/online", "0-1\n");
    tree.device("0000:00:02.0", ("1b36", "0010"), Some("nvme"));
    tree.group("0000:00:02.0", 7);
    tree.file("sys/kernel/iommu_groups/7/type", "DMA\n");
    let members = tree.path("sys/kernel/iommu_groups/7/devices");
    std::fs::create_dir_all(&members).unwrap();
    std::os::unix::fs::symlink(
        "../../../../devices/pci0000:00/0000:00:02.0",
        members.join("0000:00:02.0"),
    )
    .unwrap();
    tree.driver("vfio-pci");
    tree
}

fn guest(text: &str) -> Guest {
    parse(&format!("name = \"g\"\nqemu = \"/bin/sh\"\n{text}"), "guest.toml").unwrap()
}

fn start(tree: &Tree, guest: &Guest, allow_protected: bool) -> Start {
    let options = Options { allow_protected, machine: "aarch64".into(), ..Options::default() };
    Start::new(&tree.host(), &StateDir::new(tree.path("state")), guest, &options)
}

fn refusals(tree: &Tree, text: &str) -> Vec<String> {
    let start = start(tree, &guest(text), false);
    start.refusals.iter().map(ToString::to_string).collect()
}

/// Whether one of the refusals begins so.
#[track_caller]
fn refused(refusals: &[String], begin: &str) {
    assert!(refusals.iter().any(|refusal| refusal.starts_with(begin)), "{begin}: {refusals:#?}");
}

#[test]
fn every_write_of_a_start_is_shown_in_order() {
    let tree = machine("steps");
    tree.file("sys/class/vfio/7/dev", "243:0\n");
    tree.file("sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "N\n");
    let start =
        start(&tree, &guest("devices = [\"1b36:0010\"]\nallow_unsafe_interrupts = true\n"), false);
    assert_eq!(
        start.steps(None),
        [
            "echo vfio-pci > /sys/bus/pci/devices/0000:00:02.0/driver_override",
            "echo 0000:00:02.0 > /sys/bus/pci/devices/0000:00:02.0/driver/unbind",
            "echo 0000:00:02.0 > /sys/bus/pci/drivers_probe",
            "mknod -m 600 /dev/vfio/7 c 243 0",
            "echo Y > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
            "echo 512 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
        ]
    );
}

/// QEMU as a script that has this property, or another one.
fn board(tree: &Tree, property: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = tree.path("qemu");
    tree.file("qemu", format!("#!/bin/sh\necho '  {property}=<size>'\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn a_device_with_much_memory_has_room_on_the_board() {
    let tree = machine("high-memory");
    let room = |size: u64, property: &str| {
        let line = format!(
            "0x{:016x} 0x{:016x} 0x000000000014220c\n",
            1_u64 << 41,
            (1_u64 << 41) + size - 1
        );
        tree.file("sys/devices/pci0000:00/0000:00:02.0/resource", line.repeat(2));
        let text = format!(
            "name = \"g\"\nqemu = \"{}\"\ndevices = [\"1b36:0010\"]",
            board(&tree, property)
        );
        let guest = parse(&text, "guest.toml").unwrap();
        let start = start(&tree, &guest, false);
        let words = start.argv(&tree.host(), &guest);
        let machine = words.iter().position(|word| word == "-machine").unwrap() + 1;
        let refusals: Vec<_> = start.refusals.iter().map(ToString::to_string).collect();
        (words[machine].clone(), refusals.join("\n"))
    };
    let (words, _) = room(256 << 30, "highmem-mmio-size");
    assert!(!words.contains("highmem"), "that much fits: {words}");
    let (words, refusals) = room(300 << 30, "highmem-mmio-size");
    assert!(
        words.contains("virt,gic-version=host,highmem-mmio-size=1099511627776,accel=kvm"),
        "{words}"
    );
    assert!(!refusals.contains("highmem"), "{refusals}");
    let (_, refusals) = room(300 << 30, "highmem");
    assert!(
        refusals.contains("has no highmem-mmio-size: the devices have more memory"),
        "{refusals}"
    );
}

#[test]
fn without_kvm_the_reason_is_kvms() {
    let tree = machine("no-kvm");
    refused(&refusals(&tree, ""), "/dev/kvm: no such file: ");
}

#[test]
fn another_hypervisor_is_named() {
    let tree = machine("gunyah");
    tree.file("dev/gunyah", "");
    refused(&refusals(&tree, ""), "Gunyah owns the processor's virtualisation (EL2)");
}

#[test]
fn protected_kvm_is_refused_unless_it_is_allowed() {
    let tree = machine("protected");
    for mode in ["kvm_arm.mode=protected", "kvm-arm.mode=\"protected\"", "kvm-arm.mode=protected"] {
        tree.file("proc/cmdline", format!("kvm-arm.mode=nvhe {mode}\n"));
        refused(&refusals(&tree, ""), "kvm-arm.mode=protected is on the kernel command line");
    }
    let allowed = start(&tree, &guest(""), true);
    assert!(!allowed.refusals.iter().any(|refusal| refusal.to_string().contains("protected")));
}

#[test]
fn the_last_mode_of_kvm_counts() {
    let tree = machine("not-protected");
    tree.file("proc/cmdline", "kvm-arm.mode=protected kvm-arm.mode=nvhe\n");
    assert!(!refusals(&tree, "").iter().any(|refusal| refusal.contains("protected")));
}

#[test]
fn a_missing_iommu_is_reported_once_there_is_a_device() {
    let tree = machine("no-iommu");
    std::fs::remove_dir_all(tree.path("sys/kernel/iommu_groups")).unwrap();
    refused(&refusals(&tree, "devices = [\"1b36:0010\"]"), "no IOMMU: ");
    assert!(!refusals(&tree, "").iter().any(|refusal| refusal.starts_with("no IOMMU")));
}

#[test]
fn another_architecture_is_refused() {
    let tree = machine("arch");
    refused(
        &refusals(&tree, "[machine]\narch = \"x86_64\""),
        "machine.arch: KVM runs only guests of its own architecture, and this machine is aarch64",
    );
}

#[test]
fn files_that_are_not_there_are_named_by_their_keys() {
    let tree = machine("files");
    let refusals = refusals(
        &tree,
        "[boot]\nkernel = \"/no/Image\"\n[[disks]]\npath = \"/no/disk\"\nformat = \"raw\"",
    );
    refused(&refusals, "boot.kernel: /no/Image: no such file");
    refused(&refusals, "disks.path: /no/disk: no such file");
}

#[test]
fn a_tap_that_is_not_there_is_named_with_how_to_make_it() {
    let tree = machine("tap");
    refused(
        &refusals(&tree, "[network]\nmode = \"tap\"\ntap = \"tap9\""),
        "network.tap: interface tap9 does not exist: ip tuntap add dev tap9 mode tap",
    );
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let tree = machine("no-device");
    refused(&refusals(&tree, "devices = [\"dead:beef\"]"), "dead:beef: no such device");
}

/// Vendors' kernels leave `regs/identification` out of sysfs.
#[test]
fn types_of_cores_are_told_by_cpuinfo_and_by_capacity() {
    let tree = Tree::new("start-cpuinfo");
    tree.file("proc/sys/kernel/arch", "aarch64\n");
    tree.file("sys/devices/system/cpu/online", "0-5\n");
    let capacity = |cpu: u32| if cpu < 4 { 381 } else { 1024 };
    for cpu in 0..6 {
        let file = format!("sys/devices/system/cpu/cpu{cpu}/cpu_capacity");
        tree.file(&file, format!("{}\n", capacity(cpu)));
    }
    let sets = |tree: &Tree| {
        let types = core_types(&tree.host()).unwrap();
        types.into_iter().map(|of| (of.midr, of.cpus)).collect::<Vec<_>>()
    };
    assert_eq!(sets(&tree), [(None, vec![4, 5]), (None, vec![0, 1, 2, 3])]);
    assert_eq!(chosen(&tree, Cluster::Any, 2), Ok(Some(vec![4, 5])));
    let text = |cpu: u32| {
        let (variant, part) = if cpu < 4 { (0, "0xd05") } else { (4, "0xd0b") };
        format!(
            "processor\t: {cpu}\nBogoMIPS\t: 48\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x{variant}\nCPU part\t: {part}\nCPU revision\t: 1\n\n"
        )
    };
    tree.file("proc/cpuinfo", (0..6).map(text).collect::<String>());
    let (big, little) = (Some(0x414f_d0b1), Some(0x410f_d051));
    assert_eq!(sets(&tree), [(big, vec![4, 5]), (little, vec![0, 1, 2, 3])]);
    // On x86 the turbo of a core makes it no other type.
    tree.file("proc/sys/kernel/arch", "x86_64\n");
    tree.file("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\n");
    assert_eq!(sets(&tree), [(None, vec![0, 1, 2, 3, 4, 5])]);
}
