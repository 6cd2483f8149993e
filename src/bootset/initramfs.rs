//! The initramfs as the kernel sees it: the ramdisks of all images in memory order.
//!
//! Bootloaders put the fragments of vendor_boot first, in table order, then those of
//! vendor_kernel_boot, then the generic ramdisk, then the bootconfig, each directly after the one
//! before.

use std::fmt;
use std::ops::Range;

use super::members::Members;
use super::ramdisks::{Ramdisk, Spot};
use super::role::Role;
use crate::compression::Format;
use crate::image::{FragmentType, SectionName};
use crate::ramdisk::{Inventory, Reach, Unpacker};

/// The initramfs of a normal boot.
#[derive(Debug)]
#[non_exhaustive]
pub struct Initramfs {
    /// The ramdisks in memory order.
    pub parts: Vec<Part>,
    /// Index of the image whose bootconfig comes after them: that of vendor_boot, or the one that stands
    /// behind the last ramdisk.
    pub bootconfig: Option<usize>,
}

/// One ramdisk in the initramfs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Where it comes from.
    pub spot: Spot,
    /// Its range in the initramfs, in bytes.
    pub range: Range<usize>,
    /// What the kernel does at each of its segments; empty for a damaged ramdisk.
    pub segments: Vec<Step>,
    /// Why the kernel stops in this ramdisk; it unpacks nothing after that.
    pub stops: Option<Stop>,
}

/// What the kernel does at a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Its range in its ramdisk, in bytes.
    pub range: Range<usize>,
    /// How it is compressed; None for a raw archive.
    pub compression: Option<Format>,
    /// Zero bytes that the kernel skips before it.
    pub padding: usize,
    /// Whether the kernel reaches it.
    pub reach: Reach,
}

/// Why the kernel stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The ramdisk is damaged.
    Damaged,
    /// No segment starts at this offset of the ramdisk.
    Junk(usize),
    /// A raw archive, or one that continues an lz4_legacy stream, is not at a multiple of 4.
    Unaligned(usize),
    /// A segment in another format follows an lz4_legacy stream directly; the kernel takes its
    /// first bytes for the size of a block.
    AfterLz4Legacy(usize),
    /// A segment follows a stream at whose end the kernel still waits for more of an archive.
    AfterJunk(usize),
}

impl Stop {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Stop::Damaged => "damaged",
            Stop::Junk(_) => "junk",
            Stop::Unaligned(_) => "unaligned",
            Stop::AfterLz4Legacy(_) => "after_lz4_legacy",
            Stop::AfterJunk(_) => "after_junk",
        }
    }

    /// The offset in the ramdisk, in bytes, where it is known.
    pub fn offset(self) -> Option<usize> {
        match self {
            Stop::Damaged => None,
            Stop::Junk(offset)
            | Stop::Unaligned(offset)
            | Stop::AfterLz4Legacy(offset)
            | Stop::AfterJunk(offset) => Some(offset),
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Damaged => f.write_str("it is damaged"),
            Stop::Junk(offset) => write!(f, "no segment starts at offset {offset:#x}"),
            Stop::Unaligned(offset) => {
                write!(f, "the archive at offset {offset:#x} is not at a multiple of 4 in memory")
            }
            Stop::AfterLz4Legacy(offset) => write!(
                f,
                "the segment at offset {offset:#x} follows an lz4_legacy stream directly, in \
                 another format"
            ),
            Stop::AfterJunk(offset) => write!(
                f,
                "the segment at offset {offset:#x} follows a stream in which an archive is empty or cut \
                 short"
            ),
        }
    }
}

impl Initramfs {
    pub(super) fn read(set: &Members<'_>, roles: &[Role]) -> Self {
        let mut walk = Walk::default();
        let order = in_memory_order(set, roles).into_iter();
        let parts: Vec<Part> = order.map(|ramdisk| walk.part(ramdisk)).collect();
        let bootconfig = std::iter::zip(&set.images, roles).position(|(image, role)| {
            *role == Role::VendorBoot && image.section(SectionName::Bootconfig).is_some()
        });
        let behind = || Some(behind_the_last(set, roles)?.0);
        Initramfs { parts, bootconfig: bootconfig.or_else(behind) }
    }

