//! The log of a guest: a file of limited size, and some that came before it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::device::guest::file::Log;
use crate::device::sys::state;

/// A file that is written to. When it is full it is renamed `NAME.1`, what had that name `NAME.2`, and so on.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    limits: Log,
}

impl LogFile {
    /// Goes on with the file at `path`, which is the user's own and closed to others, or begins it.
    ///
    /// # Errors
    /// As [`state::open`].
    pub fn open(path: &Path, limits: &Log) -> io::Result<Self> {
        let file = state::open(path, OpenOptions::new().append(true).create(true))?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, limits: limits.clone() })
    }

    /// Writes all of it into one file.
    ///
    /// # Errors
    /// As `write(2)`; what is wrong with renaming keeps nothing from being written.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        if self.size > 0 && self.size + length > self.limits.size.0 {
            self.rotate();
        }
        self.size += length;
        self.file.write_all(bytes)
    }

    fn rotate(&mut self) {
        let name = |number| numbered(&self.path, number);
        for number in (0..self.limits.count).rev() {
            _ = fs::rename(name(number), name(number + 1));
        }
        // Without any kept, or when it could not be renamed, it begins again in its place.
        let mut options = OpenOptions::new();
        if let Ok(file) = state::open(&self.path, options.append(true).create(true)) {
            self.file = file;
        }
        _ = self.file.set_len(0);
        self.size = 0;
    }
}

/// The name of a log: of the one that is written to, and of those before it.
fn numbered(path: &Path, number: u32) -> PathBuf {
    match number {
        0 => path.to_owned(),
        number => PathBuf::from(format!("{}.{number}", path.display())),
    }
}

/// The full logs before the one at `path`, the newest first.
pub fn full(path: &Path) -> Vec<PathBuf> {
    (1..).map(|number| numbered(path, number)).take_while(|full| full.is_file()).collect()
}
