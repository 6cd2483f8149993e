//! A bundle as a tree of files, to be judged.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use super::tar::{self, Item, Malformed};
use crate::device::sys::host::errno_text;

/// A file that is longer is not a bundle.
const LIMIT: u64 = 64 << 20;

/// A bundle that was unpacked, until this is dropped.
#[derive(Debug)]
pub struct Unpacked(PathBuf);

/// Why a bundle could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// A file cannot be read or made.
    #[error("{}: {}", path.display(), errno_text(.error))]
    File {
        /// Its path.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// It is not what `doctor --bundle` wrote.
    #[error("{}: {error}; it is not what vfiorun doctor --bundle wrote", path.display())]
    NotBundle {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: Malformed,
    },
    /// An entry is behind a link of the bundle.
    #[error("{}: {entry} is behind a link; it is not what vfiorun doctor --bundle wrote", path.display())]
    BehindLink {
        /// The bundle.
        path: PathBuf,
        /// The entry.
        entry: String,
    },
}

impl Unpacked {
    /// Unpacks the bundle in `file` into a new directory for temporary files.
    ///
    /// # Errors
    /// See [`UnpackError`].
    pub fn new(file: &Path) -> Result<Self, UnpackError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| UnpackError::File { path, error }
        };
        let mut bytes = Vec::new();
        let opened = File::open(file).map_err(failed(file))?;
        opened.take(LIMIT).read_to_end(&mut bytes).map_err(failed(file))?;
        let items = tar::read(&bytes)
            .map_err(|error| UnpackError::NotBundle { path: file.to_owned(), error })?;
        if let Some(entry) = behind_link(&items) {
            return Err(UnpackError::BehindLink { path: file.to_owned(), entry: entry.clone() });
        }
        let place = std::env::temp_dir().join(format!("vfiorun-bundle.{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&place).map_err(failed(&place))?;
        // From here on it is removed, whatever happens.
        let unpacked = Self(place);
        for (path, item) in &items {
            let path = unpacked.path().join(path);
            make(&path, item).map_err(failed(&path))?;
        }
        Ok(unpacked)
    }

    /// The root of the tree.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

/// An entry that would be written through a link.
fn behind_link(items: &BTreeMap<String, Item>) -> Option<&String> {
    let is_link = |path: &Path| {
        path.to_str().is_some_and(|path| matches!(items.get(path), Some(Item::Link(_))))
    };
    items.keys().find(|path| Path::new(path).ancestors().skip(1).any(is_link))
}

fn make(path: &Path, item: &Item) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match item {
        Item::Directory => fs::create_dir_all(path),
        Item::File(bytes) => File::create_new(path)?.write_all(bytes),
        Item::Link(target) => symlink(target, path),
    }
}
