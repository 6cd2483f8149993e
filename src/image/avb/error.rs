//! Why a vbmeta image cannot be written.

use super::KeyError;
use crate::image::problem::Problem;

/// A vbmeta image that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The old one is not what libavb reads.
    #[error(transparent)]
    Structure(#[from] Problem),
    /// No hash descriptor is about the image.
    #[error(
        "the vbmeta image has no hash descriptor that describes this image: it cannot be re-hashed (preserve or strip leave it)"
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
    /// A digest that has not the size of its hash.
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
    #[error("the vbmeta image would take {0} bytes, libavb loads at most 65536")]
    TooLarge(usize),
    /// The key is of no use.
    #[error("the key {0}")]
    Key(String),
}

impl From<KeyError> for SignError {
    fn from(error: KeyError) -> Self {
        SignError::Key(error.to_string())
    }
}
