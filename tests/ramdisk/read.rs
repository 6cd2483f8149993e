//! Segments and cpio entries, against hand-made bytes, our own writer and the usual tools.

use crate::common::archives;

use archives::{COMPRESSIONS, archive, names, noise, packed, read_all, tool};
use proptest::prelude::*;
use vfioboot::compression::Format;
use vfioboot::ramdisk::cpio::{self, CpioWriter, FileType};
use vfioboot::ramdisk::{Error, Limits, Ramdisk, Reach, Tile};

fn parse(bytes: &[u8]) -> Ramdisk<'_> {
    let parsed = Ramdisk::parse(bytes, Limits::default()).unwrap();
    assert_tiles(&parsed, bytes.len());
    parsed
}

fn assert_tiles(parsed: &Ramdisk<'_>, length: usize) {
    let mut position = 0;
    for (range, tile) in parsed.tiles() {
        assert_eq!(range.start, position, "{tile} leaves a gap or overlaps");
        assert!(!range.is_empty());
        position = range.end;
    }
    assert_eq!(position, length);
}

/// A header made by hand: the reader must not depend on our own writer.
fn by_hand(name: &str, mode: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
        0xabcdef,
        1,
        2,
        1,
        0x5f00_0000,
        data.len(),
        8,
        9,
        5,
        1,
        name.len() + 1,
        0,
    )
    .into_bytes();
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn header_fields_are_read_unchanged() {
    let bytes = by_hand("dev/console", 0o020_600, b"");
    let all = read_all(&bytes).unwrap();
    let (entry, data) = &all[0];
    let header = entry.header;
    assert_eq!(header.ino, 0x00ab_cdef);
    assert_eq!((header.uid, header.gid, header.nlink, header.mtime), (1, 2, 1, 0x5f00_0000));
    assert_eq!((header.devmajor, header.devminor), (8, 9));
    assert_eq!((header.rdevmajor, header.rdevminor), (5, 1));
    assert_eq!((entry.file_type(), data.len()), (FileType::CharDevice, 0));
    // The case of the hex digits is kept.
    assert_eq!(&entry.raw[6..14], b"00abcdef");
}

#[test]
fn every_compression_gives_the_same_entries() {
    let archive = archive(&[("init", b"#!/bin/sh\n"), ("lib/a.ko", &noise(100_000))]);
    let raw = read_all(&archive).unwrap();
    for compression in COMPRESSIONS {
        let bytes = packed(compression, &archive);
        let parsed = parse(&bytes);
        assert_eq!(parsed.segments.len(), 1, "{compression:?}");
        let segment = &parsed.segments[0];
        assert_eq!((segment.compression, segment.entries), (compression, 2));
        assert_eq!((segment.unpacked, segment.has_trailer), (archive.len() as u64, true));
        assert_eq!(segment.range, 0..bytes.len());
        assert_eq!(read_all(&bytes).unwrap(), raw);
    }
}

#[test]
fn segments_in_all_formats_one_after_the_other() {
    // lz4_legacy last: nothing may follow it directly.
    let order = [Some(Format::Gzip), Some(Format::Xz), Some(Format::Zstd), None];
    let order = order.into_iter().chain([Some(Format::Bzip2), Some(Format::Lz4Legacy)]);
    let mut bytes = Vec::new();
    let mut starts = Vec::new();
    for (index, compression) in order.enumerate() {
        // Padding of every length; a raw archive and what follows it start at a multiple of 4.
        bytes.resize((bytes.len() + index).next_multiple_of(4), 0);
        starts.push((bytes.len(), compression));
        let name = format!("file{index}");
        bytes.extend(packed(compression, &archive(&[(&name, &noise(300 + index))])));
    }
    let parsed = parse(&bytes);
    let found: Vec<_> = parsed.segments.iter().map(|s| (s.range.start, s.compression)).collect();
    assert_eq!(found, starts);
    assert!(parsed.segments.iter().all(|segment| segment.reach == Reach::Always));
    assert_eq!(names(&bytes), ["file0", "file1", "file2", "file3", "file4", "file5"]);
}

