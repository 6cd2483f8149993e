//! Where guest files are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vfioboot::device::sys::host::{Host, errno_text};

use crate::outcome::Failure;

/// Where guest files are by default; the first that exists.
const DIRECTORIES: &[&str] = &["data/adb/vfioboot/guests", "etc/vfioboot/guests"];

/// The directory that is given, else the usual one.
pub fn directory(host: &Host, given: Option<&Path>) -> Result<PathBuf, Failure> {
    let usual = || DIRECTORIES.iter().map(|path| host.path(path)).find(|path| path.is_dir());
    given.map(Path::to_owned).or_else(usual).ok_or_else(|| {
        let usual = DIRECTORIES.iter().map(|path| format!("/{path}")).collect::<Vec<_>>();
        Failure::new(format!("a directory of guest files does not exist: {}", usual.join(" or ")))
    })
}

/// Where guest files are if nobody says otherwise: in a directory that is there, else where one is made.
pub fn usual_directory(host: &Host) -> PathBuf {
    let there = DIRECTORIES.iter().find(|path| host.path(path).is_dir());
    Path::new("/").join(there.or(DIRECTORIES.last()).unwrap_or(&""))
}

/// The guest files in a directory, by name.
pub fn guest_files(directory: &Path) -> Result<Vec<PathBuf>, DirectoryError> {
    let entries = fs::read_dir(directory)
        .map_err(|error| DirectoryError { directory: directory.to_owned(), error })?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort_unstable();
    Ok(files)
}

/// A directory that cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", directory.display(), errno_text(.error))]
pub struct DirectoryError {
    directory: PathBuf,
    #[source]
    error: io::Error,
}
