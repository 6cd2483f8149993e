//! What can be wrong with an update file.

use super::manifest::MAX_MANIFEST;

/// An update file that cannot be read, or that does not give a partition.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a payload nor a zip file.
    #[error("is not an OTA: expected \"CrAU\" (a payload.bin) or a zip file, found {found}")]
    UnknownMagic {
        /// The first bytes, printable.
        found: String,
    },
    /// A payload of another major version.
    #[error(
        "file_format_version at offset 4 is {0}, expected 2 (version 1 is that of ChromeOS before 2018)"
    )]
    Version(u64),
    /// Something extends past the end of the file.
    #[error("{what} takes {size} bytes from offset {offset}, but the file ends at {end}")]
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
    /// A manifest that is too large.
    #[error("manifest_size at offset 12 is {0}, expected at most {limit}", limit = MAX_MANIFEST)]
    ManifestSize(u64),
    /// The manifest cannot be decoded.
    #[error("the manifest at offset 24 is damaged: {0}")]
    Manifest(String),
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
        /// What is missing.
        what: &'static str,
    },
    /// A partition that is not in the file.
    #[error("there is no partition {wanted}; the file has {known}")]
    NoPartition {
        /// The one asked for.
        wanted: String,
        /// Those that the file has.
        known: String,
    },
    /// An operation that needs the data on the device.
    #[error(
        "operation {index} of {partition} is {operation}, which starts from the partition on the device: this is an incremental OTA; take the full one"
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
    /// The result is not what the manifest says.
    #[error(
        "{partition} has the SHA-256 {found}, the manifest says {expected}: the file is damaged"
    )]
    Hash {
        /// The partition.
        partition: String,
        /// Of the result.
        found: String,
        /// In the manifest.
        expected: String,
    },
    /// A zip file that cannot be read.
    #[error("the zip file: {0}")]
    Zip(#[from] zip::result::ZipError),
    /// A zip file without a payload and without images.
    #[error("the zip file holds neither a payload.bin nor an image such as boot.img")]
    NothingInside,
    /// A file in a zip file whose size differs from the one in the directory.
    #[error("{name} in the zip file has {found} bytes, but the directory says {expected}")]
    EntrySize {
        /// Its name.
        name: String,
        /// Bytes unpacked, at most one more than expected.
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
