//! Writes a tar archive: ustar headers (POSIX.1-1988), with GNU's records for long names.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const BLOCK: usize = 512;
const NAME: usize = 100;

/// What is at a path of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Directory,
    File(Vec<u8>),
    Link(PathBuf),
}

/// The archive. Nothing in it says when, where or by whom it was made.
pub(super) fn write(items: &BTreeMap<String, Item>) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, item) in items {
        match item {
            Item::Directory => entry(&mut tar, b'5', format!("{path}/").as_bytes(), b"", b""),
            Item::File(bytes) => entry(&mut tar, b'0', path.as_bytes(), b"", bytes),
            Item::Link(target) => {
                entry(&mut tar, b'2', path.as_bytes(), target.as_os_str().as_bytes(), b"");
            }
        }
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

fn entry(tar: &mut Vec<u8>, kind: u8, path: &[u8], target: &[u8], bytes: &[u8]) {
    for (kind, name) in [(b'L', path), (b'K', target)] {
        if name.len() > NAME {
            let name = [name, b"\0"].concat();
            header(tar, kind, b"././@LongLink", b"", name.len());
            body(tar, &name);
        }
    }
    header(tar, kind, path, target, bytes.len());
    body(tar, bytes);
}

fn body(tar: &mut Vec<u8>, bytes: &[u8]) {
    tar.extend_from_slice(bytes);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

fn header(tar: &mut Vec<u8>, kind: u8, path: &[u8], target: &[u8], size: usize) {
    let mode: &[u8] = if kind == b'5' { b"0000755\0" } else { b"0000644\0" };
    let size = format!("{size:011o}\0");
    let fields: [(usize, usize, &[u8]); 9] = [
        (0, NAME, path),
        (100, 8, mode),
        (108, 8, b"0000000\0"),
        (116, 8, b"0000000\0"),
        (124, 12, size.as_bytes()),
        (136, 20, b"00000000000\0        "),
        (156, 1, &[kind]),
        (157, NAME, target),
        (257, 8, if b"LK".contains(&kind) { b"ustar  \0" } else { b"ustar\x0000" }),
    ];
    let mut block = [0; BLOCK];
    for (at, room, text) in fields {
        let length = text.len().min(room);
        block[at..at + length].copy_from_slice(&text[..length]);
    }
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&block);
}
