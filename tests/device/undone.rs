//! Each kind of step, undone: how it ends and what is said about it.

use crate::common::device_tree;

use std::fs;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use device_tree::{Tree, at};
use vfioboot::device::bind::driver::DriverState;
use vfioboot::device::bind::lease::Report;
use vfioboot::device::bind::plan::{Options, Plan};
use vfioboot::device::bind::shared::{Shared, Want};
use vfioboot::device::bind::undo::{Ending, Undo, UndoError};
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::state::StateDir;

const DISK: &str = "0000:00:02.0";
const MATE: &str = "0000:00:02.1";
const PAGES: &str = "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";

fn tree(name: &str) -> Tree {
    let tree = Tree::new(&format!("undone-{name}"));
    tree.device(DISK, ("1b36", "0010"), Some("nvme"));
    tree.driver("vfio-pci");
    tree.running_as(100, 7, "boot-one");
    tree
}

fn undo(host: &Host, tree: &Tree, step: &Undo) -> String {
    let ending = step.carry_out(host, &StateDir::new(tree.path("state")));
    format!("{step}: {ending}")
}

fn device(driver: Option<&str>) -> Undo {
    Undo::Device(DriverState {
        address: at(DISK),
        driver: driver.map(str::to_owned),
        driver_override: None,
    })
}

/// The device goes from its driver to vfio-pci.
fn move_to_vfio(tree: &Tree) {
    tree.unlink_driver(DISK);
    tree.link_driver(DISK, "vfio-pci");
    tree.set_override(DISK, "vfio-pci\n");
}

#[test]
fn a_device_goes_back_once() {
    let tree = tree("device");
    let (host, _) = tree.kernel();
    move_to_vfio(&tree);
    assert_eq!(undo(&host, &tree, &device(Some("nvme"))), format!("{DISK}: back to nvme: done"));
    assert_eq!(
        undo(&host, &tree, &device(Some("nvme"))),
        format!("{DISK}: back to nvme: unchanged")
    );
    assert_eq!(tree.driver_of(DISK).as_deref(), Some("nvme"));
    fs::remove_file(tree.path(&format!("sys/bus/pci/devices/{DISK}"))).unwrap();
    let gone = format!("{DISK}: back to no driver: does not exist any more");
    assert_eq!(undo(&host, &tree, &device(None)), gone);
}

#[test]
fn a_device_that_is_there_and_cannot_be_read_is_a_failure() {
    let tree = tree("unreadable");
    let (host, kernel) = tree.kernel();
    tree.file(&format!("sys/devices/pci0000:00/{DISK}/vendor"), "words\n");
    for step in [device(Some("nvme")), Undo::Reset { address: at(DISK) }] {
        let ending = step.carry_out(&host, &StateDir::new(tree.path("state")));
        assert!(matches!(ending, Ending::Failed(UndoError::Device(_))), "{step}: {ending}");
    }
    assert!(kernel.writes.lock().unwrap().is_empty());
}

#[test]
fn a_device_that_goes_while_it_is_given_back_is_gone() {
    let tree = tree("goes");
    move_to_vfio(&tree);
    let link = tree.path(&format!("sys/bus/pci/devices/{DISK}"));
    let host = Host::with_kernel(
        &tree.root,
        Arc::new(move |_: &str, _: &str| {
            _ = fs::remove_file(&link);
            Err(std::io::Error::from_raw_os_error(libc::ENODEV))
        }),
    );
    let gone = format!("{DISK}: back to nvme: does not exist any more");
    assert_eq!(undo(&host, &tree, &device(Some("nvme"))), gone);
}

#[test]
fn a_write_that_fails_while_the_device_is_there_is_a_failure() {
    let tree = tree("refused");
    move_to_vfio(&tree);
    let (host, kernel) = tree.kernel();
    *kernel.refused.lock().unwrap() = Some(("driver_override", libc::EIO));
    let ending = device(Some("nvme")).carry_out(&host, &StateDir::new(tree.path("state")));
    assert!(matches!(ending, Ending::Failed(UndoError::Driver(_))), "{ending}");
}

