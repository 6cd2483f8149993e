//! The streams that kernels and bootloaders use: detected, decoded exactly, bounded.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use vfioboot::compression::{
    Budget, Decoder, Error, Format, Known, decode_all, encode, encode_around, part,
    unpacked_in_thread,
};

fn sample() -> Vec<u8> {
    (0..60_000u32).flat_map(|i| (i / 7 * 31).to_le_bytes()).collect()
}

/// What the field's own tool makes of `bytes`; None where it is not installed.
fn foreign(command: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut words = command.split(' ');
    let child = Command::new(words.next()?)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("not installed, nothing compared: {command}");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().ok();
    output.status.success().then_some(output.stdout)
}

const TOOLS: [(Format, &str, &str); 6] = [
    (Format::Gzip, "gzip -c", "gzip -dc"),
    (Format::Lz4Legacy, "lz4 -l -c", "lz4 -d -c"),
    (Format::Lz4Frame, "lz4 -c", "lz4 -d -c"),
    (Format::Xz, "xz --check=crc32 -c", "xz -dc"),
    (Format::Lzma, "xz --format=lzma -c", "xz --format=lzma -dc"),
    (Format::Zstd, "zstd -q -c", "zstd -q -d -c"),
];

#[test]
fn decodes_what_the_fields_tools_write() {
    for (format, pack, _) in TOOLS {
        let Some(packed) = foreign(pack, &sample()) else { continue };
        assert_eq!(Format::detect(&packed), Some(format), "{pack}");
        let (bytes, consumed) = decode_all(format, &packed, 1 << 30).unwrap();
        assert!(bytes == sample(), "{pack}: other bytes");
        assert_eq!(consumed, packed.len(), "{pack}");
    }
}

#[test]
fn the_fields_tools_decode_what_we_write() {
    for (format, _, unpack) in TOOLS {
        let packed = encode(format, &sample(), Some("vfioboot")).unwrap();
        let Some(bytes) = foreign(unpack, &packed) else { continue };
        assert!(bytes == sample(), "{unpack}: other bytes");
    }
}

/// Streams around a part that was compressed before: `before`, [`sample`], `after`.
fn around(format: Format, before: &[u8], after: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let part = part(format, &sample()).unwrap()?;
    let bytes = [before, &sample(), after].concat();
    let range = before.len()..before.len() + sample().len();
    let stream = encode_around(format, &bytes, &Known { range, part: &part }, Some("vfioboot"));
    Some((bytes, stream.unwrap()))
}

