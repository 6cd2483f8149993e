//! Add and remove entries; everything else stays byte for byte.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use super::cpio::{CpioWriter, Entry, FileType, Header, LinkKey, Reader};
use super::tree::Tree;
use super::{
    Entries, Error, Inventory, Limits, NoCollector, Ours, Ramdisk, Reach, Segment, Tile,
    append_padding, normalise,
};
use crate::compression::{Format, decode_all, encode};

/// Permissions of parent directories that [`add`] makes.
const DIRECTORY_MODE: u32 = 0o755;

/// A ramdisk as pieces to write one after the other: what did not change is borrowed.
pub type Pieces<'a> = Vec<Cow<'a, [u8]>>;

/// A regular file to add.
#[derive(Clone, Copy, Debug)]
pub struct NewFile<'a> {
    /// Its path; a leading `/` or `./` means nothing.
    pub path: &'a [u8],
    /// Its permission bits.
    pub mode: u32,
    /// Its contents.
    pub data: &'a [u8],
}

/// Append a small segment, compressed as the last one is, that holds `file` and the parent
/// directories that are missing. The kernel unpacks it last, so it replaces a file or symbolic
/// link of that name; no byte of the ramdisk changes.
///
/// # Errors
/// [`Error::Refused`] where that would not do what it seems to: the path is a directory, a
/// parent is none, the file has other names (hard links) that would change with it, or the
/// kernel does not get that far. Otherwise as [`Ramdisk::parse`] and `Inventory::append_point`.
pub fn add<'a>(ramdisk: &'a [u8], file: NewFile<'_>, limits: Limits) -> Result<Pieces<'a>, Error> {
    let inventory = Inventory::read(ramdisk, limits, &mut NoCollector)?;
    let tree = inventory.tree()?;
    let path = normalise(file.path);
    let missing = missing_parents(tree, &path)?;
    if tree.reach() == Reach::Never {
        let reason = "the kernel stops before the end of this ramdisk: a segment in another \
                      format follows an lz4_legacy one directly";
        return Err(refused(&path, reason));
    }
    let point = inventory.append_point()?;
    let mut archive = CpioWriter::with_lead_in(Vec::new(), point.lead_in)?;
    for directory in missing {
        archive.dir(directory, DIRECTORY_MODE)?;
    }
    archive.file(&path, file.mode, file.data)?;
    let archive = archive.finish()?;
    let segment = point.continuing(compress(point.format, archive, None)?);
    let (before, after) = ramdisk.split_at(point.offset);
    let padding = vec![0; point.padding];
    let pieces = vec![before.into(), padding.into(), segment.into(), after.into()];
    Ok(keep_aligned(pieces, ramdisk.len(), point.format))
}

/// Other ramdisks may be loaded directly after this one, and a raw one must start at a multiple
/// of 4: where it did, it does. Not after lz4_legacy, where nothing raw can follow and zeros
/// are taken for a block.
fn keep_aligned(mut pieces: Pieces<'_>, old: usize, last: Option<Format>) -> Pieces<'_> {
    let new: usize = pieces.iter().map(|piece| piece.len()).sum();
    if old.is_multiple_of(4) && last != Some(Format::Lz4Legacy) {
        pieces.push(vec![0; append_padding(new)].into());
    }
    pieces
}

/// The parents of `path` that have to be made, outermost first.
fn missing_parents<'p>(tree: &Tree, path: &'p [u8]) -> Result<Vec<&'p [u8]>, Error> {
    if path.is_empty() || path.split(|byte| *byte == b'/').any(|part| part == b"..") {
        return Err(refused(path, "expected the path of a file, without \"..\""));
    }
    let mut missing = Vec::new();
    for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
        let parent = &path[..end];
        match (tree.find(parent, true), tree.find(parent, false)) {
            (Some(found), _) if found.file_type == FileType::Directory => {}
            (Some(_), _) => return Err(refused(parent, "is not a directory")),
            (None, Some(_)) => return Err(refused(parent, "is a symbolic link to nowhere")),
            (None, None) => missing.push(parent),
        }
    }
    match tree.find(path, false) {
        Some(old) if old.file_type == FileType::Directory => Err(refused(path, "is a directory")),
        Some(old) if old.nlink > 1 => Err(refused(
            path,
            "is a hard link: its other names would change with it; remove it first",
        )),
        _ => Ok(missing),
    }
}

