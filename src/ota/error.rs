//! Errors of reading a payload.

use super::manifest::MAX_MANIFEST;
use crate::compression;

/// A payload cannot be read, or a partition cannot be extracted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a payload.
    #[error("is not an OTA payload: expected \"CrAU\" at offset 0, found {found}")]
    UnknownMagic {
        /// The first bytes, printable.
        found: String,
    },
    /// A payload of another major version.
    #[error(
        "file_format_version at offset 4 is {0}, expected 2 (ChromeOS used version 1 before 2018)"
    )]
    Version(u64),
    /// Something extends past the end of the file.
    #[error("{what} takes {size} bytes from offset {offset}, but the file ends at {end}")]
    Truncated {
        /// The data.
        what: String,
        /// Its offset in bytes.
        offset: u64,
        /// Its size in bytes.
        size: u64,
        /// The size of the file in bytes.
        end: u64,
    },
    /// A manifest that is too large.
    #[error("manifest_size at offset 12 is {0}, expected at most {limit}", limit = MAX_MANIFEST)]
    ManifestSize(u64),
    /// The manifest cannot be decoded.
    #[error("the manifest at offset 24 is damaged")]
    Manifest(#[source] prost::DecodeError),
    /// An operation in the manifest cannot be decoded.
    #[error("the manifest at offset 24 is damaged: operation {index}")]
    ManifestOperation {
        /// Index of the operation, from 0.
        index: usize,
        /// The error of the decoder.
        #[source]
        error: prost::DecodeError,
    },
    /// An invalid block size.
    #[error("the manifest's block_size is {0}, expected a power of two from 512 to 1048576")]
    BlockSize(u32),
    /// A partition that is too large.
    #[error("partition {partition} has {size} bytes in the manifest, expected at most 17179869184")]
    PartitionSize {
        /// Its name.
        partition: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A partition without name, size or hash.
    #[error("partition {partition} has no {what} in the manifest")]
    MissingField {
        /// Its name, or its number.
        partition: String,
        /// The missing field.
        what: &'static str,
    },
    /// A partition that is not in the file.
    #[error("there is no partition {wanted}; the file has {known}")]
    NoPartition {
        /// The requested partition.
        wanted: String,
        /// The partitions in the file.
        known: String,
    },
    /// An operation that needs the partition on the device.
    #[error(
        "operation {index} of {partition} is {operation}, which needs the partition on the device: this is an incremental OTA; use the full OTA"
    )]
    Incremental {
        /// The partition.
        partition: String,
        /// Index of the operation, from 0.
        index: usize,
        /// Its type.
        operation: String,
    },
    /// An operation that cannot be applied.
    #[error("operation {index} of {partition}: {message}")]
    Operation {
        /// The partition.
        partition: String,
        /// Index of the operation, from 0.
        index: usize,
        /// What is wrong.
        message: String,
    },
    /// Data of an operation that cannot be decompressed.
    #[error("operation {index} of {partition}: {operation}")]
    Decompress {
        /// The partition.
        partition: String,
        /// Index of the operation, from 0.
        index: usize,
        /// Its type.
        operation: &'static str,
        /// What is wrong with the data.
        #[source]
        problem: DataProblem,
    },
    /// Blocks that no operation writes.
    #[error(
        "no operation of {partition} writes blocks {from} to {to}: the OTA is incremental or damaged"
    )]
    Gap {
        /// The partition.
        partition: String,
        /// The first such block.
        from: u64,
        /// The block after the last.
        to: u64,
    },
    /// The result does not match the manifest.
    #[error(
        "{partition} has the SHA-256 {found}, but the manifest has {expected}: the file is damaged"
    )]
    Hash {
        /// The partition.
        partition: String,
        /// The hash of the result.
        found: String,
        /// The hash in the manifest.
        expected: String,
    },
    /// The result cannot be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What is wrong with the compressed data of an operation.
#[derive(Debug, thiserror::Error)]
pub enum DataProblem {
    /// The decoder refuses its beginning.
    #[error(transparent)]
    Start(#[from] compression::Error),
    /// The decoder stops within it.
    #[error(transparent)]
    Stream(#[from] std::io::Error),
    /// It does not fit into the blocks.
    #[error("decompresses to more than its {room} bytes of blocks")]
    TooLarge {
        /// The size of the blocks in bytes.
        room: u64,
    },
}

impl Error {
    pub(super) fn no_partition<'n>(wanted: &str, known: impl Iterator<Item = &'n str>) -> Self {
        let known: Vec<_> = known.map(|name| name.escape_debug().to_string()).collect();
        Error::NoPartition { wanted: wanted.to_owned(), known: known.join(", ") }
    }
}
