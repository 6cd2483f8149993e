//! What a journal says after any end that its writer may have met.

use crate::common::device_tree;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use device_tree::{Tree, at};
use vfioboot::device::bind::driver::DriverState;
use vfioboot::device::bind::journal::{self, Journal, JournalError};
use vfioboot::device::bind::recover::{recover, survey};
use vfioboot::device::bind::undo::{Ending, Undo, UndoError};
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::state::StateDir;

const BOOT: &str = "11111111-2222-3333-4444-555555555555";

fn tree(name: &str) -> (Tree, StateDir) {
    let tree = Tree::new(name);
    tree.running_as(100, 7, BOOT);
    let state = StateDir::new(tree.path("run/vfioboot"));
    (tree, state)
}

/// One of each kind.
fn steps() -> Vec<Undo> {
    vec![
        Undo::Device(DriverState {
            address: at("0000:00:02.0"),
            driver: Some("nvme".into()),
            driver_override: None,
        }),
        Undo::Attribute { path: "proc/sys/vm/nr_hugepages".into(), value: "0".into() },
        Undo::Node { path: "dev/vfio/7".into() },
        Undo::Directory { path: "sys/fs/cgroup/vfioboot".into() },
        Undo::Process { pid: 5, start_time: 6, name: "qemu \"x\"\n".into() },
        Undo::Reset { address: at("0001:02:03.4") },
    ]
}

#[test]
fn cut_off_at_every_byte_it_is_read_up_to_its_last_whole_record() {
    let (tree, state) = tree("journal-cut");
    let mut journal = Journal::create(&tree.host(), &state, "guest", "run guest").unwrap();
    for step in steps() {
        journal.record(step).unwrap();
    }
    journal.mark_undone(5).unwrap();
    journal.keep().unwrap();
    let bytes = fs::read(state.journal("guest")).unwrap();
    let ends: Vec<usize> =
        bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
    assert_eq!(ends.len(), 1 + steps().len() + 2);
    for cut in 0..=bytes.len() {
        let recorded = journal::parse(&bytes[..cut]);
        let whole = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(recorded.header.is_some(), whole > 0, "cut at {cut}");
        assert_eq!(recorded.steps, steps()[..whole.saturating_sub(1).min(6)], "cut at {cut}");
        assert_eq!(recorded.undone.contains(&5), whole > 7, "cut at {cut}");
        assert_eq!(recorded.kept, whole > 8, "cut at {cut}");
        assert_eq!(recorded.size as usize, ends[..whole].last().copied().unwrap_or(0));
    }
}

#[test]
fn a_damaged_byte_ends_it_where_it_is() {
    let (tree, state) = tree("journal-damage");
    let mut journal = Journal::create(&tree.host(), &state, "guest", "run guest").unwrap();
    for step in steps() {
        journal.record(step).unwrap();
    }
    let bytes = fs::read(state.journal("guest")).unwrap();
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        let before = bytes[..place].iter().filter(|b| **b == b'\n').count();
        let recorded = journal::parse(&damaged);
        assert_eq!(recorded.steps, steps()[..before.saturating_sub(1)], "damage at {place}");
    }
}

#[test]
fn what_comes_after_a_torn_record_is_written_over_it() {
    let (tree, state) = tree("journal-torn");
    let mut journal = Journal::create(&tree.host(), &state, "guest", "run guest").unwrap();
    journal.record(steps().remove(0)).unwrap();
    let path = state.journal("guest");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"01234567 {\"step\":{\"no");
    fs::write(&path, bytes).unwrap();
    Journal::open(&tree.host(), &state, "guest").unwrap().mark_undone(0).unwrap();
    let recorded = journal::read(&path).unwrap();
    assert_eq!(recorded.open_steps().count(), 0);
    assert_eq!(recorded.steps.len(), 1);
}

#[test]
fn a_second_journal_of_the_same_name_is_refused_until_the_next_boot() {
    let (tree, state) = tree("journal-second");
    Journal::create(&tree.host(), &state, "guest", "run guest").unwrap();
    let error = Journal::create(&tree.host(), &state, "guest", "again").unwrap_err();
    assert!(
        matches!(&error, JournalError::Exists { owner, what, .. }
            if owner.pid == 100 && what == "run guest"),
        "{error}"
    );
    tree.running_as(100, 7, "another-boot");
    Journal::create(&tree.host(), &state, "guest", "again").unwrap();
}

