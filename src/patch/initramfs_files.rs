//! The files of the initramfs to which the segment is added.

use super::context::Context;
use super::error::Error;
use crate::ramdisk::cpio::Header;
use crate::ramdisk::tree::{Tree, TreeEntry};

/// The files that the kernel unpacks from all ramdisks of a set.
pub(crate) struct InitramfsFiles<'s, 'a> {
    set: Context<'s, 'a>,
}

impl<'s, 'a> InitramfsFiles<'s, 'a> {
    /// The files of `set`.
    pub(crate) fn new(set: Context<'s, 'a>) -> Self {
        InitramfsFiles { set }
    }

    fn tree(&self) -> Result<&'s Tree, Error> {
        Ok(self.set.tree()?)
    }

    /// What is at `path`; `follow` resolves a symbolic link at its end.
    pub(crate) fn find(&self, path: &[u8], follow: bool) -> Result<Option<TreeEntry>, Error> {
        Ok(self.tree()?.find(path, follow))
    }

    /// Whether there is anything at `path`.
    pub(crate) fn has(&self, path: &[u8]) -> Result<bool, Error> {
        Ok(self.find(path, false)?.is_some())
    }

    /// Another name of the file at `path`; see [`Tree::other_name`].
    pub(crate) fn other_name(&self, path: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.tree()?.other_name(path))
    }

    /// Header and data of a file.
    pub(crate) fn entry(&self, found: &TreeEntry) -> Result<Option<(Header, Vec<u8>)>, Error> {
        Ok(self.set.entry(found)?)
    }
}
