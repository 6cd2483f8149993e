//! The partition has the result or the original, whatever goes wrong; and it is the right partition.

use std::fs;
use std::io;
use std::path::Path;

use vfioboot::install::running::Running;
use vfioboot::install::{Error, Failure, Partition, Refusal, Written, device, write};

const MIB: usize = 1 << 20;

/// A partition in memory, of which one write fails, or is lost.
#[derive(Default)]
struct Flash {
    bytes: Vec<u8>,
    writes: usize,
    /// These writes fail.
    fails: Vec<usize>,
    /// This one changes one byte less than it was told to.
    loses: Option<usize>,
    syncs: usize,
    sync_fails: Option<usize>,
}

impl Flash {
    fn new(bytes: &[u8]) -> Self {
        Flash { bytes: bytes.to_vec(), ..Flash::default() }
    }
}

impl Partition for Flash {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writes += 1;
        let target = &mut self.bytes[offset as usize..][..bytes.len()];
        if self.fails.contains(&self.writes) {
            // half of it arrives
            target[..bytes.len() / 2].copy_from_slice(&bytes[..bytes.len() / 2]);
            return Err(io::ErrorKind::Other.into());
        }
        let lost = usize::from(self.loses == Some(self.writes));
        target[lost..].copy_from_slice(&bytes[lost..]);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        match self.sync_fails == Some(self.syncs) {
            true => Err(io::ErrorKind::Other.into()),
            false => Ok(()),
        }
    }
}

/// A partition of 4 MiB, what it has, and a result that changes the 2nd and 3rd MiB.
fn example() -> (Flash, Vec<u8>, Vec<u8>) {
    let original: Vec<u8> = (0..4 * MIB).map(|at| (at / 7) as u8).collect();
    let mut new = original.clone();
    for byte in &mut new[MIB + 5..2 * MIB + 5] {
        *byte ^= 0xff;
    }
    (Flash::new(&original), original, new)
}

#[test]
fn only_blocks_that_differ_are_written() {
    let (mut flash, original, new) = example();
    let written = write(&mut flash, &original, &new).expect("a sound partition takes it");
    assert_eq!(written, Written { bytes: 2 * MIB as u64 });
    assert!(flash.bytes == new, "the result is there");
    assert_eq!(flash.syncs, 1);
}

#[test]
fn a_shorter_result_leaves_what_comes_after_it() {
    let (mut flash, original, _) = example();
    let new = vec![7; MIB + 3];
    write(&mut flash, &original, &new).expect("a sound partition takes it");
    assert!(flash.bytes[..MIB + 3] == new[..] && flash.bytes[MIB + 3..] == original[MIB + 3..]);
}

#[test]
fn after_a_failed_write_the_original_is_back() {
    for fails in [1, 2] {
        let (flash, original, new) = example();
        let mut flash = Flash { fails: vec![fails], ..flash };
        let error = write(&mut flash, &original, &new).expect_err("a write failed");
        assert!(matches!(error, Error::Restored(Failure::Io { what: "write", .. })), "{error}");
        assert!(flash.bytes == original, "write {fails}: the original is back");
    }
}

#[test]
fn a_write_that_is_lost_is_found_by_reading_back() {
    let (flash, original, new) = example();
    let mut flash = Flash { loses: Some(2), ..flash };
    let error = write(&mut flash, &original, &new).expect_err("a byte was lost");
    let lost = 2 * MIB as u64;
    assert!(
        matches!(error, Error::Restored(Failure::Differs { offset }) if offset == lost),
        "{error}"
    );
    assert!(flash.bytes == original);
}

#[test]
fn after_a_failed_sync_the_original_is_back() {
    let (flash, original, new) = example();
    let mut flash = Flash { sync_fails: Some(1), ..flash };
    let error = write(&mut flash, &original, &new).expect_err("the sync failed");
    assert!(matches!(error, Error::Restored(Failure::Io { what: "sync", .. })), "{error}");
    assert!(flash.bytes == original);
}

#[test]
fn where_the_original_cannot_be_written_either_the_error_says_so() {
    let (flash, original, new) = example();
    let mut flash = Flash { fails: vec![2, 4], ..flash };
    let error = write(&mut flash, &original, &new).expect_err("both failed");
    assert!(matches!(error, Error::Broken { .. }), "{error}");
    // and what could be written was: all of the original but that block's second half
    assert!(flash.bytes[2 * MIB..] == original[2 * MIB..]);
    assert!(error.to_string().contains("do not restart"), "{error}");
}

