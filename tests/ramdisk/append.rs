//! What the patch asks of a ramdisk, and the edits: appended segments must be where every kernel
//! finds them, and found again.

use crate::common::archives;

use archives::{COMPRESSIONS, archive, names, noise, ours, packed, read_all, tool};
use vfioboot::compression::{Format, encode};
use vfioboot::ramdisk::cpio::CpioWriter;
use vfioboot::ramdisk::edit::{self, NewFile};
use vfioboot::ramdisk::{Error, Limits, Ramdisk, Reach, append_padding, append_point, find_ours};

/// Append a segment as the patch does.
fn append(ramdisk: &[u8]) -> (Vec<u8>, std::ops::Range<usize>) {
    let point = append_point(ramdisk).unwrap();
    let segment = point.continuing(ours(point.format, point.lead_in));
    let start = point.offset + point.padding;
    let mut bytes = ramdisk[..point.offset].to_vec();
    bytes.resize(start, 0);
    bytes.extend(&segment);
    bytes.extend(&ramdisk[point.offset..]);
    (bytes, start..start + segment.len())
}

#[test]
fn an_appended_segment_is_found_again() {
    for compression in COMPRESSIONS {
        for length in [0, 1, 2, 3, 70_000] {
            let plain = packed(compression, &archive(&[("init", &noise(length))]));
            assert_eq!(append_point(&plain).unwrap().format, compression);
            assert_eq!(find_ours(&plain), None);
            let (patched, range) = append(&plain);
            assert_eq!(find_ours(&patched), Some(range), "{compression:?} {length}");
            assert_eq!(append_point(&patched).unwrap().format, compression);
            assert_eq!(names(&patched), ["init", "vfioboot", "vfioboot/init", "vfioboot/undo"]);
            let parsed = Ramdisk::parse(&patched, Limits::default()).unwrap();
            assert!(parsed.segments.iter().all(|segment| segment.reach == Reach::Always));
        }
    }
}

#[test]
fn trailing_zeros_do_not_matter() {
    for compression in COMPRESSIONS {
        for zeros in [1, 3, 4, 4096] {
            let mut plain = packed(compression, &archive(&[("init", b"x")]));
            let end = plain.len();
            plain.resize(end + zeros, 0);
            let (patched, range) = append(&plain);
            // No kernel before 5.14 takes zeros after lz4_legacy.
            if compression == Some(Format::Lz4Legacy) {
                assert_eq!(range.start, end);
            }
            assert_eq!(find_ours(&patched), Some(range.clone()), "{compression:?} {zeros}");
            let mut padded = patched.clone();
            padded.resize(patched.len() + zeros, 0);
            assert_eq!(find_ours(&padded), Some(range));
            let parsed = Ramdisk::parse(&patched, Limits::default()).unwrap();
            assert!(parsed.segments.iter().all(|segment| segment.reach == Reach::Always));
        }
    }
}

#[test]
fn an_lz4_stream_of_odd_length_has_a_lead_in() {
    for odd in 0..4 {
        let mut unpacked = archive(&[("init", b"")]);
        unpacked.resize(unpacked.len() + odd, 0);
        let lz4 = packed(Some(Format::Lz4Legacy), &unpacked);
        let point = append_point(&lz4).unwrap();
        assert_eq!(point.lead_in, (4 - odd) % 4);
        let (patched, range) = append(&lz4);
        assert_eq!(find_ours(&patched), Some(range.clone()));
        assert!(names(&patched).iter().any(|name| name == "vfioboot/undo"));
        // Another one after it counts the whole stream.
        let (twice, range) = append(&patched);
        assert_eq!(find_ours(&twice), Some(range));
    }
}

#[test]
fn lz4_blocks_are_measured_without_unpacking() {
    // Several blocks, compressible and not; `lz4 -l` agrees.
    let mut unpacked = archive(&[("a", &noise(1 << 20)), ("b", &[b'x'; 17 << 20])]);
    for extra in [0, 3] {
        unpacked.resize(unpacked.len() + extra, 0);
        let lead_in = (4 - unpacked.len() % 4) % 4;
        let bytes = packed(Some(Format::Lz4Legacy), &unpacked);
        assert_eq!(append_point(&bytes).unwrap().lead_in, lead_in);
        if let Some(bytes) = tool(&["lz4", "-l", "-c"], &unpacked) {
            assert_eq!(append_point(&bytes).unwrap().lead_in, lead_in);
        }
    }
}

