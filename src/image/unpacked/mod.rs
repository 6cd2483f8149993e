//! An image taken apart: a directory of sections and `image.toml`, editable, from which the
//! image is built again. Without an edit the same bytes come out.
//!
//! | file | subject |
//! |---|---|
//! | `unpack` | an image as files and a manifest |
//! | `header` | the header's fields in the manifest |
//! | `repack` | the image that they describe |

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
    /// All other files: plain names and bytes.
    pub files: Vec<(String, &'a [u8])>,
}

/// A directory from which no image can be built.
#[derive(Debug, thiserror::Error)]
pub enum RepackError {
    /// `image.toml` is no TOML, lacks a key or has one too many.
    #[error("image.toml: {0}")]
    Manifest(String),
    /// A file that `image.toml` names cannot be read.
    #[error("{file}: {error}")]
    File {
        /// Its name.
        file: String,
        /// What the system says.
        error: io::Error,
    },
    /// A file whose size cannot change has another one.
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
