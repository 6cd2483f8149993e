//! Payloads through the library: operations that do not fit, and any damage.

use crate::common;

use common::fixture;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use vfioboot::container::{self, Choice, Memory};
use vfioboot::ota::{Error, Payload};

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn extent(start: u64, blocks: u64) -> Vec<u8> {
    bytes(6, &[number(1, start), number(2, blocks)].concat())
}

/// A payload of one partition `p` of `size` bytes of zeros, with these operations and data.
fn payload(size: u64, operations: &[Vec<u8>], data: &[u8]) -> Vec<u8> {
    payload_of(size, &vec![0; size.min(1 << 20) as usize], operations, data)
}

/// The same of the partition with these contents.
fn payload_of(size: u64, contents: &[u8], operations: &[Vec<u8>], data: &[u8]) -> Vec<u8> {
    let hash = Sha256::digest(contents);
    let info = [number(1, size), bytes(2, &hash)].concat();
    let mut partition = [bytes(1, b"p"), bytes(7, &info)].concat();
    operations.iter().for_each(|operation| partition.extend(bytes(8, operation)));
    let manifest = [number(3, 4096), bytes(13, &partition)].concat();
    let size = (manifest.len() as u64).to_be_bytes();
    [b"CrAU", &2u64.to_be_bytes()[..], &size, &[0; 4], &manifest, data].concat()
}

fn written(file: &[u8]) -> Result<Vec<u8>, Error> {
    let payload = Payload::parse(file)?;
    let mut out = Vec::new();
    payload.write(payload.partition("p")?, &mut out)?;
    Ok(out)
}

fn error(size: u64, operations: &[Vec<u8>], data: &[u8]) -> String {
    common::message(&written(&payload(size, operations, data)).unwrap_err())
}

const ZERO: u64 = 6;

#[test]
fn zeros_take_no_data_and_end_with_the_partition() {
    // The last block of the partition is not a whole one.
    let operation = [number(1, ZERO), extent(0, 2)].concat();
    assert_eq!(written(&payload(5000, &[operation], &[])).unwrap(), vec![0; 5000]);
}

