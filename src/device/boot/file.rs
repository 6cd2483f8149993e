//! Reads the boot file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use crate::bootfile::BootFile;
use crate::device::sys::host::errno_text;
use crate::device::sys::toml_text::{self, Wrong, in_key};

/// The largest boot file that is read, in bytes. A real one has a few hundred.
pub const SIZE_LIMIT: usize = 64 * 1024;

/// A boot file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BootFileError {
    /// It cannot be read.
    #[error("{}", errno_text(.0))]
    Io(io::Error),
    /// It is larger than [`SIZE_LIMIT`].
    #[error("larger than {SIZE_LIMIT} bytes")]
    TooLarge,
    /// It is no text.
    #[error("not UTF-8 at byte {0}")]
    NotText(usize),
    /// It is for another version of this program.
    #[error("version {0}, but only version {version} is known", version = BootFile::VERSION)]
    Version(u32),
    /// It is no boot file.
    #[error("line {line}: {}{message}", in_key(.key))]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// The key; empty when there is none.
        key: String,
        /// What is wrong there.
        message: String,
    },
    /// What it names as the next program is no absolute path.
    #[error("init is \"{0}\", not an absolute path")]
    Init(String),
}

/// Reads and checks the boot file at `path`.
///
/// # Errors
/// See [`BootFileError`].
pub fn read(path: &Path) -> Result<BootFile, BootFileError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SIZE_LIMIT as u64 + 1).read_to_end(&mut bytes))
        .map_err(BootFileError::Io)?;
    if bytes.len() > SIZE_LIMIT {
        return Err(BootFileError::TooLarge);
    }
    parse(str::from_utf8(&bytes).map_err(|e| BootFileError::NotText(e.valid_up_to()))?)
}

/// Reads and checks the text of a boot file.
///
/// # Errors
/// See [`BootFileError`].
pub fn parse(text: &str) -> Result<BootFile, BootFileError> {
    // First: all else may be unknown to this version.
    let Version { version } = toml_text::parse(text)?;
    if version != BootFile::VERSION {
        return Err(BootFileError::Version(version));
    }
    let file: BootFile = toml_text::parse(text)?;
    if !file.init.starts_with('/') || file.init.contains(['\0', '\n']) {
        return Err(BootFileError::Init(file.init));
    }
    Ok(file)
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl From<Wrong> for BootFileError {
    fn from(Wrong { line, key, message }: Wrong) -> Self {
        Self::Syntax { line, key, message }
    }
}