#[test]
fn a_journal_needs_proc() {
    let (tree, state) = tree("journal-no-proc");
    fs::remove_dir_all(tree.path("proc")).unwrap();
    let error = Journal::create(&tree.host(), &state, "guest", "run").unwrap_err().to_string();
    assert_eq!(error, "journal: /proc has no boot_id: is it mounted?");
    assert!(!state.path().exists());
}

#[test]
fn a_journal_of_another_version_is_not_taken_for_an_empty_one() {
    let (tree, state) = tree("journal-version");
    Journal::create(&tree.host(), &state, "guest", "run").unwrap();
    let path = state.journal("guest");
    let text = fs::read_to_string(&path).unwrap().replace("\"format\":1", "\"format\":2");
    let (_, json) = text.trim_end().split_once(' ').unwrap();
    fs::write(&path, format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()))).unwrap();
    let error = journal::read(&path).unwrap_err().to_string();
    assert!(error.ends_with("guest.journal: format 2, but only format 1 is known"), "{error}");
}

/// Journals of a version that had this step for what is shared by now.
#[test]
fn an_attribute_is_restored() {
    let (tree, state) = tree("journal-attribute");
    let path = "proc/sys/vm/nr_hugepages";
    tree.file(path, "512\n");
    let step = Undo::Attribute { path: path.into(), value: "12".into() };
    assert!(matches!(step.carry_out(&tree.host(), &state), Ending::Done));
    assert_eq!(tree.read(path), "12");
    assert!(matches!(step.carry_out(&tree.host(), &state), Ending::Unchanged));
}

/// As with huge pages: those of a process that has just ended are not free at once.
#[test]
fn an_attribute_that_does_not_take_its_value_at_once_is_written_again() {
    let (tree, state) = tree("journal-attribute-late");
    let path = "proc/sys/vm/nr_hugepages";
    let step = Undo::Attribute { path: path.into(), value: "12".into() };
    // the write that is taken, how many there are
    for (taken, expected) in [(3, 3), (10, 10), (11, 10)] {
        tree.file(path, "512\n");
        let writes = Arc::new(AtomicUsize::new(0));
        let (count, file) = (Arc::clone(&writes), tree.path(path));
        let kernel = move |_: &str, value: &str| match count.fetch_add(1, Ordering::Relaxed) + 1 {
            now if now == taken => fs::write(&file, value),
            _ => Ok(()),
        };
        let host = Host::with_kernel(&tree.root, Arc::new(kernel));
        let ending = step.carry_out(&host, &state);
        assert_eq!(matches!(ending, Ending::Done), taken <= 10, "{ending}");
        assert_eq!(writes.load(Ordering::Relaxed), expected);
    }
}

#[test]
fn what_cannot_be_removed_is_not_said_to_be_gone() {
    let (tree, state) = tree("journal-not-removed");
    tree.file("dev/full/file", "");
    let directory = Undo::Directory { path: "dev/full".into() };
    let ending = directory.carry_out(&tree.host(), &state);
    assert!(matches!(ending, Ending::Failed(UndoError::Remove(_))), "{ending}");
    let node = Undo::Node { path: "dev/full".into() };
    let ending = node.carry_out(&tree.host(), &state).to_string();
    assert!(ending.contains("neither a device node nor a socket"), "{ending}");
    assert!(tree.path("dev/full/file").exists());
}

#[test]
fn directories_and_nodes_are_removed_and_others_left() {
    let (tree, state) = tree("journal-directory");
    tree.file("dev/there/file", "");
    let mut journal = Journal::create(&tree.host(), &state, "guest", "run").unwrap();
    assert!(!journal.make_directory("dev/there").unwrap());
    assert!(journal.make_directory("dev/new").unwrap());
    journal.record(Undo::Node { path: "dev/new/socket".into() }).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.path("dev/new/socket")).unwrap();
    let endings: Vec<Ending> = journal
        .recorded()
        .open_steps()
        .map(|(_, step)| step.carry_out(&tree.host(), &state))
        .collect();
    assert!(matches!(endings.as_slice(), [Ending::Done, Ending::Done]), "{endings:?}");
    assert!(!tree.path("dev/new").exists());
    assert!(tree.path("dev/there/file").exists());
    let endings: Vec<Ending> = journal
        .recorded()
        .open_steps()
        .map(|(_, step)| step.carry_out(&tree.host(), &state))
        .collect();
    assert!(matches!(endings.as_slice(), [Ending::Gone, Ending::Gone]), "{endings:?}");
}

