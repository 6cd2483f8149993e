//! Devices taken and given back, against a kernel that is played, and killed on the way.

use crate::common::device_tree;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use device_tree::{Tree, at};
use vfioboot::device::bind::lease::{Lease, StepFailure, TakeError};
use vfioboot::device::bind::plan::{Options, Plan, Refusal};
use vfioboot::device::bind::recover::{Verdict, recover, release, survey};
use vfioboot::device::bind::undo::Ending;
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::lock::{Lock, LockError};
use vfioboot::device::sys::state::StateDir;

const DISK: &str = "0000:00:02.0";
const CARD: &str = "0000:00:03.0";
const BOOT: &str = "boot-one";

/// A disk on nvme in group 1, and a card on e1000e in group 2 whose override is its own driver.
fn tree(name: &str) -> (Tree, StateDir) {
    let tree = Tree::new(name);
    tree.device(DISK, ("1b36", "0010"), Some("nvme"));
    tree.device(CARD, ("8086", "10d3"), Some("e1000e"));
    tree.set_override(CARD, "e1000e\n");
    tree.driver("vfio-pci");
    tree.iommu_group(1, &[DISK]);
    tree.iommu_group(2, &[CARD]);
    tree.running_as(100, 7, BOOT);
    let state = StateDir::new(tree.path("run/vfioboot"));
    (tree, state)
}

fn plan(host: &Host, devices: &[&str]) -> Plan {
    let specs: Vec<_> = devices.iter().map(|device| device.parse().unwrap()).collect();
    Plan::new(host, &specs, &Options::default()).unwrap()
}

fn refusal(host: &Host, devices: &[&str]) -> String {
    let specs: Vec<_> = devices.iter().map(|device| device.parse().unwrap()).collect();
    Plan::new(host, &specs, &Options::default()).unwrap_err().to_string()
}

fn take(host: &Host, state: &StateDir, devices: &[&str]) -> Result<Lease, TakeError> {
    let plan = plan(host, devices);
    Lease::take(host, state, "guest", "run guest", &plan, &|| false, &mut |_| {})
}

fn assert_original(tree: &Tree, when: &str) {
    assert_eq!(tree.driver_of(DISK).as_deref(), Some("nvme"), "{when}");
    assert_eq!(tree.driver_of(CARD).as_deref(), Some("e1000e"), "{when}");
    assert_eq!(tree.get_override(DISK), "(null)\n", "{when}");
    assert_eq!(tree.get_override(CARD), "e1000e\n", "{when}");
}

#[test]
fn the_writes_are_those_of_the_plan() {
    let (tree, state) = tree("lease-plan");
    let (host, kernel) = tree.kernel();
    let plan = plan(&host, &[DISK, "8086:10d3", DISK]);
    assert_eq!(plan.moves.len(), 2);
    let planned: Vec<String> = plan
        .moves
        .iter()
        .flat_map(|step| &step.writes)
        .map(|write| format!("{} > {}", write.value, write.path))
        .collect();
    assert_eq!(planned[0], format!("vfio-pci > sys/bus/pci/devices/{DISK}/driver_override"));
    assert_eq!(planned.len(), 6);
    assert!(kernel.writes.lock().unwrap().is_empty());
    let lease =
        Lease::take(&host, &state, "guest", "run guest", &plan, &|| false, &mut |_| {}).unwrap();
    assert_eq!(*kernel.writes.lock().unwrap(), planned);
    assert_eq!(lease.devices()[0].driver.as_deref(), Some("vfio-pci"));
    let report = lease.release().unwrap();
    assert!(report.is_clean(), "{report}");
    assert_original(&tree, "released");
    assert!(state.journals().unwrap().is_empty());
}

