//! Errors of writing a vbmeta image.

use super::KeyError;
use crate::image::problem::Problem;

/// The largest vbmeta image that libavb loads, in bytes (`VBMETA_MAX_SIZE`).
pub(crate) const MAX_VBMETA_SIZE: usize = 64 << 10;

/// A vbmeta image cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// libavb would reject the existing vbmeta image.
    #[error(transparent)]
    Structure(#[from] Problem),
    /// No hash descriptor describes the image.
    #[error(
        "the vbmeta image has no hash descriptor for this image, so its digest cannot be updated (preserve and strip do not need one)"
    )]
    NoHashDescriptor,
    /// A hash descriptor with an unknown hash algorithm.
    #[error(
        "the hash descriptor of {partition} has the hash algorithm \"{algorithm}\", expected sha1, sha256 or sha512"
    )]
    UnknownHash {
        /// The partition.
        partition: String,
        /// The hash's name.
        algorithm: String,
    },
    /// A digest whose size is not that of its hash algorithm.
    #[error(
        "the hash descriptor of {partition} has a digest of {found} bytes, {algorithm} has {expected}"
    )]
    DigestSize {
        /// The partition.
        partition: String,
        /// The hash's name.
        algorithm: &'static str,
        /// Its size in bytes.
        found: usize,
        /// Expected size in bytes.
        expected: usize,
    },
    /// The vbmeta image is larger than libavb loads.
    #[error("the vbmeta image would take {0} bytes, libavb loads at most {MAX_VBMETA_SIZE}")]
    TooLarge(usize),
    /// The key cannot be used.
    #[error("the key cannot be used")]
    Key(#[from] KeyError),
}
