//! Damaged, hostile and enormous ramdisks: an error or an answer, in bounded memory and time.

use crate::common::archives;

use std::io::Write;
use std::time::{Duration, Instant};

use archives::{COMPRESSIONS, archive, noise, ours, packed};
use proptest::prelude::*;
use vfioboot::compression::{Format, lz4_legacy};
use vfioboot::ramdisk::cpio::Header;
use vfioboot::ramdisk::edit::{self, NewFile};
use vfioboot::ramdisk::tree::Tree;
use vfioboot::ramdisk::{Error, Limits, Ramdisk, append_point, find_ours};

/// What a fuzzed ramdisk may ask for.
const SMALL: Limits =
    Limits { unpacked: 16 << 20, segments: 1000, metadata: 1 << 20, held: 16 << 20 };

/// Everything that reads a ramdisk. The answers do not matter; that they come does.
fn exercise(bytes: &[u8]) {
    if let Ok(parsed) = Ramdisk::parse(bytes, SMALL) {
        let mut position = 0;
        for (range, _) in parsed.tiles() {
            assert_eq!(range.start, position);
            position = range.end;
        }
        assert_eq!(position, bytes.len());
    }
    let _ = append_point(bytes);
    let _ = find_ours(bytes);
    let _ = vfioboot::ramdisk::classify_ramdisk(bytes, SMALL);
    let _ = Tree::read(bytes, SMALL);
    let _ = edit::remove(bytes, b"init", true, SMALL);
    let _ = edit::add(bytes, NewFile { path: b"a/b", mode: 0o644, data: b"x" }, SMALL);
}

#[test]
fn truncation_at_every_length() {
    let plain = archive(&[("init", &noise(300)), ("b", b"text text text text text")]);
    for compression in COMPRESSIONS {
        let bytes = [packed(compression, &plain), vec![0; 4], ours(compression, 0)].concat();
        // Decoders set up large tables: not every length of the slow ones.
        let step = if compression.is_none() { 1 } else { 41 };
        for length in (0..bytes.len().min(1400)).step_by(step) {
            exercise(&bytes[..length]);
        }
    }
}

#[test]
fn lz4_sizes_that_lie() {
    let magic = lz4_legacy::MAGIC.to_le_bytes();
    for size in [1u32, 4, 0x7fff_ffff, u32::MAX, 8 << 20, (8 << 20) + 40_000] {
        exercise(&[&magic[..], &size.to_le_bytes(), b"\xf0\xff\xff\xff"].concat());
    }
    // Only magics, and only gzip starts: no walk over the rest for each of them.
    let started = Instant::now();
    let magics = magic.repeat(1 << 18);
    let _ = append_point(&magics);
    let gzip = packed(Some(Format::Gzip), &archive(&[("a", b"")]));
    let _ = append_point(&[&gzip[..], &magics].concat());
    let named = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..], b"vfioboot\0"].concat();
    let _ = find_ours(&[&gzip[..], &named.repeat(1 << 16)].concat());
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

/// The header of a file of `size` bytes, with its name and padding.
fn file_header(size: u32) -> Vec<u8> {
    let header =
        Header { mode: 0o100_644, nlink: 1, filesize: size, namesize: 6, ..Header::default() };
    [&header.to_bytes()[..], b"zeros\0"].concat()
}

fn compress_zeros(into: &mut dyn Write, mebibytes: usize) {
    let zeros = vec![0; 1 << 20];
    for _ in 0..mebibytes {
        into.write_all(&zeros).unwrap();
    }
}

/// What a bomb unpacks to, in MiB: far more than [`SMALL`] allows.
const BOMB: usize = 192;
const LARGE: Limits =
    Limits { unpacked: (2 * BOMB as u64) << 20, segments: 1000, metadata: 1 << 20, held: 1 << 20 };

fn assert_listed_and_refused(bomb: &[u8], what: &str) {
    let started = Instant::now();
    let parsed = Ramdisk::parse(bomb, LARGE).unwrap();
    let unpacked: u64 = parsed.segments.iter().map(|segment| segment.unpacked).sum();
    assert!(unpacked >= (BOMB as u64) << 20, "{what}: {unpacked}");
    let error = Ramdisk::parse(bomb, SMALL).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{what}: {error}");
    eprintln!("{what}: {} bytes, {:?}", bomb.len(), started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(120), "{what}");
}

#[test]
fn a_bomb_of_zeros_in_gzip() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    encoder.write_all(&file_header((BOMB as u32) << 20)).unwrap();
    compress_zeros(&mut encoder, BOMB);
    let bomb = encoder.finish().unwrap();
    assert_listed_and_refused(&bomb, "gzip");
    // To rewrite it, it would have to be held.
    let error = edit::remove(&bomb, b"zeros", false, LARGE).unwrap_err();
    assert!(matches!(error, Error::Compressed { .. }), "{error}");
}

#[test]
fn a_bomb_of_zeros_in_zstd() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&file_header((BOMB as u32) << 20)).unwrap();
    compress_zeros(&mut encoder, BOMB);
    assert_listed_and_refused(&encoder.finish().unwrap(), "zstd");
}

#[test]
fn a_bomb_of_zeros_in_xz() {
    // Twelve streams, each a segment.
    let one = [&file_header(16 << 20)[..], &vec![0; 16 << 20]].concat();
    assert_listed_and_refused(&packed(Some(Format::Xz), &one).repeat(BOMB / 16), "xz");
}

#[test]
fn more_entries_than_fit_into_a_tree() {
    let header = Header { mode: 0o040_755, nlink: 2, namesize: 10, ..Header::default() };
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    for number in 0..20_000 {
        encoder.write_all(&header.to_bytes()).unwrap();
        write!(encoder, "d{number:08}\0").unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let parsed = Ramdisk::parse(&bomb, Limits::default()).unwrap();
    assert_eq!(parsed.segments[0].entries, 20_000);
    assert!(matches!(Tree::read(&bomb, SMALL), Err(Error::TooMany { .. })));
    // So many segments are refused too.
    let segment = packed(Some(Format::Zstd), &archive(&[("a", b"")]));
    let error = Ramdisk::parse(&segment.repeat(1001), SMALL).unwrap_err();
    assert!(matches!(error, Error::TooMany { what: "segments", .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400), start in 0usize..10) {
        // Most random bytes are junk at once: start some of them like a segment.
        let starts: [&[u8]; 10] = [
            b"", b"070701", b"0707010000000100008180", &[0x1f, 0x8b, 8, 0], &[2, 0x21, 0x4c, 0x18],
            &[4, 0x22, 0x4d, 0x18], &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd],
            b"BZh91AY&SY", &[0x5d, 0, 0, 0x80, 0, 255, 255, 255, 255, 255, 255, 255, 255],
        ];
        exercise(&[starts[start], &bytes].concat());
    }

    #[test]
    fn flipped_bits(
        format in 0..COMPRESSIONS.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
    ) {
        let plain = archive(&[("init", &noise(300)), ("text", &[b'a'; 4000])]);
        let compression = COMPRESSIONS[format];
        let mut bytes = [packed(compression, &plain), ours(compression, 0)].concat();
        for (index, bit) in flips {
            let at = index.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        exercise(&bytes);
    }
}
