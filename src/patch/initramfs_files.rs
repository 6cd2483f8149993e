//! The files of the initramfs that the segment becomes part of.

use super::context::Context;
use super::error::Error;
use crate::bootset::Spot;
use crate::ramdisk::cpio::Header;
use crate::ramdisk::tree::{Found, Tree};
use crate::ramdisk::{Limits, Ramdisk};

/// The files that the kernel unpacks from the ramdisks of a set, whichever ramdisk they are in.
pub(crate) struct InitramfsFiles<'s, 'a> {
    set: Context<'s, 'a>,
    carrier: Spot,
}

impl<'s, 'a> InitramfsFiles<'s, 'a> {
    /// Those of `set`, where the ramdisk `carrier` is to be patched.
    pub(crate) fn new(set: Context<'s, 'a>, carrier: Spot) -> Self {
        InitramfsFiles { set, carrier }
    }

    /// The tree. A damaged ramdisk that is to be patched is an error; of any other, what can be
    /// read counts.
    fn tree(&self) -> Result<&'s Tree, Error> {
        if let Some(ramdisk) = self.set.ramdisk(self.carrier)
            && ramdisk.inventory().is_err()
        {
            Ramdisk::parse(ramdisk.bytes, Limits::default())?;
        }
        Ok(self.set.tree()?)
    }

    /// What is at `path`; `follow` resolves a symbolic link at its end.
    pub(crate) fn find(&self, path: &[u8], follow: bool) -> Result<Option<Found>, Error> {
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
    pub(crate) fn entry(&self, found: &Found) -> Result<Option<(Header, Vec<u8>)>, Error> {
        Ok(self.set.entry(found)?)
    }
}
