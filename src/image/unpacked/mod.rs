//! An unpacked image: a directory of sections and `image.toml` that can be edited and repacked.
//! Without an edit, repacking gives the same bytes.
//!
//! | file | subject |
//! |---|---|
//! | `unpack` | splits an image into files and a manifest |
//! | `header` | the header fields in the manifest |
//! | `repack` | builds the image from them |

mod header;
mod repack;
mod unpack;

use std::io;

use super::Error;

pub use repack::repack;
pub use unpack::unpack;

/// The manifest's name in the directory.
pub const MANIFEST: &str = "image.toml";
const FORMAT: u32 = 1;

/// The files of an unpacked image.
#[derive(Clone, Debug)]
pub struct Unpacked<'a> {
    /// The text of `image.toml`.
    pub manifest: String,
    /// All other files: names without a directory, and bytes.
    pub files: Vec<(String, &'a [u8])>,
}

/// Errors of building an image from a directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepackError {
    /// `image.toml` is not valid TOML, or has a missing or unknown key.
    #[error("image.toml")]
    Toml(#[source] toml::de::Error),
    /// A key of `image.toml` has a wrong value.
    #[error("image.toml: {0}")]
    Manifest(String),
    /// A file that `image.toml` names cannot be read.
    #[error("{file}")]
    File {
        /// Its name.
        file: String,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// The size of a file changed that must not change.
    #[error("{file} has {found} bytes, expected {expected}: this region cannot change its size")]
    FixedSize {
        /// Its name.
        file: String,
        /// Its size in bytes.
        found: usize,
        /// The size it must have.
        expected: usize,
    },
    /// The edited image cannot be written.
    #[error(transparent)]
    Image(#[from] Error),
}
