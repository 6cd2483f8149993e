//! Super images: the logical partitions of Android 10 and later (liblp's `metadata_format.h`). Numbers are
//! little-endian; a sector has 512 bytes.
//!
//! | offset | |
//! |---|---|
//! | 4096, 8192 | the geometry and its copy |
//! | 12288 | the metadata of each slot, then their copies |

use std::io::Write;
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::blocks::{self, Blocks, number, read};
use super::error::Error;

const GEOMETRY_MAGIC: u64 = 0x616c_4467;
const GEOMETRY_SIZE: usize = 52;
const GEOMETRIES: [u64; 2] = [4096, 8192];
const METADATA: u64 = 12288;
const HEADER_MAGIC: u64 = 0x414c_5030;
const MAJOR_VERSION: u64 = 10;
/// Of a header of version 10.0; later ones are longer.
const HEADER_SIZE: usize = 128;
const SECTOR: u64 = 512;
/// Maximum size of the metadata of a slot; 64 KiB in practice.
const MAX_METADATA: u64 = 4 << 20;
const MAX_SLOTS: u64 = 16;

const PARTITION_SIZE: usize = 52;
const EXTENT_SIZE: usize = 24;
const NAME_SIZE: usize = 36;
const LINEAR: u64 = 0;
const ZERO: u64 = 1;

/// Whether there is a geometry with the right checksum in the head of a file.
pub(super) fn starts(head: &[u8]) -> bool {
    GEOMETRIES.iter().any(|offset| Geometry::parse(head.get(*offset as usize..)).is_some())
}

struct Geometry {
    metadata_size: u64,
    slots: u64,
}

impl Geometry {
    fn parse(bytes: Option<&[u8]>) -> Option<Self> {
        let bytes = bytes?.get(..GEOMETRY_SIZE)?;
        let fits = number::<4>(bytes, 0) == GEOMETRY_MAGIC
            && number::<4>(bytes, 4) == GEOMETRY_SIZE as u64
            && has_checksum(bytes, 8..40);
        let (metadata_size, slots) = (number::<4>(bytes, 40), number::<4>(bytes, 44));
        let bounded =
            (1..=MAX_METADATA).contains(&metadata_size) && (1..=MAX_SLOTS).contains(&slots);
        (fits && bounded).then_some(Geometry { metadata_size, slots })
    }
}

/// Whether the SHA-256 in `field` is that of all bytes with zeros in the field.
fn has_checksum(bytes: &[u8], field: Range<usize>) -> bool {
    let mut zeroed = bytes.to_vec();
    zeroed[field.clone()].fill(0);
    Sha256::digest(&zeroed)[..] == bytes[field]
}

/// A logical partition.
#[derive(Clone, Debug)]
pub(super) struct Logical {
    pub name: String,
    pub size: u64,
    /// Where its bytes are; None for zeros.
    extents: Vec<(Option<u64>, u64)>,
}

/// The logical partitions that have a size, by the first slot's metadata.
///
/// # Errors
/// [`Error::Super`].
pub(super) fn partitions(image: &dyn Blocks) -> Result<Vec<Logical>, Error> {
    let invalid = |message: &str| Error::Super { message: message.to_owned() };
    let mut geometries = GEOMETRIES.iter().filter_map(|offset| {
        let bytes = read(image, *offset, GEOMETRY_SIZE as u64).ok()?;
        Geometry::parse(Some(&bytes))
    });
    let geometry = geometries.next().ok_or_else(|| invalid("has no geometry with its checksum"))?;
    let copies = [METADATA, METADATA + geometry.metadata_size * geometry.slots];
    let mut found = copies.into_iter().filter_map(|offset| {
        let bytes = read(image, offset, geometry.metadata_size).ok()?;
        Metadata::parse(bytes)
    });
    let metadata = found.next().ok_or_else(|| {
        invalid("has no metadata of version 10 with its checksums in the first slot")
    })?;
    metadata.partitions(image.size())
}

