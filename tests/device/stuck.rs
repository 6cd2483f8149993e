//! A kernel that does not come back, and processes that have a device open.

use crate::common::device_tree;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use device_tree::{Tree, fifo};
use vfioboot::device::bind::driver::BindError;
use vfioboot::device::bind::lease::{Lease, StepFailure, TakeError};
use vfioboot::device::bind::plan::{Options, Plan, Refusal};
use vfioboot::device::bus::in_use::Need;
use vfioboot::device::bus::pci;
use vfioboot::device::sys::bounded::Patience;
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::lock::Lock;
use vfioboot::device::sys::state::StateDir;

const DISK: &str = "0000:00:02.0";
const CARD: &str = "0000:00:03.0";

fn tree(name: &str) -> (Tree, StateDir) {
    let tree = Tree::new(&format!("stuck-{name}"));
    tree.device(DISK, ("1b36", "0010"), Some("nvme"));
    tree.device(CARD, ("8086", "10d3"), Some("e1000e"));
    tree.driver("vfio-pci");
    tree.iommu_group(1, &[DISK]);
    tree.iommu_group(2, &[CARD]);
    tree.running_as(100, 7, "boot-one");
    let state = StateDir::new(tree.path("run/vfioboot"));
    (tree, state)
}

fn plan(host: &Host, device: &str, options: &Options) -> Result<Plan, Vec<Refusal>> {
    Plan::new(host, &[device.parse().unwrap()], options).map_err(|error| error.refusals)
}

/// A process of the tree that has these nodes open.
fn process(tree: &Tree, pid: u32, name: &str, nodes: &[&str]) {
    tree.file(&format!("proc/{pid}/comm"), format!("{name}\n"));
    fs::create_dir_all(tree.path(&format!("proc/{pid}/fd"))).unwrap();
    for (number, node) in nodes.iter().enumerate() {
        symlink(node, tree.path(&format!("proc/{pid}/fd/{number}"))).unwrap();
    }
}

/// Opening a FIFO that nobody reads waits as an `unbind` does whose driver waits.
#[test]
fn a_write_that_does_not_come_back_ends_by_the_deadline_and_says_what_it_is() {
    let (tree, state) = tree("deadline");
    fifo(&tree.path("sys/bus/pci/drivers/nvme/unbind"));
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let host = tree.host().within(Patience {
        limit: Duration::from_millis(300),
        tell: Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_owned())),
        signals: Arc::new(|| 0),
    });
    let plan = plan(&host, DISK, &Options::default()).unwrap();
    let started = Instant::now();
    let error = Lease::take(&host, &state, "guest", "run", &plan, &|| false, &mut |_| {});
    assert!(started.elapsed() < Duration::from_secs(5));
    let Err(TakeError::Step { cause, undone }) = error else { panic!("{error:?}") };
    let StepFailure::Bind { error, .. } = *cause else { panic!("{cause}") };
    let BindError::Unbind { error, .. } = *error else { panic!("{error}") };
    let stuck = error.stuck().unwrap();
    assert_eq!(stuck.doing, format!("unbinding {DISK} from nvme"));
    assert!(stuck.gone && stuck.after >= Duration::from_millis(300), "{stuck:?}");
    assert!(said.lock().unwrap()[0].starts_with(&stuck.doing), "before the write");
    // The kernel let go of it, so that everything could be put back.
    assert!(undone.is_clean(), "{undone}");
    assert!(state.journals().unwrap().is_empty());
    Lock::acquire(&state, DISK, "free again").unwrap();
}

/// Signals that came before are not heeded: what is undone after one must not be cut short.
#[test]
fn a_signal_ends_the_write_that_it_comes_during() {
    let (tree, _) = tree("signal");
    fifo(&tree.path("sys/bus/pci/drivers/nvme/unbind"));
    let count = Arc::new(AtomicUsize::new(3));
    let counted = Arc::clone(&count);
    let host = tree.host().within(Patience {
        limit: Duration::from_secs(60),
        tell: Arc::new(|_: &str| {}),
        signals: Arc::new(move || counted.load(Ordering::Relaxed)),
    });
    let started = Instant::now();
    let elapsed = thread::scope(|scope| {
        let binds = scope.spawn(|| {
            let error = vfioboot::device::bind::driver::to_vfio_pci(&host, device_tree::at(DISK));
            (error.unwrap_err(), started.elapsed())
        });
        thread::sleep(Duration::from_millis(2500));
        assert!(!binds.is_finished(), "the old signals ended it");
        count.fetch_add(1, Ordering::Relaxed);
        binds.join().unwrap().1
    });
    assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
}

