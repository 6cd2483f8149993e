//! The set itself: each answer is computed when it is first needed, and kept.

use std::sync::{Arc, OnceLock};

use super::avb::{self, Cover};
use super::cmdline::EffectiveCmdline;
use super::evidence::Evidence;
use super::facts::Facts;
use super::file::{Error, File};
use super::flow::{self, Flow};
use super::initramfs::{self, Initramfs};
use super::kernel::{KernelState, SetKernel, parse};
use super::members::{self, Members};
use super::provenance::Provenance;
use super::ramdisks::{Ramdisk, Spot};
use super::role::{self, Role};
use super::sources::CommandLines;
use crate::image::avb::Vbmeta;
use crate::image::{Image, ImageKind, SectionName};
use crate::kernel::{self, Exports, Kernel, KernelConfig};
use crate::modules::{ModuleProblem, ModuleRequest, ModuleTree, ProblemCause};
use crate::ramdisk::cpio::Header;
use crate::ramdisk::tree::{Tree, TreeEntry};
use crate::ramdisk::{self, Inventory, Reach};

/// The images of one device. See the [module](super).
#[derive(Debug)]
pub struct BootSet<'a> {
    members: Members<'a>,
    roles: OnceLock<Vec<Role>>,
    initramfs: OnceLock<Initramfs>,
    tree: OnceLock<Result<Tree, usize>>,
    command_lines: OnceLock<CommandLines>,
    kernel: OnceLock<SetKernel>,
    evidence: OnceLock<Result<Option<Evidence>, kernel::Error>>,
    exports: OnceLock<Option<Exports>>,
    cmdline: OnceLock<EffectiveCmdline>,
    flow: OnceLock<Flow>,
    originals: OnceLock<Vec<Option<Original>>>,
}

/// What a patched image was before.
#[derive(Debug)]
pub(crate) struct Original {
    /// Its file.
    pub bytes: Vec<u8>,
    /// Whether it is the original byte for byte, and not the image with the patch taken out of it.
    pub exact: bool,
}

impl<'a> BootSet<'a> {
    /// The set of these files: images, bare kernels, a kernel config. The same file given twice is
    /// one image.
    ///
    /// # Errors
    /// [`Error::Image`] for any other file, [`Error::Config`].
    pub fn new(files: impl IntoIterator<Item = File<'a>>) -> Result<Self, Error> {
        Ok(Self::of(Members::read(files, members::parse)?))
    }

    /// The set of these files, which are all images. The same file given twice is one image.
    ///
    /// # Errors
    /// [`Error::Image`] for a file that is not an image.
    pub fn of_images(files: impl IntoIterator<Item = File<'a>>) -> Result<Self, Error> {
        Ok(Self::of(Members::read(files, Image::parse)?))
    }

    /// The set of these parsed images, each named after its kind.
    pub fn from_images(images: &[Image<'a>]) -> Self {
        let names = images.iter().map(|image| image.kind().to_string()).collect();
        Self::of(Members::of(names, images.to_vec(), (0..images.len()).collect()))
    }

    pub(super) fn of(members: Members<'a>) -> Self {
        BootSet {
            members,
            roles: OnceLock::new(),
            initramfs: OnceLock::new(),
            tree: OnceLock::new(),
            command_lines: OnceLock::new(),
            kernel: OnceLock::new(),
            evidence: OnceLock::new(),
            exports: OnceLock::new(),
            cmdline: OnceLock::new(),
            flow: OnceLock::new(),
            originals: OnceLock::new(),
        }
    }

    /// The images, each once, in the order of the files.
    pub fn images(&self) -> &[Image<'a>] {
        &self.members.images
    }

    /// The name of the image of this index in messages.
    pub fn name(&self, image: usize) -> &str {
        self.members.name(image)
    }

    /// The index of the image of this file; files are numbered as they were given.
    pub fn image_of(&self, file: usize) -> Option<usize> {
        self.members.given.get(file).copied()
    }

    /// The number of the first file that has the image of this index.
    pub fn file_of(&self, image: usize) -> Option<usize> {
        self.members.given.iter().position(|own| *own == image)
    }

    /// The images and their ramdisks.
    pub(super) fn own_members(&self) -> &Members<'a> {
        &self.members
    }