/// The metadata of a slot, whose checksums are right.
struct Metadata {
    bytes: Vec<u8>,
    tables: Range<usize>,
}

impl Metadata {
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let header_size = number::<4>(&bytes, 8) as usize;
        let version = number::<2>(&bytes, 4);
        let fits = number::<4>(&bytes, 0) == HEADER_MAGIC
            && version == MAJOR_VERSION
            && header_size >= HEADER_SIZE;
        let header = bytes.get(..header_size).filter(|_| fits)?;
        let size = number::<4>(header, 44) as usize;
        let tables = header_size..header_size.checked_add(size)?;
        let right = has_checksum(header, 12..44)
            && Sha256::digest(bytes.get(tables.clone())?)[..] == header[48..80];
        right.then_some(Metadata { bytes, tables })
    }

    /// The entries of the table whose descriptor is at `offset`.
    fn table(&self, offset: usize, entry: usize) -> Option<Vec<&[u8]>> {
        let tables = self.bytes.get(self.tables.clone())?;
        let [start, count, size] =
            [0, 4, 8].map(|field| number::<4>(&self.bytes, offset + field) as usize);
        let end = count.checked_mul(size)?.checked_add(start)?;
        (size >= entry).then(|| tables.get(start..end))??.chunks_exact(size).map(Some).collect()
    }

    fn partitions(&self, image: u64) -> Result<Vec<Logical>, Error> {
        let invalid = |message: String| Error::Super { message };
        let tables = self.table(80, PARTITION_SIZE).zip(self.table(92, EXTENT_SIZE));
        let (partitions, extents) =
            tables.ok_or_else(|| invalid("has a table outside its metadata".to_owned()))?;
        let mut logical = Vec::new();
        for entry in partitions {
            let name = &entry[..NAME_SIZE];
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            let name = String::from_utf8_lossy(name).into_owned();
            let first = number::<4>(entry, 40) as usize;
            let last = first.saturating_add(number::<4>(entry, 44) as usize);
            let own = extents.get(first..last);
            let own =
                own.ok_or_else(|| invalid(format!("{name} has extents outside the table")))?;
            let own = own.iter().map(|extent| place(extent, &name, image));
            let extents = own.collect::<Result<Vec<_>, _>>()?;
            let size = extents.iter().map(|(_, size)| size).fold(0, |all: u64, size| {
                // Each is within the image or bounded by its sectors.
                all.saturating_add(*size)
            });
            if size > 0 {
                logical.push(Logical { name, size, extents });
            }
        }
        Ok(logical)
    }
}

/// The place of an extent in the image and its size.
fn place(extent: &[u8], name: &str, image: u64) -> Result<(Option<u64>, u64), Error> {
    let invalid = |what: &str| Error::Super { message: format!("{name} {what}") };
    let (sectors, kind) = (number::<8>(extent, 0), number::<4>(extent, 8));
    let (sector, device) = (number::<8>(extent, 12), number::<4>(extent, 20));
    let bytes = |sectors: u64| {
        sectors.checked_mul(SECTOR).ok_or_else(|| invalid("has an extent without an end"))
    };
    let (size, start) = (bytes(sectors)?, bytes(sector)?);
    match kind {
        ZERO => Ok((None, size)),
        LINEAR if device != 0 => Err(invalid("is partly on another block device than super")),
        LINEAR if start.checked_add(size).is_some_and(|end| end <= image) => {
            Ok((Some(start), size))
        }
        LINEAR => Err(invalid("has an extent past the end of the image")),
        _ => Err(invalid("has an extent of unknown type")),
    }
}

impl Logical {
    /// Write its bytes.
    pub(super) fn copy(&self, image: &dyn Blocks, out: &mut dyn Write) -> Result<(), Error> {
        for (place, size) in &self.extents {
            match place {
                Some(offset) => image.copy(*offset, *size, out)?,
                None => blocks::zeros(*size, out)?,
            }
        }
        Ok(())
    }
}
