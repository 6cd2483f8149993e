//! The machine does not sleep while a guest has devices of it.

use crate::common::device_tree;

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use device_tree::Tree;
use vfioboot::device::bind::journal::{self, Journal};
use vfioboot::device::bind::undo::Undo;
use vfioboot::device::guest::run::awake::{Awake, Means, means};
use vfioboot::device::sys::state::StateDir;

fn tree(name: &str) -> (Tree, StateDir) {
    let tree = Tree::new(&format!("awake-{name}"));
    tree.running_as(100, 7, "11111111-2222-3333-4444-555555555555");
    let state = StateDir::new(tree.path("state"));
    (tree, state)
}

/// Waits for a file to have this content.
#[track_caller]
fn await_text(tree: &Tree, file: &str, text: &str) {
    let started = Instant::now();
    while std::fs::read_to_string(tree.path(file)).ok().as_deref() != Some(text) {
        assert!(started.elapsed() < Duration::from_secs(20), "{file}: {text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn logind_is_held_by_its_program_until_the_guest_has_ended() {
    let (tree, state) = tree("logind");
    assert_eq!(means(&tree.host(), "g", None), [], "nobody to ask");
    let log = tree.path("log");
    let script = format!(
        "#!/bin/sh\necho \"$@\" > {log}\nwhile [ $# -gt 1 ]; do shift; done\n\"$1\"\necho released > {log}\n",
        log = log.display()
    );
    tree.file("usr/bin/systemd-inhibit", script);
    let program = tree.path("usr/bin/systemd-inhibit");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(means(&tree.host(), "g", None), [], "logind does not run");
    std::fs::create_dir_all(tree.path("run/systemd/seats")).unwrap();
    let means = means(&tree.host(), "g", None);
    assert!(matches!(means.as_slice(), [Means::Inhibitor(_)]), "{means:?}");
    let mut journal = Journal::create(&tree.host(), &state, "g", "run g").unwrap();
    let awake = Awake::new(&tree.host(), &means, &mut journal, &mut |reason| panic!("{reason}"));
    await_text(
        &tree,
        "log",
        "--what=sleep --mode=block --who=vfiorun --why=guest-g-has-devices cat\n",
    );
    drop(awake);
    assert_eq!(tree.read("log"), "released\n");
}

#[test]
fn a_wake_lock_is_in_the_journal_and_given_back() {
    let (tree, state) = tree("wake-lock");
    tree.file("sys/power/wake_lock", "other\n");
    tree.file("sys/power/wake_unlock", "");
    let means = means(&tree.host(), "g", None);
    let steps: Vec<String> = means.iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["echo vfiorun-g > /sys/power/wake_lock"]);
    let mut journal = Journal::create(&tree.host(), &state, "g", "run g").unwrap();
    let awake = Awake::new(&tree.host(), &means, &mut journal, &mut |reason| panic!("{reason}"));
    assert_eq!(tree.read("sys/power/wake_lock"), "vfiorun-g");
    drop(awake);
    let recorded = journal::read(&state.journal("g")).unwrap();
    let undo = Undo::WakeLock { name: "vfiorun-g".to_owned() };
    assert_eq!(recorded.open_steps().next(), Some((0, &undo)));
    // Others' locks stay; one that is still there afterwards is not given back.
    tree.file("sys/power/wake_lock", "other\n");
    assert_eq!(undo.carry_out(&tree.host(), &state).to_string(), "unchanged");
    tree.file("sys/power/wake_lock", "other vfiorun-g\n");
    let ending = undo.carry_out(&tree.host(), &state).to_string();
    assert_eq!(ending, "failed: it reads \"vfiorun-g\"");
    assert_eq!(tree.read("sys/power/wake_unlock"), "vfiorun-g");
    std::fs::remove_file(tree.path("sys/power/wake_lock")).unwrap();
    assert_eq!(undo.carry_out(&tree.host(), &state).to_string(), "does not exist any more");
}

#[test]
fn a_machine_that_cannot_be_kept_awake_is_warned_of() {
    let (tree, state) = tree("fails");
    let means = [Means::Inhibitor(vec![tree.path("nowhere").display().to_string()])];
    let mut journal = Journal::create(&tree.host(), &state, "g", "run g").unwrap();
    let mut said = Vec::new();
    Awake::new(&tree.host(), &means, &mut journal, &mut |reason| said.push(reason));
    assert!(said[0].ends_with(": nothing keeps this machine from sleeping"), "{said:?}");
}
