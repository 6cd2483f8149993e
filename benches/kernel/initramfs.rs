//! `init/initramfs.c` with its unpackers of lz4_legacy and gzip.

use vfioboot::compression::LZ4_LEGACY_MAGIC;
use vfioboot::ramdisk::cpio::{self, FileType};
use vfioboot::ramdisk::tree::Tree;
use vfioboot::ramdisk::{Entries, Error, Limits, Reach, Segment};

use crate::generate::ramdisk;
use crate::{Subject, Verdict};

pub const SUBJECT: Subject = Subject { name: "initramfs", input: ramdisk::ramdisk, compare };

/// The judge compares as much of a file.
const CONTENT: usize = 1 << 20;

/// An entry that the library gives.
struct Own {
    path: Vec<u8>,
    file_type: FileType,
    data: Vec<u8>,
    trailer: bool,
    segment: usize,
}

/// How a ramdisk ends.
enum End {
    Whole,
    Stops(String),
    /// The kernel may read on: in the next lz4_legacy stream with the same entry; with the digits of a field that is not a number; past the wrong checksum of a
    /// file that it could not make.
    Refused,
}

/// An entry that the kernel took up.
struct Taken<'k> {
    path: &'k [u8],
    note: &'k [u8],
    data: &'k [u8],
}

fn read(input: &[u8]) -> (Vec<Own>, End) {
    let mut entries = Entries::new(input, Limits::default());
    let mut all = Vec::new();
    let mut end = match read_all(&mut entries, &mut all) {
        Ok(()) => End::Whole,
        Err(Error::Cpio { source: cpio::Error::Field { field, .. }, .. }) if field != "name" => {
            End::Refused
        }
        Err(Error::Cpio { source: cpio::Error::Checksum { .. }, .. }) => End::Refused,
        Err(Error::Cpio { offset, source: cpio::Error::Truncated { .. } })
            if goes_on(&input[offset..]) =>
        {
            End::Refused
        }
        Err(error) => End::Stops(format!("{error:?}")),
    };
    let ramdisk = entries.into_ramdisk();
    if let (End::Whole, Some(trailing)) = (&end, &ramdisk.trailing) {
        end = End::Stops(format!("{trailing:?}"));
    }
    if let Some(first) = ramdisk.segments.iter().position(|own| own.reach == Reach::Never) {
        all.retain(|own| own.segment < first);
        end = End::Stops("a segment that is not reached".into());
    }
    if matches!(end, End::Whole) && waits(&ramdisk.segments) {
        end = End::Stops("the kernel waits for more".into());
    }
    (all, end)
}

/// Whether an entry in a compressed segment is one that the kernel skips. When it has the header in two
/// pieces, it reads the first one again after that.
fn skips(input: &[u8]) -> bool {
    let mut entries = Entries::new(input, Limits::default());
    let _ = read_all(&mut entries, &mut Vec::new());
    let skips = !entries.ignored().is_empty();
    skips && entries.into_ramdisk().segments.iter().any(|own| own.compression.is_some())
}

