//! The initramfs of a set, judged by the loop with which the kernel unpacks it.

use flate2::bufread::GzDecoder;
use vfioboot::bootset::{BootSet, File, Spot};
use vfioboot::compression::Format;
use vfioboot::compression::lz4_legacy::MAGIC;
use vfioboot::image::SectionName;
use vfioboot::ramdisk::edit::{self, NewFile};
use vfioboot::ramdisk::{Limits, Reach};

use crate::common::archives::{archive, packed, unlz4, vendor_boot};
use crate::common::flows::image;
use crate::common::{cpio, pipe, with_section};
use std::io::Read;

/// What the kernel unpacks of an initramfs, and where it stops.
#[derive(Debug, PartialEq)]
struct Unpacked {
    names: Vec<String>,
    stops_at: Option<usize>,
}

/// `unpack_to_rootfs` of `init/initramfs.c`, for raw archives, gzip and lz4_legacy.
fn unpack_to_rootfs(memory: &[u8]) -> Unpacked {
    let mut unpacked = Unpacked { names: Vec::new(), stops_at: None };
    // `this_header`: 0 after each compressed archive, else the place since then.
    let (mut at, mut this_header) = (0, 0);
    while at < memory.len() {
        if memory[at] == b'0' && this_header % 4 == 0 {
            let size = archive_size(&memory[at..]);
            unpacked.names.extend(names_by_gnu_cpio(&memory[at..at + size]));
            (at, this_header) = (at + size, this_header + size);
        } else if memory[at] == 0 {
            (at, this_header) = (at + 1, this_header + 1);
        } else if memory[at..].starts_with(&[0x1f, 0x8b]) {
            let mut decoder = GzDecoder::new(&memory[at..]);
            let mut archive = Vec::new();
            decoder.read_to_end(&mut archive).unwrap();
            unpacked.names.extend(names_by_gnu_cpio(&archive));
            at = memory.len() - decoder.into_inner().len();
            this_header = at;
        } else if memory[at..].starts_with(&MAGIC.to_le_bytes()) {
            let stream = unlz4(&memory[at..]);
            unpacked.names.extend(names_in_stream(&stream.unpacked));
            at += stream.consumed;
            this_header = at;
        } else {
            unpacked.stops_at = Some(at);
            break;
        }
    }
    unpacked
}

/// The names in what a stream unpacks to, which `flush_buffer` takes for one archive after another:
/// zeros are skipped, and a header is at a multiple of 4.
fn names_in_stream(unpacked: &[u8]) -> Vec<String> {
    let (mut names, mut at) = (Vec::new(), 0);
    while at < unpacked.len() {
        if unpacked[at] == 0 {
            at += 1;
            continue;
        }
        assert_eq!((unpacked[at], at % 4), (b'0', 0), "a header at {at}");
        let size = archive_size(&unpacked[at..]);
        names.extend(names_by_gnu_cpio(&unpacked[at..at + size]));
        at += size;
    }
    names
}

/// Up to the end of the TRAILER.
fn archive_size(bytes: &[u8]) -> usize {
    let name = b"TRAILER!!!\0";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    (at + name.len()).next_multiple_of(4)
}

fn names_by_gnu_cpio(archive: &[u8]) -> Vec<String> {
    let listed = String::from_utf8(pipe("cpio", &["-t", "--quiet"], archive)).unwrap();
    listed.lines().map(str::to_owned).collect()
}

/// The same by the library: the names in the segments that the kernel reaches, and where it stops.
fn by_the_set(set: &BootSet<'_>) -> Unpacked {
    let mut unpacked = Unpacked { names: Vec::new(), stops_at: None };
    for part in &set.initramfs().parts {
        let bytes = set.ramdisk(part.spot).unwrap().bytes;
        for step in part.segments.iter().filter(|step| step.reach != Reach::Never) {
            let segment = &bytes[step.range.clone()];
            let archive = match step.compression {
                Some(_) => pipe("gzip", &["-dc"], segment),
                None => segment.to_vec(),
            };
            unpacked.names.extend(names_by_gnu_cpio(&archive));
        }
        let stop = part.stops.map(|stop| part.range.start + stop.offset().unwrap_or(0));
        unpacked.stops_at = unpacked.stops_at.or(stop);
    }
    unpacked
}

/// The ramdisks of a set by what they have: two fragments, and a generic ramdisk of two segments
/// with `between` before the last.
fn ramdisks(between: &[u8]) -> [Vec<u8>; 3] {
    let gzip = |name: &str| packed(Some(Format::Gzip), &archive(&[(name, b"data")]));
    let mut first = gzip("lib/modules/a.ko");
    first.resize(first.len().next_multiple_of(4), 0);
    let second = cpio(&[("lib/modules/b.ko", b"data")]);
    let generic = [&gzip("init")[..], between, &gzip("last")].concat();
    [first, second, generic]
}

/// Images of such a set, the generic ramdisk first; memory has it last.
fn images([first, second, generic]: [Vec<u8>; 3]) -> [Vec<u8>; 2] {
    [
        with_section(&image("init_boot-v4"), SectionName::Ramdisk, generic),
        vendor_boot(&[("", first), ("dlkm", second)]),
    ]
}