#[test]
fn a_device_is_reset_unless_the_host_has_it() {
    let tree = tree("reset");
    let (host, _) = tree.kernel();
    let reset = Undo::Reset { address: at(DISK) };
    let says = || undo(&host, &tree, &reset);
    assert_eq!(says(), format!("{DISK}: reset: skipped: the host uses it (nvme)"));
    move_to_vfio(&tree);
    assert_eq!(says(), format!("{DISK}: reset: failed: it cannot be reset"));
    let attribute = format!("sys/devices/pci0000:00/{DISK}/reset");
    tree.file(&attribute, "");
    assert_eq!(says(), format!("{DISK}: reset: done"));
    assert_eq!(tree.read(&attribute), "1");
    // It goes while it is reset.
    let link = tree.path(&format!("sys/bus/pci/devices/{DISK}"));
    let gone = link.clone();
    let going = Host::with_kernel(
        &tree.root,
        Arc::new(move |_: &str, _: &str| {
            fs::remove_file(&gone)?;
            Err(std::io::Error::from_raw_os_error(libc::ENODEV))
        }),
    );
    assert_eq!(undo(&going, &tree, &reset), format!("{DISK}: reset: does not exist any more"));
    assert_eq!(says(), format!("{DISK}: reset: does not exist any more"));
}

#[test]
fn an_attribute_has_its_value_again() {
    let tree = tree("attribute");
    let path = "sys/module/x/parameters/y";
    let step = Undo::Attribute { path: path.into(), value: "1".into() };
    let says =
        |host: &Host| undo(host, &tree, &step).replace(&format!("/{path}: back to \"1\": "), "");
    assert_eq!(says(&tree.host()), "does not exist any more");
    tree.file(path, "0\n");
    assert_eq!(says(&tree.host()), "done");
    assert_eq!(says(&tree.host()), "unchanged");
    // A kernel that takes it at the second write, and one that never does.
    let taking = |at: usize| {
        tree.file(path, "0\n");
        let (root, writes) = (tree.root.clone(), AtomicUsize::new(0));
        Host::with_kernel(
            &tree.root,
            Arc::new(move |path: &str, value: &str| {
                match writes.fetch_add(1, Ordering::Relaxed) + 1 >= at {
                    true => fs::write(root.join(path), value),
                    false => Ok(()),
                }
            }),
        )
    };
    assert_eq!(says(&taking(2)), "done");
    assert_eq!(says(&taking(10)), "done");
    assert_eq!(says(&taking(11)), "failed: it reads \"0\"");
    // What cannot be read is not gone.
    fs::remove_file(tree.path(path)).unwrap();
    fs::create_dir(tree.path(path)).unwrap();
    assert!(says(&tree.host()).starts_with("failed: "), "{}", says(&tree.host()));
}

#[test]
fn what_was_made_is_removed() {
    let tree = tree("made");
    let host = tree.host();
    fs::create_dir_all(tree.path("sys/fs/cgroup/vfioboot")).unwrap();
    let directory = Undo::Directory { path: "sys/fs/cgroup/vfioboot".into() };
    assert_eq!(undo(&host, &tree, &directory), "/sys/fs/cgroup/vfioboot: removed: done");
    let gone = "/sys/fs/cgroup/vfioboot: removed: does not exist any more";
    assert_eq!(undo(&host, &tree, &directory), gone);
    tree.file("dev/full/x", "");
    let full = Undo::Directory { path: "dev/full".into() };
    let text = undo(&host, &tree, &full);
    assert!(text.starts_with("/dev/full: removed: failed: "), "{text}");

    fs::create_dir_all(tree.path("run")).unwrap();
    let socket = Undo::Node { path: "run/qmp".into() };
    _ = UnixListener::bind(tree.path("run/qmp")).unwrap();
    assert_eq!(undo(&host, &tree, &socket), "/run/qmp: removed: done");
    assert_eq!(undo(&host, &tree, &socket), "/run/qmp: removed: does not exist any more");
}

#[test]
fn a_wake_lock_is_given_back() {
    let tree = tree("wake");
    let lock = Undo::WakeLock { name: "guest".into() };
    let says = |host: &Host| undo(host, &tree, &lock).replace("wake lock guest: given back: ", "");
    assert_eq!(says(&tree.host()), "does not exist any more");
    tree.file("sys/power/wake_lock", "other guests\n");
    assert_eq!(says(&tree.host()), "unchanged");
    tree.file("sys/power/wake_lock", "other guest\n");
    tree.file("sys/power/wake_unlock", "");
    assert_eq!(says(&tree.host()), "failed: it reads \"guest\"");
    assert_eq!(tree.read("sys/power/wake_unlock"), "guest");
    let root = tree.root.clone();
    let host = Host::with_kernel(
        &tree.root,
        Arc::new(move |_: &str, _: &str| fs::write(root.join("sys/power/wake_lock"), "other\n")),
    );
    assert_eq!(says(&host), "done");
}