/// Where a write is the last thing that a process did, or is not made any more, recovering
/// leads back to the start; and so does recovering again when the recovery was killed as well.
#[test]
fn killed_at_any_write_everything_is_recovered() {
    let (mut kills, mut kills_of_recovery) = (0, 0);
    for lives in 0.. {
        let (tree, state) = tree("lease-kill");
        let (host, kernel) = tree.kernel();
        kernel.lives.store(lives, Ordering::Relaxed);
        let whole = catch_unwind(AssertUnwindSafe(|| {
            take(&host, &state, &[DISK, CARD]).unwrap().release().unwrap();
        }));
        if whole.is_ok() {
            assert_original(&tree, "nobody killed");
            break;
        }
        kills += 1;
        fs::remove_dir_all(tree.path("proc/100")).unwrap();
        tree.running_as(101, 9, BOOT);
        // A recovery that dies after one more write, then one that does not.
        kernel.lives.store(1, Ordering::Relaxed);
        let first = catch_unwind(AssertUnwindSafe(|| recover(&host, &state, false).unwrap()));
        kills_of_recovery += usize::from(first.is_err());
        kernel.lives.store(usize::MAX, Ordering::Relaxed);
        let all = recover(&host, &state, false).unwrap();
        assert!(all.iter().all(|(_, report)| report.is_clean()), "{all:?}");
        assert_original(&tree, &format!("killed at write {lives}"));
        assert!(state.journals().unwrap().is_empty());
    }
    assert!(kills >= 12 && kills_of_recovery > 0, "{kills} {kills_of_recovery}");
}

#[test]
fn a_driver_that_does_not_let_go_leaves_everything_as_it_was() {
    let (tree, state) = tree("lease-ebusy");
    let (host, kernel) = tree.kernel();
    let path = "sys/bus/pci/devices/0000:00:03.0/driver/unbind";
    *kernel.refused.lock().unwrap() = Some((path, 16));
    let error = take(&host, &state, &[DISK, CARD]).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{CARD} (8086:10d3): write \"{CARD}\" to /{path}: EBUSY; it is on e1000e now; everything is as it was"
        )
    );
    assert_original(&tree, "refused");
    assert!(state.journals().unwrap().is_empty());
}

#[test]
fn a_failed_probe_is_detected() {
    let (tree, state) = tree("lease-lie");
    let (host, kernel) = tree.kernel();
    kernel.deaf.store(true, Ordering::Relaxed);
    let error = take(&host, &state, &[DISK]).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{DISK} (1b36:0010): vfio-pci did not take it; it is on nvme now; everything is as it was"
        )
    );
    assert_original(&tree, "not taken");
}

#[test]
fn what_cannot_be_undone_stays_in_the_journal_until_it_can() {
    let (tree, state) = tree("lease-stuck");
    let (host, kernel) = tree.kernel();
    let lease = take(&host, &state, &[DISK, CARD]).unwrap();
    *kernel.refused.lock().unwrap() = Some(("nvme/bind", 16));
    kernel.deaf.store(true, Ordering::Relaxed);
    let report = lease.release().unwrap();
    assert!(matches!(report.steps[0].1, Ending::Done));
    assert_eq!(
        report.steps[1].1.to_string(),
        format!(
            "failed: it is on no driver, not on nvme as before (could not write \"{DISK}\" to /sys/bus/pci/drivers/nvme/bind: EBUSY)"
        )
    );
    *kernel.refused.lock().unwrap() = None;
    fs::remove_dir_all(tree.path("proc/100")).unwrap();
    tree.running_as(101, 9, BOOT);
    let all = recover(&host, &state, false).unwrap();
    assert_eq!(all[0].1.steps.len(), 1, "the card is not touched again");
    assert_original(&tree, "recovered");
}

#[test]
fn an_interruption_undoes_what_was_done() {
    let (tree, state) = tree("lease-interrupt");
    let (host, _) = tree.kernel();
    let plan = plan(&host, &[DISK, CARD]);
    let asked = std::cell::Cell::new(0);
    let stop = || asked.replace(asked.get() + 1) == 1;
    let error = Lease::take(&host, &state, "guest", "run guest", &plan, &stop, &mut |_| {})
        .unwrap_err()
        .to_string();
    assert_eq!(error, "interrupted; everything is as it was");
    assert_original(&tree, "interrupted");
}

