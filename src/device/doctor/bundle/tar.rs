//! Writes a tar archive and reads it again: ustar headers (POSIX.1-1988), with GNU's records for long names.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

const BLOCK: usize = 512;
const NAME: usize = 100;
/// Where the fields of a header are.
const SIZE: usize = 124;
const SUM: usize = 148;
const KIND: usize = 156;
const TARGET: usize = 157;

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
        (SIZE, 12, size.as_bytes()),
        (136, 20, b"00000000000\0        "),
        (KIND, 1, &[kind]),
        (TARGET, NAME, target),
        (257, 8, if b"LK".contains(&kind) { b"ustar  \0" } else { b"ustar\x0000" }),
    ];
    let mut block = [0; BLOCK];
    for (at, room, text) in fields {
        let length = text.len().min(room);
        block[at..at + length].copy_from_slice(&text[..length]);
    }
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[SUM..KIND].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&block);
}

/// What is not an archive as `write` makes it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset}: expected {expected}")]
pub struct Malformed {
    /// The header that is wrong, in bytes.
    pub offset: usize,
    /// What was expected there.
    pub expected: &'static str,
}

/// What an archive has. Nothing of it is outside of the tree or leads there.
pub(super) fn read(tar: &[u8]) -> Result<BTreeMap<String, Item>, Malformed> {
    let mut items = BTreeMap::new();
    let (mut offset, mut long_name, mut long_target) = (0, None, None);
    loop {
        let bad = |expected| Malformed { offset, expected };
        let block = tar.get(offset..offset + BLOCK).ok_or(bad("a header of 512 bytes"))?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(items);
        }
        if octal(&block[SUM..KIND]) != Some(sum(block)) {
            return Err(bad("a header with the right checksum"));
        }
        let start = offset + BLOCK;
        let end = octal(&block[SIZE..SIZE + 12]).and_then(|size| start.checked_add(size));
        let body = end.and_then(|end| tar.get(start..end)).ok_or(bad("the bytes of the entry"))?;
        let kind = block[KIND];
        match kind {
            b'L' => long_name = Some(text(body)),
            b'K' => long_target = Some(text(body)),
            _ => {
                let path = long_name.take().unwrap_or_else(|| text(&block[..NAME]));
                let target = long_target.take();
                let target = target.unwrap_or_else(|| text(&block[TARGET..TARGET + NAME]));
                let item = match kind {
                    b'0' => Item::File(body.to_vec()),
                    b'5' => Item::Directory,
                    b'2' => Item::Link(target.into()),
                    _ => return Err(bad("a file, a directory or a symbolic link")),
                };
                let path = path.trim_end_matches('/').to_owned();
                if !stays_inside(&path, &item) {
                    return Err(bad("a path inside of the tree"));
                }
                items.insert(path, item);
            }
        }
        offset = start + body.len().next_multiple_of(BLOCK);
    }
}

/// The sum of a header's bytes, in which its own field counts as spaces.
fn sum(block: &[u8]) -> usize {
    let byte = |(at, byte): (usize, &u8)| match (SUM..KIND).contains(&at) {
        true => usize::from(b' '),
        false => usize::from(*byte),
    };
    block.iter().enumerate().map(byte).sum()
}

fn octal(field: &[u8]) -> Option<usize> {
    usize::from_str_radix(text(field).trim(), 8).ok()
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// Whether an entry is in the tree, and what a link points to as well.
fn stays_inside(path: &str, item: &Item) -> bool {
    let path = Path::new(path);
    let is_name = |part: Component<'_>| matches!(part, Component::Normal(_));
    if path.as_os_str().is_empty() || !path.components().all(is_name) {
        return false;
    }
    let Item::Link(target) = item else { return true };
    let mut depth = path.components().count() - 1;
    target.components().all(|part| match part {
        Component::ParentDir => depth.checked_sub(1).is_some_and(|above| {
            depth = above;
            true
        }),
        Component::Normal(_) => {
            depth += 1;
            true
        }
        Component::CurDir => true,
        Component::RootDir | Component::Prefix(_) => false,
    })
}