/// Remove every entry with the name `path`, and with `recursive` those below it. Only segments
/// that hold one are unpacked and compressed again, in their format; the others stay byte for
/// byte, and so do all other entries, their order and what is between them. Zero padding
/// grows by up to three bytes where a raw archive after a changed segment needs it.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Refused`] for a directory that is not empty and for a hard link
/// whose entry has the data of names that stay; [`Error::Junk`] when the ramdisk ends in bytes
/// that are no segment. Otherwise as [`Ramdisk::parse`].
pub fn remove<'a>(
    ramdisk: &'a [u8],
    path: &[u8],
    recursive: bool,
    limits: Limits,
) -> Result<Pieces<'a>, Error> {
    let doomed = Doomed { path: normalise(path).into_owned(), recursive };
    change(ramdisk, &doomed.find(ramdisk, limits)?, limits)
}

/// What becomes of an entry.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// It goes.
    Removed,
    /// It gets the type, mode, owner, time and data of another file. It keeps its name, its inode
    /// number and its place, and has no other names.
    Becomes(Header, Vec<u8>),
}

/// Change entries, by number as [`TreeEntry::source`](super::tree::TreeEntry::source) counts them. Only
/// segments that hold one are unpacked and compressed again, in their format; the others stay byte for
/// byte, and so do all other entries, their order and what is between them. A segment in which no
/// entry is left goes, if there are others.
///
/// # Errors
/// As [`remove`].
pub(crate) fn change<'a>(
    ramdisk: &'a [u8],
    fates: &BTreeMap<usize, Fate>,
    limits: Limits,
) -> Result<Pieces<'a>, Error> {
    let parsed = Ramdisk::parse(ramdisk, limits)?;
    if let Some(trailing) = parsed.trailing {
        let reason = trailing.reason;
        return Err(Error::Junk { offset: trailing.range.start, reason });
    }
    let tiles = parsed.tiles();
    let alone = parsed.segments.len() == 1;
    let mut pieces = Pieces::new();
    let (mut length, mut number) = (0, 0);
    let mut last = None;
    for (index, (range, tile)) in tiles.iter().enumerate() {
        let piece: Cow<'a, [u8]> = match tile {
            Tile::Segment(own) => {
                let segment = &parsed.segments[*own];
                let first = number;
                number += (segment.entries + segment.trailers) as usize;
                let touched = fates.range(first..number).next().is_some();
                match touched
                    .then(|| rewrite(segment, first, fates, (alone, limits)))
                    .transpose()?
                {
                    None => Cow::Borrowed(&ramdisk[range.clone()]),
                    Some(rewritten) => rewritten.into(),
                }
            }
            _ => Cow::Borrowed(&ramdisk[range.clone()]),
        };
        if let (Tile::Segment(own), false) = (tile, piece.is_empty()) {
            last = parsed.segments[*own].compression;
        }
        length += piece.len();
        pieces.push(piece);
        // A raw archive must start at a multiple of 4 wherever it moves to.
        let next = tiles.get(index + 1).map(|(_, tile)| tile);
        let raw = |number: &usize| parsed.segments[*number].compression.is_none();
        if matches!(next, Some(Tile::Segment(number)) if raw(number)) {
            let padding = append_padding(length);
            length += padding;
            pieces.push(vec![0; padding].into());
        }
    }
    Ok(keep_aligned(pieces, ramdisk.len(), last))
}

/// The ramdisk without our own segment.
pub(crate) fn without<'a>(ramdisk: &'a [u8], ours: &Ours) -> Pieces<'a> {
    let pieces = vec![ramdisk[..ours.range.start].into(), ramdisk[ours.range.end..].into()];
    keep_aligned(pieces, ramdisk.len(), ours.format())
}

