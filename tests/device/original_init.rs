//! The init program that the runtime stood in for is put back before it runs.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use vfioboot::device::boot::original_init::{is_hooked, put_back};

/// A ramdisk with the runtime at `/init`.
fn ramdisk(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("original-init").join(name);
    _ = fs::remove_dir_all(&root);
    fs::create_dir_all(root.join("vfioboot")).unwrap();
    fs::write(root.join("init"), "runtime").unwrap();
    root
}

#[test]
fn a_ramdisk_without_an_original_is_not_hooked() {
    assert!(!is_hooked(&ramdisk("plain")));
}

#[test]
fn a_file_is_moved_back() {
    let root = ramdisk("file");
    fs::write(root.join("vfioboot/init.orig"), "original").unwrap();
    assert!(is_hooked(&root));
    put_back(&root, "/init").unwrap();
    assert_eq!(fs::read(root.join("init")).unwrap(), b"original");
    assert!(!is_hooked(&root));
}

#[test]
fn a_symbolic_link_is_moved_back_as_one() {
    let root = ramdisk("symlink");
    symlink("/system/bin/init", root.join("vfioboot/init.orig")).unwrap();
    assert!(is_hooked(&root));
    put_back(&root, "/init").unwrap();
    assert_eq!(fs::read_link(root.join("init")).unwrap(), Path::new("/system/bin/init"));
}

#[test]
fn a_hard_link_is_restored_as_a_link() {
    let root = ramdisk("hard-link");
    fs::create_dir(root.join("bin")).unwrap();
    fs::write(root.join("bin/busybox"), "original").unwrap();
    symlink("/bin/busybox", root.join("vfioboot/init.link")).unwrap();
    assert!(is_hooked(&root));
    put_back(&root, "/init").unwrap();
    let ino = |path| fs::metadata(root.join(path)).unwrap().ino();
    assert_eq!(ino("init"), ino("bin/busybox"));
}

#[test]
fn files_that_cannot_be_restored_are_reported() {
    let root = ramdisk("lost");
    symlink("/bin/gone", root.join("vfioboot/init.link")).unwrap();
    assert_eq!(
        put_back(&root, "/init").unwrap_err().to_string(),
        "/init not put back: no such file"
    );
}