#[test]
fn archives_continue_after_their_trailer() {
    // Within one compressed segment, with the 512-byte blocks of GNU cpio.
    let mut unpacked = archive(&[("one", b"1")]);
    unpacked.resize(unpacked.len().next_multiple_of(512), 0);
    unpacked.extend(archive(&[("two", b"2"), ("one", b"3")]));
    let bytes = packed(Some(Format::Gzip), &unpacked);
    assert_eq!(names(&bytes), ["one", "two", "one"]);
    assert_eq!(parse(&bytes).segments.len(), 1);
    // Raw, each archive is a segment.
    let parsed = parse(&unpacked);
    assert_eq!(parsed.segments.len(), 2);
    assert_eq!(parsed.padding.len(), 1);
}

#[test]
fn zeros_between_entries_without_a_trailer_are_padding() {
    let mut bytes = by_hand("a", 0o100_644, b"x");
    bytes.extend([0; 8]);
    bytes.extend(by_hand("b", 0o100_644, b"y"));
    assert_eq!(names(&bytes), ["a", "b"]);
    let parsed = parse(&bytes);
    assert_eq!((parsed.segments.len(), parsed.segments[0].has_trailer), (1, false));
}

#[test]
fn raw_headers_must_be_aligned() {
    let mut bytes = packed(Some(Format::Gzip), &archive(&[("a", b"")]));
    bytes.resize(bytes.len().next_multiple_of(4) + 1, 0);
    bytes.extend(archive(&[("b", b"")]));
    let parsed = parse(&bytes);
    assert_eq!(parsed.segments.len(), 1);
    let trailing = parsed.trailing.unwrap();
    assert!(trailing.reason.contains("multiple of 4"), "{}", trailing.reason);
    // After a raw archive even a compressed segment must be: "broken padding".
    let mut bytes = archive(&[("a", b"")]);
    bytes.extend([0; 2]);
    bytes.extend(packed(Some(Format::Gzip), &archive(&[("b", b"")])));
    assert!(parse(&bytes).trailing.unwrap().reason.contains("broken padding"));
    // After a compressed one it need not.
    let mut bytes = packed(Some(Format::Gzip), &archive(&[("a", b"")]));
    bytes.resize(bytes.len().next_multiple_of(4) + 3, 0);
    bytes.extend(packed(Some(Format::Gzip), &archive(&[("b", b"")])));
    assert_eq!(names(&bytes), ["a", "b"]);
}

#[test]
fn the_lz4_trap() {
    let lz4 = packed(Some(Format::Lz4Legacy), &archive(&[("a", b"")]));
    let gzip = packed(Some(Format::Gzip), &archive(&[("b", b"")]));
    let reach = |padding: usize, next: &[u8]| {
        let bytes = [&lz4, &vec![0; padding][..], next].concat();
        let parsed = parse(&bytes);
        assert_eq!(parsed.segments.len(), 2);
        parsed.segments[1].reach
    };
    assert_eq!(reach(0, &gzip), Reach::Never);
    assert_eq!(reach(3, &gzip), Reach::Never);
    assert_eq!(reach(4, &gzip), Reach::NewerKernels);
    assert_eq!(reach(0, &lz4), Reach::Always);
    assert_eq!(reach(4, &lz4), Reach::NewerKernels);
    // Nothing after it is reached again.
    let bytes = [&lz4[..], &gzip, &gzip].concat();
    assert_eq!(parse(&bytes).segments[2].reach, Reach::Never);
}

#[test]
fn chained_lz4_streams_share_their_alignment() {
    let mut odd = archive(&[("a", b"")]);
    odd.extend([0; 2]);
    let first = packed(Some(Format::Lz4Legacy), &odd);
    // The kernel sees one stream: the second archive would start at a multiple of 4 plus 2.
    let misaligned =
        [&first[..], &packed(Some(Format::Lz4Legacy), &archive(&[("b", b"")]))].concat();
    let error = Ramdisk::parse(&misaligned, Limits::default()).unwrap_err();
    assert!(matches!(error, Error::Cpio { source: cpio::Error::BrokenPadding { .. }, .. }));
    let mut writer = CpioWriter::with_lead_in(Vec::new(), 2).unwrap();
    writer.file(b"b", 0o644, b"data").unwrap();
    let second = packed(Some(Format::Lz4Legacy), &writer.finish().unwrap());
    assert_eq!(names(&[first, second].concat()), ["a", "b"]);
}