    /// The images with their indices and roles.
    pub fn members(&self) -> impl Iterator<Item = (usize, &Image<'a>, Role)> {
        let pairs = self.images().iter().zip(self.roles().iter().copied()).enumerate();
        pairs.map(|(index, (image, role))| (index, image, role))
    }

    /// What each image is for. Ramdisks are read only where the headers do not decide.
    pub fn roles(&self) -> &[Role] {
        self.roles.get_or_init(|| role::decide(&self.members))
    }

    /// The index of the first image in this role.
    pub fn position(&self, role: Role) -> Option<usize> {
        self.roles().iter().position(|own| *own == role)
    }

    /// Collect modules in the passes over the ramdisks, too. Call it before the first access to the
    /// contents of a ramdisk; it has no effect after the first call.
    pub fn request_modules(&self, request: ModuleRequest) {
        self.members.request.get_or_init(|| request);
    }

    /// The ramdisks of all images, in the order of the images and of their fragments.
    pub fn ramdisks(&self) -> &[Ramdisk<'a>] {
        &self.members.ramdisks
    }

    /// The ramdisk at this place.
    pub fn ramdisk(&self, spot: Spot) -> Option<&Ramdisk<'a>> {
        self.members.ramdisk(spot)
    }

    /// The ramdisks of a normal boot in memory order. The bootloader loads one of boot and init_boot;
    /// for a set that only starts recovery, it is the ramdisk of recovery.
    pub fn in_memory_order(&self) -> Vec<&Ramdisk<'a>> {
        initramfs::in_memory_order(&self.members, self.roles())
    }

    /// The initramfs of a normal boot: what the kernel does at each segment.
    pub fn initramfs(&self) -> &Initramfs {
        self.initramfs.get_or_init(|| Initramfs::read(&self.members, self.roles()))
    }

    /// The ramdisks of the initramfs in memory order, and of each the number of entries that the kernel
    /// gets to.
    pub(super) fn inventories(&self) -> Vec<(&Ramdisk<'a>, &Inventory, usize)> {
        let initramfs = self.initramfs();
        let reached = |own: &Ramdisk<'a>, inventory: &Inventory| {
            initramfs.reached(own.spot).map_or(0, |segments| inventory.entries_in(segments))
        };
        self.in_memory_order()
            .into_iter()
            .filter_map(|own| {
                let inventory = own.inventory().ok()?;
                Some((own, inventory, reached(own, inventory)))
            })
            .collect()
    }

    /// The file tree that the kernel unpacks from the initramfs: nothing of what comes after the place
    /// at which it stops.
    ///
    /// # Errors
    /// [`ramdisk::Error::TooMany`] if the names of a ramdisk take more than
    /// [`ramdisk::Limits::metadata`].
    pub fn tree(&self) -> Result<&Tree, ramdisk::Error> {
        let tree = self.tree.get_or_init(|| {
            let initramfs = self.initramfs();
            let last = initramfs.parts.last().and_then(|part| initramfs.reach(part.spot));
            let inventories: Vec<_> =
                self.inventories().into_iter().map(|(_, own, count)| (own, count)).collect();
            Inventory::tree_of(&inventories, last.unwrap_or(Reach::Always))
        });
        tree.as_ref().map_err(|limit| ramdisk::Error::too_many_names(*limit))
    }

    /// The header and data of a file that [`Tree::find`] gave for [`BootSet::tree`].
    ///
    /// # Errors
    /// As [`ramdisk::Ramdisk::parse`].
    pub fn entry(&self, found: &TreeEntry) -> Result<Option<(Header, Vec<u8>)>, ramdisk::Error> {
        let Some((ramdisk, inventory, number)) = self.locate(found.source) else { return Ok(None) };
        let here = TreeEntry { source: number as u64, ..found.clone() };
        inventory.entry(ramdisk.bytes, &here)
    }

    /// The ramdisk with an entry of [`BootSet::tree`], and the number of the entry in it.
    pub(crate) fn locate(&self, source: u64) -> Option<(&Ramdisk<'a>, &Inventory, usize)> {
        let mut source = usize::try_from(source).ok()?;
        for (ramdisk, inventory, count) in self.inventories() {
            if source < count {
                return Some((ramdisk, inventory, source));
            }
            source -= count;
        }
        None
    }

    /// The modules of the initramfs and their lists; see [`BootSet::request_modules`].
    pub fn modules(&self) -> ModuleTree {
        let ramdisks = self.in_memory_order();
        let named = |own: &Ramdisk<'a>| self.images()[own.spot.image].kind().to_string();
        let mut tree = ModuleTree::of_files(ramdisks.iter().map(|own| (named(own), own.modules())));
        for ramdisk in ramdisks {
            if let Err(error) = ramdisk.inventory() {
                let cause = ProblemCause::Ramdisk(Arc::clone(error));
                tree.problems.push(ModuleProblem::new(named(ramdisk), cause));
            }
        }
        tree
    }

    /// The kernel parameters in the images, by where they are.
    pub fn command_lines(&self) -> &CommandLines {
        self.command_lines.get_or_init(|| CommandLines::read(&self.members))
    }

    /// The image that contains the kernel, and the kernel as it is there: the one that a normal boot
    /// starts, or that of recovery if there is no other.
    pub fn kernel_bytes(&self) -> Option<(usize, &'a [u8])> {
        let kernel = |(index, image): (usize, &Image<'a>)| {
            Some((index, image.section(SectionName::Kernel)?))
        };
        let kernels: Vec<_> = self.images().iter().enumerate().filter_map(kernel).collect();
        // Roles cost more than a look at the headers.
        if kernels.len() < 2 {
            return kernels.first().copied();
        }
        let normal = kernels.iter().find(|(index, _)| self.roles()[*index] != Role::Recovery);
        normal.or(kernels.first()).copied()
    }

    /// The kernel that a normal boot starts.
    pub fn kernel(&self) -> &SetKernel {
        self.kernel.get_or_init(|| {
            let image = self.kernel_bytes().map(|(image, _)| image);
            SetKernel::read(&self.members, image, self.command_lines())
        })
    }

    /// What the kernel's symbol table implies about its config; None if there is a config, or no
    /// readable table. It costs no second pass if it is called before [`BootSet::kernel`].
    ///
    /// # Errors
    /// As [`Kernel::kallsyms`].
    pub fn evidence(&self) -> Result<Option<&Evidence>, &kernel::Error> {
        if self.config().is_some() {
            return Ok(None);
        }
        let evidence = self.evidence.get_or_init(|| {
            let mut names = None;
            if self.kernel.get().is_none() {
                let image = self.kernel_bytes().map(|(image, _)| image);
                let lines = self.command_lines();
                let (kernel, found) = SetKernel::read_with_names(&self.members, image, lines);
                names = found;
                // It was not needed before, and concurrent callers compute the same.
                let _ = self.kernel.set(kernel);
            } else if let (KernelState::NoConfig, true, Some(kernel)) =
                (&self.kernel().state, self.kernel().complete, self.parse_kernel())
            {
                names = kernel?.kallsyms(&Evidence::texts())?;
            }
            let (kernel, name) = (self.kernel(), self.name(self.kernel().image.unwrap_or(0)));
            let (arch, version) = (kernel.facts.arch, kernel.facts.version());
            let whole = kernel.complete && kernel.damage.is_none();
            Ok(names.map(|names| {
                let mut evidence = Evidence::collect(&names, arch, version, name);
                if whole {
                    evidence.without_config();
                }
                evidence
            }))
        });
        evidence.as_ref().map(Option::as_ref)
    }

    /// The kernel that a normal boot starts, with its containers; None if no image has one.
    pub fn parse_kernel(&self) -> Option<Result<Kernel<'a>, kernel::Error>> {
        let (image, bytes) = self.kernel_bytes()?;
        Some(parse(bytes, self.images()[image].kind() != ImageKind::Kernel))
    }

    /// The kernel config among the files, and where it comes from. It is used instead of the one
    /// embedded in the kernel.
    pub fn config(&self) -> Option<&(KernelConfig, Provenance)> {
        self.members.config.as_ref()
    }

    /// The symbols that the kernel exports to modules; None if they cannot be read. The first
    /// call decompresses the kernel into memory.
    pub fn exports(&self) -> Option<&Exports> {
        let read = || self.parse_kernel()?.ok()?.exports().ok()?;
        self.exports.get_or_init(read).as_ref()
    }

    /// What is known about the kernel and its command line.
    pub fn facts(&self) -> &Facts {
        &self.kernel().facts
    }

    /// The command line that the kernel uses; without parameters if it is unknown.
    pub fn cmdline(&self) -> &EffectiveCmdline {
        self.cmdline.get_or_init(|| EffectiveCmdline::new(self.facts()).unwrap_or_default())
    }

    /// How a device with these images boots.
    pub fn flow(&self) -> &Flow {
        self.flow.get_or_init(|| {
            flow::detect(&flow::Basis {
                set: &self.members,
                roles: self.roles(),
                kernel: self.kernel(),
                lines: self.command_lines(),
            })
        })
    }

    /// Release the memory of the files, for now.
    pub(crate) fn release_pages(&self) {
        self.members.pages.iter().for_each(|pages| pages.release());
    }

    /// The originals of patched images, kept as long as the set; None for an image that was not
    /// patched. `restore` is called once.
    ///
    /// # Errors
    /// Those of `restore`.
    pub(crate) fn originals<E>(
        &self,
        restore: impl FnOnce() -> Result<Vec<Option<Original>>, E>,
    ) -> Result<&[Option<Original>], E> {
        if let Some(originals) = self.originals.get() {
            return Ok(originals);
        }
        let originals = restore()?;
        Ok(self.originals.get_or_init(|| originals))
    }

    /// The index of the top-level vbmeta image.
    pub fn top_vbmeta(&self) -> Option<usize> {
        self.position(Role::Vbmeta)
    }

    /// The partitions that each image may be for.
    pub(super) fn partition_names(&self) -> Vec<avb::Names> {
        avb::names(&self.members, self.roles())
    }

    /// The partition that the image of this index is for, without the suffix of a slot: the one that
    /// AVB's own descriptor names, or the likeliest. None for a bare kernel or ramdisk, and for a
    /// config.
    pub(crate) fn partition_of(&self, image: usize) -> Option<String> {
        let own = self.images()[image].partition_name();
        match self.roles()[image] {
            Role::Vbmeta => Some(Role::Vbmeta.as_str().to_owned()),
            Role::ChainedVbmeta => Some(avb::stem(self.name(image)).to_owned()),
            _ if own.is_some() => own.map(|name| name.escape_ascii().to_string()),
            _ => self.partition_names()[image].first().map(str::to_owned),
        }
    }

    /// The names that the partition of this image can have, without the suffix of a slot; none for what
    /// belongs to no partition that is known.
    pub fn partitions_of(&self, image: usize) -> Vec<String> {
        match self.partition_of(image) {
            None => Vec::new(),
            Some(own) => {
                let mut names = vec![own];
                if self.images()[image].partition_name().is_none() {
                    names.extend(self.partition_names()[image].iter().map(str::to_owned));
                    names.dedup();
                }
                names
            }
        }
    }

    /// How the vbmeta image `vbmeta` covers the image of this index; None if no descriptor names it.
    pub fn cover(&self, vbmeta: &Vbmeta<'_>, image: usize) -> Option<Cover> {
        let own = self.images().get(image)?;
        match own.kind() {
            ImageKind::Vbmeta => avb::chain_to(vbmeta, self.name(image), own).map(Cover::Chain),
            _ => {
                let own =
                    own.partition_name().map(|name| String::from_utf8_lossy(name).into_owned());
                let own = || avb::cover(vbmeta, &avb::Names::stated(own.as_deref()?));
                avb::cover(vbmeta, self.partition_names().get(image)?).or_else(own)
            }
        }
    }
}
