//! A state directory that somebody else wrote to.

use crate::common::device_tree;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use device_tree::{Tree, fifo};
use vfioboot::device::bind::journal::{self, Journal, JournalError};
use vfioboot::device::bind::undo::{Ending, Undo, UndoError};
use vfioboot::device::sys::lock::{Lock, LockError};
use vfioboot::device::sys::state::{StateDir, Untrusted};

fn tree(name: &str) -> (Tree, StateDir) {
    let tree = Tree::new(&format!("state-{name}"));
    tree.running_as(100, 7, "boot-one");
    let state = StateDir::new(tree.path("state"));
    (tree, state)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[test]
fn the_directory_and_what_is_in_it_are_for_their_owner_alone() {
    let (tree, state) = tree("mode");
    fs::create_dir(state.path()).unwrap();
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Journal::create(&tree.host(), &state, "guest", "run").unwrap();
    let log = state.directory("guests/guest").unwrap();
    assert_eq!((mode(state.path()), mode(&log)), (0o700, 0o700));
    assert_eq!(mode(&state.journal("guest")), 0o600);
}

#[test]
fn a_directory_that_others_can_write_to_is_refused() {
    let (tree, state) = tree("open");
    Journal::create(&tree.host(), &state, "guest", "run").unwrap();
    for mode in [0o777, 0o720, 0o1777] {
        fs::set_permissions(state.path(), fs::Permissions::from_mode(mode)).unwrap();
        let error = state.journals().unwrap_err();
        assert_eq!(Untrusted::of(&error), Some(Untrusted::Mode(mode)));
        assert!(Lock::acquire(&state, "0000:00:02.0", "test").is_err(), "{mode:o}");
    }
}

#[test]
fn a_link_in_the_place_of_the_directory_is_refused() {
    let (tree, state) = tree("link");
    fs::create_dir(tree.path("elsewhere")).unwrap();
    symlink("elsewhere", state.path()).unwrap();
    let error = state.create().unwrap_err();
    assert_eq!(Untrusted::of(&error), Some(Untrusted::NotDirectory));
}

/// What may be in a file's place, and is neither followed nor waited for.
#[test]
fn what_is_no_file_is_refused() {
    let (tree, state) = tree("places");
    state.create().unwrap();
    tree.file("victim", "precious");
    let lock = state.path().join("0000:00:02.0.lock");
    let journal = state.journal("guest");
    for what in ["link", "fifo", "directory", "zero"] {
        for path in [&lock, &journal] {
            match what {
                "link" => symlink("../victim", path).unwrap(),
                "fifo" => fifo(path),
                "directory" => fs::create_dir(path).unwrap(),
                _ => symlink("/dev/zero", path).unwrap(),
            }
        }
        let Err(LockError::Io { error, .. }) = Lock::acquire(&state, "0000:00:02.0", "test") else {
            panic!("{what}")
        };
        assert_eq!(Untrusted::of(&error), Some(Untrusted::NotFile), "{what}");
        let Err(JournalError::Io { error, .. }) = journal::read(&journal) else { panic!("{what}") };
        assert_eq!(Untrusted::of(&error), Some(Untrusted::NotFile), "{what}");
        assert!(Journal::create(&tree.host(), &state, "guest", "run").is_err(), "{what}");
        for path in [&lock, &journal] {
            _ = fs::remove_file(path);
            _ = fs::remove_dir(path);
        }
    }
    assert_eq!(tree.read("victim"), "precious");
}

#[test]
fn a_journal_of_another_user_is_refused() {
    let (tree, state) = tree("owner");
    Journal::create(&tree.host(), &state, "guest", "run").unwrap();
    let path = state.journal("guest");
    if std::os::unix::fs::chown(&path, Some(65534), Some(65534)).is_err() {
        // Only root can give a file away.
        return;
    }
    let Err(JournalError::Io { error, .. }) = journal::read(&path) else { panic!() };
    assert_eq!(Untrusted::of(&error), Some(Untrusted::Owner(65534)));
    assert!(Journal::open(&tree.host(), &state, "guest").is_err());
}

#[test]
fn a_step_that_is_none_of_ours_is_not_undone() {
    let (tree, _) = tree("outside");
    tree.file("etc/victim", "precious");
    tree.file("sys/kernel/x", "before");
    tree.file("dev/disk", "precious");
    fs::create_dir_all(tree.path("home/empty")).unwrap();
    let absolute = tree.path("etc/victim").display().to_string();
    let attribute = |path: &str| Undo::Attribute { path: path.into(), value: "evil".into() };
    let outside = [
        attribute("etc/victim"),
        attribute("sys/../etc/victim"),
        attribute("proc/./../etc/victim"),
        attribute("system/x"),
        attribute(&absolute),
        Undo::Node { path: "dev/../etc/victim".into() },
        Undo::Node { path: absolute.clone() },
        Undo::Directory { path: "home/empty".into() },
        Undo::Directory { path: "sys/../home/empty".into() },
    ];
    for step in outside {
        let ending = step.carry_out(&tree.host(), &StateDir::new(tree.path("state")));
        assert!(matches!(ending, Ending::Failed(UndoError::Outside { .. })), "{step}: {ending}");
    }
    for path in ["etc/victim", "dev/disk"] {
        let ending = Undo::Node { path: path.into() }
            .carry_out(&tree.host(), &StateDir::new(tree.path("state")));
        assert!(matches!(ending, Ending::Failed(UndoError::NotNode)), "{path}: {ending}");
    }
    assert_eq!(
        (tree.read("etc/victim"), tree.read("dev/disk")),
        ("precious".into(), "precious".into())
    );
    assert!(tree.path("home/empty").exists());
    assert!(matches!(
        attribute("sys/kernel/x").carry_out(&tree.host(), &StateDir::new(tree.path("state"))),
        Ending::Done
    ));
}