#[test]
fn all_segments_together_unpack_to_the_limit() {
    let one = archive(&[("a", &noise(5000))]);
    let two = [packed(Some(Format::Gzip), &one), packed(Some(Format::Xz), &one)].concat();
    let limited = |unpacked: usize| Limits { unpacked: unpacked as u64, ..Limits::default() };
    let parsed = Ramdisk::parse(&two, limited(2 * one.len())).unwrap();
    let second = parsed.segments[1].range.start;
    let limit = 2 * one.len() as u64 - 1;
    match Ramdisk::parse(&two, limited(2 * one.len() - 1)).unwrap_err() {
        Error::TooLarge { offset, limit: found } => assert_eq!((offset, found), (second, limit)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn junk_is_trailing_and_said() {
    let mut bytes = packed(Some(Format::Gzip), &archive(&[("a", b"")]));
    let end = bytes.len();
    bytes.extend(b"\0\0junk");
    let parsed = parse(&bytes);
    assert_eq!(parsed.tiles()[1], (end..end + 2, Tile::Padding));
    assert_eq!(parsed.trailing.unwrap().range, end + 2..end + 6);
    assert!(parse(b"").segments.is_empty());
    assert_eq!(parse(&[0; 9]).tiles(), [(0..9, Tile::Padding)]);
    assert!(parse(b"070707").trailing.unwrap().reason.contains("old portable"));
}

/// LG's form of lz4_legacy ends with the unpacked size, which the kernel takes for a block.
#[test]
fn the_size_at_the_end_of_lz4_lg_is_named() {
    let of = |size: usize| archive(&[("init", &noise(size))]);
    // A size of whole pages starts with a zero, as padding does.
    let paged = (1..512).map(|n| of(4 * n)).find(|archive| archive.len().is_multiple_of(256));
    for archive in [of(300), paged.unwrap()] {
        let stream = packed(Some(Format::Lz4Legacy), &archive);
        let with = |size: usize, zeros: usize| {
            [&stream[..], &(size as u32).to_le_bytes(), &vec![0; zeros]].concat()
        };
        for zeros in [0, 100] {
            let trailing = parse(&with(archive.len(), zeros)).trailing.unwrap();
            assert!(trailing.reason.contains("lz4_lg"), "{}", trailing.reason);
        }
        let other = parse(&with(archive.len() + 1, 0)).trailing.unwrap();
        assert!(!other.reason.contains("lz4_lg"), "{}", other.reason);
    }
}

#[test]
fn errors_name_entry_field_and_offset() {
    let message = |bytes: &[u8]| {
        let error = read_all(bytes).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        format!("{error}: {cause}")
    };
    let good = [by_hand("first", 0o100_644, b"data"), by_hand("second", 0o100_644, b"")].concat();
    let second = by_hand("first", 0o100_644, b"data").len();
    let with = |at: usize, text: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + text.len()].copy_from_slice(text);
        bytes
    };
    assert_eq!(
        message(&with(second + 14, b"0000-1ff")),
        format!(
            "ramdisk segment at offset 0x0: cpio entry \"\": mode at offset {:#x} is \"0000-1ff\", expected eight hex digits",
            second + 14
        )
    );
    assert!(message(&with(second + 4, b"7")).contains("magic is \"070771\""));
    // The kernel skips such an entry, and what it takes for the next one is not a header.
    assert!(read_all(&with(94, b"00000000")).unwrap().is_empty());
    assert!(message(&with(94, b"ffffffff")).contains("ends inside its name"));
    assert!(message(&with(115, b"!")).contains("expected a NUL at its end"));
    assert!(
        message(&good[..118]).contains("\"first\" at offset 0x0: the archive ends inside its data")
    );
    assert!(message(&good[..second + 20]).contains("ends inside its header"));
    let mut junk = good.clone();
    junk.extend(b"\0\0\0\0x");
    let error = read_all(&packed(Some(Format::Zstd), &junk)).unwrap_err();
    assert!(matches!(error, Error::Cpio { source: cpio::Error::Junk { byte: b'x', .. }, .. }));
}

#[test]
fn checksums_of_070702_are_checked() {
    let mut bytes = by_hand("a", 0o100_644, &[1, 2, 255]);
    bytes[5] = b'2';
    bytes[102..110].copy_from_slice(b"00000102");
    assert_eq!(read_all(&bytes).unwrap()[0].1, [1, 2, 255]);
    bytes[109] = b'3';
    assert!(Ramdisk::parse(&bytes, Limits::default()).is_err());
}

#[test]
fn a_truncated_stream_is_reported_with_its_format() {
    for compression in COMPRESSIONS.into_iter().flatten() {
        let bytes = packed(Some(compression), &archive(&[("a", &noise(5000))]));
        let error = Ramdisk::parse(&bytes[..bytes.len() / 2], Limits::default()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(matches!(error, Error::Compressed { offset: 0, .. }), "{error:?}");
        assert!(cause.contains(compression.name()), "{cause}");
    }
}

#[test]
fn gnu_cpio_reads_what_we_write_and_we_what_it_writes() {
    let mut writer = CpioWriter::new(Vec::new());
    writer.dir(b"dev", 0o755).unwrap();
    writer.node(b"dev/null", 0o020_666, (1, 3)).unwrap();
    writer.file(b"dev/readme", 0o4750, b"hello").unwrap();
    writer.symlink(b"init", b"/system/bin/init").unwrap();
    let bytes = writer.finish().unwrap();
    let Some(listing) = tool(&["cpio", "-tv", "--quiet", "--numeric-uid-gid"], &bytes) else {
        return;
    };
    let listing = String::from_utf8(listing).unwrap();
    let lines: Vec<_> = listing.lines().collect();
    assert_eq!(lines.len(), 4, "{listing}");
    assert!(lines[0].starts_with("drwxr-xr-x"), "{listing}");
    assert!(lines[1].starts_with("crw-rw-rw-") && lines[1].contains("1,   3"), "{listing}");
    assert!(lines[2].starts_with("-rwsr-x---"), "{listing}");
    assert!(lines[3].ends_with("init -> /system/bin/init"), "{listing}");

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), noise(70_000)).unwrap();
    std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    for format in ["newc", "crc"] {
        let directory = dir.path().to_str().unwrap();
        let command = ["cpio", "-o", "--quiet", "-H", format, "-D", directory];
        let bytes = tool(&command, b"a\nb\nd\n").unwrap();
        let all = read_all(&bytes).unwrap();
        let found: Vec<_> = all.iter().map(|(e, data)| (e.path(), data.len())).collect();
        // GNU cpio gives a hard link's data to its last name.
        let expected: [(&[u8], usize); 4] =
            [(b"a", 0), (b"b", 70_000), (b"d", 0), (cpio::TRAILER, 0)];
        assert_eq!(found, expected);
        assert_eq!(all[0].0.header.link_key(), all[1].0.header.link_key());
        assert_eq!(all[0].0.header.crc, format == "crc");
    }
}