#[test]
fn xz_streams_are_walked_by_their_indexes() {
    // A stream that cannot be unpacked shows that it was not: its first block's header is broken.
    let mut first = packed(Some(Format::Xz), &archive(&[("a", &noise(100_000))]));
    first[13] ^= 0xff;
    let length = first.len();
    let mut bytes = [&first[..], &ours(Some(Format::Xz), 0)].concat();
    let end = bytes.len();
    for zeros in 0..5 {
        bytes.resize(end + zeros, 0);
        assert_eq!(append_point(&bytes).unwrap().format, Some(Format::Xz));
        assert_eq!(find_ours(&bytes), Some(length..end));
    }
    // With a broken index it has to be unpacked, which fails.
    bytes[length - 20] ^= 1;
    assert!(append_point(&bytes).is_err());
    // The tool's streams of several blocks.
    let plain = archive(&[("a", &noise(100_000))]);
    let command = ["xz", "--check=crc32", "--block-size=10000", "-c"];
    let Some(bytes) = tool(&command, &plain) else { return };
    let parsed = Ramdisk::parse(&bytes, Limits::default()).unwrap();
    assert_eq!(parsed.segments[0].range, 0..bytes.len());
    let (patched, range) = append(&bytes);
    assert_eq!((range.start, find_ours(&patched)), (bytes.len(), Some(range)));
}

#[test]
fn the_last_format_is_that_of_the_last_segment() {
    let segment = |compression| packed(compression, &archive(&[("a", &noise(500))]));
    let formats: Vec<_> =
        COMPRESSIONS.into_iter().filter(|c| *c != Some(Format::Lz4Legacy)).collect();
    for first in formats {
        for last in COMPRESSIONS {
            let mut bytes = segment(first);
            bytes.resize(bytes.len() + append_padding(bytes.len()), 0);
            bytes.extend(segment(last));
            assert_eq!(append_point(&bytes).unwrap().format, last, "{first:?} then {last:?}");
            let (patched, range) = append(&bytes);
            assert_eq!(find_ours(&patched), Some(range), "{first:?} then {last:?}");
        }
    }
}

#[test]
fn nothing_is_appended_after_junk() {
    for compression in [None, Some(Format::Lz4Legacy), Some(Format::Zstd), Some(Format::Xz)] {
        let mut bytes = packed(compression, &archive(&[("a", b"")]));
        bytes.extend(b"\0\0\0\0\xffjunk");
        assert!(matches!(append_point(&bytes), Err(Error::Junk { .. })), "{compression:?}");
    }
}

#[test]
fn a_magic_within_compressed_data_is_ignored() {
    // Stored deflate blocks keep the bytes as they are.
    let lz4 = packed(Some(Format::Lz4Legacy), &archive(&[("inner", b"")]));
    let mut data = noise(3000);
    for magic in [&lz4[..], b"070701", &[0x28, 0xb5, 0x2f, 0xfd], b"BZh91AY&SY"] {
        data.extend(magic);
    }
    data.extend(ours(Some(Format::Gzip), 0));
    data.extend(noise(100));
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut encoder, &archive(&[("init", &data)])).unwrap();
    let plain = encoder.finish().unwrap();
    assert_eq!(append_point(&plain).unwrap().format, Some(Format::Gzip));
    assert_eq!(find_ours(&plain), None);
    let (patched, range) = append(&plain);
    assert_eq!(find_ours(&patched), Some(range));
}

#[test]
fn a_patched_image_as_a_file_is_not_a_patch() {
    for compression in COMPRESSIONS {
        let inner = ours(compression, 0);
        for outer in [None, Some(Format::Gzip)] {
            let plain = packed(outer, &archive(&[("image", &inner)]));
            assert_eq!(find_ours(&plain), None, "{compression:?} in {outer:?}");
        }
    }
}

#[test]
fn segments_after_ours_do_not_hide_it() {
    for compression in COMPRESSIONS {
        let (mut patched, range) = append(&packed(compression, &archive(&[("init", b"")])));
        patched.resize(patched.len() + append_padding(patched.len()), 0);
        patched.extend(packed(compression, &archive(&[("later", b"")])));
        assert_eq!(find_ours(&patched), Some(range), "{compression:?}");
    }
}

#[test]
fn an_empty_ramdisk_takes_a_raw_segment() {
    for empty in [&b""[..], &[0; 6]] {
        let (patched, range) = append(empty);
        assert_eq!(find_ours(&patched), Some(range));
        assert_eq!(append_point(empty).unwrap().format, None);
    }
    assert_eq!(find_ours(&ours(Some(Format::Gzip), 0)), Some(0..ours(Some(Format::Gzip), 0).len()));
    assert_eq!([0, 1, 2, 3, 4].map(append_padding), [0, 3, 2, 1, 0]);
}