#[test]
fn a_stream_around_a_part_is_one_stream() {
    let files: Vec<u8> = (0..9_000_000u32).map(|i| ((i % 251 * i) >> 16) as u8).collect();
    for (format, _, unpack) in TOOLS {
        // also more than zstd stores as it is, and more than one block of lz4_legacy
        let sizes = [(0, 0), (1, 1), (3, 200), (700, 3_000), (3, 70_000), (400, files.len())];
        let cases = if format == Format::Lz4Legacy { 6 } else { 5 };
        for &(before, after) in &sizes[..cases] {
            let Some((bytes, stream)) = around(format, &files[..before], &files[..after]) else {
                assert!(matches!(format, Format::Lz4Frame | Format::Lzma), "{format}");
                continue;
            };
            let what = format!("{format}, {before} before, {after} after");
            let (unpacked, consumed) = decode_all(format, &stream, 1 << 30).unwrap();
            assert!(unpacked == bytes, "{what}: other bytes");
            assert_eq!(consumed, stream.len(), "{what}");
            let whole = encode(format, &bytes, Some("vfioboot")).unwrap();
            let stored = if format == Format::Zstd { 64 << 10 } else { 0 };
            assert!(
                stream.len() < whole.len() * 11 / 10 + 400 + stored,
                "{what}: {} and {}",
                stream.len(),
                whole.len()
            );
            if let Some(unpacked) = foreign(unpack, &stream) {
                assert!(unpacked == bytes, "{what}: {unpack}: other bytes");
            }
        }
    }
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_part_is_taken_over_and_not_compressed_again() {
    let files: Vec<u8> = (0..70_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    for format in [Format::Gzip, Format::Lz4Legacy, Format::Zstd] {
        let part = part(format, &sample()).unwrap().unwrap();
        for (before, after) in [(0, 0), (1, 1), (700, 3_000), (30_000, 35_536)] {
            let (_, stream) = around(format, &files[..before], &files[..after]).unwrap();
            assert!(contains(&stream, &part), "{format}, {before} before, {after} after");
        }
    }
    // What zstd stores as it is is bounded, and so is what the whole unpacks to.
    let zstd = part(Format::Zstd, &sample()).unwrap().unwrap();
    let (bytes, stream) = around(Format::Zstd, &files[..30_000], &files[..35_537]).unwrap();
    assert!(!contains(&stream, &zstd) && stream.len() < bytes.len());
    let encoded = |before: usize, size: usize| {
        let bytes = vec![7; size];
        let part = part(Format::Zstd, &bytes[before..]).unwrap().unwrap();
        let known = Known { range: before..size, part: &part };
        let stream = encode_around(Format::Zstd, &bytes, &known, None).unwrap();
        assert!(decode_all(Format::Zstd, &stream, 1 << 30).unwrap().0 == bytes);
        contains(&stream, &part)
    };
    assert!(encoded(9, 128 << 10) && !encoded(9, (128 << 10) - 1));
    assert!(encoded(9, 8 << 20) && !encoded(9, (8 << 20) + 1));
}

#[test]
fn a_part_may_have_many_blocks() {
    let Some(part) = foreign("xz --check=crc32 --block-size=1024 -c", &sample()) else { return };
    let bytes = [b"before", &sample()[..], b"after"].concat();
    let known = Known { range: 6..6 + sample().len(), part: &part };
    let stream = encode_around(Format::Xz, &bytes, &known, None).unwrap();
    assert!(decode_all(Format::Xz, &stream, 1 << 30).unwrap().0 == bytes);
    assert!(foreign("xz -dc", &stream).unwrap() == bytes);
}

#[test]
fn an_invalid_part_is_not_accepted() {
    let known = Known { range: 0..4, part: b"junk" };
    assert!(encode_around(Format::Xz, b"abcdef", &known, None).is_err());
    // What has no parts is compressed as a whole.
    for format in [Format::Lzma, Format::Bzip2] {
        assert_eq!(part(format, b"abcd").unwrap(), None);
        let stream = encode_around(format, b"abcdef", &known, None).unwrap();
        assert_eq!(decode_all(format, &stream, 100).unwrap().0, b"abcdef");
    }
}

#[test]
fn each_stream_ends_where_the_next_begins() {
    for format in Format::all() {
        let packed = encode(format, &sample(), None).unwrap();
        let mut two = packed.clone();
        two.extend_from_slice(&packed);
        let (bytes, consumed) = decode_all(format, &two, 1 << 30).unwrap();
        assert!(bytes == sample(), "{format}");
        assert_eq!(consumed, packed.len(), "{format}");

        let mut padded = packed.clone();
        padded.extend_from_slice(&[0; 4096]);
        let (_, consumed) = decode_all(format, &padded, 1 << 30).unwrap();
        assert_eq!(consumed, packed.len(), "{format} and zeros");
    }
}

#[test]
fn a_size_after_an_lz4_legacy_kernel_is_not_part_of_the_stream() {
    let mut packed = encode(Format::Lz4Legacy, &sample(), None).unwrap();
    let end = packed.len();
    packed.extend_from_slice(&(sample().len() as u32).to_le_bytes());
    let (_, consumed) = decode_all(Format::Lz4Legacy, &packed, 1 << 30).unwrap();
    assert_eq!(consumed, end);
}

#[test]
fn the_start_of_another_stream_is_not_an_lz4_legacy_block() {
    // Each reads as a plausible block size: gzip without a name, lzma after one or two zeros.
    for (format, zeros) in [(Format::Gzip, 0), (Format::Lzma, 1), (Format::Lzma, 2)] {
        let mut packed = encode(Format::Lz4Legacy, &sample(), None).unwrap();
        let end = packed.len();
        packed.resize(end + zeros, 0);
        packed.extend(encode(format, b"next", None).unwrap());
        let (_, consumed) = decode_all(Format::Lz4Legacy, &packed, 1 << 30).unwrap();
        assert_eq!(consumed, end, "{format} behind {zeros} zeros");
    }
}

#[test]
fn a_cut_stream_is_an_error_that_names_the_format() {
    for format in Format::all() {
        let packed = encode(format, &sample(), None).unwrap();
        let error = decode_all(format, &packed[..packed.len() / 2], 1 << 30).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{format}: {error}");
        assert!(error.to_string().starts_with(format.name()), "{error}");
    }
}

#[test]
fn output_past_the_limit_is_refused() {
    for format in Format::all() {
        let packed = encode(format, &vec![0; 1 << 20], None).unwrap();
        let error = decode_all(format, &packed, 1000).unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: 1000, .. }), "{format}: {error}");
    }
}

