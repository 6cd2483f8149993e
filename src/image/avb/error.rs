//! Why a vbmeta image cannot be written.

use super::KeyError;
use crate::image::problem::Problem;

/// The largest vbmeta image that libavb loads, in bytes (`VBMETA_MAX_SIZE`).
pub const MAX_VBMETA_SIZE: usize = 64 << 10;

/// Why a vbmeta image cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// libavb would refuse the old one.
    #[error(transparent)]
    Structure(#[from] Problem),
    /// No hash descriptor describes the image.
    #[error(
        "the vbmeta image has no hash descriptor that describes this image: its digest cannot be updated (preserve and strip do without)"
    )]
    NoHashDescriptor,
    /// A hash descriptor with an unknown hash.
    #[error(
        "the hash descriptor of {partition} has the hash \"{algorithm}\", expected sha1, sha256 or sha512"
    )]
    UnknownHash {
        /// The partition.
        partition: String,
        /// The hash's name.
        algorithm: String,
    },
    /// A digest of another size than that of its hash.
    #[error(
        "the hash descriptor of {partition} has a digest of {found} bytes, {algorithm} has {expected}"
    )]
    DigestSize {
        /// The partition.
        partition: String,
        /// The hash's name.
        algorithm: &'static str,
        /// Bytes there.
        found: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// More than libavb loads.
    #[error("the vbmeta image would take {0} bytes, libavb loads at most {MAX_VBMETA_SIZE}")]
    TooLarge(usize),
    /// The key cannot be used.
    #[error("the key cannot be used")]
    Key(#[from] KeyError),
}