fn add(ramdisk: &[u8], path: &str, data: &[u8]) -> Result<Vec<u8>, Error> {
    let file = NewFile { path: path.as_bytes(), mode: 0o640, data };
    edit::add(ramdisk, file, Limits::default()).map(|pieces| pieces.concat())
}

fn remove(ramdisk: &[u8], path: &str, recursive: bool) -> Result<Vec<u8>, Error> {
    edit::remove(ramdisk, path.as_bytes(), recursive, Limits::default())
        .map(|pieces| pieces.concat())
}

fn cat(ramdisk: &[u8], path: &str) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    vfioboot::ramdisk::tree::read_file(ramdisk, path.as_bytes(), &mut out, Limits::default())?;
    Ok(out)
}

#[test]
fn add_appends_and_makes_parents() {
    for compression in COMPRESSIONS {
        let mut writer = CpioWriter::new(Vec::new());
        writer.dir(b"lib", 0o755).unwrap();
        writer.file(b"lib/a", 0o644, b"old").unwrap();
        let plain = packed(compression, &writer.finish().unwrap());
        let bytes = add(&plain, "/lib/b/c/d", b"new").unwrap();
        assert!(bytes.starts_with(&plain));
        assert_eq!(names(&bytes), ["lib", "lib/a", "lib/b", "lib/b/c", "lib/b/c/d"]);
        assert_eq!(cat(&bytes, "lib/b/c/d").unwrap(), b"new");
        let replaced = add(&bytes, "lib/a", b"newer").unwrap();
        assert_eq!(cat(&replaced, "lib/a").unwrap(), b"newer");
        assert!(replaced.starts_with(&plain));
        // What add appended is not taken for the patch.
        assert_eq!(find_ours(&replaced), None);
    }
}

#[test]
fn a_ramdisk_loaded_after_a_changed_one_stays_aligned() {
    for compression in COMPRESSIONS.into_iter().filter(|c| *c != Some(Format::Lz4Legacy)) {
        for extra in 0..9 {
            let files = [("a", &noise(100)[..]), ("b", &noise(200 + extra)[..])];
            let mut plain = packed(compression, &archive(&files));
            plain.resize(plain.len().next_multiple_of(4), 0);
            let added = add(&plain, "c", &noise(extra)).unwrap();
            let removed = remove(&plain, "a", false).unwrap();
            assert_eq!([added.len() % 4, removed.len() % 4], [0, 0], "{compression:?}");
            let both = [&added[..], &archive(&[("generic", b"")])].concat();
            assert_eq!(names(&both), ["a", "b", "c", "generic"]);
        }
    }
}

#[test]
fn add_refuses_what_the_kernel_would_not_do() {
    let mut writer = CpioWriter::new(Vec::new());
    writer.dir(b"usr", 0o755).unwrap();
    writer.dir(b"usr/lib", 0o755).unwrap();
    writer.symlink(b"lib", b"usr/lib").unwrap();
    writer.symlink(b"gone", b"nowhere").unwrap();
    writer.symlink(b"loop", b"loop").unwrap();
    writer.file(b"file", 0o644, b"").unwrap();
    let plain = writer.finish().unwrap();
    for (path, reason) in [
        ("usr/lib", "is a directory"),
        ("file/x", "is not a directory"),
        ("gone/x", "symbolic link to nowhere"),
        ("loop/x", "symbolic link to nowhere"),
        ("a/../b", "without \"..\""),
        ("/", "expected the path"),
    ] {
        let error = add(&plain, path, b"").unwrap_err().to_string();
        assert!(error.contains(reason), "{path}: {error}");
    }
    // A symbolic link to a directory is followed, and not replaced by a directory.
    let bytes = add(&plain, "lib/x", b"through").unwrap();
    assert_eq!(cat(&bytes, "usr/lib/x").unwrap(), b"through");
    assert_eq!(cat(&bytes, "lib/x").unwrap(), b"through");
    let lz4 = packed(Some(Format::Lz4Legacy), &plain);
    let trap = [&lz4[..], &packed(Some(Format::Gzip), &plain)].concat();
    assert!(add(&trap, "x", b"").unwrap_err().to_string().contains("the kernel stops"));
}

/// Two names of one file as GNU cpio writes them: the last has the data.
fn hard_links() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, data) in [("a", &b""[..]), ("b", b"shared")] {
        let text = format!(
            "070701{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}{:08X}",
            7,
            0o100_644,
            0,
            0,
            2,
            0,
            data.len(),
            0,
            0,
            0,
            0,
            name.len() + 1,
            0
        );
        bytes.extend(text.as_bytes());
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes.extend(archive(&[]));
    bytes
}

