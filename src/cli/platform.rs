//! What files are called, and who may use them, on the system that vfioboot runs on.

use std::fs::{File, Metadata};
use std::io;
use std::path::Path;

use vfioboot::bootset::Identity;

/// The mode `open` gives a new file; the umask takes its part.
#[cfg(unix)]
pub const NEW_MODE: u32 = 0o666;

#[cfg(unix)]
mod system {
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

    use super::*;

    /// Which file it is, under any name.
    pub fn identity(_: &Path, metadata: &Metadata) -> Option<Identity> {
        Some(Identity { device: metadata.dev(), inode: metadata.ino() })
    }

    /// Which block device it is, under any node; None for what is none.
    pub fn block_device(metadata: &Metadata) -> Option<u64> {
        metadata.file_type().is_block_device().then(|| metadata.rdev())
    }

    /// The permission bits; None where files have none.
    pub fn mode(metadata: &Metadata) -> Option<u32> {
        Some(metadata.permissions().mode())
    }

    /// Give an open file these permission bits.
    pub fn set_mode(file: &File, mode: u32) -> io::Result<()> {
        file.set_permissions(std::fs::Permissions::from_mode(mode))
    }

    /// A builder of temporary files, whose mode is that of any new file.
    pub fn temporary<'a, 'b>() -> tempfile::Builder<'a, 'b> {
        let mut builder = tempfile::Builder::new();
        builder.permissions(std::fs::Permissions::from_mode(NEW_MODE));
        builder
    }

    /// The names in a directory must survive a power cut, too.
    pub fn sync_directory(directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

#[cfg(not(unix))]
mod system {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    /// Which file it is: its full path, without links. (A hard link is another file: an output replaces
    /// the name and never writes to what other names have.)
    pub fn identity(path: &Path, _: &Metadata) -> Option<Identity> {
        let mut hasher = DefaultHasher::new();
        std::fs::canonicalize(path).ok()?.hash(&mut hasher);
        Some(Identity { device: 0, inode: hasher.finish() })
    }

    pub fn block_device(_: &Metadata) -> Option<u64> {
        None
    }

    pub fn mode(_: &Metadata) -> Option<u32> {
        None
    }

    pub fn set_mode(_: &File, _: u32) -> io::Result<()> {
        Ok(())
    }

    pub fn temporary<'a, 'b>() -> tempfile::Builder<'a, 'b> {
        tempfile::Builder::new()
    }

    pub fn sync_directory(_: &Path) -> io::Result<()> {
        Ok(())
    }
}

pub use system::{block_device, identity, mode, set_mode, sync_directory, temporary};