#[test]
fn operations_that_do_not_fill_the_partition_once_are_refused() {
    let zero = |start, blocks| [number(1, ZERO), extent(start, blocks)].concat();
    let cases = [
        (
            vec![zero(0, 1)],
            "no operation of p writes blocks 1 to 2: the OTA is incremental or damaged",
        ),
        (vec![zero(1, 1)], "no operation of p writes blocks 0 to 1"),
        (vec![], "no operation of p writes blocks 0 to 2"),
        (vec![zero(0, 3)], "operation 0 of p: fills blocks up to 3, the partition has 2"),
        (vec![zero(0, 2), zero(1, 1)], "operation 1 of p: fills block 1, which is filled already"),
        (vec![zero(u64::MAX, 1)], "operation 0 of p: an extent from block"),
        (vec![number(1, ZERO)], "operation 0 of p: names no blocks to write"),
        (
            vec![[zero(0, 1), extent(5, 1)].concat()],
            "operation 0 of p: fills blocks up to 6, the partition has 2",
        ),
        (
            vec![[zero(0, 2), extent(1, 1)].concat()],
            "operation 0 of p: fills block 1, which is filled already",
        ),
        (vec![[number(1, 99), extent(0, 2)].concat()], "operation 0 of p: its type 99 is unknown"),
        (vec![bytes(1, b"x")], "the manifest at offset 24 is damaged: operation 0"),
    ];
    for (operations, expected) in cases {
        let text = error(8192, &operations, &[]);
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn data_that_does_not_fit_its_blocks_is_refused() {
    let operation =
        |kind, size| [number(1, kind), number(2, 0), number(3, size), extent(0, 1)].concat();
    let data = vec![0; 5000];
    let text = error(4096, &[operation(0, 5000)], &data);
    assert_eq!(text, "operation 0 of p: REPLACE has 5000 bytes of data for 4096 bytes of blocks");
    let packed = common::pipe("xz", &["-zc"], &data);
    let text = error(4096, &[operation(8, packed.len() as u64)], &packed);
    assert_eq!(
        text,
        "operation 0 of p: REPLACE_XZ: decompresses to more than its 4096 bytes of blocks"
    );
    let cut = [number(1, 8), number(3, packed.len() as u64 - 30), extent(0, 2)].concat();
    let text = error(8192, &[cut], &packed);
    assert_eq!(text, "operation 0 of p: REPLACE_XZ: unexpected end of XZ stream");
    let text = error(4096, &[operation(14, 100)], &data);
    assert_eq!(text, "operation 0 of p: REPLACE_ZSTD: Unknown frame descriptor");
    let text = error(4096, &[operation(0, u64::MAX)], &data);
    assert!(
        text.contains("the data of operation 0 of p takes 18446744073709551615 bytes"),
        "{text}"
    );
}

/// Operations whose extents do not adjoin: the partition from its first block to its last, and the
/// operations.
fn scattered(kinds: &[u64]) -> (Vec<u8>, Vec<Vec<u8>>, Vec<u8>) {
    const BLOCK: usize = 4096;
    let block = |value: u8| vec![value; BLOCK];
    let pack = |kind: u64, bytes: &[u8]| match kind {
        1 => common::pipe("bzip2", &["-c"], bytes),
        8 => common::pipe("xz", &["-zc"], bytes),
        14 => common::pipe("zstd", &["-c"], bytes),
        _ => bytes.to_vec(),
    };
    let (mut operations, mut data) = (Vec::new(), Vec::new());
    let count = kinds.len() as u64;
    let mut partition = vec![0; BLOCK * (3 * kinds.len() + 1)];
    for (at, kind) in kinds.iter().enumerate() {
        let at = at as u64;
        // One block of each third, out of order; the data ends within the last.
        let places = [count + at, 2 * count + at, at];
        let mut contents = [block(0x10 + at as u8), block(0x80 + at as u8)].concat();
        contents.extend_from_slice(&[0x40 + at as u8; 100]);
        let packed = if *kind == ZERO { Vec::new() } else { pack(*kind, &contents) };
        let mut operation = number(1, *kind);
        if *kind == ZERO {
            contents.fill(0);
        } else {
            operation.extend(number(2, data.len() as u64));
            operation.extend(number(3, packed.len() as u64));
            operation.extend(bytes(8, &Sha256::digest(&packed)));
        }
        contents.resize(3 * BLOCK, 0);
        for (part, place) in places.iter().enumerate() {
            operation.extend(extent(*place, 1));
            let to = *place as usize * BLOCK;
            partition[to..to + BLOCK].copy_from_slice(&contents[part * BLOCK..][..BLOCK]);
            // An extent without blocks is not an extent.
            operation.extend(extent(7, 0));
        }
        data.extend(packed);
        operations.push(operation);
    }
    let last = number(1, ZERO);
    operations.push([last, extent(3 * count, 1)].concat());
    (partition, operations, data)
}

#[test]
fn operations_fill_blocks_that_do_not_adjoin_in_any_order() {
    for kinds in [&[0, 1, ZERO, 8, 14][..], &[8], &[0], &[ZERO, 14, 14]] {
        let (partition, operations, data) = scattered(kinds);
        // The last block of the partition is not a whole one.
        let size = partition.len() - 1000;
        let contents = &partition[..size];
        let file = payload_of(size as u64, contents, &operations, &data);
        assert!(written(&file).unwrap() == contents, "{kinds:?}");
        let other = payload_of(size as u64, &partition, &operations, &data);
        assert!(matches!(written(&other), Err(Error::Hash { .. })), "{kinds:?}");
    }
}

#[test]
fn a_block_that_scattered_operations_leave_out_is_named() {
    let (partition, mut operations, data) = scattered(&[0, 8]);
    operations.remove(0);
    let file = payload_of(partition.len() as u64, &partition, &operations, &data);
    assert!(matches!(written(&file), Err(Error::Gap { from: 0, to: 1, .. })));
}

#[test]
fn every_operation_that_needs_the_device_is_named() {
    let names = [
        (2, "MOVE"),
        (3, "BSDIFF"),
        (4, "SOURCE_COPY"),
        (5, "SOURCE_BSDIFF"),
        (9, "PUFFDIFF"),
        (10, "BROTLI_BSDIFF"),
        (11, "ZUCCHINI"),
        (12, "LZ4DIFF_BSDIFF"),
        (13, "LZ4DIFF_PUFFDIFF"),
    ];
    for (kind, name) in names {
        let text = error(4096, &[[number(1, kind), extent(0, 1)].concat()], &[]);
        assert!(text.starts_with(&format!("operation 0 of p is {name}, which needs")), "{text}");
    }
}

#[test]
fn missing_fields_of_a_manifest_are_reported() {
    let of = |partition: &[u8]| {
        let manifest = bytes(13, partition);
        let size = (manifest.len() as u64).to_be_bytes();
        let file = [b"CrAU", &2u64.to_be_bytes()[..], &size, &[0; 4], &manifest].concat();
        common::message(&Payload::parse(&file).unwrap_err())
    };
    assert_eq!(of(b""), "partition number 0 has no name in the manifest");
    assert_eq!(of(&bytes(1, b"p")), "partition p has no size in the manifest");
    let sized = [bytes(1, b"p"), bytes(7, &number(1, 4096))].concat();
    assert_eq!(of(&sized), "partition p has no SHA-256 in the manifest");
    let huge = [bytes(1, b"p"), bytes(7, &number(1, 1 << 60))].concat();
    assert!(of(&huge).contains("has 1152921504606846976 bytes in the manifest, expected at most"));
    let file = payload(4096, &[], &[]);
    let mut blocks = file.clone();
    // block_size is a varint of two bytes, right at the manifest's start.
    blocks[25] = 0x81;
    let text = common::message(&Payload::parse(&blocks).unwrap_err());
    assert_eq!(
        text,
        "the manifest's block_size is 4097, expected a power of two from 512 to 1048576"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is written and not refused is the partition: its hash says so.
    #[test]
    fn a_damaged_byte_never_panics_and_gives_no_other_image(at in 0usize..16384, bit in 0u8..8) {
        let original = fixture("ota/payload.bin");
        let mut damaged = original.clone();
        let at = at % damaged.len();
        damaged[at] ^= 1 << bit;
        let whole = Payload::parse(&original).unwrap();
        let Ok(payload) = Payload::parse(&damaged) else { return Ok(()) };
        for partition in payload.partitions() {
            let mut out = Vec::new();
            let Ok(right) = whole.partition(&partition.name) else { continue };
            if payload.write(partition, &mut out).is_ok() {
                let mut expected = Vec::new();
                whole.write(right, &mut expected).unwrap();
                prop_assert!(out == expected, "{} at {}", partition.name, at);
            }
        }
    }

    #[test]
    fn a_damaged_zip_never_panics(at in 0usize..8192, bit in 0u8..8) {
        let mut damaged = fixture("ota/factory-stored.zip");
        let at = at % damaged.len();
        damaged[at] ^= 1 << bit;
        let original = fixture("images/boot-v4.img");
        if let Ok(container::Given::Images(images)) =
            container::read(&damaged, "factory.zip", Choice::BootSet, &Memory)
        {
            for image in images.iter().filter(|image| image.file == "boot.img") {
                prop_assert!((*image.bytes).as_ref() == original);
            }
        }
    }
}
