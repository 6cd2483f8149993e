//! The files of the ramdisk that the segment is appended to.

use std::cell::OnceCell;

use super::error::Error;
use crate::ramdisk::cpio::Header;
use crate::ramdisk::tree::{Found, Tree, read_entry};
use crate::ramdisk::{Inventory, Limits};

/// The files of one ramdisk as the kernel unpacks them.
pub struct RamdiskFiles<'a> {
    ramdisk: &'a [u8],
    /// What the pass over it gave; None for a damaged one.
    inventory: Option<&'a Inventory>,
    tree: OnceCell<Tree>,
}

impl<'a> RamdiskFiles<'a> {
    /// Those of `ramdisk`, of which `inventory` is.
    pub fn new(ramdisk: &'a [u8], inventory: Option<&'a Inventory>) -> Self {
        RamdiskFiles { ramdisk, inventory, tree: OnceCell::new() }
    }

    fn tree(&self) -> Result<&Tree, Error> {
        if let Some(inventory) = self.inventory {
            return Ok(inventory.tree()?);
        }
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let tree = Tree::read(self.ramdisk, Limits::default())?;
        Ok(self.tree.get_or_init(|| tree))
    }

    /// What is at `path`; `follow` resolves a symbolic link at its end.
    pub fn find(&self, path: &[u8], follow: bool) -> Result<Option<Found>, Error> {
        Ok(self.tree()?.find(path, follow))
    }

    /// Whether there is anything at `path`.
    pub fn has(&self, path: &[u8]) -> Result<bool, Error> {
        Ok(self.find(path, false)?.is_some())
    }

    /// Another name of the file at `path`; see [`Tree::other_name`].
    pub fn other_name(&self, path: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.tree()?.other_name(path))
    }

    /// Header and data of a file.
    pub fn entry(&self, found: &Found) -> Result<Option<(Header, Vec<u8>)>, Error> {
        match self.inventory {
            Some(inventory) => Ok(inventory.entry(self.ramdisk, found)?),
            None => Ok(read_entry(self.ramdisk, found.source, Limits::default())?),
        }
    }
}
