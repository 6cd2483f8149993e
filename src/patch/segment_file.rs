//! A file of the appended segment.

use crate::ramdisk::cpio::Header;

/// The directory in the ramdisk for modules that a patch adds.
pub(crate) const MODULE_DIR: &str = "/vfioboot/modules";

/// A directory that a patch adds to the ramdisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentDirectory {
    /// Absolute.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
}

/// A file that a patch adds to the ramdisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    /// Absolute.
    pub path: String,
    /// Type, mode, owner and time.
    pub header: Header,
    /// Contents; the target of a symbolic link.
    pub bytes: Vec<u8>,
    /// Whether the kernel must first remove the file at the path.
    pub replaces: bool,
}

impl SegmentFile {
    /// A new file.
    pub(crate) fn new(path: &str, mode: u32, bytes: Vec<u8>) -> Self {
        let header = Header { mode: 0o100_000 | mode & 0o7777, ..Header::default() };
        SegmentFile::like(path, header, bytes)
    }

    /// A file with the type, mode, owner and time of another.
    pub(crate) fn like(path: &str, header: Header, bytes: Vec<u8>) -> Self {
        SegmentFile { path: path.to_owned(), header, bytes, replaces: false }
    }

    /// This file, replacing one that has other names, which keep its data.
    pub(crate) fn replacing(self) -> Self {
        SegmentFile { replaces: true, ..self }
    }

    /// Its parent directories that only vfioboot creates: those named after it, and those below.
    /// Creating a directory that exists would change its mode.
    pub(crate) fn own_directories(&self) -> Vec<&str> {
        let ends = self.path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        let parents = ends.map(|at| &self.path[..at]);
        parents.filter(|path| path.split('/').any(|part| part == "vfioboot")).collect()
    }
}