fn vfiorun(tree: &Tree, words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_vfiorun"))
        .arg("--sysroot")
        .arg(&tree.root)
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn one_device_that_hangs_keeps_no_other_and_is_named_by_its_lock() {
    let (tree, state) = tree("others");
    fifo(&tree.path("sys/bus/pci/drivers/nvme/unbind"));
    let child = vfiorun(&tree, &["bind", DISK, "--timeout", "60"]);
    let said = || match Lock::acquire(&state, DISK, "test") {
        Err(error) => error.to_string(),
        Ok(_) => String::new(),
    };
    let started = Instant::now();
    while !said().contains("unbinding") && started.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(said().contains(&format!("unbinding {DISK} from nvme")), "{}", said());
    // The other one is free, and looking needs no lock.
    Lock::acquire(&state, CARD, "test").unwrap();
    for words in [&["status"][..], &["devices"], &["recover"]] {
        let mut looks = vfiorun(&tree, words);
        let started = Instant::now();
        while looks.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(10), "{words:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(said(), "", "nobody holds it any more");
}

#[test]
fn who_opens_it_after_the_plan_was_made_is_named() {
    let (tree, state) = tree("late-user");
    let (host, kernel) = tree.kernel();
    let plan = plan(&host, CARD, &Options::default()).unwrap();
    let place = format!("sys/devices/pci0000:00/{CARD}/drm/card1");
    tree.file(&format!("{place}/dev"), "226:1\n");
    fs::create_dir_all(tree.path("sys/class/drm")).unwrap();
    symlink(format!("../../../{place}"), tree.path("sys/class/drm/card1")).unwrap();
    process(&tree, 900, "Xorg", &["/dev/dri/card1"]);
    let error = Lease::take(&host, &state, "guest", "run", &plan, &|| false, &mut |_| {});
    let Err(TakeError::Step { cause, .. }) = error else { panic!("{error:?}") };
    let StepFailure::Held { holds, .. } = *cause else { panic!("{cause}") };
    assert!(matches!(&holds[0].need, Need::Open { process, .. } if process.pid == 900));
    assert!(kernel.writes.lock().unwrap().is_empty());
}

#[test]
fn a_variant_of_vfio_pci_keeps_its_device() {
    let (tree, state) = tree("variant");
    tree.unlink_driver(CARD);
    tree.driver("mlx5_vfio_pci");
    tree.link_driver(CARD, "mlx5_vfio_pci");
    let (host, kernel) = tree.kernel();
    let plan = plan(&host, CARD, &Options::default()).unwrap();
    assert!(plan.moves[0].writes.is_empty());
    let lease = Lease::take(&host, &state, "g", "run", &plan, &|| false, &mut |_| {}).unwrap();
    assert_eq!(lease.devices()[0].driver.as_deref(), Some("mlx5_vfio_pci"));
    assert!(lease.release().unwrap().is_clean());
    assert!(kernel.writes.lock().unwrap().is_empty());
}

#[test]
fn a_physical_function_goes_only_when_its_functions_are_free() {
    let (tree, _) = tree("functions");
    let function = "0000:00:03.1";
    tree.device(function, ("8086", "10ca"), Some("vfio-pci"));
    tree.iommu_group(3, &[function]);
    let place = |device: &str, name: &str| {
        tree.path(&format!("sys/devices/pci0000:00/{device}")).join(name)
    };
    symlink(format!("../{function}"), place(CARD, "virtfn0")).unwrap();
    symlink(format!("../{CARD}"), place(function, "physfn")).unwrap();
    for driver in ["vfio-pci", "iavf"] {
        tree.unlink_driver(function);
        tree.driver(driver);
        tree.link_driver(function, driver);
        let refusals = plan(&tree.host(), CARD, &Options::default()).unwrap_err();
        let [Refusal::Held { holds, .. }] = refusals.as_slice() else { panic!("{refusals:?}") };
        assert_eq!(holds[0].function, Some(device_tree::at(function)), "{driver}");
    }
    tree.unlink_driver(function);
    assert!(plan(&tree.host(), CARD, &Options::default()).is_ok());
}

/// A FIFO is not an attribute of sysfs, and is not waited for.
#[test]
fn reading_waits_for_nothing() {
    let (tree, _) = tree("read-fifo");
    fifo(&tree.path(&format!("sys/devices/pci0000:00/{CARD}/vendor")));
    let devices = pci::enumerate(&tree.host()).unwrap();
    assert_eq!(devices.iter().map(|d| d.address.to_string()).collect::<Vec<_>>(), [DISK]);
}
