//! `payload.bin`: "CrAU", version 2, the manifest, its signature, and the data of the operations
//! (the head of update_engine's `update_metadata.proto`). Numbers in the header are big-endian.
//!
//! The SHA-256 of each operation's data and of each partition is verified. Signatures are not: that
//! is the device's task.

use prost::Message;

use super::Error;
use super::manifest::{MAX_MANIFEST, Manifest, PartitionUpdate};

/// Magic, version, size of the manifest, size of its signature.
const HEADER: usize = 24;
const MAGIC: &[u8] = b"CrAU";
/// Maximum size of a partition in bytes, larger than on any device.
const MAX_PARTITION: u64 = 16 << 30;
/// The default of `block_size`.
const BLOCK_SIZE: u32 = 4096;

/// A payload over borrowed bytes.
#[derive(Clone, Debug)]
pub struct Payload<'a> {
    pub(super) data: Data<'a>,
    partitions: Vec<Partition>,
}

/// The data that operations refer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data<'a> {
    /// The whole file.
    pub file: &'a [u8],
    /// Offset of the operations' data in the file.
    pub start: usize,
    /// Size of a block in bytes.
    pub block_size: u64,
}

/// A partition in a payload.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Its name, without A/B suffix.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub(super) sha256: Vec<u8>,
    /// Its operations, as encoded messages.
    pub(super) operations: Vec<Vec<u8>>,
}

impl<'a> Payload<'a> {
    /// Whether `bytes` start with the magic of a payload.
    pub(crate) fn starts(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Read header and manifest.
    ///
    /// # Errors
    /// [`Error::UnknownMagic`], [`Error::Version`], [`Error::Truncated`], [`Error::ManifestSize`],
    /// [`Error::Manifest`], [`Error::BlockSize`], [`Error::MissingField`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if !Self::starts(bytes) {
            let found = match bytes {
                [] => "an empty file".to_owned(),
                _ => format!("\"{}\"", bytes[..bytes.len().min(8)].escape_ascii()),
            };
            return Err(Error::UnknownMagic { found });
        }
        let end = bytes.len() as u64;
        let truncated = |what: &str, offset, size| Error::Truncated {
            what: what.to_owned(),
            offset,
            size,
            end,
        };
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Err(truncated("the header", 0, HEADER as u64));
        };
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&header[at..at + 8]);
            u64::from_be_bytes(number)
        };
        match number(4) {
            2 => {}
            other => return Err(Error::Version(other)),
        }
        let size = number(12);
        let signature = number(16) & u64::from(u32::MAX);
        if size > MAX_MANIFEST {
            return Err(Error::ManifestSize(size));
        }
        let start = HEADER + size as usize;
        let manifest = bytes
            .get(HEADER..start)
            .ok_or_else(|| truncated("the manifest", HEADER as u64, size))?;
        let data = usize::try_from(signature).ok().and_then(|size| start.checked_add(size));
        let data = data
            .filter(|data| *data <= bytes.len())
            .ok_or_else(|| truncated("the manifest's signature", start as u64, signature))?;
        let manifest = Manifest::decode(manifest).map_err(Error::Manifest)?;
        let block_size = manifest.block_size.unwrap_or(BLOCK_SIZE);
        if !block_size.is_power_of_two() || !(512..=1 << 20).contains(&block_size) {
            return Err(Error::BlockSize(block_size));
        }
        let partitions = manifest.partitions.iter().enumerate().map(|(number, bytes)| {
            Partition::new(number, PartitionUpdate::decode(&bytes[..]).map_err(Error::Manifest)?)
        });
        let partitions = partitions.collect::<Result<_, _>>()?;
        let data = Data { file: bytes, start: data, block_size: u64::from(block_size) };
        Ok(Payload { data, partitions })
    }

    /// The partitions, in the manifest's order.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// The partition of this name.
    ///
    /// # Errors
    /// [`Error::NoPartition`].
    pub fn partition(&self, name: &str) -> Result<&Partition, Error> {
        self.partitions.iter().find(|partition| partition.name == name).ok_or_else(|| {
            Error::no_partition(name, self.partitions.iter().map(|known| known.name.as_str()))
        })
    }
}

impl Partition {
    fn new(number: usize, update: PartitionUpdate) -> Result<Self, Error> {
        let missing =
            |partition: &str, what| Error::MissingField { partition: partition.to_owned(), what };
        let name = update.partition_name.filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| missing(&format!("number {number}"), "name"))?;
        let info = update.new_partition_info.unwrap_or_default();
        let size = info.size.ok_or_else(|| missing(&name, "size"))?;
        if size > MAX_PARTITION {
            return Err(Error::PartitionSize { partition: name, size });
        }
        let sha256 = info.hash.filter(|hash| hash.len() == 32);
        let sha256 = sha256.ok_or_else(|| missing(&name, "SHA-256"))?;
        Ok(Partition { name, size, sha256, operations: update.operations })
    }
}
