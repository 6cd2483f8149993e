//! The streams that kernels and bootloaders use: detected, decoded exactly, bounded.

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use vfioboot::compression::{
    Decoder, Error, Format, Known, decode_all, encode, encode_around, part,
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
