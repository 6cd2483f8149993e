//! Other programs that rebuild a ramdisk: one archive of everything, every entry with its own bytes and
//! no other names.

use std::collections::BTreeMap;

use vfioboot::compression::{Format, encode};
use vfioboot::image::{Chunk, Image, SectionName, resize_fragment};
use vfioboot::ramdisk::cpio::{CpioWriter, Header};

use super::archives::read_all;
use super::edited;

/// What a program does with several entries of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The last one is kept, and all are sorted by name: magiskboot.
    LastWins,
    /// The first one is kept, as by `cpio -i` into a directory.
    FirstWins,
    /// All are kept, in order.
    KeepsAll,
}

impl Peer {
    pub const ALL: [Peer; 3] = [Peer::LastWins, Peer::FirstWins, Peer::KeepsAll];
}

/// A file: header and data.
pub type Content = (Header, Vec<u8>);

/// The files of an archive, in order.
pub type Files = Vec<(String, Content)>;

/// Mode, owner, group and data of a file.
pub type Listed = (u32, u32, u32, Vec<u8>);

/// The files of a ramdisk: what counts of the header, and the data. The last entry of a name counts.
pub fn listing(ramdisk: &[u8]) -> BTreeMap<String, Listed> {
    let files = read_all(ramdisk).unwrap().into_iter().filter(|(entry, _)| !entry.is_trailer());
    files
        .map(|(entry, data)| {
            let Header { mode, uid, gid, .. } = entry.header;
            (String::from_utf8(entry.name).unwrap(), (mode, uid, gid, data))
        })
        .collect()
}

/// The ramdisk, rebuilt after `change`.
pub fn rebuilt(ramdisk: &[u8], peer: Peer, change: &dyn Fn(&mut Files)) -> Vec<u8> {
    let mut files: Files = Vec::new();
    for (entry, data) in read_all(ramdisk).unwrap() {
        let name = String::from_utf8(entry.name.clone()).unwrap();
        let before = files.iter_mut().find(|(other, _)| *other == name);
        match (before, peer) {
            _ if entry.is_trailer() => {}
            (Some((_, before)), Peer::LastWins) => *before = (entry.header, data),
            (Some(_), Peer::FirstWins) => {}
            _ => files.push((name, (entry.header, data))),
        }
    }
    change(&mut files);
    if peer == Peer::LastWins {
        files.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    let archive = archive(&files);
    match Format::detect(ramdisk) {
        Some(format) => encode(format, &archive, None).unwrap(),
        None => archive,
    }
}

/// One archive. The inode numbers are new.
fn archive(files: &[(String, Content)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, (name, (header, data))) in files.iter().enumerate() {
        let header = Header {
            ino: 300_000 + number as u32,
            nlink: 1,
            mtime: 0,
            filesize: data.len() as u32,
            namesize: name.len() as u32 + 1,
            ..*header
        };
        bytes.extend(header.to_bytes());
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes.extend(CpioWriter::new(Vec::new()).finish().unwrap());
    bytes
}

/// Add a file.
pub fn with(files: &mut Files, name: &str, data: &[u8]) {
    files.retain(|(other, _)| other != name);
    let header = Header { mode: 0o100_750, ..Header::default() };
    files.push((name.to_owned(), (header, data.to_vec())));
}

/// The image with another ramdisk, of a vendor_boot with another last fragment.
pub fn with_ramdisk(image: &[u8], change: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let parsed = Image::parse(image).unwrap();
    let fragments = parsed.fragments();
    let Some((number, last)) = fragments.iter().enumerate().next_back() else {
        let new = change(parsed.section(SectionName::Ramdisk).unwrap());
        return edited(image, |edit| {
            edit.sections.push((SectionName::Ramdisk, vec![Chunk::owned(new)]));
        });
    };
    let new = change(last.bytes);
    let section = parsed.section(SectionName::VendorRamdisk).unwrap();
    let table = parsed.section(SectionName::VendorRamdiskTable);
    let table = table.map(|table| resize_fragment(table, 108, number, new.len() as u32).unwrap());
    let whole = [&section[..last.offset], &new].concat();
    edited(image, |edit| {
        edit.sections.push((SectionName::VendorRamdisk, vec![Chunk::owned(whole)]));
        let table = table.map(|table| (SectionName::VendorRamdiskTable, vec![Chunk::owned(table)]));
        edit.sections.extend(table);
    })
}

/// The ramdisk of an image, of a vendor_boot its last fragment.
pub fn ramdisk_of(image: &[u8]) -> Option<Vec<u8>> {
    let parsed = Image::parse(image).unwrap();
    match parsed.fragments().last() {
        Some(fragment) => Some(fragment.bytes.to_vec()),
        None => parsed.section(SectionName::Ramdisk).map(<[u8]>::to_vec),
    }
}
