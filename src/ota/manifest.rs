//! The required messages of a payload: `DeltaArchiveManifest` and its parts, with the field numbers
//! of update_engine's `update_metadata.proto`. Partitions and operations are decoded on demand, so
//! memory is bounded by the size of the file.

use prost::Message;

use crate::compression::Format;

/// Maximum size of a manifest in bytes. The manifest of a full update is smaller than 1 MiB.
pub(super) const MAX_MANIFEST: u64 = 32 << 20;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Manifest {
    #[prost(uint32, optional, tag = "3")]
    pub block_size: Option<u32>,
    #[prost(bytes = "vec", repeated, tag = "13")]
    pub partitions: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartitionUpdate {
    #[prost(string, optional, tag = "1")]
    pub partition_name: Option<String>,
    #[prost(message, optional, tag = "7")]
    pub new_partition_info: Option<PartitionInfo>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub operations: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartitionInfo {
    #[prost(uint64, optional, tag = "1")]
    pub size: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub hash: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InstallOperation {
    #[prost(int32, optional, tag = "1")]
    pub number: Option<i32>,
    #[prost(uint64, optional, tag = "2")]
    pub data_offset: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub data_length: Option<u64>,
    #[prost(message, repeated, tag = "6")]
    pub dst_extents: Vec<Extent>,
    #[prost(bytes = "vec", optional, tag = "8")]
    pub data_sha256_hash: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Extent {
    #[prost(uint64, optional, tag = "1")]
    pub start_block: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    pub num_blocks: Option<u64>,
}

/// `InstallOperation.Type`, by number.
const TYPES: &[(i32, &str, Kind)] = &[
    (0, "REPLACE", Kind::Replace),
    (1, "REPLACE_BZ", Kind::Unpack(Format::Bzip2)),
    (2, "MOVE", Kind::FromSource),
    (3, "BSDIFF", Kind::FromSource),
    (4, "SOURCE_COPY", Kind::FromSource),
    (5, "SOURCE_BSDIFF", Kind::FromSource),
    (6, "ZERO", Kind::Zeros),
    // Reading the blocks back is undefined; all tools write zeros.
    (7, "DISCARD", Kind::Zeros),
    (8, "REPLACE_XZ", Kind::Unpack(Format::Xz)),
    (9, "PUFFDIFF", Kind::FromSource),
    (10, "BROTLI_BSDIFF", Kind::FromSource),
    (11, "ZUCCHINI", Kind::FromSource),
    (12, "LZ4DIFF_BSDIFF", Kind::FromSource),
    (13, "LZ4DIFF_PUFFDIFF", Kind::FromSource),
    (14, "REPLACE_ZSTD", Kind::Unpack(Format::Zstd)),
];

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Write the attached data.
    Replace,
    /// Decompress the attached data.
    Unpack(Format),
    /// Write zeros.
    Zeros,
    /// Use data of the partition on the device.
    FromSource,
}

impl InstallOperation {
    /// The name of its type and its kind; None for an unknown type.
    pub(crate) fn kind(&self) -> Option<(&'static str, Kind)> {
        let number = self.number.unwrap_or(0);
        TYPES.iter().find(|(known, ..)| *known == number).map(|(_, name, kind)| (*name, *kind))
    }
}
