//! A boot file carried out against a fake system.

use crate::common::device_tree;

use std::thread;
use std::time::{Duration, Instant};

use device_tree::Tree;
use vfioboot::bootfile::{BootFile, BootModule, DeviceSpec};
use vfioboot::device::boot::apply::{
    Summary, carry_out, carry_out_steps, finish, make_names, put_back,
};
use vfioboot::device::sys::kmsg::{Level, record};

fn file(devices: &[&str], modules: &[&str]) -> BootFile {
    BootFile {
        version: 1,
        init: "/init".into(),
        deadline_ms: 5000,
        wait_ms: 0,
        devices: devices.iter().map(|text| (*text).into()).collect(),
        shadows: Vec::new(),
        runtime_names: Vec::new(),
        modules: modules
            .iter()
            .map(|path| BootModule { path: (*path).into(), params: String::new() })
            .collect(),
    }
}

fn run(tree: &Tree, file: &BootFile) -> (Summary, Vec<String>) {
    let mut lines = Vec::new();
    let summary = carry_out(file, &tree.host(), &tree.root, &mut |level, text| {
        lines.push(format!("{} {text}", level as u8));
    });
    (summary, lines)
}

#[test]
fn every_device_has_a_line_and_failures_do_not_stop_the_others() {
    let tree = Tree::new("boot-devices");
    tree.device("0000:00:02.0", ("1b36", "0010"), Some("vfio-pci"));
    tree.device("0000:00:03.0", ("1b36", "0010"), Some("nvme"));
    tree.group("0000:00:02.0", 4);
    let (summary, lines) =
        run(&tree, &file(&["dead:beef", "what", "1b36:0010", "0000:00:02.0"], &["/none.ko"]));
    let not_a_device = format!("4 {}", "what".parse::<DeviceSpec>().unwrap_err());
    assert_eq!(
        lines,
        [
            "4 /none.ko: not loaded: cannot open the file: no such file",
            not_a_device.as_str(),
            "6 0000:00:02.0 (1b36:0010): was already on vfio-pci, IOMMU group 4",
            "4 0000:00:03.0 (1b36:0010): failed: vfio-pci did not take it; it is on nvme now",
            "4 dead:beef: no such device",
        ]
    );
    assert_eq!(summary, Summary { bound: 1, problems: 4 });
}

/// The kernel itself can make something of a disk (`dm-mod.create=`) before any program runs.
#[test]
fn a_disk_that_the_kernel_uses_already_is_left_alone() {
    let tree = Tree::new("boot-in-use");
    tree.device("0000:00:02.0", ("1b36", "0010"), Some("nvme"));
    tree.driver("vfio-pci");
    let disk = "sys/devices/pci0000:00/0000:00:02.0/nvme/nvme0/nvme0n1";
    let dm = "sys/devices/virtual/block/dm-0";
    for place in [disk, dm] {
        let name = place.rsplit('/').next().unwrap();
        std::fs::create_dir_all(tree.path(place).join("holders")).unwrap();
        std::fs::create_dir_all(tree.path("sys/class/block")).unwrap();
        let link = tree.path(&format!("sys/class/block/{name}"));
        std::os::unix::fs::symlink(tree.path(place), link).unwrap();
    }
    std::os::unix::fs::symlink(tree.path(dm), tree.path(disk).join("holders/dm-0")).unwrap();
    let (summary, _) = run(&tree, &file(&["1b36:0010"], &[]));
    assert_eq!(summary, Summary { bound: 0, problems: 1 });
    assert_eq!(tree.get_override("0000:00:02.0"), "(null)\n");
}

#[test]
fn a_kernel_without_vfio_or_pci_is_named_as_such() {
    let tree = Tree::new("boot-no-vfio");
    std::fs::remove_dir_all(tree.path("sys")).unwrap();
    let (summary, lines) = run(&tree, &file(&["1b36:0010"], &[]));
    assert_eq!(
        lines,
        [
            "4 no vfio-pci driver is registered: not in this kernel, or its module failed",
            "4 list /sys/bus/pci/devices: no such file",
        ]
    );
    assert_eq!(summary, Summary { bound: 0, problems: 2 });
}

#[test]
fn a_log_record_is_one_short_line() {
    assert_eq!(record(Level::Info, "0.1.0 starts"), "<6>vfioboot: 0.1.0 starts\n");
    assert_eq!(record(Level::Warning, "a\nb\tc\u{7f}"), "<4>vfioboot: a b c \n");
    let long = record(Level::Warning, &"ä".repeat(2000));
    assert!(long.len() <= 901 && long.ends_with("ä\n"));
    assert_eq!(long.matches('\n').count(), 1);
}

#[test]
fn shadowed_files_get_their_originals_back_and_new_ones_go() {
    let ramdisk = tempfile::tempdir().unwrap();
    let at = |path: &str| ramdisk.path().join(path);
    std::fs::create_dir_all(at("vfioboot/original/lib/modules")).unwrap();
    std::fs::create_dir_all(at("lib/modules")).unwrap();
    std::fs::write(at("lib/modules/modules.load"), "ours").unwrap();
    std::fs::write(at("lib/modules/modules.options"), "ours").unwrap();
    std::fs::write(at("vfioboot/original/lib/modules/modules.load"), "theirs").unwrap();
    let mut file = file(&[], &[]);
    file.shadows = ["load", "options"].map(|name| format!("/lib/modules/modules.{name}")).to_vec();
    let mut said = Vec::new();
    put_back(&file, ramdisk.path(), &mut |_, text| said.push(text.to_owned()));
    assert_eq!(std::fs::read(at("lib/modules/modules.load")).unwrap(), b"theirs");
    assert!(!at("lib/modules/modules.options").exists());
    assert_eq!(said, [""; 0]);
}