#[test]
fn a_process_that_is_another_one_now_is_left_alone() {
    let tree = tree("process");
    let step = Undo::Process { pid: 100, start_time: 8, name: "qemu".into() };
    assert_eq!(undo(&tree.host(), &tree, &step), "qemu (pid 100): ended: does not exist any more");
}

#[test]
fn a_report_has_a_line_for_each_step() {
    let lock = |name: &str| Undo::WakeLock { name: name.into() };
    let report = Report { steps: vec![(lock("a"), Ending::Done), (device(None), Ending::Gone)] };
    assert_eq!(
        report.to_string(),
        format!(
            "wake lock a: given back: done\n{DISK}: back to no driver: does not exist any more"
        )
    );
    assert!(report.is_clean());
    let told: Vec<String> = report.told().collect();
    assert_eq!(told.join("\n"), report.to_string());
    let steps = vec![(lock("a"), Ending::Gone), (lock("b"), Ending::Failed(UndoError::NoReset))];
    let report = Report { steps };
    assert_eq!(
        report.told().collect::<Vec<_>>(),
        ["wake lock b: given back: failed: it cannot be reset"]
    );
    assert!(!report.is_clean());
}

#[test]
fn a_number_that_is_not_taken_at_once_is_written_again_when_it_is_given_back() {
    let taking = |name: &str, after: usize| {
        let tree = tree(&format!("again-{name}"));
        tree.file(PAGES, "3\n");
        let state = StateDir::new(tree.path("state"));
        let open = |host: &Host| {
            Shared::open(host, &state, PAGES, "test", &|| false, &mut |_| {}).map(drop)
        };
        open(&tree.host()).unwrap();
        let want = Want::More { amount: 2, needed: 2, pending: true };
        let host = tree.host();
        Shared::open(&host, &state, PAGES, "test", &|| false, &mut |_| {})
            .unwrap()
            .take("a", want)
            .unwrap();
        assert_eq!(tree.read(PAGES), "5");
        tree.file(&PAGES.replace("nr_", "free_"), "5\n");
        tree.file(&PAGES.replace("nr_", "resv_"), "0\n");
        let (root, writes) = (tree.root.clone(), AtomicUsize::new(0));
        let host = Host::with_kernel(
            &tree.root,
            Arc::new(move |path: &str, value: &str| {
                match writes.fetch_add(1, Ordering::Relaxed) + 1 >= after {
                    true => fs::write(root.join(path), value),
                    false => Ok(()),
                }
            }),
        );
        let mut shared =
            Shared::open(&host, &state, PAGES, "test", &|| false, &mut |_| {}).unwrap();
        shared.give_back("a").map_err(|error| error.to_string())
    };
    assert_eq!(taking("first", 1), Ok(true));
    assert_eq!(taking("second", 2), Ok(true));
    assert_eq!(taking("last", 20), Ok(true));
    let error = taking("never", 21).unwrap_err();
    assert!(error.contains(PAGES) && error.contains('5') && error.contains('3'), "{error}");
}

#[test]
fn a_group_comes_with_its_members_each_once_and_without_bridges() {
    let tree = tree("group");
    let bridge = "0000:00:01.0";
    tree.device(MATE, ("1b36", "0010"), Some("nvme"));
    tree.device(bridge, ("1b36", "000c"), Some("pcieport"));
    tree.device("0000:00:09.0", ("1b36", "0010"), Some("nvme"));
    tree.file(&format!("sys/devices/pci0000:00/{bridge}/class"), "0x060400\n");
    tree.iommu_group(1, &[bridge, DISK, MATE]);
    tree.iommu_group(2, &["0000:00:09.0"]);
    let host = tree.host();
    let planned = |names: &[&str], with_group: bool| {
        let specs: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
        let options = Options { with_group, ..Options::default() };
        let plan = Plan::new(&host, &specs, &options).map_err(|error| error.to_string())?;
        Ok::<_, String>(
            plan.moves.iter().map(|one| one.before.address.to_string()).collect::<Vec<_>>(),
        )
    };
    assert_eq!(planned(&[DISK], true).unwrap(), [DISK, MATE]);
    assert_eq!(planned(&[MATE, DISK, MATE], true).unwrap(), [MATE, DISK]);
    assert_eq!(planned(&[MATE, DISK], false).unwrap(), [MATE, DISK]);
    assert!(planned(&[DISK], false).unwrap_err().contains("can only be taken as a whole"));
    assert_eq!(planned(&["0000:00:09.0"], true).unwrap(), ["0000:00:09.0"]);
}
