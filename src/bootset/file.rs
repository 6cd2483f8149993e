//! A file of the set.

use crate::image;
use crate::kernel::config_file::ConfigFileError;

/// The memory of a file that can be released.
pub trait Pages: std::fmt::Debug + Sync {
    /// The bytes are not needed for now. A later access reads them from the file again.
    fn release(&self);
}

/// A given file.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// Its name in messages.
    pub name: String,
    /// Its contents.
    pub bytes: &'a [u8],
    /// The identity of the file; None for bytes that come from no file.
    pub identity: Option<Identity>,
    /// For bytes that are mapped from the file; None for others.
    pub pages: Option<&'a dyn Pages>,
}

/// A file of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

impl<'a> File<'a> {
    /// Bytes that come from no file.
    pub fn new(name: impl Into<String>, bytes: &'a [u8]) -> Self {
        File { name: name.into(), bytes, identity: None, pages: None }
    }

    /// Whether both are the same file. Without both identities, equal bytes are the same file.
    pub(crate) fn is_same(&self, other: &File<'_>) -> bool {
        match (self.identity, other.identity) {
            (Some(own), Some(other)) => own == other,
            (None, _) | (_, None) => self.bytes == other.bytes,
        }
    }
}

/// Errors of building a set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that is not an image.
    #[error("{file}")]
    Image {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        #[source]
        source: image::Error,
    },
    /// A kernel config that cannot be used.
    #[error("{file}")]
    Config {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        #[source]
        source: ConfigFileError,
    },
}