fn set<'i>(images: &'i [Vec<u8>]) -> BootSet<'i> {
    BootSet::new(images.iter().map(|bytes| File::new("image", bytes))).unwrap()
}

/// What is appended to an lz4_legacy stream continues it, after a short block and whatever the stream
/// unpacks to.
#[test]
fn blocks_that_continue_a_stream_are_unpacked_where_the_kernel_expects_them() {
    for extra in 0..4 {
        let mut first = archive(&[("init", b"data")]);
        first.resize(first.len() + extra, 0);
        let ramdisk = packed(Some(Format::Lz4Legacy), &first);
        let file = NewFile { path: b"added", mode: 0o644, data: b"data" };
        let added = edit::add(&ramdisk, file, Limits::default()).unwrap().concat();
        assert!(added.starts_with(&ramdisk));
        let stream = unlz4(&added);
        assert_eq!((stream.magics, stream.consumed), (1, added.len()), "{extra}");
        // The lz4 program joins the blocks as well.
        assert!(pipe("lz4", &["-dc"], &added) == stream.unpacked, "{extra}");
        let vendor = archive(&[("vendor", b"data")]);
        let memory = [&vendor[..], &added].concat();
        let unpacked = unpack_to_rootfs(&memory);
        let names = ["vendor", "init", "added"].map(str::to_owned).to_vec();
        assert_eq!(unpacked, Unpacked { names, stops_at: None }, "{extra}");
        let images = [
            with_section(&image("init_boot-v4"), SectionName::Ramdisk, added),
            vendor_boot(&[("", vendor)]),
        ];
        let set = set(&images);
        assert!(set.initramfs().parts.iter().all(|part| part.stops.is_none()), "{extra}");
        for name in ["vendor", "init", "added"] {
            assert!(set.tree().unwrap().find(name.as_bytes(), false).is_some(), "{extra}: {name}");
        }
    }
}

#[test]
fn segments_are_in_memory_order_and_all_of_them_are_unpacked() {
    let ramdisks = ramdisks(&[0; 8]);
    let images = images(ramdisks.clone());
    let set = set(&images);
    let initramfs = set.initramfs();
    let spots: Vec<Spot> = initramfs.parts.iter().map(|part| part.spot).collect();
    let spot = |image, fragment| Spot { image, fragment };
    assert_eq!(spots, [spot(1, Some(0)), spot(1, Some(1)), spot(0, None)]);
    let ends: Vec<usize> = initramfs.parts.iter().map(|part| part.range.end).collect();
    let sizes = ramdisks.each_ref().map(Vec::len);
    assert_eq!(ends, [sizes[0], sizes[0] + sizes[1], sizes.iter().sum()]);
    let padding = initramfs.parts[2].segments.iter().map(|step| step.padding);
    assert_eq!(padding.collect::<Vec<_>>(), [0, 8]);
    let expected = unpack_to_rootfs(&ramdisks.concat());
    assert_eq!(expected.names, ["lib/modules/a.ko", "lib/modules/b.ko", "init", "last"]);
    assert_eq!(by_the_set(&set), expected);
}

#[test]
fn the_kernel_stops_at_junk_and_what_follows_is_never_reached() {
    let ramdisks = ramdisks(b"\xff\xff\xff\xff");
    let images = images(ramdisks.clone());
    let expected = unpack_to_rootfs(&ramdisks.concat());
    assert_eq!(expected.names.last().map(String::as_str), Some("init"));
    assert!(expected.stops_at.is_some());
    assert_eq!(by_the_set(&set(&images)), expected);
}

#[test]
fn junk_in_a_fragment_keeps_the_kernel_from_the_generic_ramdisk() {
    let [mut first, second, generic] = ramdisks(&[]);
    first.extend([0xff; 4]);
    let ramdisks = [first, second, generic];
    let images = images(ramdisks.clone());
    let set = set(&images);
    let expected = unpack_to_rootfs(&ramdisks.concat());
    assert_eq!(expected.names, ["lib/modules/a.ko"]);
    assert_eq!(by_the_set(&set), expected);
    let generic = Spot { image: 0, fragment: None };
    assert_eq!(set.initramfs().reach(generic), Some(Reach::Never));
    assert_eq!(set.tree().unwrap().reach(), Reach::Never);
}

#[test]
fn a_raw_archive_that_is_not_aligned_stops_the_kernel() {
    let [first, second, generic] = ramdisks(&[]);
    let ramdisks = [[first, vec![0; 2]].concat(), second, generic];
    let images = images(ramdisks.clone());
    let expected = unpack_to_rootfs(&ramdisks.concat());
    assert!(expected.stops_at.is_some());
    assert_eq!(by_the_set(&set(&images)), expected);
}

#[test]
fn the_fragment_of_recovery_is_not_loaded_and_the_bootconfig_comes_last() {
    let images = [image("init_boot-v4"), image("vendor_boot-v4-fragments")];
    let set = set(&images);
    let spots: Vec<Spot> = set.initramfs().parts.iter().map(|part| part.spot).collect();
    let spot = |image, fragment| Spot { image, fragment };
    assert_eq!(spots, [spot(1, Some(0)), spot(1, Some(1)), spot(0, None)]);
    assert_eq!(set.initramfs().bootconfig, Some(1));
}
