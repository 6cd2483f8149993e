//! The initramfs as the kernel sees it: the ramdisks of all images in memory order.
//!
//! Bootloaders put the fragments of vendor_boot first, in table order, then those of
//! vendor_kernel_boot, then the generic ramdisk, then the bootconfig, each directly after the one
//! before.

use std::ops::Range;
use std::sync::OnceLock;

use super::{BootSet, Ramdisk, Role, Spot};
use crate::compression::Format;
use crate::image::{FragmentType, SectionName};
use crate::modules::ModuleTree;
use crate::ramdisk::tree::{Found, Tree};
use crate::ramdisk::{self, Inventory, Reach, Unpacker};

/// The initramfs of a normal boot.
#[derive(Debug)]
pub struct Initramfs {
    /// The ramdisks in memory order.
    pub parts: Vec<Part>,
    /// Index of the image whose bootconfig comes after them.
    pub bootconfig: Option<usize>,
    tree: OnceLock<Tree>,
}

/// One ramdisk in the initramfs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it comes from.
    pub spot: Spot,
    /// Where it is in the initramfs, in bytes.
    pub range: Range<usize>,
    /// What the kernel does at each of its segments; empty for a damaged ramdisk.
    pub segments: Vec<Step>,
    /// The kernel stops in this ramdisk: what comes after is never unpacked.
    pub stops: Option<Stop>,
}

/// What the kernel does at a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it is in its ramdisk, in bytes.
    pub range: Range<usize>,
    /// How it is compressed; None for a raw archive.
    pub compression: Option<Format>,
    /// Zero bytes that the kernel skips before it.
    pub padding: usize,
    /// Whether the kernel gets to it.
    pub reach: Reach,
}

/// Why the kernel stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The ramdisk is damaged.
    Damaged,
    /// Bytes that no segment starts with follow, from this offset of the ramdisk on.
    Junk(usize),
    /// A raw archive, or one that continues an lz4_legacy stream, is not at a multiple of 4.
    Unaligned(usize),
}

impl Initramfs {
    pub(super) fn read(set: &BootSet<'_>) -> Self {
        let mut walk = Walk::default();
        let parts: Vec<Part> = set.in_memory_order().map(|ramdisk| walk.part(ramdisk)).collect();
        let with_bootconfig = |(_, image, role): &(usize, &crate::image::Image<'_>, Role)| {
            *role == Role::VendorBoot && image.section(SectionName::Bootconfig).is_some()
        };
        let bootconfig = set.members().find(with_bootconfig).map(|(index, ..)| index);
        Initramfs { parts, bootconfig, tree: OnceLock::new() }
    }

    /// Whether the kernel gets to the last segment of the ramdisk at `spot`; None where it is not
    /// part of the initramfs.
    pub fn reach(&self, spot: Spot) -> Option<Reach> {
        let part = self.parts.iter().find(|part| part.spot == spot)?;
        let last = part.segments.last().map(|step| step.reach);
        Some(last.unwrap_or(match part.stops {
            Some(_) => Reach::Never,
            None => Reach::Always,
        }))
    }
}

/// The kernel on its way through the initramfs.
#[derive(Default)]
struct Walk {
    unpacker: Unpacker,
    /// Where the last ramdisk ends.
    end: usize,
    /// Where the last segment ends.
    segment_end: usize,
    stopped: bool,
}

impl Walk {
    fn part(&mut self, ramdisk: &Ramdisk<'_>) -> Part {
        let start = self.end;
        self.end += ramdisk.bytes.len();
        let (segments, stops) = match ramdisk.inventory() {
            Err(_) => (Vec::new(), Some(Stop::Damaged)),
            Ok(inventory) => self.segments(start, inventory),
        };
        self.stopped |= stops.is_some();
        Part { spot: ramdisk.spot, range: start..self.end, segments, stops }
    }

