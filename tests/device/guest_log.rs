//! The log of a guest: its size, its predecessors, who may read it.

use crate::common::device_tree;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use device_tree::Tree;
use vfioboot::device::guest::file::{Log, Size};
use vfioboot::device::guest::log::LogFile;

const LIMITS: Log = Log { size: Size(10), count: 2 };

fn contents(path: &Path) -> Vec<Option<String>> {
    let names = ["", ".1", ".2", ".3"].map(|end| format!("{}{end}", path.display()));
    names.iter().map(|name| fs::read_to_string(name).ok()).collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    let mut all: Vec<_> = texts.iter().map(|text| Some((*text).to_owned())).collect();
    all.resize(4, None);
    all
}

#[test]
fn a_full_log_is_renamed_and_the_oldest_goes() {
    let path = Tree::new("log-rotate").path("g.log");
    let mut log = LogFile::open(&path, &LIMITS).unwrap();
    log.write(b"12345").unwrap();
    log.write(b"67890").unwrap();
    assert_eq!(contents(&path), some(&["1234567890"]));
    log.write(b"abc").unwrap();
    assert_eq!(contents(&path), some(&["abc", "1234567890"]));
    // More than fits is not torn apart.
    log.write(b"much more than ten").unwrap();
    assert_eq!(contents(&path), some(&["much more than ten", "abc", "1234567890"]));
    log.write(b"x").unwrap();
    assert_eq!(contents(&path), some(&["x", "much more than ten", "abc"]));
    // Another start goes on with it, and knows how full it is.
    drop(log);
    let mut log = LogFile::open(&path, &LIMITS).unwrap();
    log.write(b"123456789").unwrap();
    log.write(b"0").unwrap();
    assert_eq!(contents(&path), some(&["0", "x123456789", "much more than ten"]));
}

#[test]
fn a_log_is_for_its_owner_alone_and_no_link_is_followed() {
    let tree = Tree::new("log-mode");
    let path = tree.path("g.log");
    LogFile::open(&path, &LIMITS).unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    tree.file("victim", "not yours");
    symlink("victim", tree.path("link")).unwrap();
    assert!(LogFile::open(&tree.path("link"), &LIMITS).is_err());
    assert_eq!(tree.read("victim"), "not yours");
}