/// A real process, which a tree says is another one.
#[test]
fn a_process_is_ended_but_never_another_with_its_pid() {
    let (tree, state) = tree("journal-process");
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let pid = child.id();
    let step = |start_time| Undo::Process { pid, start_time, name: "sleep".into() };
    tree.process(&pid.to_string(), pid, 41);
    assert!(matches!(step(40).carry_out(&tree.host(), &state), Ending::Gone));
    assert!(child.try_wait().unwrap().is_none());
    let ended = std::thread::scope(|scope| {
        let reaper = scope.spawn(|| child.wait().unwrap());
        assert!(matches!(step(41).carry_out(&tree.host(), &state), Ending::Done));
        reaper.join().unwrap()
    });
    assert!(!ended.success());
}

#[test]
fn a_device_is_reset_where_it_can_be() {
    let (tree, state) = tree("journal-reset");
    tree.device("0000:00:02.0", ("1b36", "0010"), None);
    let step = Undo::Reset { address: at("0000:00:02.0") };
    assert!(matches!(step.carry_out(&tree.host(), &state), Ending::Failed(UndoError::NoReset)));
    tree.file("sys/devices/pci0000:00/0000:00:02.0/reset", "");
    assert!(matches!(step.carry_out(&tree.host(), &state), Ending::Done));
    assert_eq!(tree.read("sys/devices/pci0000:00/0000:00:02.0/reset"), "1");
    let gone = Undo::Reset { address: at("0000:00:09.0") };
    assert!(matches!(gone.carry_out(&tree.host(), &state), Ending::Gone));
}

#[test]
fn a_refused_reset_is_reported() {
    let (tree, state) = tree("journal-reset-refused");
    tree.device("0000:00:02.0", ("1b36", "0010"), Some("vfio-pci"));
    tree.file("sys/devices/pci0000:00/0000:00:02.0/reset", "");
    let (host, kernel) = tree.kernel();
    *kernel.refused.lock().unwrap() = Some(("reset", libc::ENOTTY));
    let step = Undo::Reset { address: at("0000:00:02.0") };
    assert_eq!(
        step.carry_out(&host, &state).to_string(),
        "failed: write \"1\" to /sys/bus/pci/devices/0000:00:02.0/reset: ENOTTY"
    );
}

/// A driver that works with a device loses it to a reset from elsewhere, and so does a guest.
#[test]
fn a_device_in_use_is_not_reset() {
    let (tree, state) = tree("journal-reset-late");
    tree.device("0000:00:02.0", ("1b36", "0010"), Some("nvme"));
    tree.group("0000:00:02.0", 4);
    tree.file("sys/devices/pci0000:00/0000:00:02.0/reset", "");
    let step = Undo::Reset { address: at("0000:00:02.0") };
    assert!(
        matches!(step.carry_out(&tree.host(), &state), Ending::InUseByHost(driver) if driver == "nvme")
    );
    tree.unlink_driver("0000:00:02.0");
    tree.link_driver("0000:00:02.0", "vfio-pci");
    tree.file("proc/50/comm", "qemu\n");
    fs::create_dir_all(tree.path("proc/50/fd")).unwrap();
    std::os::unix::fs::symlink("/dev/vfio/4", tree.path("proc/50/fd/9")).unwrap();
    let ending = step.carry_out(&tree.host(), &state);
    assert!(matches!(ending, Ending::Failed(UndoError::InUse(users)) if users[0].pid == 50));
    assert_eq!(tree.read("sys/devices/pci0000:00/0000:00:02.0/reset"), "");
}

/// A line as the journal has it, with the checksum of an independent implementation.
fn record(json: &str) -> String {
    format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()))
}