#[test]
fn removing_a_device_is_not_a_failure() {
    let (tree, state) = tree("lease-gone");
    let (host, _) = tree.kernel();
    let lease = take(&host, &state, &[DISK]).unwrap();
    fs::remove_file(tree.path(&format!("sys/bus/pci/devices/{DISK}"))).unwrap();
    let report = lease.release().unwrap();
    assert!(matches!(report.steps[0].1, Ending::Gone));
    let told = [format!("{DISK}: back to nvme: does not exist any more")];
    assert!(report.told().eq(told), "{report}");
    assert!(state.journals().unwrap().is_empty());
}

#[test]
fn one_that_is_open_is_not_waited_for() {
    let (tree, state) = tree("lease-open");
    let (host, kernel) = tree.kernel();
    let lease = take(&host, &state, &[DISK]).unwrap();
    tree.file("proc/55/comm", "qemu-system-aar\n");
    fs::create_dir_all(tree.path("proc/55/fd")).unwrap();
    std::os::unix::fs::symlink("/data/debian/dev/vfio/1", tree.path("proc/55/fd/9")).unwrap();
    let writes = kernel.writes.lock().unwrap().len();
    let report = lease.release().unwrap();
    let reason = "failed: it is in use by qemu-system-aar (pid 55)";
    assert_eq!(report.steps[0].1.to_string(), reason);
    assert_eq!(kernel.writes.lock().unwrap().len(), writes);
}

#[test]
fn a_group_goes_as_a_whole() {
    let (tree, state) = tree("lease-group");
    let mate = "0000:00:02.1";
    let bridge = "0000:00:01.0";
    tree.device(mate, ("1b36", "0010"), Some("nvme"));
    tree.device(bridge, ("1b36", "000c"), Some("pcieport"));
    tree.file(&format!("sys/devices/pci0000:00/{bridge}/class"), "0x060400\n");
    fs::remove_dir_all(tree.path("sys/kernel/iommu_groups/1")).unwrap();
    fs::remove_file(tree.path(&format!("sys/devices/pci0000:00/{DISK}/iommu_group"))).unwrap();
    tree.iommu_group(1, &[bridge, DISK, mate]);
    let (host, kernel) = tree.kernel();
    assert_eq!(
        refusal(&host, &[DISK]),
        format!(
            "{DISK} (1b36:0010): IOMMU group 1 can only be taken as a whole, and this member is not requested: {mate} (nvme)"
        )
    );
    assert_eq!(
        refusal(&host, &[bridge]).lines().next().unwrap(),
        format!(
            "{bridge} (1b36:000c): a bridge cannot be passed through; name the devices below it"
        )
    );
    assert!(kernel.writes.lock().unwrap().is_empty());
    let lease = take(&host, &state, &[DISK, mate]).unwrap();
    assert_eq!(lease.devices().len(), 2);
}

/// On a devicetree system the group is made by the first probe, so nobody can know beforehand.
#[test]
fn a_group_that_shows_only_when_probed_is_looked_at_then() {
    let (tree, state) = tree("lease-late-group");
    let late = "0000:00:04.0";
    tree.device(late, ("1b36", "0010"), None);
    let (host, _) = tree.kernel();
    assert_eq!(plan(&host, &[late]).groups, []);
    let error = take(&host, &state, &[late]).unwrap_err();
    let TakeError::Step { cause, undone } = &error else { panic!("{error}") };
    let StepFailure::NoGroup { device, reason: Some(reason) } = &**cause else { panic!("{error}") };
    assert_eq!((device.address.to_string().as_str(), reason.cause.id), (late, "no-group"));
    assert!(undone.is_clean());
    assert_eq!((tree.driver_of(late), tree.get_override(late)), (None, "(null)\n".into()));
    tree.iommu_group(4, &[late]);
    let lease = take(&host, &state, &[late]).unwrap();
    assert_eq!(lease.devices()[0].iommu_group, Some(4));
}

