//! Attributes that several guests change, in any order of comings and goings, with kills in between.

use crate::common::device_tree;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use device_tree::Tree;
use vfioboot::device::bind::shared::{Shared, SharedError, Want};
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::state::StateDir;

const PAGES: &str = "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
const TRANSPARENT: &str = "sys/kernel/mm/transparent_hugepage/enabled";

fn tree(name: &str, pages: u64) -> (Tree, StateDir) {
    let tree = Tree::new(&format!("shared-{name}"));
    tree.running_as(100, 7, "boot-one");
    tree.file(PAGES, format!("{pages}\n"));
    tree.file(TRANSPARENT, "always madvise [never]\n");
    let state = StateDir::new(tree.path("state"));
    (tree, state)
}

fn open<'a>(host: &'a Host, state: &'a StateDir, path: &str) -> Shared<'a> {
    // A program that another test is starting has the lock until it is executed.
    Shared::open(host, state, path, "test", &|| false, &mut |_| {}).unwrap()
}

fn more(amount: u64) -> Want {
    of(amount, amount)
}

fn of(amount: u64, needed: u64) -> Want {
    Want::More { amount, needed, pending: true }
}

/// What the kernel says is free of [`PAGES`].
fn free(tree: &Tree, pages: u64) {
    tree.file(&PAGES.replace("nr_", "free_"), format!("{pages}\n"));
    tree.file(&PAGES.replace("nr_", "resv_"), "0\n");
}

fn pages(tree: &Tree) -> u64 {
    tree.read(PAGES).trim().parse().unwrap()
}

#[test]
fn what_each_added_is_taken_away_in_any_order() {
    for first in ["a", "b"] {
        let (tree, state) = tree(&format!("order-{first}"), 3);
        let host = tree.host();
        open(&host, &state, PAGES).take("a", more(10)).unwrap();
        open(&host, &state, PAGES).take("b", more(20)).unwrap();
        assert_eq!(pages(&tree), 33);
        assert!(open(&host, &state, PAGES).give_back(first).unwrap());
        assert_eq!(pages(&tree), if first == "a" { 23 } else { 13 });
        // What others add meanwhile is theirs.
        tree.file(PAGES, format!("{}\n", pages(&tree) + 5));
        let second = if first == "a" { "b" } else { "a" };
        assert!(open(&host, &state, PAGES).give_back(second).unwrap());
        assert_eq!(pages(&tree), 8);
        assert!(!open(&host, &state, PAGES).give_back(second).unwrap(), "twice does no harm");
        assert_eq!(pages(&tree), 8);
        let left = std::fs::read_dir(tree.path("state/shared")).unwrap().count();
        assert_eq!(left, 0, "a ledger");
    }
}

/// A kernel that is gone in the middle of the write, with its process.
fn killed_before_the_write(tree: &Tree) -> (Host, Arc<AtomicBool>) {
    let (dead, root) = (Arc::new(AtomicBool::new(false)), tree.root.clone());
    let is_dead = Arc::clone(&dead);
    let kernel = move |path: &str, value: &str| match is_dead.load(Ordering::Relaxed) {
        true => Err(std::io::Error::from_raw_os_error(libc::EIO)),
        false => std::fs::write(root.join(path), value),
    };
    (Host::with_kernel(&tree.root, Arc::new(kernel)), dead)
}

#[test]
fn a_kill_before_the_write_is_no_addition() {
    let (tree, state) = tree("killed", 3);
    let (host, dead) = killed_before_the_write(&tree);
    open(&host, &state, PAGES).take("a", more(10)).unwrap();
    dead.store(true, Ordering::Relaxed);
    assert!(open(&host, &state, PAGES).take("b", more(20)).is_err());
    assert!(open(&host, &state, PAGES).give_back("a").is_err());
    dead.store(false, Ordering::Relaxed);
    // b's pages are in the ledger and were never made: who comes next makes them, or they are given back.
    open(&host, &state, PAGES).take("c", more(1)).unwrap();
    assert_eq!(pages(&tree), 24);
    open(&host, &state, PAGES).give_back("b").unwrap();
    assert_eq!(pages(&tree), 4);
    open(&host, &state, PAGES).give_back("c").unwrap();
    assert_eq!(pages(&tree), 3);
}

/// A kernel that has memory for so many pages.
#[test]
fn what_the_kernel_cannot_give_is_an_error_and_can_be_given_back() {
    let (tree, state) = tree("short", 0);
    let root = tree.root.clone();
    let host = Host::with_kernel(
        &tree.root,
        Arc::new(move |path: &str, value: &str| {
            let number: u64 = value.parse().unwrap();
            std::fs::write(root.join(path), number.min(25).to_string())
        }),
    );
    open(&host, &state, PAGES).take("a", more(20)).unwrap();
    open(&host, &state, PAGES).claim_ends("a").unwrap();
    open(&host, &state, PAGES).take("c", of(0, 20)).unwrap();
    open(&host, &state, PAGES).claim_ends("c").unwrap();
    let mut shared = open(&host, &state, PAGES);
    let error = shared.take("b", more(20)).unwrap_err();
    free(&tree, 5);
    assert!(
        matches!(&error, SharedError::NotTaken { wanted, now, .. } if wanted == "40" && now == "25")
    );
    shared.give_back("b").unwrap();
    assert_eq!(pages(&tree), 20);
    drop(shared);
    free(&tree, 20);
    open(&host, &state, PAGES).give_back("a").unwrap();
    assert_eq!(pages(&tree), 0);
}