#[test]
fn records_in_an_order_that_nobody_writes_end_it() {
    let (tree, state) = tree("journal-order");
    let mut journal = Journal::create(&tree.host(), &state, "guest", "run guest").unwrap();
    journal.record(steps().remove(0)).unwrap();
    let text = fs::read_to_string(state.journal("guest")).unwrap();
    let (header, step) = text.split_at(text.find('\n').unwrap() + 1);
    let (kept, first, second) =
        (record("\"kept\""), record("{\"undone\":0}"), record("{\"undone\":1}"));
    let (kept, first, second) = (&kept[..], &first[..], &second[..]);
    let cases: [(&[&str], usize); 8] = [
        (&[step, header], 0),
        (&[kept, header], 0),
        (&[first, header], 0),
        (&[header, header, step], 1),
        (&[header, first, step], 1),
        (&[header, step, second, kept], 2),
        (&[header, step, step, second, kept], 5),
        (&[header, kept, step, first], 4),
    ];
    for (lines, whole) in cases {
        let recorded = journal::parse(lines.concat().as_bytes());
        let taken = &lines[..whole];
        assert_eq!(recorded.size as usize, taken.concat().len(), "{lines:?}");
        assert_eq!(recorded.header.is_some(), taken.contains(&header), "{lines:?}");
        assert_eq!(recorded.steps.len(), taken.iter().filter(|line| **line == step).count());
        assert_eq!(recorded.kept, taken.contains(&kept), "{lines:?}");
        let undone = [first, second].iter().position(|line| taken.contains(line));
        assert_eq!(recorded.undone, Vec::from_iter(undone), "{lines:?}");
    }
}

#[test]
fn a_larger_file_is_not_a_journal() {
    let (tree, state) = tree("journal-large");
    Journal::create(&tree.host(), &state, "guest", "run guest").unwrap();
    let path = state.journal("guest");
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len((16 << 20) + 1).unwrap();
    let error = journal::read(&path).unwrap_err().to_string();
    assert!(
        error.ends_with("guest.journal: larger than 16777216 bytes: this is not a journal"),
        "{error}"
    );
}

/// What waits for a journal that another process works on, and then is done with it in the way of `work`.
fn waiting<T: Send>(
    (tree, state): &(Tree, StateDir),
    wait: impl FnOnce() -> T + Send,
    work: impl FnOnce(Journal),
) -> T {
    drop(Journal::create(&tree.host(), state, "guest", "run guest").unwrap());
    // Its owner is not there any more.
    fs::remove_dir_all(tree.path("proc/100")).unwrap();
    tree.running_as(101, 9, BOOT);
    let other = Journal::open(&tree.host(), state, "guest").unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(wait);
        std::thread::sleep(std::time::Duration::from_millis(200));
        work(other);
        waiting.join().unwrap()
    })
}

#[test]
fn a_journal_that_another_process_works_on_is_read_when_it_is_done() {
    let place = tree("journal-lock");
    let open = || Journal::open(&place.0.host(), &place.1, "guest");
    let journal = waiting(&place, open, |mut other| other.record(steps().remove(0)).unwrap());
    assert_eq!(journal.unwrap().recorded().steps.len(), 1);
}

#[test]
fn a_journal_that_another_process_has_undone_is_not_there() {
    let place = tree("journal-lock-gone");
    let open = || Journal::open(&place.0.host(), &place.1, "guest");
    let again = |other: Journal| {
        fs::remove_file(place.1.journal("guest")).unwrap();
        // One of the same name is not the one that was waited for.
        drop(Journal::create(&place.0.host(), &place.1, "guest", "run guest").unwrap());
        drop(other);
    };
    let error = waiting(&place, open, again).unwrap_err();
    assert!(
        matches!(&error, JournalError::Io { error, .. } if error.kind() == std::io::ErrorKind::NotFound),
        "{error}"
    );
    let place = tree("journal-lock-recover");
    let undo = || recover(&place.0.host(), &place.1, false).map(|all| all.len());
    let gone = |other: Journal| {
        fs::remove_file(place.1.journal("guest")).unwrap();
        drop(other);
    };
    let undone = waiting(&place, undo, gone).unwrap();
    assert_eq!(undone, 0, "the other process did it");
}

#[test]
fn a_journal_that_cannot_be_read_is_not_passed_over() {
    let (tree, state) = tree("journal-unreadable");
    fs::create_dir_all(state.journal("guest")).unwrap();
    let error = survey(&tree.host(), &state).unwrap_err().to_string();
    assert!(error.contains("guest.journal: read: "), "{error}");
}
