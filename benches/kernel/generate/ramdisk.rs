//! Ramdisks: segments of archives, mostly sound, with what an archive can have that is odd.

use vfioboot::compression::{Format, encode};
use vfioboot::ramdisk::cpio::Header;

use super::random::Random;

const PATHS: [&[u8]; 24] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b"d/a",
    b"d/b",
    b"d/e",
    b"d/e/f",
    b"init",
    b"./a",
    b"/b",
    b"d//a",
    b"l",
    b"l/a",
    b"l/b",
    b"x/y",
    b"../a",
    b"d/../b",
    b".",
    b"d/./b",
    b"e",
    b"e/a",
    b"TRAILER!!",
    b"",
];
const TARGETS: [&[u8]; 10] =
    [b"d", b"/d", b"a", b"../b", b"l", b"e", b".", b"nowhere", b"d\0x", b""];
const TYPES: [u32; 9] = [
    0o100_000, 0o040_000, 0o120_000, 0o020_000, 0o060_000, 0o010_000, 0o140_000, 0o000_000,
    0o030_000,
];
const TRAILER: &[u8] = b"TRAILER!!!";

/// A ramdisk.
pub fn ramdisk(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for number in 0..=random.below(3) {
        if number > 0 {
            padding(random, &mut out);
        }
        segment(random, &mut out);
    }
    match random.below(12) {
        0 => padding(random, &mut out),
        1 => out.extend(random.next().to_le_bytes()),
        2 => out.truncate(random.below(out.len() + 1)),
        _ => {}
    }
    out
}

/// Zeros, mostly so that an archive can follow.
fn padding(random: &mut Random, out: &mut Vec<u8>) {
    let to = match random.below(8) {
        0..5 => out.len().next_multiple_of(4),
        5 => out.len() + random.below(9),
        6 => out.len().next_multiple_of(512),
        _ => out.len(),
    };
    out.resize(to, 0);
}

fn segment(random: &mut Random, out: &mut Vec<u8>) {
    let mut bytes = archive(random);
    if random.once_in(12) {
        let at = bytes.len();
        random.damage(&mut bytes, b"0\x00\x000717Fx");
        bytes.resize(bytes.len().max(at), 0);
    }
    match random.below(5) {
        0 | 1 => out.append(&mut bytes),
        2 | 3 => {
            let mut stream = lz4_legacy(random, &bytes);
            if random.once_in(20) {
                random.damage(&mut stream, b"\0\x02\x21\x4c\x18\xff\x10");
            }
            out.append(&mut stream);
        }
        // No damage: the kernel does not look at the checksum, and we do.
        _ => {
            let name = random.once_in(2).then_some("name");
            out.extend(encode(Format::Gzip, &bytes, name).unwrap_or_default());
        }
    }
}

/// Blocks of any size, a magic here and there.
fn lz4_legacy(random: &mut Random, mut bytes: &[u8]) -> Vec<u8> {
    const MAGIC: usize = 4;
    let mut out = encode(Format::Lz4Legacy, b"", None).unwrap_or_default();
    let small = random.once_in(2);
    while !bytes.is_empty() {
        let size = if small { 1 + random.below(300) } else { 1 + random.below(100_000) };
        let (block, rest) = bytes.split_at(size.min(bytes.len()));
        let stream = encode(Format::Lz4Legacy, block, None).unwrap_or_default();
        let from = if random.once_in(60) { 0 } else { MAGIC };
        out.extend_from_slice(&stream[from..]);
        bytes = rest;
    }
    match random.below(20) {
        0 => out.extend(4_u32.to_le_bytes()),
        1 => out.extend(0_u32.to_le_bytes()),
        _ => {}
    }
    out
}

fn archive(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..random.below(7) {
        entry(random, &mut out);
        if random.once_in(30) {
            out.resize(out.len() + random.below(9), 0);
        }
    }
    if !random.once_in(5) {
        let header = Header { nlink: 1, namesize: TRAILER.len() as u32 + 1, ..Header::default() };
        put(&mut out, &header, TRAILER, &[]);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    match random.below(12) {
        0 => out.resize(out.len().next_multiple_of(512), 0),
        1 => out.truncate(out.len() - out.len().min(random.below(4))),
        _ => {}
    }
    out
}

fn entry(random: &mut Random, out: &mut Vec<u8>) {
    let mut name = match random.below(60) {
        0 => vec![b'n'; 200 + random.below(100)],
        1 => vec![b'n'; 4090 + random.below(10)],
        2 => b"a\0b".to_vec(),
        _ => random.pick(&PATHS).to_vec(),
    };
    let mode = TYPES[match random.below(16) {
        0..6 => 0,
        6..10 => 1,
        10..13 => 2,
        _ => random.below(TYPES.len()),
    }];
    let data = data(random, mode);
    let sum = data.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    let crc = random.once_in(6);
    let mut header = Header {
        crc,
        ino: random.below(3) as u32,
        mode: mode | 0o644,
        nlink: if random.once_in(3) { 2 } else { 1 },
        filesize: data.len() as u32,
        namesize: name.len() as u32 + 1,
        check: if crc && !random.once_in(20) { sum } else { 0 },
        ..Header::default()
    };
    match random.below(200) {
        0 => header.namesize = 0,
        1 => header.namesize = 1,
        2 => header.filesize = random.next() as u32,
        3 => header.filesize += 1 + random.below(5) as u32,
        4 => header.namesize += random.below(4) as u32,
        5 => header.mode |= random.next() as u32 & 0xffff_0fff,
        6 => name.push(b'!'),
        _ => {}
    }
    put(out, &header, &name, &data);
    if random.once_in(20) {
        let at = out.len() - out.len().min(110);
        out[at..].make_ascii_lowercase();
    }
}

fn data(random: &mut Random, mode: u32) -> Vec<u8> {
    match mode {
        0o120_000 if random.once_in(20) => vec![b't'; 4090 + random.below(10)],
        0o120_000 => random.pick(&TARGETS).to_vec(),
        0o100_000 => {
            let size = match random.below(40) {
                0 => random.below(200_000),
                1..6 => 0,
                _ => random.below(40),
            };
            let byte = random.byte();
            (0..size).map(|at| byte.wrapping_add((at % 251) as u8)).collect()
        }
        _ if random.once_in(40) => vec![b'x'; random.below(9)],
        _ => Vec::new(),
    }
}

fn put(out: &mut Vec<u8>, header: &Header, name: &[u8], data: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&header.to_bytes());
    out.extend_from_slice(name);
    out.push(0);
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
    out.extend_from_slice(data);
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
}