#[test]
fn the_runtime_is_where_rc_files_start_it_and_stays_there() {
    let ramdisk = tempfile::tempdir().unwrap();
    let at = |path: &str| ramdisk.path().join(path);
    for directory in ["vfioboot", "sbin"] {
        std::fs::create_dir_all(at(directory)).unwrap();
    }
    std::fs::write(at("vfioboot/init"), "program").unwrap();
    std::os::unix::fs::symlink("/vfioboot/init", at("sbin/vfiorun")).unwrap();
    let mut file = file(&[], &[]);
    file.runtime_names = ["/sbin/vfiorun", "/gone/vfiorun"].map(str::to_owned).to_vec();
    let mut said = Vec::new();
    make_names(&file, "/vfioboot/init", ramdisk.path(), &mut |_, text| said.push(text.to_owned()));
    std::fs::remove_dir_all(at("vfioboot")).unwrap();
    assert!(at("sbin/vfiorun").symlink_metadata().unwrap().is_file());
    assert_eq!(std::fs::read(at("sbin/vfiorun")).unwrap(), b"program");
    assert_eq!(std::fs::read_dir(at("sbin")).unwrap().count(), 1);
    assert_eq!(said, ["/gone/vfiorun: vfiorun is not there: no such file"]);
}

#[test]
fn a_missing_device_costs_the_wait_and_no_more() {
    let tree = Tree::new("boot-wait");
    tree.driver("vfio-pci");
    let started = Instant::now();
    let (_, lines) = run(&tree, &BootFile { wait_ms: 120, ..file(&["dead:beef"], &[]) });
    assert_eq!(lines, ["4 dead:beef: no such device (waited 120 ms)"]);
    assert!(started.elapsed() >= Duration::from_millis(120));
}

#[test]
fn the_wait_ends_before_the_deadline() {
    let tree = Tree::new("boot-wait-deadline");
    tree.driver("vfio-pci");
    let file = BootFile { wait_ms: 60_000, deadline_ms: 600, ..file(&["dead:beef"], &[]) };
    let started = Instant::now();
    run(&tree, &file);
    assert!(started.elapsed() < Duration::from_millis(600));
}

#[test]
fn without_vfio_pci_nothing_is_waited_for() {
    let tree = Tree::new("boot-wait-no-vfio");
    let started = Instant::now();
    run(&tree, &BootFile { wait_ms: 4000, ..file(&["dead:beef"], &[]) });
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_device_that_appears_in_time_is_bound() {
    let tree = Tree::new("boot-late");
    tree.driver("vfio-pci");
    let appears = thread::spawn({
        let tree = Tree { root: tree.root.clone() };
        move || {
            thread::sleep(Duration::from_millis(100));
            tree.device("0000:01:00.0", ("1b36", "0010"), Some("vfio-pci"));
        }
    });
    // Its files do not come all at once: it may be seen before it has its driver.
    let (summary, lines) = run(&tree, &BootFile { wait_ms: 3000, ..file(&["1b36:0010"], &[]) });
    appears.join().unwrap();
    assert_eq!(
        lines,
        ["6 0000:01:00.0 (1b36:0010): appeared late, was already on vfio-pci, no IOMMU group"]
    );
    assert_eq!(summary, Summary { bound: 1, problems: 0 });
}

#[test]
fn after_a_stop_nothing_further_is_begun() {
    let tree = Tree::new("boot-stop");
    tree.device("0000:00:02.0", ("1b36", "0010"), Some("vfio-pci"));
    tree.device("0000:00:03.0", ("1b36", "0010"), Some("nvme"));
    let (mut steps, mut lines) = (Vec::new(), Vec::new());
    let summary = carry_out_steps(
        &file(&["1b36:0010"], &["/none.ko"]),
        &tree.host(),
        &tree.root,
        &mut |_, text| lines.push(text.to_owned()),
        &mut |step| {
            steps.push(step.to_owned());
            steps.len() < 3
        },
    );
    assert_eq!(steps, ["/none.ko", "0000:00:02.0 (1b36:0010)", "0000:00:03.0 (1b36:0010)"]);
    assert_eq!(summary, Summary { bound: 1, problems: 2 });
    assert!(lines[2].contains("0000:00:03.0") && lines[2].contains("not begun"), "{lines:?}");
    assert_eq!(tree.read("sys/bus/pci/devices/0000:00:03.0/driver_override"), "(null)\n");
}

#[test]
fn a_device_between_two_drivers_is_not_left_there() {
    let tree = Tree::new("boot-finish");
    for address in ["0000:00:02.0", "0000:00:03.0", "0000:00:04.0"] {
        tree.device(address, ("1b36", "0010"), (address == "0000:00:03.0").then_some("nvme"));
    }
    let field = |address: &str| format!("sys/bus/pci/devices/{address}/driver_override");
    tree.file(&field("0000:00:02.0"), "vfio-pci\n");
    let mut lines = Vec::new();
    finish(&file(&["1b36:0010"], &[]), &tree.host(), &mut |_, text| lines.push(text.to_owned()));
    // Only the one that was begun. In this tree no driver takes it.
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("0000:00:02.0") && lines[0].contains("no driver"), "{lines:?}");
    assert_eq!(tree.read(&field("0000:00:02.0")).trim(), "");
}