#[test]
fn nothing_is_written_where_the_partition_has_something_else() {
    let (mut flash, mut original, new) = example();
    original[17] ^= 1;
    let error = write(&mut flash, &original, &new).expect_err("it changed");
    assert!(matches!(error, Error::Refused(Refusal::Changed)), "{error}");
    let larger = vec![0; 5 * MIB];
    let error = write(&mut flash, &[], &larger).expect_err("it is too small");
    assert!(matches!(error, Error::Refused(Refusal::TooSmall { .. })), "{error}");
    assert_eq!(flash.writes, 0);
}

/// What a system says with these files.
fn running(cmdline: &str, bootconfig: Option<&str>) -> Running {
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("proc")).expect("a directory");
    fs::write(root.path().join("proc/cmdline"), cmdline).expect("a file");
    if let Some(text) = bootconfig {
        fs::write(root.path().join("proc/bootconfig"), text).expect("a file");
    }
    Running::read(root.path())
}

#[test]
fn the_bootloader_says_whether_it_is_locked_and_which_slot_runs() {
    let slot = Some("_b".to_owned());
    let unlocked = Running { slot: slot.clone(), locked: None };
    let cases = [
        ("androidboot.slot_suffix=_b androidboot.verifiedbootstate=orange\n", None),
        (
            "quiet",
            Some("androidboot.slot_suffix = \"_b\"\nandroidboot.verifiedbootstate = \"orange\"\n"),
        ),
        // the strongest one decides
        (
            "androidboot.slot_suffix=_b androidboot.verifiedbootstate=orange androidboot.flash.locked=1",
            None,
        ),
    ];
    for (cmdline, bootconfig) in cases {
        assert_eq!(running(cmdline, bootconfig), unlocked, "{cmdline} {bootconfig:?}");
    }
    for word in [
        "verifiedbootstate=green",
        "verifiedbootstate=yellow",
        "flash.locked=1",
        "vbmeta.device_state=locked",
    ] {
        let own = running(&format!("androidboot.{word}"), None);
        assert_eq!(own.locked, Some(format!("androidboot.{word}")));
        let refusal = own.allow(None, &[], true).expect_err("it is locked");
        assert!(
            matches!(&refusal, Refusal::Locked(parameter) if parameter.ends_with(word)),
            "{refusal}"
        );
    }
    assert_eq!(running("root=/dev/mmcblk0p2", None), Running::default());
}

#[test]
fn the_partition_is_the_one_that_the_image_needs_in_the_running_slot() {
    let own = Running { slot: Some("_a".to_owned()), locked: None };
    let boot = ["boot".to_owned(), "recovery".to_owned()];
    for (name, other_slot) in
        [("boot_a", false), ("recovery_a", false), ("BOOT", false), ("boot_b", true)]
    {
        own.allow(Some(name), &boot, other_slot).expect(name);
    }
    // what no partition table names, and an image of no partition
    own.allow(None, &boot, false).expect("it has no name");
    own.allow(Some("kernel"), &[], false).expect("the image is for none");
    let refusal = own.allow(Some("boot_b"), &boot, false).expect_err("it is the other slot");
    assert!(
        matches!(&refusal, Refusal::OtherSlot { slot, running } if slot == "_b" && running == "_a")
    );
    for name in ["vendor_boot_a", "boot_ab", "init_boot_a", "xboot"] {
        let refusal = own.allow(Some(name), &boot, true).expect_err(name);
        assert!(matches!(refusal, Refusal::OtherPartition { .. }), "{name}: {refusal}");
    }
}

#[test]
fn the_kernel_names_a_partition() {
    let root = tempfile::tempdir().expect("a directory");
    let node = root.path().join("sys/dev/block/259:300");
    fs::create_dir_all(&node).expect("a directory");
    fs::write(node.join("uevent"), "MAJOR=259\nMINOR=300\nDEVNAME=sda12\nPARTNAME=boot_b\n")
        .expect("a file");
    // the encoding of dev_t splits a minor number above 255
    let number = (259 << 8) | (300 & 0xff) | ((300 & !0xff) << 12);
    assert_eq!(device::partition_name(root.path(), number).as_deref(), Some("boot_b"));
    assert_eq!(device::partition_name(root.path(), 8 << 8), None);
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_is_no_partition() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let refusal = device::Node::open(file.path()).expect_err("it is a file");
    assert!(matches!(refusal, Refusal::NotBlockDevice), "{refusal}");
    assert!(device::Node::open(Path::new("/nowhere")).is_err());
}
