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
    /// The header field, by its documented name.
    pub field: &'static str,
    /// Offset of the field, in bytes from the start of the layer.
    pub offset: usize,
    /// The defect.
    pub what: String,
}

/// Errors of reading a kernel.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An empty file.
    #[error("is empty, expected a kernel")]
    Empty,
    /// The file starts with no known magic.
    #[error(
        "is not a kernel: it starts with {start}, expected an arm64 Image, a compressed stream, EFI zboot, zImage, bzImage, ELF or an MTK header"
    )]
    Unrecognised {
        /// The first bytes in hex.
        start: String,
    },
    /// A required header field points outside the file.
    #[error(
        "{layer}: {field} at offset {offset:#x} is {value:#x}, but the input has only {limit:#x} bytes"
    )]
    OutOfRange {
        /// The container.
        layer: &'static str,
        /// The header field.
        field: &'static str,
        /// Offset of the field, in bytes.
        offset: usize,
        /// Its value.
        value: u64,
        /// Size of the input in bytes.
        limit: u64,
    },
    /// The file ends inside a header.
    #[error("{layer}: the header is truncated: {have} bytes, expected {need}")]
    Truncated {
        /// The container.
        layer: &'static str,
        /// Available bytes.
        have: usize,
        /// Required bytes.
        need: usize,
    },
    /// No compressed kernel was found inside.
    #[error("{layer}: contains no compressed kernel that can be decompressed")]
    NoPayload {
        /// The container.
        layer: &'static str,
    },
    /// An unsupported compression.
    #[error("the kernel is compressed with {0}, which vfioboot cannot decompress")]
    UnsupportedCompression(String),
    /// Too many nested containers.
    #[error("more than {MAX_LAYERS} nested containers")]
    TooDeep,
    /// Memory for the decompressed kernel could not be allocated.
    #[error("cannot reserve memory for a decompressed kernel of up to 256 MiB: {0}")]
    Memory(#[source] Arc<std::io::Error>),
    /// A stream could not be decompressed.
    #[error(transparent)]
    Compression(#[from] compression::Error),
}