    fn segments(&mut self, at: usize, inventory: &Inventory<'_>) -> (Vec<Step>, Option<Stop>) {
        let mut stops = None;
        let mut steps = Vec::new();
        for segment in inventory.segments() {
            let (start, compression) = (at + segment.range.start, segment.compression);
            let padding = start - self.segment_end;
            let after_raw = self.unpacker.after_raw();
            let phase = self.unpacker.begin(start, padding, compression);
            let aligned = start.is_multiple_of(4) || (compression.is_some() && !after_raw);
            if stops.is_none() && (!aligned || phase != segment.phase) {
                stops = Some(Stop::Unaligned(segment.range.start));
            }
            let reach = match self.stopped || stops.is_some() {
                true => Reach::Never,
                false => self.unpacker.reach(),
            };
            self.segment_end = at + segment.range.end;
            self.unpacker.end(compression, start..self.segment_end, segment.unpacked);
            steps.push(Step { range: segment.range.clone(), compression, padding, reach });
        }
        let junk = inventory.trailing().map(|trailing| Stop::Junk(trailing.range.start));
        (steps, stops.or(junk))
    }
}

impl<'a> BootSet<'a> {
    /// The initramfs of a normal boot.
    pub fn initramfs(&self) -> &Initramfs {
        self.initramfs.get_or_init(|| Initramfs::read(self))
    }

    /// The ramdisks of a normal boot in memory order. Of boot and init_boot the bootloader loads
    /// one; of a set that only starts recovery, that is recovery's.
    pub fn in_memory_order(&self) -> impl Iterator<Item = &Ramdisk<'a>> {
        let roles = self.roles();
        let has = |role| self.ramdisks().iter().any(|own| roles[own.spot.image] == role);
        let generic = [Role::InitBoot, Role::Boot, Role::Ramdisk, Role::Recovery];
        let generic = generic.into_iter().find(|role| has(*role)).filter(|role| {
            *role != Role::Recovery || !(has(Role::VendorBoot) || has(Role::VendorKernelBoot))
        });
        let order = [Some(Role::VendorBoot), Some(Role::VendorKernelBoot), generic];
        order.into_iter().flatten().flat_map(move |role| {
            self.ramdisks().iter().filter(move |own| {
                roles[own.spot.image] == role
                    && own.fragment != Some(FragmentType::Recovery)
                    && !own.bytes.is_empty()
            })
        })
    }

    /// The file tree that the kernel makes of the initramfs; of the ramdisks that can be read.
    pub fn tree(&self) -> &Tree {
        self.initramfs().tree.get_or_init(|| {
            let inventories = self.inventories();
            let last = self.initramfs().parts.last();
            let reach = last.and_then(|part| self.initramfs().reach(part.spot));
            Inventory::tree_of(&inventories, reach.unwrap_or(Reach::Always))
        })
    }

    fn inventories(&self) -> Vec<&Inventory<'a>> {
        self.in_memory_order().filter_map(|ramdisk| ramdisk.inventory().ok()).collect()
    }

    /// The data of a file that [`Tree::find`] gave for [`BootSet::tree`].
    ///
    /// # Errors
    /// As [`ramdisk::Ramdisk::parse`].
    pub fn file(&self, found: &Found) -> Result<Option<Vec<u8>>, ramdisk::Error> {
        let mut source = found.source;
        for inventory in self.inventories() {
            let count = inventory.len() as u64;
            if source < count {
                let here = Found { source, ..found.clone() };
                return Ok(inventory.entry(&here)?.map(|(_, data)| data));
            }
            source -= count;
        }
        Ok(None)
    }

    /// Take modules out of the passes over the ramdisks, too. Without effect once a request was
    /// made; to be made before the first question about a ramdisk.
    pub fn request_modules(&self, request: crate::modules::ModuleRequest) {
        self.request.get_or_init(|| request);
    }

    /// The modules of the initramfs and the lists beside them.
    pub fn modules(&self) -> ModuleTree {
        let named = |ramdisk: &'_ Ramdisk<'a>| self.roles()[ramdisk.spot.image].to_string();
        let ramdisks: Vec<&Ramdisk<'a>> = self.in_memory_order().collect();
        let mut tree = ModuleTree::of_files(ramdisks.iter().map(|own| (named(own), own.modules())));
        for ramdisk in ramdisks {
            if let Err(error) = ramdisk.inventory() {
                tree.problems.push(format!("{}: the rest is damaged: {error}", named(ramdisk)));
            }
        }
        tree
    }
}
