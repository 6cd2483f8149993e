//! What is in a tree after several entries of one name, its limits, and archives that are written.

use crate::common::archives;

use archives::{archive, packed, read_all};
use vfioboot::compression::Format;
use vfioboot::ramdisk::cpio::{CpioWriter, FileType, Header, SkippedFor};
use vfioboot::ramdisk::extract::{SkipReason, extract};
use vfioboot::ramdisk::tree::{Tree, read_entry, read_file};
use vfioboot::ramdisk::{Error, Limits};

fn written(write: impl FnOnce(&mut CpioWriter<Vec<u8>>) -> std::io::Result<()>) -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    write(&mut writer).unwrap();
    writer.finish().unwrap()
}

fn tree(ramdisk: &[u8]) -> Tree {
    Tree::read(ramdisk, Limits::default()).unwrap()
}

/// The type, the number of names and the source of what is at a path.
fn at(tree: &Tree, path: &str) -> Option<(FileType, usize, u64)> {
    tree.find(path.as_bytes(), false).map(|found| (found.file_type, found.nlink, found.source))
}

#[test]
fn every_type_of_file_is_told() {
    let types = [
        (0o100_644, FileType::Regular),
        (0o040_755, FileType::Directory),
        (0o020_600, FileType::CharDevice),
        (0o060_600, FileType::BlockDevice),
        (0o010_600, FileType::Fifo),
        (0o140_600, FileType::Socket),
    ];
    for (mode, expected) in types {
        let tree = tree(&written(|writer| writer.node(b"x", mode, (0, 0))));
        assert_eq!(at(&tree, "x"), Some((expected, 1, 0)), "{mode:o}");
    }
    let tree = tree(&written(|writer| writer.symlink(b"x", b"y")));
    assert_eq!(at(&tree, "x"), Some((FileType::Symlink, 1, 0)));
}

#[test]
fn a_file_that_comes_again_keeps_its_other_names_and_a_link_does_not() {
    let linked =
        |writer: &mut CpioWriter<Vec<u8>>| writer.linked(&[b"a", b"b", b"c"], 0o644, b"old");
    // Opened with O_TRUNC: all names see the new data.
    let same = tree(&written(|writer| {
        linked(writer)?;
        writer.file(b"b", 0o644, b"newer")
    }));
    for name in ["a", "b", "c"] {
        assert_eq!(at(&same, name), Some((FileType::Regular, 3, 3)), "{name}");
        assert_eq!(same.find(name.as_bytes(), false).unwrap().size, 5);
    }
    // A link takes the place of one name.
    let replaced = tree(&written(|writer| {
        linked(writer)?;
        writer.symlink(b"b", b"elsewhere")?;
        writer.symlink(b"b", b"c")
    }));
    assert_eq!(at(&replaced, "a"), Some((FileType::Regular, 2, 0)));
    assert_eq!(at(&replaced, "b"), Some((FileType::Symlink, 1, 4)));
    assert_eq!(replaced.find(b"b", false).unwrap().target, b"c");
    assert_eq!(at(&replaced, "c"), Some((FileType::Regular, 2, 0)));
    // Another type takes the place of an empty directory, and not of a full one.
    let directories = tree(&written(|writer| {
        writer.dir(b"empty", 0o755)?;
        writer.dir(b"full", 0o755)?;
        writer.dir(b"full/x", 0o755)?;
        writer.file(b"empty", 0o644, b"")?;
        writer.file(b"full", 0o644, b"")?;
        writer.dir(b"full", 0o700)
    }));
    assert_eq!(at(&directories, "empty"), Some((FileType::Regular, 1, 3)));
    assert_eq!(at(&directories, "full").unwrap().0, FileType::Directory);
    assert!(at(&directories, "full/x").is_some());
}

#[test]
fn names_of_a_tree_have_a_limit() {
    let bytes = written(|writer| {
        writer.file(b"name", 0o644, b"data does not count")?;
        writer.symlink(b"link", b"target")
    });
    // 160 bytes of bookkeeping for each, the names, the target.
    let cost = 2 * 160 + 4 + 4 + 6;
    let read = |metadata| Tree::read(&bytes, Limits { metadata, ..Limits::default() }).map(|_| ());
    assert!(read(cost).is_ok());
    let most = cost - 1;
    assert!(matches!(read(most), Err(Error::TooMany { limit, .. }) if limit == most));
}

