//! What `init/initramfs.c` makes of entries that are odd: found by comparing with the kernel's own code
//! (`make fuzz-kernel`).

use crate::common::archives;

use archives::packed;
use vfioboot::compression::Format;
use vfioboot::ramdisk::cpio::{CpioWriter, Entry, FileType, Header, SkippedFor};
use vfioboot::ramdisk::tree::{Tree, TreeEntry};
use vfioboot::ramdisk::{Entries, Error, Limits, Ramdisk, Reach, cpio};

const FILE: u32 = 0o100_644;
const DIRECTORY: u32 = 0o040_755;
const LINK: u32 = 0o120_777;
const FIFO: u32 = 0o010_644;

/// An archive of entries: name, mode, data, number of links, inode.
fn archive(entries: &[(&str, u32, &[u8], u32, u32)]) -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    for (name, mode, data, nlink, ino) in entries {
        let (filesize, namesize) = (data.len() as u32, name.len() as u32 + 1);
        let header = Header {
            mode: *mode,
            nlink: *nlink,
            ino: *ino,
            filesize,
            namesize,
            ..Header::default()
        };
        let name = name.as_bytes().to_vec();
        let entry = Entry { offset: 0, header, raw: header.to_bytes(), name };
        writer.entry(&entry, data).unwrap();
    }
    writer.finish().unwrap()
}

/// An archive of entries that are not linked.
fn plain(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let entries: Vec<_> =
        entries.iter().map(|(name, mode, data)| (*name, *mode, *data, 1, 0)).collect();
    archive(&entries)
}

fn tree(ramdisk: &[u8]) -> Tree {
    Tree::read(ramdisk, Limits::default()).unwrap()
}

fn kind(tree: &Tree, path: &str) -> Option<FileType> {
    tree.find(path.as_bytes(), false).map(|found| found.file_type)
}

#[test]
fn nothing_is_made_in_a_directory_that_is_not_there() {
    let tree = tree(&plain(&[
        ("a/b", FILE, b"x"),
        ("f", FILE, b"x"),
        ("f/g", FILE, b"x"),
        ("gone/../h", DIRECTORY, b""),
        ("dev/null", FIFO, b""),
        ("root/x", FILE, b""),
    ]));
    for path in ["a/b", "f/g", "h", "gone/../h"] {
        assert_eq!(kind(&tree, path), None, "{path}");
    }
    // Every kernel has these two from the archive that is built into it.
    assert_eq!(kind(&tree, "dev/null"), Some(FileType::Fifo));
    assert_eq!(kind(&tree, "root/x"), Some(FileType::Regular));
}

#[test]
fn parts_of_a_name_have_255_bytes() {
    let (long, longest) = ("n".repeat(256), "n".repeat(255));
    let tree = tree(&plain(&[(&long, FILE, b""), (&longest, FILE, b"")]));
    assert_eq!(kind(&tree, &long), None);
    assert_eq!(kind(&tree, &longest), Some(FileType::Regular));
}

#[test]
fn names_that_end_in_a_dot_or_a_slash_make_only_directories() {
    let tree = tree(&plain(&[
        ("d/", DIRECTORY, b""),
        ("e/.", DIRECTORY, b""),
        ("f/", FILE, b"x"),
        ("l/", LINK, b"d"),
        ("m", LINK, b"d"),
        ("m/", DIRECTORY, b""),
    ]));
    assert_eq!(kind(&tree, "d"), Some(FileType::Directory));
    for path in ["e", "f", "l"] {
        assert_eq!(kind(&tree, path), None, "{path}");
    }
    assert_eq!(kind(&tree, "m"), Some(FileType::Symlink));
    assert_eq!(kind(&self::tree(&plain(&[("f", FILE, b"")])), "f/"), None);
}

#[test]
fn targets_end_at_their_nul_and_have_a_length() {
    let long = vec![b't'; 4096];
    let tree = tree(&plain(&[
        ("d", DIRECTORY, b""),
        ("l", LINK, b"d\0x"),
        ("l/a", FILE, b"x"),
        ("empty", LINK, b""),
        ("long", LINK, &long),
    ]));
    assert_eq!(kind(&tree, "d/a"), Some(FileType::Regular));
    assert_eq!(tree.find(b"l", false).unwrap().target, b"d");
    assert_eq!((kind(&tree, "empty"), kind(&tree, "long")), (None, None));
}

#[test]
fn data_of_anything_but_a_file_makes_the_kernel_skip_it() {
    let long = vec![b't'; 4097];
    let bytes = plain(&[
        ("d", DIRECTORY, b"data"),
        ("p", FIFO, b"data"),
        ("l", LINK, &long),
        ("f", FILE, b"data"),
    ]);
    let mut entries = Entries::new(&bytes, Limits::default());
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().unwrap() {
        names.push(entry.path().to_vec());
    }
    assert_eq!(names, [&b"f"[..], cpio::TRAILER]);
    let reasons: Vec<_> = entries.ignored().iter().map(|entry| entry.reason).collect();
    assert_eq!(reasons, [SkippedFor::Data(4), SkippedFor::Data(4), SkippedFor::Target(4097)]);
}