#[test]
fn refusals_say_what_is_missing() {
    let (tree, _) = tree("lease-refusals");
    let bare = "0000:00:05.0";
    tree.device(bare, ("8086", "10d3"), Some("e1000e"));
    let specs = [bare, "dead:beef"].map(|spec| spec.parse().unwrap());
    let error = Plan::new(&tree.host(), &specs, &Options::default()).unwrap_err();
    let [Refusal::NoDevice(_), Refusal::Cause { device, reason }] = &error.refusals[..] else {
        panic!("{error}")
    };
    assert_eq!((device.address.to_string().as_str(), reason.cause.id), (bare, "no-group"));
    fs::remove_dir_all(tree.path("sys/bus/pci/drivers/vfio-pci")).unwrap();
    assert_eq!(
        refusal(&tree.host(), &[DISK]),
        "no vfio-pci driver is registered: the kernel is built without CONFIG_VFIO_PCI, or its module is not loaded (modprobe vfio-pci)"
    );
    fs::remove_dir_all(tree.path("sys/bus")).unwrap();
    assert_eq!(
        refusal(&tree.host(), &[DISK]),
        "no PCI on this system (list /sys/bus/pci/devices: no such file)"
    );
}

#[test]
fn a_second_instance_is_refused_by_name() {
    let (tree, state) = tree("lease-second");
    let (host, kernel) = tree.kernel();
    let lock = Lock::acquire(&state, DISK, "bind 0000:00:02.0").unwrap();
    let who = format!("pid {}, bind {DISK}", std::process::id());
    let wanted = plan(&host, &[DISK]);
    let mut said = Vec::new();
    // It is waited for, until somebody says to stop.
    let error = Lease::take(&host, &state, "guest", "run", &wanted, &|| true, &mut |line| {
        said.push(line.to_owned());
    });
    let error = error.unwrap_err();
    assert!(
        matches!(&error, TakeError::Lock { address, error: LockError::Held { holder, .. }, .. }
            if *address == at(DISK) && *holder == who),
        "{error}"
    );
    assert_eq!(said, [format!("{DISK}: waiting up to 30 s for {who}")]);
    assert!(kernel.writes.lock().unwrap().is_empty());
    // Others are not concerned.
    take(&host, &state, &[CARD]).unwrap().release().unwrap();
    let freed = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(lock);
    });
    take(&host, &state, &[DISK]).unwrap();
    freed.join().unwrap();
}

#[test]
fn two_owners_have_different_devices_but_never_the_same() {
    let (tree, state) = tree("lease-owners");
    let (host, _) = tree.kernel();
    let first = take(&host, &state, &[DISK]).unwrap();
    let other = |device| {
        let plan = plan(&host, &[device]);
        Lease::take(&host, &state, "other", "run other", &plan, &|| false, &mut |_| {})
    };
    let error = other(DISK).unwrap_err().to_string();
    assert_eq!(error, format!("{DISK}: it is in use: run guest (pid 100)"));
    other(CARD).unwrap().release().unwrap();
    // The first is killed: its disk is nobody's before it is recovered.
    std::mem::forget(first);
    fs::remove_dir_all(tree.path("proc/100")).unwrap();
    tree.running_as(101, 9, BOOT);
    let error = other(DISK).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "{DISK}: \"run guest\" left it behind when it was killed: run vfiorun recover first"
        )
    );
}

#[test]
fn a_journal_of_another_boot_is_discarded() {
    let (tree, state) = tree("lease-stale");
    let (host, kernel) = tree.kernel();
    std::mem::forget(take(&host, &state, &[DISK]).unwrap());
    // After the reset the pid is another process's, and the boot id is new.
    tree.running_as(100, 7, "boot-two");
    let writes = kernel.writes.lock().unwrap().len();
    let all = recover(&host, &state, false).unwrap();
    assert_eq!(all[0].0.verdict, Verdict::Discard);
    assert_eq!(kernel.writes.lock().unwrap().len(), writes);
    assert!(state.journals().unwrap().is_empty());
}