#[test]
fn a_file_is_read_through_its_links() {
    let bytes = written(|writer| {
        writer.dir(b"bin", 0o755)?;
        writer.file(b"bin/sh", 0o755, b"#!")?;
        writer.symlink(b"sh", b"bin/sh")?;
        writer.symlink(b"lost", b"bin/nothing")
    });
    let read = |path: &str| {
        let mut out = Vec::new();
        read_file(&bytes, path.as_bytes(), &mut out, Limits::default()).map(|length| (length, out))
    };
    assert_eq!(read("sh").unwrap(), (2, b"#!".to_vec()));
    assert!(matches!(read("nothing"), Err(Error::NotFound { path }) if path == "nothing"));
    let refused = |path: &str| match read(path) {
        Err(Error::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused("lost"),
        "is a symbolic link to \"bin/nothing\", which is not in the ramdisk"
    );
    assert_eq!(refused("bin"), "is not a regular file");
    let entry = |number| read_entry(&bytes, number, Limits::default()).unwrap();
    assert_eq!(entry(1).unwrap().1, b"#!");
    assert_eq!(entry(1).unwrap().0.mode, 0o100_755);
    // The TRAILER is the fifth.
    assert!(entry(4).is_some() && entry(5).is_none());
}

#[test]
fn a_target_that_is_longer_than_any_path_is_not_made() {
    let link = |length: usize| {
        let bytes = written(|writer| {
            writer.symlink(b"long", &vec![b'x'; length])?;
            writer.file(b"after", 0o644, b"")
        });
        let dir = tempfile::tempdir().unwrap();
        let skipped = extract(&bytes, &dir.path().join("out"), Limits::default()).unwrap();
        assert!(dir.path().join("out/after").exists());
        skipped.into_iter().map(|one| one.reason).collect::<Vec<_>>()
    };
    assert_eq!(link(100), []);
    assert_eq!(link(4097), [SkipReason::ByKernel(SkippedFor::Target(4097))]);
    assert!(matches!(link(4096).as_slice(), [SkipReason::FileSystem(_)]));
}

#[test]
fn a_name_in_an_archive_has_1_to_4095_bytes_and_no_nul() {
    let write = |name: &[u8]| CpioWriter::new(Vec::new()).file(name, 0o644, b"");
    for name in [&b""[..], b"a\0", b"\0", &[b'x'; 4096]] {
        let error = write(name).unwrap_err();
        assert_eq!(error.to_string(), "a name in an archive has 1 to 4095 bytes and no NUL");
    }
    for name in [&b"a"[..], &[b'x'; 4095]] {
        write(name).unwrap();
    }
}

#[test]
fn what_is_written_like_a_file_has_its_mode_owner_and_time() {
    let header =
        Header { mode: 0o100_640, uid: 3, gid: 4, mtime: 5, nlink: 9, ..Header::default() };
    let bytes = written(|writer| writer.like(b"x", &header, b"data"));
    let (entry, data) = &read_all(&bytes).unwrap()[0];
    let own = entry.header;
    assert_eq!((own.mode, own.uid, own.gid, own.mtime, own.nlink), (0o100_640, 3, 4, 5, 1));
    assert_eq!((own.filesize, &data[..]), (4, &b"data"[..]));
    // Type and permissions of what is made new; a mode has no other bits.
    let bytes = written(|writer| {
        writer.dir(b"d", 0o041_755)?;
        writer.file(b"f", 0o777_644, b"")
    });
    let modes: Vec<u32> =
        read_all(&bytes).unwrap().iter().map(|(entry, _)| entry.header.mode).collect();
    assert_eq!(modes[..2], [0o041_755, 0o107_644]);
}

#[test]
fn a_gzip_stream_after_lz4_blocks_is_not_a_block() {
    let (first, second) = (archive(&[("a", b"1")]), archive(&[("b", b"2")]));
    let bytes =
        [packed(Some(Format::Lz4Legacy), &first), packed(Some(Format::Gzip), &second)].concat();
    let tree = tree(&bytes);
    assert!(at(&tree, "a").is_some() && at(&tree, "b").is_some());
}