/// The formats, what the kernel's Kconfig calls them, and how much a byte of each takes from the budget.
const FORMATS: [(&str, Option<&str>, u64); 7] = [
    ("gzip", Some("RD_GZIP"), 1),
    ("lz4_legacy", Some("RD_LZ4"), 1),
    ("lz4", None, 1),
    ("xz", Some("RD_XZ"), 3),
    ("lzma", Some("RD_LZMA"), 3),
    ("zstd", Some("RD_ZSTD"), 1),
    ("bzip2", Some("RD_BZIP2"), 4),
];

#[test]
fn every_format_is_recognised_by_what_we_write() {
    assert_eq!(Format::all().count(), FORMATS.len());
    for (format, (name, symbol, _)) in Format::all().zip(FORMATS) {
        assert_eq!((format.name(), format.rd_symbol()), (name, symbol));
        let packed = encode(format, &sample(), None).unwrap();
        assert_eq!(Format::detect(&packed), Some(format));
        assert_eq!(Format::detect(&packed[1..]), None, "{name}");
    }
    assert_eq!(Format::detect(b""), None);
    assert_eq!(Format::detect(b"BZh9nothing of the kind"), None);
}

#[test]
fn lzma_is_recognised_by_its_dictionary_and_its_size() {
    let detect = |dictionary: u32, size: u64| {
        let header = [&[0x5d][..], &dictionary.to_le_bytes(), &size.to_le_bytes()].concat();
        assert_eq!(Format::detect(&header[..12]), None, "a header that is cut off");
        Format::detect(&header)
    };
    // powers of two, and half as much again; the low byte is zero, as in the magic
    for dictionary in [4096, 8 << 20, 6 << 20, 12 << 20, 3 << 11] {
        assert_eq!(detect(dictionary, u64::MAX), Some(Format::Lzma), "{dictionary}");
    }
    for dictionary in [0, 2048, 3 << 10, 5 << 20, 7 << 20, 10 << 20, 9 << 20, 8 << 20 | 256] {
        assert_eq!(detect(dictionary, u64::MAX), None, "{dictionary}");
    }
    assert_eq!(detect(8 << 20, (1 << 40) - 1), Some(Format::Lzma));
    assert_eq!(detect(8 << 20, 0), Some(Format::Lzma));
    assert_eq!(detect(8 << 20, 1 << 40), None);
}

#[test]
fn the_limit_itself_is_allowed() {
    for format in Format::all() {
        let packed = encode(format, &sample(), None).unwrap();
        let size = sample().len() as u64;
        assert!(decode_all(format, &packed, size).is_ok(), "{format}");
        let error = decode_all(format, &packed, size - 1).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{format}: {error}");
    }
}

#[test]
fn what_is_unpacked_is_counted_and_an_empty_buffer_ends_nothing() {
    for format in Format::all() {
        let packed = encode(format, &sample(), None).unwrap();
        let before = unpacked_in_thread();
        let mut decoder = Decoder::new(format, &packed).unwrap();
        assert_eq!(decoder.read(&mut []).unwrap(), 0);
        assert!(decoder.read_all(1 << 30).unwrap() == sample(), "{format}: other bytes");
        assert_eq!(decoder.read(&mut [0; 8]).unwrap(), 0, "{format}: it has ended");
        assert_eq!(unpacked_in_thread() - before, sample().len() as u64, "{format}");
    }
}

#[test]
fn slow_formats_take_more_from_the_budget() {
    let size = sample().len() as u64;
    for (format, (name, _, cost)) in Format::all().zip(FORMATS) {
        let packed = encode(format, &sample(), None).unwrap();
        let within = |bytes| {
            let _scope = Budget::of(bytes).enter();
            decode_all(format, &packed, 1 << 30)
        };
        assert!(within(cost * size).is_ok(), "{name}");
        let error = within(cost * size - 1).unwrap_err().to_string();
        let budget = format!("more than {} bytes, its budget", cost * size - 1);
        assert!(error.contains(&budget), "{name}: {error}");
    }
}

