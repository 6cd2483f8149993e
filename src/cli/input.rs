//! Input files: mapped into memory, or read from standard input for `-`.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The bytes of one input and the name that messages call it by.
pub struct Input {
    /// Where it came from; `-` for standard input.
    pub path: PathBuf,
    bytes: Bytes,
}

enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Input {
    /// Open `path`, or read standard input when it is `-`.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Self::read(path).with_context(|| path.display().to_string())
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes)?;
            return Ok(Input { path: path.into(), bytes: Bytes::Owned(bytes) });
        }
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            bail!("is a directory, expected a file");
        }
        if !metadata.is_file() {
            // Pipes and block devices have no length to map.
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            return Ok(Input { path: path.into(), bytes: Bytes::Owned(bytes) });
        }
        if metadata.len() == 0 {
            return Ok(Input { path: path.into(), bytes: Bytes::Owned(Vec::new()) });
        }
        // SAFETY: the mapping is private and read-only. Another process that truncates the
        // file while we read it can end us with SIGBUS; it cannot make us write anything.
        let map = unsafe { memmap2::Mmap::map(&file) }?;
        Ok(Input { path: path.into(), bytes: Bytes::Mapped(map) })
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }
}

impl Deref for Input {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl AsRef<[u8]> for Input {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