/// The segment with the entries from number `first` on changed; empty if none is left and it is not
/// `alone`.
fn rewrite(
    segment: &Segment<'_>,
    first: usize,
    fates: &BTreeMap<usize, Fate>,
    (alone, limits): (bool, Limits),
) -> Result<Vec<u8>, Error> {
    let offset = segment.range.start;
    let archive = match segment.compression {
        None => Cow::Borrowed(segment.bytes),
        Some(format) => {
            let unpacked = decode_all(format, segment.bytes, limits.held);
            unpacked.map_err(|source| Error::Compressed { offset, source })?.0.into()
        }
    };
    let mut reader = Reader::with_phase(&archive[..], segment.phase);
    let mut kept = Vec::with_capacity(archive.len());
    let (mut position, mut left) = (0, segment.entries);
    let mut links = Links::default();
    let fault = |source| Error::Cpio { offset, source };
    for number in first.. {
        let Some(entry) = reader.next_entry().map_err(fault)? else { break };
        let fate = fates.get(&number);
        links.see(&entry, fate.is_some())?;
        let Some(fate) = fate else { continue };
        let start = entry.offset as usize;
        kept.extend_from_slice(&archive[position..start]);
        position = (entry.end() as usize).min(archive.len());
        match fate {
            Fate::Removed => left -= 1,
            Fate::Becomes(like, data) => {
                let mut writer = CpioWriter::new(&mut kept);
                writer.instead_of(&entry, like, data)?;
            }
        }
    }
    links.check()?;
    // The stream that continues one of lz4_legacy goes by its length.
    if left == 0 && !alone && segment.compression != Some(Format::Lz4Legacy) {
        return Ok(Vec::new());
    }
    kept.extend_from_slice(&archive[position..]);
    Ok(compress(segment.compression, kept, gzip_name(segment.bytes))?)
}

/// What to remove.
struct Doomed {
    path: Vec<u8>,
    recursive: bool,
}

impl Doomed {
    fn is(&self, entry: &Entry) -> bool {
        let name = normalise(entry.path());
        !entry.is_trailer() && (name == self.path || self.recursive && self.is_above(&name))
    }

    fn is_above(&self, name: &[u8]) -> bool {
        let below = name.strip_prefix(self.path.as_slice());
        below.is_some_and(|below| self.path.is_empty() || below.first() == Some(&b'/'))
    }

    /// The numbers of these entries.
    fn find(&self, ramdisk: &[u8], limits: Limits) -> Result<BTreeMap<usize, Fate>, Error> {
        let mut entries = Entries::new(ramdisk, limits);
        let mut found = BTreeMap::new();
        let mut children = false;
        for number in 0.. {
            let Some(entry) = entries.next_entry()? else { break };
            children |= self.is_above(&normalise(entry.path())) && !entry.is_trailer();
            if self.is(&entry) {
                found.insert(number, Fate::Removed);
            }
        }
        if found.is_empty() {
            return Err(Error::NotFound { path: self.path.escape_ascii().to_string() });
        }
        if children && !self.recursive {
            return Err(refused(&self.path, "is a directory that is not empty"));
        }
        Ok(found)
    }
}

/// The hard links of one archive: an entry that goes must not take the data of one that stays.
#[derive(Default)]
struct Links {
    /// Path of a removed entry that has data; whether a name stays.
    files: BTreeMap<LinkKey, (Option<Vec<u8>>, bool)>,
}

impl Links {
    fn see(&mut self, entry: &Entry, doomed: bool) -> Result<(), Error> {
        if entry.is_trailer() {
            return self.check();
        }
        if let (FileType::Regular, Some(key)) = (entry.file_type(), entry.header.link_key()) {
            let (data, stays) = self.files.entry(key).or_default();
            *stays |= !doomed;
            if doomed && entry.header.filesize > 0 {
                *data = Some(entry.path().to_vec());
            }
        }
        Ok(())
    }

    /// The archive ends.
    fn check(&mut self) -> Result<(), Error> {
        for (data, stays) in std::mem::take(&mut self.files).into_values() {
            if let (Some(path), true) = (data, stays) {
                let reason = "has the data of its hard links, which stay; remove those as well";
                return Err(refused(&path, reason));
            }
        }
        Ok(())
    }
}

fn compress(format: Option<Format>, archive: Vec<u8>, name: Option<&str>) -> io::Result<Vec<u8>> {
    match format {
        None => Ok(archive),
        Some(format) => encode(format, &archive, name),
    }
}

/// The file name in a gzip header, when it is the only optional field.
fn gzip_name(segment: &[u8]) -> Option<&str> {
    const FNAME: u8 = 8;
    let name = segment.get(10..).filter(|_| segment.starts_with(&[0x1f, 0x8b, 8, FNAME]))?;
    str::from_utf8(name.split(|byte| *byte == 0).next()?).ok()
}

fn refused(path: &[u8], reason: &str) -> Error {
    Error::Refused { path: path.escape_ascii().to_string(), reason: reason.into() }
}
