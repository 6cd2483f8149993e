//! Errors and problems of kernels.

use std::sync::Arc;

use super::layer::MAX_LAYERS;
use crate::compression;

/// A defect of a header; the rest could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{layer}: {field} at offset {offset:#x}: {what}")]
pub struct Problem {
    /// The container.
    pub layer: &'static str,
    /// The header field, by the name its documentation gives it.
    pub field: &'static str,
    /// Offset of the field, in bytes, in the coordinates of the layer.
    pub offset: usize,
    /// The defect.
    pub what: String,
}

/// Why a kernel could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No bytes at all.
    #[error("is empty, expected a kernel")]
    Empty,
    /// No known magic.
    #[error(
        "is not a kernel: it starts with {start}, expected an arm64 Image, a compressed stream, EFI zboot, zImage, bzImage, ELF or an MTK header"
    )]
    Unrecognised {
        /// The first bytes in hex.
        start: String,
    },
    /// A header field that leads out of the file, and without which nothing can be read.
    #[error(
        "{layer}: {field} at offset {offset:#x} is {value:#x}, but there are only {limit:#x} bytes"
    )]
    OutOfRange {
        /// The container.
        layer: &'static str,
        /// The header field.
        field: &'static str,
        /// Offset of the field, in bytes.
        offset: usize,
        /// What it says.
        value: u64,
        /// What there is, in bytes.
        limit: u64,
    },
    /// The file ends inside a header.
    #[error("{layer}: the header is cut short: {have} bytes, expected {need}")]
    Truncated {
        /// The container.
        layer: &'static str,
        /// Bytes there are.
        have: usize,
        /// Bytes there must be.
        need: usize,
    },
    /// Nothing inside can be unpacked.
    #[error("{layer}: no compressed kernel that can be unpacked inside")]
    NoPayload {
        /// The container.
        layer: &'static str,
    },
    /// A compression that vfioboot cannot unpack.
    #[error("the kernel is compressed with {0}, which vfioboot cannot unpack")]
    UnsupportedCompression(String),
    /// Containers in containers without end.
    #[error("more than {MAX_LAYERS} containers inside one another")]
    TooDeep,
    /// The system does not give memory to unpack into.
    #[error("cannot reserve memory for an unpacked kernel of up to 256 MiB: {0}")]
    Memory(#[source] Arc<std::io::Error>),
    /// A stream that could not be unpacked.
    #[error(transparent)]
    Compression(#[from] compression::Error),
}