#[test]
fn a_link_to_what_could_not_be_made_is_not_made_either() {
    let bytes = archive(&[("gone/a", FILE, b"x", 2, 7), ("b", FILE, b"y", 2, 7)]);
    assert_eq!(kind(&tree(&bytes), "b"), None);
    // Nor is one to itself: it is unlinked first.
    let bytes = archive(&[("a", FILE, b"x", 2, 7), ("a", FILE, b"y", 2, 7)]);
    assert_eq!(kind(&tree(&bytes), "a"), None);
}

#[test]
fn a_name_that_was_replaced_by_a_link_is_linked_and_written_through() {
    let bytes =
        archive(&[("a", FILE, b"old", 2, 7), ("a", LINK, b"d", 1, 0), ("b", FILE, b"new", 2, 7)]);
    let tree = tree(&bytes);
    let TreeEntry { file_type, nlink, target, .. } = tree.find(b"b", false).unwrap();
    assert_eq!((file_type, nlink, &target[..]), (FileType::Symlink, 2, &b"d"[..]));
    let through = tree.find(b"d", false).unwrap();
    assert_eq!((through.file_type, through.size, through.source), (FileType::Regular, 3, 2));
}

#[test]
fn a_name_that_goes_through_the_link_that_it_replaces_is_gone() {
    let bytes = plain(&[("d", LINK, b"b"), ("b", LINK, b"."), ("d/../b", DIRECTORY, b"")]);
    assert_eq!(kind(&tree(&bytes), "b"), None);
}

#[test]
fn after_an_archive_that_is_not_whole_the_kernel_unpacks_nothing() {
    let whole = plain(&[("f", FILE, b"x")]);
    // Its data has no padding.
    let cut = {
        let mut one = plain(&[("g", FILE, b"x")]);
        one.truncate(112 + 1);
        one
    };
    for (first, reached) in
        [(Vec::new(), Reach::Never), (cut, Reach::Never), (whole.clone(), Reach::Always)]
    {
        let bytes =
            [packed(Some(Format::Gzip), &first), packed(Some(Format::Gzip), &whole)].concat();
        let ramdisk = Ramdisk::parse(&bytes, Limits::default()).unwrap();
        let reach: Vec<_> = ramdisk.segments.iter().map(|own| own.reach).collect();
        assert_eq!(reach, [Reach::Always, reached], "{} bytes", first.len());
    }
}

#[test]
fn an_lz4_legacy_stream_goes_on_after_an_empty_one() {
    let whole = plain(&[("f", FILE, b"x")]);
    let bytes =
        [packed(Some(Format::Lz4Legacy), b""), packed(Some(Format::Lz4Legacy), &whole)].concat();
    let ramdisk = Ramdisk::parse(&bytes, Limits::default()).unwrap();
    assert_eq!(ramdisk.segments.last().unwrap().reach, Reach::Always);
}

#[test]
fn an_empty_lz4_legacy_stream_does_not_make_the_one_before_it_whole() {
    let whole = plain(&[("f", FILE, b"x")]);
    let mut cut = plain(&[("g", FILE, b"x")]);
    cut.truncate(112 + 1);
    let streams = [(Format::Lz4Legacy, &cut[..]), (Format::Lz4Legacy, b""), (Format::Gzip, &whole)];
    let mut bytes: Vec<u8> = Vec::new();
    for (format, archive) in streams {
        bytes.extend(packed(Some(format), archive));
    }
    // Zeros end the stream before.
    let gzip = bytes.windows(2).rposition(|window| window == [0x1f, 0x8b]).unwrap();
    bytes.splice(gzip..gzip, [0; 4]);
    let ramdisk = Ramdisk::parse(&bytes, Limits::default()).unwrap();
    assert_eq!(ramdisk.segments.last().unwrap().reach, Reach::Never);
}

#[test]
fn the_first_stream_begins_with_a_header() {
    let whole = plain(&[("f", FILE, b"x")]);
    let behind_zeros = packed(Some(Format::Gzip), &[&[0; 4][..], &whole].concat());
    let error = Ramdisk::parse(&behind_zeros, Limits::default()).unwrap_err();
    let Error::Cpio { offset: 0, source: cpio::Error::Junk { offset: 0, byte: 0 } } = error else {
        panic!("{error:?}")
    };
    // Between archives the kernel skips zeros.
    let after = [whole.clone(), behind_zeros].concat();
    assert_eq!(Ramdisk::parse(&after, Limits::default()).unwrap().segments.len(), 2);
    let mut empty_first = packed(Some(Format::Lz4Legacy), b"");
    empty_first.extend(packed(Some(Format::Lz4Legacy), &[&[0; 4][..], &whole].concat()));
    Ramdisk::parse(&empty_first, Limits::default()).unwrap_err();
}

#[test]
fn only_a_trailer_may_lack_the_padding_of_its_name() {
    let mut trailer = plain(&[("f", FILE, b"")]);
    let end = trailer.iter().rposition(|byte| *byte == b'!').unwrap();
    trailer.truncate(end + 2);
    assert_eq!(Ramdisk::parse(&trailer, Limits::default()).unwrap().segments[0].entries, 1);
    let mut file = plain(&[("file", FILE, b"")]);
    file.truncate(110 + 5);
    let error = Ramdisk::parse(&file, Limits::default()).unwrap_err();
    let Error::Cpio { source: cpio::Error::Truncated { what, .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(what, "name");
}
