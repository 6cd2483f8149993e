//! What sort of ramdisk it is, and files out of it.

use crate::common::archives;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use archives::{archive, noise, packed};
use vfioboot::compression::Format;
use vfioboot::ramdisk::classify_ramdisk;
use vfioboot::ramdisk::cpio::CpioWriter;
use vfioboot::ramdisk::extract::{SkipReason, extract};
use vfioboot::ramdisk::kind::{Kinds, classify};
use vfioboot::ramdisk::{Error, Limits, RamdiskKind};
use vfioboot::root_manager::Manager;

fn kinds(names: &[&str], init: Option<&[u8]>) -> Kinds {
    classify(names.iter().map(|name| name.as_bytes()), init)
}

#[test]
fn kinds_by_their_names() {
    use RamdiskKind::*;
    type Case<'c> = (&'c [&'c str], &'c [(RamdiskKind, &'c str)]);
    let cases: [Case<'_>; 14] = [
        (&[], &[(Empty, "no entries")]),
        (&["."], &[(Empty, "no entries")]),
        (&["init", "init.rc", "sepolicy"], &[(RootfsLegacy, "init.rc")]),
        (&["init", "first_stage_ramdisk/fstab.x"], &[(TwoStage, "first_stage_ramdisk/fstab.x")]),
        (&["./init", "/apex"], &[(TwoStage, "apex")]),
        (&["init", "second_stage_resources"], &[(TwoStage, "second_stage_resources")]),
        // A recovery's init.rc is at the root too, and its init is two-stage.
        (
            &["init", "init.rc", "system/bin/init", "system/bin/recovery"],
            &[(Recovery, "system/bin/recovery"), (TwoStage, "system/bin/init")],
        ),
        (
            &["init", "sbin/recovery", "init.rc"],
            &[(Recovery, "sbin/recovery"), (RootfsLegacy, "init.rc")],
        ),
        (
            &["init", "overlay.d/sbin/magisk.xz", ".backup/.magisk", "apex"],
            &[(Patched(Manager::Magisk), "overlay.d/sbin/magisk.xz"), (TwoStage, "apex")],
        ),
        (
            &["init", "init.real", "kernelsu.ko", "apex"],
            &[(Patched(Manager::KernelSu), "init.real, kernelsu.ko"), (TwoStage, "apex")],
        ),
        (&["init", "scripts/functions"], &[(LinuxInitramfs, "scripts/functions")]),
        (&["lib/modules/a.ko", "lib/modules/modules.dep"], &[(VendorFragment, "lib/modules/a.ko")]),
        (
            &["first_stage_ramdisk", "first_stage_ramdisk/fstab.x"],
            &[(VendorFragment, "first_stage_ramdisk")],
        ),
        (&["init", "lib/modules/a.ko"], &[(Unknown, "init, and nothing that tells whose")]),
    ];
    for (names, expected) in cases {
        let kinds = kinds(names, None);
        let found: Vec<_> =
            kinds.findings().iter().map(|f| (f.kind, f.evidence.as_str())).collect();
        assert_eq!(found, expected, "{names:?}");
        assert!(kinds.has(expected[0].0) && kinds.primary().kind == expected[0].0);
    }
}

#[test]
fn init_itself_tells() {
    let init = [&noise(1000)[..], b"selinux_setup\0"].concat();
    assert_eq!(kinds(&["init", "init.rc"], Some(&init)).primary().kind, RamdiskKind::TwoStage);
    assert_eq!(kinds(&["init", "init.rc"], Some(b"x")).primary().kind, RamdiskKind::RootfsLegacy);
    // Across the boundary of what is read at a time, in a program that was put aside.
    for offset in [0, 65_530, 65_536, 131_060] {
        let init = [&noise(offset)[..], b"selinux_setup"].concat();
        for name in ["init", ".backup/init"] {
            let files = [("init.rc", &b""[..]), ("init", b"x"), (name, &init)];
            let bytes = packed(Some(Format::Gzip), &archive(&files));
            let kinds = classify_ramdisk(&bytes, Limits::default()).unwrap();
            assert_eq!(kinds.primary().evidence, format!("{name} contains selinux_setup"));
        }
    }
}

#[test]
fn files_come_out_as_the_kernel_would_make_them() {
    let mut writer = CpioWriter::new(Vec::new());
    writer.dir(b"d", 0o555).unwrap();
    writer.file(b"d/a", 0o4755, b"old and longer").unwrap();
    writer.file(b"set-id", 0o6755, b"x").unwrap();
    writer.symlink(b"link", b"/etc/passwd").unwrap();
    writer.file(b"link2", 0o644, b"x").unwrap();
    writer.symlink(b"link2", b"d").unwrap();
    writer.file(b"no/parent/entry", 0o600, b"x").unwrap();
    writer.dir(b"full", 0o755).unwrap();
    writer.dir(b"full/x", 0o755).unwrap();
    writer.file(b"full", 0o644, b"").unwrap();
    let first = packed(Some(Format::Gzip), &writer.finish().unwrap());
    let second = packed(Some(Format::Gzip), &archive(&[("d/a", b"new")]));
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("out");
    let skipped = extract(&[first, second].concat(), &root, Limits::default()).unwrap();
    assert_eq!(skipped.len(), 1);
    assert_eq!(
        (&skipped[0].name[..], &skipped[0].reason),
        (&b"full"[..], &SkipReason::DirectoryInPlace)
    );
    assert_eq!(fs::read(root.join("d/a")).unwrap(), b"new");
    assert_eq!(fs::read_link(root.join("link")).unwrap().to_str(), Some("/etc/passwd"));
    assert_eq!(fs::read_link(root.join("link2")).unwrap().to_str(), Some("d"));
    assert_eq!(fs::read(root.join("no/parent/entry")).unwrap(), b"x");
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o7777;
    // The second archive's header for d/a.
    assert_eq!((mode("d"), mode("d/a"), mode("set-id")), (0o555, 0o644, 0o755));
    assert_eq!(fs::metadata(root.join("d/a")).unwrap().mtime(), 0);
    let again = extract(&archive(&[]), &root, Limits::default());
    assert!(matches!(again, Err(Error::Refused { .. })));
    // Let the directory be removed.
    fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn nothing_leaves_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "safe").unwrap();
    let mut writer = CpioWriter::new(Vec::new());
    let absolute = outside.join("victim");
    writer.file(absolute.as_os_str().as_encoded_bytes(), 0o644, b"bad").unwrap();
    writer.file(b"../outside/victim", 0o644, b"bad").unwrap();
    writer.file(b"x/../../outside/victim", 0o644, b"bad").unwrap();
    // Through a link to it, as a parent and as the name itself.
    writer.symlink(b"door", b"../outside").unwrap();
    writer.file(b"door/victim", 0o644, b"bad").unwrap();
    writer.dir(b"door/made", 0o755).unwrap();
    writer.symlink(b"straight", b"../outside/victim").unwrap();
    writer.file(b"straight", 0o600, b"replaced, not followed").unwrap();
    writer.node(b"null", 0o020_666, (1, 3)).unwrap();
    writer.node(b"pipe", 0o010_666, (0, 0)).unwrap();
    let root = dir.path().join("root");
    let skipped = extract(&writer.finish().unwrap(), &root, Limits::default()).unwrap();
    let reasons: Vec<_> = skipped.iter().map(|skipped| &skipped.reason).collect();
    assert_eq!(
        reasons,
        [
            &SkipReason::Absolute,
            &SkipReason::DotDot,
            &SkipReason::DotDot,
            &SkipReason::BelowLink,
            &SkipReason::BelowLink,
            &SkipReason::Device,
            &SkipReason::Pipe,
        ]
    );
    assert_eq!(fs::read(outside.join("victim")).unwrap(), b"safe");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read(root.join("straight")).unwrap(), b"replaced, not followed");
}

/// A header by hand, for hard links.
fn linked(name: &str, ino: u32, mode: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "070701{ino:08X}{mode:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}",
        0, 0, 2, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0
    )
    .into_bytes();
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn hard_links_are_made_and_never_through_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = [linked("a", 1, 0o100_644, b""), linked("b", 1, 0o100_644, b"data")].concat();
    extract(&bytes, &dir.path().join("one"), Limits::default()).unwrap();
    let inode = |name: &str| fs::metadata(dir.path().join("one").join(name)).unwrap().ino();
    assert_eq!(inode("a"), inode("b"));
    assert_eq!(fs::read(dir.path().join("one/a")).unwrap(), b"data");

    // The first name becomes a link to somewhere else before the second comes.
    fs::write(dir.path().join("victim"), "safe").unwrap();
    let symlink = linked("a", 2, 0o120_777, b"../victim");
    let bytes =
        [linked("a", 1, 0o100_644, b""), symlink, linked("b", 1, 0o100_644, b"bad")].concat();
    extract(&bytes, &dir.path().join("two"), Limits::default()).unwrap();
    assert_eq!(fs::read(dir.path().join("victim")).unwrap(), b"safe");
    assert_eq!(fs::read(dir.path().join("two/b")).unwrap(), b"bad");
}