#[test]
fn a_budget_applies_until_its_scope_ends_and_is_gone_when_it_is_exceeded() {
    let outer = Budget::of(100).enter();
    Budget::take(60).unwrap();
    {
        let _inner = Budget::of(1000).enter();
        Budget::take(1000).unwrap();
        assert_eq!(Budget::take(1).unwrap_err().budget, Budget::of(1000));
    }
    Budget::take(40).unwrap();
    drop(outer);
    Budget::take(u64::MAX).unwrap();
    let _scope = Budget::of(100).enter();
    Budget::take(101).unwrap_err();
    Budget::take(1).unwrap_err();
    assert_eq!(Budget::of(7).bytes(), 7);
    let default = Budget::for_input(1000);
    assert_eq!(default.bytes(), Budget::for_input(0).bytes() + 64_000);
    let _scope = Budget::for_input(0).enter();
    Budget::grant(1000);
    Budget::take(default.bytes()).unwrap();
    assert_eq!(Budget::take(1).unwrap_err().budget, default);
    let _scope = Budget::of(10).enter();
    Budget::grant(1000);
    Budget::take(11).unwrap_err();
}

/// Cut anywhere, with each of the fields that a frame may have.
#[test]
fn an_lz4_frame_ends_with_its_end_mark_and_its_checksum() {
    use lz4_flex::frame::{FrameEncoder, FrameInfo};
    let bytes = &sample()[..3000];
    for fields in 0..8 {
        let set = |bit: u32| fields >> bit & 1 == 1;
        let info = FrameInfo::new()
            .content_size(set(0).then_some(bytes.len() as u64))
            .content_checksum(set(1))
            .block_checksums(set(2));
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(bytes).unwrap();
        let packed = encoder.finish().unwrap();
        let (back, consumed) = decode_all(Format::Lz4Frame, &packed, 1 << 20).unwrap();
        assert_eq!((&back[..], consumed), (bytes, packed.len()));
        for cut in 0..packed.len() {
            let error = decode_all(Format::Lz4Frame, &packed[..cut], 1 << 20);
            assert!(error.is_err(), "fields {fields}: cut at {cut} of {}", packed.len());
        }
    }
}

#[test]
fn zstd_windows_are_bounded() {
    // A frame without a content size: a window of 2^log bytes, and a last block that repeats one byte.
    let frame = |log: u8| {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
        frame.extend_from_slice(&(1000_u32 << 3 | 1 << 1 | 1).to_le_bytes()[..3]);
        frame.push(b'x');
        frame
    };
    let (bytes, _) = decode_all(Format::Zstd, &frame(27), 1 << 20).unwrap();
    assert_eq!(bytes, [b'x'; 1000]);
    let error = decode_all(Format::Zstd, &frame(28), 1 << 20).unwrap_err();
    assert!(matches!(error, Error::Corrupt { format: Format::Zstd, produced: 0, .. }), "{error:?}");
}

#[test]
fn xz_carries_the_only_check_the_kernel_knows() {
    let packed = encode(Format::Xz, b"x", None).unwrap();
    assert_eq!(packed[7], 1, "stream flags: check type 1 is CRC32");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_bytes_survive_the_round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        for format in Format::all() {
            let packed = encode(format, &bytes, None).unwrap();
            let (back, consumed) = decode_all(format, &packed, 1 << 20).unwrap();
            prop_assert_eq!(&back, &bytes);
            prop_assert_eq!(consumed, packed.len());
        }
    }

    #[test]
    fn damage_is_an_error_or_other_bytes_but_never_a_panic(at in 0usize..2000, bit in 0u8..8) {
        let plain: Vec<u8> = sample()[..4000].to_vec();
        for format in Format::all() {
            let mut packed = encode(format, &plain, None).unwrap();
            let index = at % packed.len();
            packed[index] ^= 1 << bit;
            if let Ok(mut decoder) = Decoder::new(format, &packed) {
                let _ = decoder.read_all(1 << 24);
            }
        }
    }
}