    /// The ramdisk in which the kernel stops before the end of the one at `spot`, and the reason.
    pub fn stop_before_end_of(&self, spot: Spot) -> Option<(Spot, Stop)> {
        let last = self.parts.iter().position(|part| part.spot == spot)?;
        self.parts[..=last].iter().find_map(|part| Some((part.spot, part.stops?)))
    }

    /// The number of segments of the ramdisk at `spot` that the kernel unpacks; None if it unpacks
    /// nothing there, or the ramdisk is not part of the initramfs.
    pub fn reached(&self, spot: Spot) -> Option<usize> {
        let last = self.parts.iter().position(|part| part.spot == spot)?;
        if self.parts[..last].iter().any(|part| part.stops.is_some()) {
            return None;
        }
        let part = &self.parts[last];
        let reached = part.segments.iter().take_while(|step| step.reach != Reach::Never).count();
        (reached > 0 || part.stops.is_none()).then_some(reached)
    }

    /// Whether the kernel reaches the last segment of the ramdisk at `spot`; None if it is not part of
    /// the initramfs.
    pub fn reach(&self, spot: Spot) -> Option<Reach> {
        let part = self.parts.iter().find(|part| part.spot == spot)?;
        let last = part.segments.last().map(|step| step.reach);
        Some(last.unwrap_or(match part.stops {
            Some(_) => Reach::Never,
            None => Reach::Always,
        }))
    }
}

/// The position of the kernel in the initramfs.
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

    fn segments(&mut self, at: usize, inventory: &Inventory) -> (Vec<Step>, Option<Stop>) {
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
            if stops.is_none() && self.unpacker.reach() == Reach::Never {
                let at = segment.range.start;
                stops = Some(match self.unpacker.stopped() {
                    true => Stop::AfterJunk(at),
                    false => Stop::AfterLz4Legacy(at),
                });
            }
            let reach = match self.stopped || stops.is_some() {
                true => Reach::Never,
                false => self.unpacker.reach(),
            };
            self.segment_end = at + segment.range.end;
            self.unpacker.end(segment, start..self.segment_end);
            steps.push(Step { range: segment.range.clone(), compression, padding, reach });
        }
        let junk = inventory.trailing().map(|trailing| Stop::Junk(trailing.range.start));
        (steps, stops.or(junk))
    }
}

/// The ramdisks of a normal boot in memory order. The bootloader loads one of boot and init_boot;
/// for a set that only starts recovery, it is the ramdisk of recovery.
pub(super) fn in_memory_order<'s, 'a>(
    set: &'s Members<'a>,
    roles: &[Role],
) -> Vec<&'s Ramdisk<'a>> {
    let of_role = |role| {
        set.ramdisks.iter().filter(move |own| {
            let loaded = own.fragment != Some(FragmentType::Recovery) && !own.bytes.is_empty();
            roles[own.spot.image] == role && loaded
        })
    };
    let vendor = || of_role(Role::VendorBoot).chain(of_role(Role::VendorKernelBoot));
    let mut generic = GENERIC.iter().filter(|role| of_role(**role).next().is_some());
    let generic =
        generic.next().filter(|role| **role != Role::Recovery || vendor().next().is_none());
    vendor().chain(generic.into_iter().flat_map(|role| of_role(*role))).collect()
}

/// The bootconfig behind the last ramdisk, and the index of its image. A bootloader that has one of its
/// own puts it there, and then the kernel reads that one.
pub(super) fn behind_the_last<'a>(set: &Members<'a>, roles: &[Role]) -> Option<(usize, &'a [u8])> {
    let image = in_memory_order(set, roles).last()?.spot.image;
    Some((image, set.images[image].trailing_bootconfig()?))
}

/// The roles of images with a generic ramdisk, in order of preference.
const GENERIC: &[Role] = &[Role::InitBoot, Role::Boot, Role::Ramdisk, Role::Recovery];