/// Whether there is nothing, or not all of it, in what is compressed.
fn waits(segments: &[Segment<'_>]) -> bool {
    let packed = |own: &Segment<'_>| own.compression.is_some();
    let empty = segments.iter().all(|own| packed(own) && own.unpacked == 0);
    let last = segments.iter().rev().find(|own| own.unpacked > 0);
    last.is_some_and(|last| packed(last) && !last.whole) || empty && !segments.is_empty()
}

/// Whether another lz4_legacy stream follows this one somewhere.
fn goes_on(bytes: &[u8]) -> bool {
    let magic = LZ4_LEGACY_MAGIC.to_le_bytes();
    bytes.starts_with(&magic) && bytes[4..].windows(4).any(|window| window == magic)
}

fn read_all(entries: &mut Entries<'_>, all: &mut Vec<Own>) -> Result<(), Error> {
    while let Some(entry) = entries.next_entry()? {
        let segment = entries.segment();
        let (path, file_type) = (entry.path().to_vec(), entry.file_type());
        let mut data = Vec::new();
        let read = match file_type {
            FileType::Regular | FileType::Symlink => entries.copy_data(&mut data).map(drop),
            _ => Ok(()),
        };
        all.push(Own { path, file_type, data, trailer: entry.is_trailer(), segment });
        read?;
    }
    Ok(())
}

fn compare(input: &[u8], kernel: &[Vec<u8>]) -> Verdict {
    let (all, end) = read(input);
    let found = match end {
        End::Refused => return Verdict::Refused,
        _ => differences(input, kernel, &all, &end),
    };
    match found {
        Some(_) if skips(input) => Verdict::Refused,
        None => Verdict::Same { error: matches!(end, End::Stops(_)) },
        Some(what) => {
            let paths = all.iter().map(|own| {
                let (path, data) = (own.path.escape_ascii(), own.data.len());
                format!("\"{path}\" {:?} {data}", own.file_type)
            });
            let end = match end {
                End::Stops(why) => why,
                _ => "whole".into(),
            };
            Verdict::Different(format!("{what}; {end}; {:?}", paths.collect::<Vec<_>>()))
        }
    }
}

fn differences(input: &[u8], kernel: &[Vec<u8>], all: &[Own], end: &End) -> Option<String> {
    let [error, within, rest @ ..] = kernel else { return Some("no answer".into()) };
    let stops = !error.is_empty() || !within.is_empty();
    match end {
        End::Whole if stops => return Some("only the kernel stops".into()),
        End::Stops(_) if !stops => return Some("only we stop".into()),
        _ => {}
    }
    let [count, rest @ ..] = rest else { return Some("no answer".into()) };
    let (taken, tree) = rest.split_at(rest.len().min(3 * number(count) as usize));
    let taken: Vec<Taken<'_>> = taken
        .chunks_exact(3)
        .map(|part| Taken { path: &part[0], note: &part[1], data: &part[2] })
        .collect();
    let own: Vec<&Own> = all.iter().filter(|own| !own.trailer).collect();
    entries_differ(&taken, &own, stops).or_else(|| match stops {
        true => None,
        false => tree_differs(input, tree, all),
    })
}

/// When both stop, one of them may have got a little further.
fn entries_differ(taken: &[Taken<'_>], own: &[&Own], stops: bool) -> Option<String> {
    if !stops && taken.len() != own.len() {
        return Some(format!("{} entries, not {}", own.len(), taken.len()));
    }
    let last = taken.len().min(own.len()).saturating_sub(1);
    for (number, (kernel, own)) in taken.iter().zip(own).enumerate() {
        let loose = stops && number >= last;
        let same = kernel.path == own.path && data_is_same(kernel, own, loose);
        let begins = loose && kernel.path.starts_with(&own.path);
        if !(same || begins) {
            return Some(format!("entry {number} is another"));
        }
    }
    None
}

fn data_is_same(kernel: &Taken<'_>, own: &Own, loose: bool) -> bool {
    let one_of = |a: &[u8], b: &[u8]| a == b || loose && (a.starts_with(b) || b.starts_with(a));
    match kernel.note {
        b"data" => own.file_type == FileType::Regular && one_of(&own.data, kernel.data),
        b"target" => {
            own.file_type == FileType::Symlink && one_of(until_nul(&own.data), kernel.data)
        }
        // It could not be made; the tree tells whether we know.
        _ => true,
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// `tree` has for each path it and "none" or "root", or it, its type, number of names, size and contents.
fn tree_differs(input: &[u8], mut tree: &[Vec<u8>], all: &[Own]) -> Option<String> {
    let own = match Tree::read(input, Limits::default()) {
        Ok(own) => own,
        Err(error) => return Some(format!("no tree: {error:?}")),
    };
    while let [path, kind, rest @ ..] = tree {
        let found = own.find(path, false);
        let name = path.escape_ascii();
        if kind == b"root" {
            tree = rest;
            continue;
        }
        if kind == b"none" {
            tree = rest;
            if let Some(found) = found {
                return Some(format!("only we have \"{name}\": {found:?}"));
            }
            continue;
        }
        let [names, size, content, rest @ ..] = rest else {
            return Some("a tree cut short".into());
        };
        tree = rest;
        let Some(found) = found else { return Some(format!("only the kernel has \"{name}\"")) };
        let directory = found.file_type == FileType::Directory;
        let same = match found.file_type {
            FileType::Symlink => until_nul(&found.target) == content.as_slice(),
            FileType::Regular => {
                let data = &all[found.source as usize].data;
                number(size) == found.size && &data[..data.len().min(CONTENT)] == content.as_slice()
            }
            _ => true,
        };
        let names = directory || number(names) == found.nlink as u64;
        if !same || !names || number(kind) != type_number(found.file_type) {
            return Some(format!("\"{name}\" is another file: {found:?}"));
        }
    }
    None
}

fn number(text: &[u8]) -> u64 {
    String::from_utf8_lossy(text).parse().unwrap_or(u64::MAX)
}

/// The upper bits of `st_mode`.
fn type_number(file_type: FileType) -> u64 {
    match file_type {
        FileType::Fifo => 1,
        FileType::CharDevice => 2,
        FileType::Directory => 4,
        FileType::BlockDevice => 6,
        FileType::Regular => 8,
        FileType::Symlink => 10,
        FileType::Socket => 12,
        FileType::Unknown => 0,
    }
}
