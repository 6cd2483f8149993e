//! The files of the initramfs to which the segment is added.

use super::context::Context;
use super::error::Error;
use crate::bootset::Spot;
use crate::ramdisk::cpio::Header;
use crate::ramdisk::tree::{Tree, TreeEntry};
use crate::ramdisk::{Limits, Ramdisk};

/// The files that the kernel unpacks from all ramdisks of a set.
pub(crate) struct InitramfsFiles<'s, 'a> {
    set: Context<'s, 'a>,
    carrier: Spot,
}

impl<'s, 'a> InitramfsFiles<'s, 'a> {
    /// The files of `set`, whose ramdisk `carrier` will be patched.
    pub(crate) fn new(set: Context<'s, 'a>, carrier: Spot) -> Self {
        InitramfsFiles { set, carrier }
    }

    /// The tree. It is an error if the ramdisk to patch is damaged; of other ramdisks, the readable
    /// part is used.
    fn tree(&self) -> Result<&'s Tree, Error> {
        if let Some(ramdisk) = self.set.ramdisk(self.carrier)
            && ramdisk.inventory().is_err()
        {
            Ramdisk::parse(ramdisk.bytes, Limits::default())?;
        }
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
