//! What can be wrong with an update file.

use super::manifest::MAX_MANIFEST;

/// An update file that cannot be read, or from which a partition cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a payload nor a zip file.
    #[error("is no OTA: expected \"CrAU\" (a payload.bin) or a zip file, found {found}")]
    UnknownMagic {
        /// The first bytes, printable.
        found: String,
    },
    /// A payload of another major version.
    #[error(
        "file_format_version at offset 4 is {0}, expected 2: version 1 is ChromeOS's of before 2018"
    )]
    Version(u64),
    /// Something reaches behind the end of the file.
    #[error("{what} takes {size} bytes from offset {offset}, the file ends at {end}")]
    Truncated {
        /// What.
        what: String,
        /// Where it starts.
        offset: u64,
        /// Its bytes.
        size: u64,
        /// Bytes of the file.
        end: u64,
    },
    /// A manifest larger than any.
    #[error("manifest_size at offset 12 is {0}, expected at most {limit}", limit = MAX_MANIFEST)]
    ManifestSize(u64),
    /// The manifest is no such message.
    #[error("the manifest at offset 24 is damaged: {0}")]
    Manifest(String),
    /// Another size of blocks than there is.
    #[error("the manifest's block_size is {0}, expected a power of two from 512 to 1048576")]
    BlockSize(u32),
    /// A partition larger than any.
    #[error("partition {partition} has {size} bytes in the manifest, expected at most 17179869184")]
    PartitionSize {
        /// Its name.
        partition: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A partition without name, size or hash.
    #[error("partition {partition} has no {what} in the manifest")]
    Lacks {
        /// Its name, or its number.
        partition: String,
        /// What is missing.
        what: &'static str,
    },
    /// A partition that is not in the file.
    #[error("there is no partition {wanted} in it; there are: {known}")]
    NoPartition {
        /// The one asked for.
        wanted: String,
        /// Those that are.
        known: String,
    },
    /// An operation that needs what is on the device.
    #[error(
        "operation {index} of {partition} is {operation}, which starts from the partition as it is on the device: this is an incremental OTA, take the full one"
    )]
    Incremental {
        /// The partition.
        partition: String,
        /// Its operation, counted from 0.
        index: usize,
        /// Its type.
        operation: String,
    },
    /// An operation that cannot be carried out.
    #[error("operation {index} of {partition}: {message}")]
    Operation {
        /// The partition.
        partition: String,
        /// Its operation, counted from 0.
        index: usize,
        /// What is wrong.
        message: String,
    },
    /// Blocks that no operation writes.
    #[error(
        "no operation of {partition} writes blocks {from} to {to}: this is no full OTA, or it is damaged"
    )]
    Gap {
        /// The partition.
        partition: String,
        /// The first one.
        from: u64,
        /// The one behind the last.
        to: u64,
    },
    /// The result is not what the manifest says.
    #[error(
        "{partition} has the SHA-256 {found}, the manifest says {expected}: the file is damaged"
    )]
    Hash {
        /// The partition.
        partition: String,
        /// That of what came out.
        found: String,
        /// That of the manifest.
        expected: String,
    },
    /// A zip file that cannot be read.
    #[error("the zip file: {0}")]
    Zip(#[from] zip::result::ZipError),
    /// A zip file with nothing in it that is of use.
    #[error("there is neither a payload.bin nor an image (boot.img and so on) in the zip file")]
    NothingInside,
    /// An entry of a zip file that is not as long as it says.
    #[error("{name} in the zip file has {found} bytes, its directory says {expected}")]
    EntrySize {
        /// Its name.
        name: String,
        /// Bytes that came out.
        found: u64,
        /// Bytes expected.
        expected: u64,
    },
    /// The result cannot be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    pub(super) fn no_partition<'n>(wanted: &str, known: impl Iterator<Item = &'n str>) -> Self {
        let known: Vec<_> = known.map(|name| name.escape_debug().to_string()).collect();
        Error::NoPartition { wanted: wanted.to_owned(), known: known.join(", ") }
    }
}