#[test]
fn hard_links_share_their_data() {
    let bytes = hard_links();
    assert_eq!(cat(&bytes, "a").unwrap(), b"shared");
    let error = add(&bytes, "a", b"new").unwrap_err().to_string();
    assert!(error.contains("hard link"), "{error}");
    let error = remove(&bytes, "b", false).unwrap_err().to_string();
    assert!(error.contains("data of its hard links"), "{error}");
    let without = remove(&bytes, "a", false).unwrap();
    assert_eq!(cat(&without, "b").unwrap(), b"shared");
    // The kernel forgets links at a TRAILER.
    let split = [hard_links(), archive(&[]), hard_links()].concat();
    assert_eq!(cat(&split, "a").unwrap(), b"shared");
}

#[test]
fn cat_sees_what_the_kernel_makes() {
    let first = packed(Some(Format::Gzip), &archive(&[("a", b"old"), ("b", b"kept")]));
    let mut writer = CpioWriter::new(Vec::new());
    writer.symlink(b"b", b"a").unwrap();
    writer.file(b"a", 0o644, b"new").unwrap();
    let bytes = [first, packed(Some(Format::Gzip), &writer.finish().unwrap())].concat();
    assert_eq!(cat(&bytes, "a").unwrap(), b"new");
    assert_eq!(cat(&bytes, "./b").unwrap(), b"new");
    assert!(matches!(cat(&bytes, "c"), Err(Error::NotFound { .. })));
}

#[test]
fn rm_changes_only_the_segments_that_hold_the_name() {
    for compression in COMPRESSIONS.into_iter().filter(|c| *c != Some(Format::Lz4Legacy)) {
        let first = packed(Some(Format::Gzip), &archive(&[("keep", &noise(999))]));
        let target = archive(&[("one", b"1"), ("gone", &noise(501)), ("two", b"2")]);
        let last = archive(&[("raw", b"r")]);
        let mut bytes = first.clone();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(packed(compression, &target));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(&last);
        let result = remove(&bytes, "gone", false).unwrap();
        assert!(result.starts_with(&first) && result.ends_with(&last), "{compression:?}");
        assert_eq!(names(&result), ["keep", "one", "two", "raw"], "{compression:?}");
        let parsed = Ramdisk::parse(&result, Limits::default()).unwrap();
        assert_eq!(parsed.segments[1].compression, compression);
        // The other entries are the same, header by header.
        let all = read_all(&result).unwrap();
        let before = read_all(&bytes).unwrap();
        let kept: Vec<_> = before.iter().filter(|(e, _)| e.name != b"gone").collect();
        for ((new, data), (old, old_data)) in all.iter().zip(kept) {
            assert_eq!((&new.raw, &new.name, data), (&old.raw, &old.name, old_data));
        }
    }
}

#[test]
fn rm_undoes_add_and_removes_all_duplicates() {
    for compression in COMPRESSIONS {
        let plain = packed(compression, &archive(&[("a", b"1"), ("b", b"2"), ("a", b"3")]));
        let added = add(&plain, "a", b"4").unwrap();
        let result = remove(&added, "./a", false).unwrap();
        assert_eq!(names(&result), ["b"], "{compression:?}");
        assert!(matches!(remove(&result, "a", false), Err(Error::NotFound { .. })));
    }
}

#[test]
fn rm_of_a_directory() {
    let mut writer = CpioWriter::new(Vec::new());
    for name in ["d", "d/e", "dd"] {
        writer.dir(name.as_bytes(), 0o755).unwrap();
    }
    writer.file(b"d/e/f", 0o644, b"").unwrap();
    let plain = writer.finish().unwrap();
    assert!(remove(&plain, "d", false).unwrap_err().to_string().contains("not empty"));
    assert_eq!(names(&remove(&plain, "d", true).unwrap()), ["dd"]);
    assert_eq!(names(&remove(&plain, "dd", false).unwrap()), ["d", "d/e", "d/e/f"]);
}

#[test]
fn rm_keeps_the_name_in_a_gzip_header() {
    let plain =
        encode(Format::Gzip, &archive(&[("a", b""), ("b", b"")]), Some("root.cpio")).unwrap();
    let result = remove(&plain, "a", false).unwrap();
    assert_eq!(&result[10..20], b"root.cpio\0");
    if let Some(unpacked) = tool(&["gzip", "-dc"], &result) {
        assert_eq!(names(&unpacked), ["b"]);
    }
}
