//! The init program of a ramdisk, whose path the runtime takes.

use crate::bootfile::{ORIGINAL_INIT, ORIGINAL_INIT_LINK};
use crate::patch::error::Error;
use crate::patch::initramfs_files::InitramfsFiles;
use crate::patch::runtime::is_runtime;
use crate::ramdisk::cpio::{CpioWriter, FileType, Header};
use crate::ramdisk::normalise;

/// The init program of a ramdisk, to be kept in the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Original {
    /// Its path, without leading `/`, with the symbolic links on the way resolved.
    path: Vec<u8>,
    copy: Copy,
}

/// How the segment keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Copy {
    /// A file with one name, or a symbolic link: mode, owner and time are the header's.
    Whole(Header, Vec<u8>),
    /// A file that has this other name as well. Its data need not be in the ramdisk twice.
    Link(Vec<u8>),
}

impl Original {
    /// Find the program at `path`, as the kernel would.
    ///
    /// # Errors
    /// [`Error::InitNotInRamdisk`], [`Error::InitNotAFile`], [`Error::InitLost`].
    pub(crate) fn read(files: &InitramfsFiles<'_, '_>, path: &str) -> Result<Self, Error> {
        let missing = || Error::InitNotInRamdisk { path: path.to_owned() };
        let found = files.find(path.as_bytes(), false)?.ok_or_else(missing)?;
        if !matches!(found.file_type, FileType::Regular | FileType::Symlink) {
            return Err(Error::InitNotAFile { path: path.to_owned() });
        }
        if let Some(other) = files.other_name(&found.path)? {
            return Ok(Original { path: found.path, copy: Copy::Link(other) });
        }
        let (header, data) = files.entry(&found)?.ok_or_else(missing)?;
        if is_runtime(&data) {
            return Err(Error::InitLost { path: path.to_owned() });
        }
        Ok(Original { path: found.path, copy: Copy::Whole(header, data) })
    }

    /// Its path.
    pub(crate) fn path(&self) -> String {
        format!("/{}", String::from_utf8_lossy(&self.path))
    }

    /// Where it is kept, as what, and its data or target.
    pub(crate) fn kept(&self) -> (&'static str, FileType, Vec<u8>) {
        match &self.copy {
            Copy::Whole(header, data) => (ORIGINAL_INIT, header.file_type(), data.clone()),
            Copy::Link(other) => {
                (ORIGINAL_INIT_LINK, FileType::Symlink, [b"/", &other[..]].concat())
            }
        }
    }

    /// The bytes that it takes in the segment, before compression.
    pub(crate) fn size(&self) -> usize {
        match &self.copy {
            Copy::Whole(_, data) => data.len(),
            Copy::Link(_) => 0,
        }
    }

    /// Write the original under its new name, and `runtime` at the original's path.
    ///
    /// A regular file that overwrites another keeps its inode and so changes what the other names
    /// of a hard link show (`do_name` in `init/initramfs.c` opens with `O_TRUNC`). A symbolic link
    /// in between makes the kernel unlink the old one first (`clean_path`).
    pub(crate) fn write<W: std::io::Write>(
        &self,
        cpio: &mut CpioWriter<W>,
        runtime: &[u8],
    ) -> std::io::Result<()> {
        match &self.copy {
            Copy::Whole(header, data) => {
                cpio.like(&normalise(ORIGINAL_INIT.as_bytes()), header, data)?;
            }
            Copy::Link(other) => {
                let target = [b"/", &other[..]].concat();
                cpio.symlink(&normalise(ORIGINAL_INIT_LINK.as_bytes()), &target)?;
                cpio.symlink(&self.path, ORIGINAL_INIT.as_bytes())?;
            }
        }
        cpio.file(&self.path, 0o755, runtime)
    }
}