#[test]
fn what_is_free_is_promised_once() {
    let (tree, state) = tree("claims", 0);
    let host = tree.host();
    open(&host, &state, PAGES).take("a", more(10)).unwrap();
    assert_eq!(open(&host, &state, PAGES).claimed(), 10);
    open(&host, &state, PAGES).claim_ends("a").unwrap();
    assert_eq!(open(&host, &state, PAGES).claimed(), 0);
    open(&host, &state, PAGES).give_back("a").unwrap();
    assert_eq!(pages(&tree), 0);
}

#[test]
fn pages_that_another_guest_counts_on_are_passed_on_to_it() {
    // a has ended and has not given back; b has found its pages free, and has taken them or not.
    for (name, taken) in [("pending", false), ("taken", true)] {
        let (tree, state) = tree(&format!("passed-{name}"), 3);
        let host = tree.host();
        free(&tree, 0);
        open(&host, &state, PAGES).take("a", more(10)).unwrap();
        open(&host, &state, PAGES).claim_ends("a").unwrap();
        free(&tree, 10);
        open(&host, &state, PAGES).take("b", of(2, 12)).unwrap();
        free(&tree, 12);
        if taken {
            free(&tree, 0);
            open(&host, &state, PAGES).claim_ends("b").unwrap();
        }
        assert!(!open(&host, &state, PAGES).give_back("a").unwrap(), "{name}: b needs them");
        assert_eq!(pages(&tree), 15, "{name}");
        free(&tree, 12);
        assert!(open(&host, &state, PAGES).give_back("b").unwrap());
        assert_eq!(pages(&tree), 3, "{name}");
    }
}

#[test]
fn pages_that_nobody_counts_on_are_waited_for_and_not_passed_on() {
    let (tree, state) = tree("waited", 3);
    let host = tree.host();
    free(&tree, 3);
    // b uses pages that were there before.
    open(&host, &state, PAGES).take("b", of(0, 3)).unwrap();
    open(&host, &state, PAGES).claim_ends("b").unwrap();
    open(&host, &state, PAGES).take("a", more(10)).unwrap();
    open(&host, &state, PAGES).claim_ends("a").unwrap();
    free(&tree, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // a's process is on its way out
            std::thread::sleep(std::time::Duration::from_millis(300));
            free(&tree, 10);
        });
        assert!(open(&host, &state, PAGES).give_back("a").unwrap());
    });
    assert_eq!(pages(&tree), 3);
}

#[test]
fn a_setting_goes_back_with_the_last_who_wants_it() {
    let (tree, state) = tree("setting", 0);
    let host = tree.host();
    let want = Want::Value("madvise".to_owned());
    for owner in ["a", "b"] {
        let mut shared = open(&host, &state, TRANSPARENT);
        assert!(!shared.has(&want));
        shared.take(owner, want.clone()).unwrap();
        assert_eq!(tree.read(TRANSPARENT), "madvise");
    }
    open(&host, &state, TRANSPARENT).give_back("a").unwrap();
    assert_eq!(tree.read(TRANSPARENT), "madvise");
    open(&host, &state, TRANSPARENT).give_back("b").unwrap();
    assert_eq!(tree.read(TRANSPARENT), "never");
    // What is as it is wanted without anybody's doing is left alone.
    tree.file(TRANSPARENT, "always [madvise] never\n");
    assert!(open(&host, &state, TRANSPARENT).has(&want));
}

#[test]
fn the_ledger_of_an_earlier_boot_counts_for_nothing() {
    let (tree, state) = tree("boots", 3);
    open(&tree.host(), &state, PAGES).take("a", more(10)).unwrap();
    tree.running_as(100, 7, "boot-two");
    tree.file(PAGES, "5\n");
    let host = tree.host();
    open(&host, &state, PAGES).take("b", more(1)).unwrap();
    open(&host, &state, PAGES).give_back("b").unwrap();
    assert_eq!(pages(&tree), 5);
}

#[test]
fn who_has_it_is_waited_for_and_named() {
    let (tree, state) = tree("waits", 0);
    let host = tree.host();
    let held = Shared::open(&host, &state, PAGES, "run a", &|| true, &mut |_| {}).unwrap();
    let said = Mutex::new(Vec::new());
    let mut log = |line: &str| said.lock().unwrap().push(line.to_owned());
    let second = Shared::open(&host, &state, PAGES, "run b", &|| true, &mut log);
    assert!(matches!(second, Err(SharedError::Lock { .. })));
    let pid = std::process::id();
    let line = format!("/{PAGES}: waiting up to 60 s for pid {pid}, run a");
    assert_eq!(*said.lock().unwrap(), [line]);
    drop(held);
    Shared::open(&host, &state, PAGES, "run b", &|| true, &mut |_| {}).unwrap();
}