#[test]
fn the_tools_compress_and_we_read() {
    let archive = archive(&[("a", &noise(30_000)), ("b", &[7; 300_000])]);
    let tools: [(&[&str], Format); 6] = [
        (&["gzip", "-c"], Format::Gzip),
        (&["lz4", "-l", "-c"], Format::Lz4Legacy),
        (&["xz", "--check=crc32", "-c"], Format::Xz),
        (&["zstd", "-q", "-c"], Format::Zstd),
        (&["bzip2", "-c"], Format::Bzip2),
        (&["lzma", "-c"], Format::Lzma),
    ];
    for (command, format) in tools {
        let Some(mut bytes) = tool(command, &archive) else { continue };
        assert_eq!(read_all(&bytes).unwrap(), read_all(&archive).unwrap());
        let end = bytes.len();
        bytes.extend([0; 7]);
        let parsed = parse(&bytes);
        // Its last byte is a zero that no decoder needs.
        let slack = usize::from(format == Format::Lzma);
        assert_eq!(parsed.segments[0].compression, Some(format));
        assert!((end - slack..=end).contains(&parsed.segments[0].range.end), "{format}");
    }
}

#[test]
fn a_real_gki_ramdisk() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../shared/images/gki-virtdev-5.4-arm64-initramfs-lz4legacy.img"
    );
    let Ok(bytes) = std::fs::read(path) else {
        eprintln!("not tested: the image is not there");
        return;
    };
    let parsed = parse(&bytes);
    assert_eq!(parsed.segments.len(), 1);
    assert_eq!(parsed.segments[0].compression, Some(Format::Lz4Legacy));
    let Some(unpacked) = tool(&["lz4", "-dc"], &bytes) else { return };
    assert_eq!(parsed.segments[0].unpacked, unpacked.len() as u64);
    let Some(listing) = tool(&["cpio", "-t", "--quiet"], &unpacked) else { return };
    let listing = String::from_utf8(listing).unwrap();
    assert_eq!(names(&bytes), listing.lines().collect::<Vec<_>>());
}

