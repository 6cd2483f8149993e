//! What can be wrong with a ramdisk.

use super::cpio;
use crate::compression::{self, Exhausted};

/// A ramdisk that cannot be read or changed as asked. Offsets are in bytes from the start of
/// the ramdisk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A compressed segment is damaged, cut short or needs too much memory.
    #[error("ramdisk segment at offset {offset:#x}")]
    Compressed {
        /// Where the segment starts.
        offset: usize,
        /// What is wrong with it.
        source: compression::Error,
    },
    /// A segment's cpio archive is damaged.
    #[error("ramdisk segment at offset {offset:#x}")]
    Cpio {
        /// Where the segment starts.
        offset: usize,
        /// What is wrong; offsets in it are in the unpacked archive.
        source: cpio::Error,
    },
    /// The ramdisk unpacks to more than [`super::Limits::unpacked`].
    #[error(
        "ramdisk segment at offset {offset:#x}: the ramdisk unpacks to more than {limit} bytes, the limit"
    )]
    TooLarge {
        /// Where the segment starts in which the limit was passed.
        offset: usize,
        /// The limit in bytes.
        limit: u64,
    },
    /// More segments or entries than [`super::Limits`] allows to keep in memory.
    #[error("the ramdisk has too many {what}: the limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Bytes that no segment starts with, where the next segment was expected.
    #[error("ramdisk offset {offset:#x}: {reason}")]
    Junk {
        /// Where they start.
        offset: usize,
        /// What the kernel would say.
        reason: &'static str,
    },
    /// No entry of that name.
    #[error("\"{path}\": no such entry in the ramdisk")]
    NotFound {
        /// The name asked for.
        path: String,
    },
    /// The entry exists but is not what the operation needs, or the change would not have the
    /// effect it is meant to have.
    #[error("\"{path}\": {reason}")]
    Refused {
        /// The entry's name.
        path: String,
        /// Why.
        reason: String,
    },
    /// The run has read too much, over all its parts.
    #[error(transparent)]
    Budget(#[from] Exhausted),
    /// Writing the result failed.
    #[error("cannot write")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// The names take more memory than `limit`, in bytes.
    pub(crate) fn too_many_names(limit: usize) -> Self {
        Error::TooMany { what: "bytes of names", limit }
    }
}