#[test]
fn an_owner_that_is_at_work_is_left_alone_and_a_recycled_pid_is_not_it() {
    let (tree, state) = tree("lease-alive");
    let (host, _) = tree.kernel();
    std::mem::forget(take(&host, &state, &[DISK]).unwrap());
    tree.process("self", 101, 9);
    let all = recover(&host, &state, false).unwrap();
    assert!(matches!(all[0].0.verdict, Verdict::Alive(owner) if owner.pid == 100));
    assert_eq!(tree.driver_of(DISK).as_deref(), Some("vfio-pci"));
    tree.process("100", 100, 8);
    let all = recover(&host, &state, false).unwrap();
    assert_eq!(all[0].0.verdict, Verdict::Undo);
    assert_original(&tree, "recovered");
}

#[test]
fn kept_devices_are_released_one_by_one_to_what_they_were() {
    let (tree, state) = tree("lease-kept");
    let (host, _) = tree.kernel();
    take(&host, &state, &[DISK, CARD]).unwrap().keep().unwrap();
    tree.running_as(101, 9, BOOT);
    assert_eq!(recover(&host, &state, false).unwrap()[0].0.verdict, Verdict::Kept);
    assert_eq!(tree.driver_of(DISK).as_deref(), Some("vfio-pci"));
    let (_, driver) = release(&host, &state, at(CARD)).unwrap();
    assert_eq!(driver.as_deref(), Some("e1000e"));
    assert_eq!(tree.get_override(CARD), "e1000e\n");
    assert_eq!(tree.driver_of(DISK).as_deref(), Some("vfio-pci"));
    assert_eq!(survey(&host, &state).unwrap()[0].steps.len(), 1);
    // Again: nothing to do.
    assert!(release(&host, &state, at(CARD)).unwrap().0.writes.is_empty());
    release(&host, &state, at(DISK)).unwrap();
    assert_original(&tree, "released");
    assert!(state.journals().unwrap().is_empty());
}

#[test]
fn binding_what_is_bound_changes_nothing_and_leaves_no_journal() {
    let (tree, state) = tree("lease-again");
    let (host, kernel) = tree.kernel();
    take(&host, &state, &[DISK]).unwrap().keep().unwrap();
    let writes = kernel.writes.lock().unwrap().len();
    let plan = plan(&host, &[DISK]);
    let again = Lease::take(&host, &state, "again", "bind", &plan, &|| false, &mut |_| {});
    again.unwrap().keep().unwrap();
    assert_eq!(kernel.writes.lock().unwrap().len(), writes);
    assert_eq!(state.journals().unwrap(), ["guest"]);
}

/// PID 1 bound it in the ramdisk: there is no journal.
#[test]
fn a_device_without_a_journal_goes_to_the_driver_that_wants_it() {
    let (tree, state) = tree("lease-pid1");
    let (host, kernel) = tree.kernel();
    tree.unlink_driver(DISK);
    tree.link_driver(DISK, "vfio-pci");
    tree.set_override(DISK, "vfio-pci\n");
    let (_, driver) = release(&host, &state, at(DISK)).unwrap();
    assert_eq!(driver.as_deref(), Some("nvme"));
    assert_original(&tree, "released");
    let writes = kernel.writes.lock().unwrap();
    assert_eq!(writes[2], "1b36 0010 > sys/bus/pci/drivers/vfio-pci/remove_id");
}

/// An override that names another driver than the device was on keeps it from that driver.
#[test]
fn an_override_that_blocks_drivers_is_restored_last() {
    let (tree, state) = tree("lease-override");
    let (host, _) = tree.kernel();
    tree.set_override(DISK, "vfio-pci\n");
    let report = take(&host, &state, &[DISK]).unwrap().release().unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(tree.driver_of(DISK).as_deref(), Some("nvme"));
    assert_eq!(tree.get_override(DISK), "vfio-pci\n");
}

#[test]
fn a_lease_that_is_dropped_is_released() {
    let (tree, state) = tree("lease-drop");
    let (host, _) = tree.kernel();
    drop(take(&host, &state, &[DISK]).unwrap());
    assert_original(&tree, "dropped");
}