#[derive(Clone, Debug)]
struct File {
    name: Vec<u8>,
    mode: u32,
    data: Vec<u8>,
    numbers: [u32; 8],
}

fn files() -> impl Strategy<Value = Vec<File>> {
    let name = prop::collection::vec(1u8.., 1..40);
    let data = prop::collection::vec(any::<u8>(), 0..200);
    let file = (name, any::<u32>(), data, any::<[u32; 8]>());
    // The kernel takes no data of anything else.
    let kind = |mode: u32, data: &[u8]| match data {
        [] => mode,
        _ => mode & !0o170_000 | 0o100_000,
    };
    let file = file.prop_map(move |(name, mode, data, numbers)| {
        let mode = kind(mode, &data);
        File { name, mode, data, numbers }
    });
    prop::collection::vec(file, 0..12)
}

/// Entries with any header at all, through the writer's verbatim door.
fn write(files: &[File]) -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    for file in files {
        let [ino, uid, gid, nlink, mtime, devmajor, rdevmajor, rdevminor] = file.numbers;
        let header = cpio::Header {
            ino,
            uid,
            gid,
            nlink,
            mtime,
            devmajor,
            rdevmajor,
            rdevminor,
            mode: file.mode,
            filesize: file.data.len() as u32,
            namesize: file.name.len() as u32 + 1,
            ..cpio::Header::default()
        };
        let mut raw = header.to_bytes();
        if ino % 2 == 0 {
            raw.make_ascii_lowercase();
        }
        let entry = cpio::Entry { offset: 0, header, raw, name: file.name.clone() };
        writer.entry(&entry, &file.data).unwrap();
    }
    writer.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(files in files(), format in 0..COMPRESSIONS.len()) {
        let archive = write(&files);
        let all = read_all(&packed(COMPRESSIONS[format], &archive)).unwrap();
        prop_assert_eq!(all.len(), files.len() + 1);
        for ((entry, data), file) in all.iter().zip(&files) {
            prop_assert_eq!(&entry.name, &file.name);
            prop_assert_eq!(data, &file.data);
            prop_assert_eq!(entry.header.mode, file.mode);
            prop_assert_eq!(entry.header.ino, file.numbers[0]);
        }
        // And written once more, it is the same archive to the byte.
        let mut again = CpioWriter::new(Vec::new());
        for (entry, data) in &all[..files.len()] {
            again.entry(entry, data).unwrap();
        }
        prop_assert_eq!(again.finish().unwrap(), archive);
    }

    #[test]
    fn segments_tile(parts in prop::collection::vec((0..COMPRESSIONS.len(), files(), 0usize..9), 0..5)) {
        let mut bytes = Vec::new();
        let mut count = 0;
        for (format, files, padding) in &parts {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(packed(COMPRESSIONS[*format], &write(files)));
            bytes.resize(bytes.len() + padding, 0);
            count += files.len() as u64;
        }
        let parsed = Ramdisk::parse(&bytes, Limits::default()).unwrap();
        assert_tiles(&parsed, bytes.len());
        prop_assert!(parsed.trailing.is_none());
        prop_assert_eq!(parsed.segments.len(), parts.len());
        prop_assert_eq!(parsed.segments.iter().map(|s| s.entries).sum::<u64>(), count);
    }
}
