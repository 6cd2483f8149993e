//! The set of images that a patch is planned for.

use std::sync::Arc;

use super::error::Error;
use super::kernel_facts::KernelFacts;
use crate::bootset::sources::DeviceTreeLine;
use crate::bootset::{BootSet, Cover, Flow, Initramfs, Ramdisk, Role, Spot};
use crate::image::avb::Vbmeta;
use crate::image::{Image, ImageKind};
use crate::kernel::{Exports, Kallsyms};
use crate::modules::{ModuleFile, ModuleSource, ModuleTree};
use crate::ramdisk::cpio::Header;
use crate::ramdisk::tree::{Tree, TreeEntry};
use crate::ramdisk::{self, Inventory};

/// A set of unpatched images. Indices are those of its images.
#[derive(Clone, Copy)]
pub(crate) struct Context<'s, 'a> {
    /// The set itself.
    pub set: &'s BootSet<'a>,
    /// All images.
    pub images: &'s [Image<'a>],
    /// The kernel of the set.
    pub kernel: KernelFacts<'s>,
}

impl<'s, 'a> Context<'s, 'a> {
    /// The context of `set`, with its kernel.
    pub(crate) fn new(set: &'s BootSet<'a>) -> Self {
        Context { set, images: set.images(), kernel: KernelFacts::new(set.kernel()) }
    }

    /// How a device with these images boots.
    pub(crate) fn flow(&self) -> &'s Flow {
        self.set.flow()
    }

    /// The images that a patch may change, with their indices. A recovery image counts only if it is
    /// the only image.
    pub(crate) fn active(&self) -> impl Iterator<Item = (usize, &'s Image<'a>)> + use<'s, 'a> {
        let roles = self.set.roles();
        let only_recovery = roles.iter().all(|role| *role == Role::Recovery || !role.boots());
        self.set.members().filter_map(move |(index, image, role)| {
            let may_change = match role {
                Role::Recovery => only_recovery,
                Role::ChainedVbmeta => false,
                _ => role.left_alone().is_none(),
            };
            may_change.then_some((index, image))
        })
    }

    /// The image of a kind that a patch may change.
    pub(crate) fn find(&self, kind: ImageKind) -> Option<usize> {
        self.active().find(|(_, image)| image.kind() == kind).map(|(index, _)| index)
    }

    /// The kernel command lines in the device trees of the images that a patch may change.
    pub(crate) fn device_tree_lines(&self) -> impl Iterator<Item = &'s DeviceTreeLine> {
        let lines = self.set.command_lines().device_trees.iter();
        let active: Vec<usize> = self.active().map(|(index, _)| index).collect();
        lines.filter(move |(image, _)| active.contains(image)).map(|(_, line)| line)
    }

    /// The index of the top-level vbmeta image.
    pub(crate) fn top_vbmeta(&self) -> Option<usize> {
        self.set.top_vbmeta()
    }

    /// How the vbmeta image `top` covers the image of this index.
    pub(crate) fn cover(&self, top: &Vbmeta<'_>, index: usize) -> Option<Cover> {
        self.set.cover(top, index)
    }

    /// Whether a ramdisk has a file of the module vfio-pci.
    pub(crate) fn has_vfio_pci(&self) -> bool {
        let mut surveys = self.set.ramdisks().iter().filter_map(|ramdisk| ramdisk.survey().ok());
        surveys.any(|survey| survey.vfio_pci)
    }

    /// The contents of the ramdisk at this place; None if it is damaged.
    pub(crate) fn inventory(&self, spot: Spot) -> Option<&'s Inventory> {
        self.set.ramdisk(spot)?.inventory().ok()
    }

    /// The ramdisk at this place.
    pub(crate) fn ramdisk(&self, spot: Spot) -> Option<&'s Ramdisk<'a>> {
        self.set.ramdisk(spot)
    }

    /// The initramfs of a normal boot.
    pub(crate) fn initramfs(&self) -> &'s Initramfs {
        self.set.initramfs()
    }

    /// The files of the initramfs.
    ///
    /// # Errors
    /// As [`BootSet::tree`].
    pub(crate) fn tree(&self) -> Result<&'s Tree, ramdisk::Error> {
        self.set.tree()
    }

    /// Header and data of a file of [`Context::tree`].
    ///
    /// # Errors
    /// As [`BootSet::entry`].
    pub(crate) fn entry(
        &self,
        found: &TreeEntry,
    ) -> Result<Option<(Header, Vec<u8>)>, ramdisk::Error> {
        self.set.entry(found)
    }

    /// The ramdisk that has an entry of [`Context::tree`].
    pub(crate) fn spot_of(&self, source: u64) -> Option<Spot> {
        self.set.locate(source).map(|(ramdisk, ..)| ramdisk.spot)
    }

    /// The modules of the initramfs and their lists.
    pub(crate) fn modules(&self) -> ModuleTree {
        self.set.modules()
    }

    /// The module at this path of the initramfs: if several ramdisks have it, the one unpacked last.
    pub(crate) fn module_file(&self, path: &str) -> Option<&'s ModuleFile> {
        let ramdisks = self.set.in_memory_order().into_iter().rev();
        let mut files = ramdisks.flat_map(|ramdisk| ramdisk.modules().modules.iter().rev());
        files.find(|file| file.path == path).map(Arc::as_ref)
    }

    /// The ramdisks of a normal boot, in the order of unpacking.
    pub(crate) fn ramdisks(&self) -> Vec<ModuleSource<'a>> {
        let named = |ramdisk: &Ramdisk<'a>| ModuleSource::Bytes {
            name: self.images[ramdisk.spot.image].kind().to_string(),
            bytes: ramdisk.bytes,
        };
        self.set.in_memory_order().into_iter().map(named).collect()
    }

    /// The symbols that the kernel exports to modules; None if they cannot be read.
    pub(crate) fn exports(&self) -> Option<&'s Exports> {
        self.set.exports()
    }

    /// The names `module.parameter` of the parameters of these modules in the kernel; None if it
    /// cannot be read. Decompresses the kernel into memory.
    pub(crate) fn built_in_parameters(&self, modules: &[&str]) -> Option<Vec<String>> {
        self.set.parse_kernel()?.ok()?.parameters_of(modules).ok()?
    }

    /// The names in the kernel's symbol table; None if they cannot be read. Decompresses the kernel
    /// into memory.
    pub(crate) fn kernel_symbols(&self) -> Option<Kallsyms> {
        self.set.parse_kernel()?.ok()?.kallsyms(&[]).ok()?
    }

    /// The values of a key in the bootconfigs of the images that a patch may change.
    pub(crate) fn bootconfig_values(&self, key: &str) -> Vec<String> {
        let active: Vec<usize> = self.active().map(|(index, _)| index).collect();
        let configs = self.set.command_lines().bootconfigs.iter();
        let entries =
            configs.filter(|(index, _)| active.contains(index)).flat_map(|own| own.1.entries());
        entries.filter(|entry| entry.key == key).flat_map(|entry| entry.values).collect()
    }

    /// Refuse a set in which two images of a kind may change.
    ///
    /// # Errors
    /// [`Error::TwoOfAKind`].
    pub(crate) fn require_one_of_each(&self) -> Result<(), Error> {
        let twice = |(index, image): &(usize, &Image<'_>)| {
            self.find(image.kind()).is_some_and(|first| first != *index)
        };
        match self.active().find(twice) {
            Some((_, image)) => Err(Error::TwoOfAKind(image.kind())),
            None => Ok(()),
        }
    }
}
