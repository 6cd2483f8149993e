//! What sysfs, procfs and the device tree show of a device, as far as it decides whether a guest can
//! have it.

use std::cell::OnceCell;

use crate::device::bus::board::{Board, Untranslated};
use crate::device::bus::group::{self, GROUPS, IOMMUS};
use crate::device::bus::health;
use crate::device::bus::interrupts::{Interrupts, Isolation};
use crate::device::bus::pci::{self, PciDevice};
use crate::device::bus::sriov;
use crate::device::bus::vfio::UNSAFE_INTERRUPTS;
use crate::device::sys::host::Host;
use crate::device::sys::kernel_log;
use crate::rules::KernelVersion;

/// What can be known of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It is in no IOMMU group, and will be in none.
    NoGroup,
    /// Its group is one without an IOMMU.
    NoIommuMode,
    /// The firmware has reserved memory that it must reach 1:1.
    DirectRegions,
    /// Its interrupts end in a controller that does not isolate them.
    SharedInterrupts,
    /// Its config space does not answer.
    DeadConfig,
    /// vfio-pci has it on its deny list.
    DenyListed,
    /// What it writes is not coherent with the caches.
    NotCoherent,
    /// It has virtual functions that nobody uses.
    FunctionsEnabled,
}

/// A fact about a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which.
    pub fact: Fact,
    /// What shows it.
    pub detail: String,
}

/// What is the same for all devices of a system, read when it is first asked for.
#[derive(Debug, Default)]
pub struct Surroundings {
    board: OnceCell<Option<Board>>,
    interrupts: OnceCell<Interrupts>,
    release: OnceCell<Option<KernelVersion>>,
    intel: OnceCell<bool>,
}

impl Surroundings {
    /// The device tree.
    pub(crate) fn board(&self, host: &Host) -> Option<&Board> {
        self.board.get_or_init(|| Board::read(host)).as_ref()
    }

    /// Where interrupts end.
    pub(crate) fn interrupts(&self, host: &Host) -> &Interrupts {
        self.interrupts
            .get_or_init(|| Interrupts::read(host, kernel_log::read(host).ok().as_deref()))
    }

    fn release(&self, host: &Host) -> Option<KernelVersion> {
        *self.release.get_or_init(|| {
            let release = host.read("proc/sys/kernel/osrelease").ok()?;
            KernelVersion::parse(&release)
        })
    }

    /// Whether the kernel is at least this one. One that is not known is.
    fn since(&self, host: &Host, major: u32, minor: u32) -> bool {
        let wanted = KernelVersion { major, minor, patch: 0 };
        self.release(host).is_none_or(|release| release >= wanted)
    }

    /// Whether the IOMMU is Intel's.
    fn is_intel(&self, host: &Host) -> bool {
        *self.intel.get_or_init(|| {
            let units = host.list(IOMMUS).unwrap_or_default();
            units.iter().any(|unit| unit.starts_with("dmar"))
        })
    }
}

/// All facts about a device.
pub fn of(host: &Host, around: &Surroundings, device: &PciDevice) -> Vec<Known> {
    const ALL: &[Test] = &[
        (Fact::NoIommuMode, no_iommu_mode),
        (Fact::NoGroup, no_group),
        (Fact::DirectRegions, direct_regions),
        (Fact::SharedInterrupts, shared_interrupts),
        (Fact::DenyListed, deny_listed),
        (Fact::DeadConfig, dead_config),
        (Fact::NotCoherent, not_coherent),
        (Fact::FunctionsEnabled, functions_enabled),
    ];
    let known = |(fact, test): &Test| {
        test(host, around, device).map(|detail| Known { fact: *fact, detail })
    };
    ALL.iter().filter_map(known).collect()
}

/// A fact, and how it is seen; what shows it is the answer.
type Test = (Fact, fn(&Host, &Surroundings, &PciDevice) -> Option<String>);

fn no_iommu_mode(host: &Host, _: &Surroundings, device: &PciDevice) -> Option<String> {
    let number = device.iommu_group?;
    group::is_no_iommu(host, number).then(|| format!("group {number} is {}", group::NO_IOMMU))
}

fn no_group(host: &Host, around: &Surroundings, device: &PciDevice) -> Option<String> {
    if device.iommu_group.is_some() {
        return None;
    }
    let why = around.board(host).and_then(|board| board.untranslated(host, device.address));
    match (why, &device.driver) {
        // A driver of the IOMMU may come later, and it brings the group along.
        (Some(Untranslated::NoDriver { .. }) | None, None) => None,
        (Some(why), _) => Some(why.to_string()),
        (None, Some(driver)) if group::any_iommu(host) => {
            Some(format!("{driver} has probed it, which would have given it its group"))
        }
        (None, Some(_)) => Some("there is no IOMMU on this system".to_owned()),
    }
}

/// Every IOMMU refuses since Linux 6.6 (`__iommu_device_set_domain`), before only Intel's
/// (`device_is_rmrr_locked`), which had no name for the regions of USB and graphics before 5.3.
fn direct_regions(host: &Host, around: &Surroundings, device: &PciDevice) -> Option<String> {
    const DISPLAY: u32 = 0x03;
    const USB: u32 = 0x0c03;
    let number = device.iommu_group?;
    if !around.since(host, 6, 6) && !around.is_intel(host) {
        return None;
    }
    let class = pci::class(host, device.address).unwrap_or(0);
    if !around.since(host, 5, 3) && (class >> 16 == DISPLAY || class >> 8 == USB) {
        return None;
    }
    let text = host.read(&format!("{GROUPS}/{number}/reserved_regions")).ok()?;
    let direct = reserved(&text).filter(|(.., kind)| *kind == "direct");
    let regions: Vec<String> =
        direct.map(|(first, last, _)| format!("{first:#x}-{last:#x}")).collect();
    let regions = (!regions.is_empty()).then(|| regions.join(", "))?;
    Some(format!("{regions} direct in reserved_regions of group {number}"))
}

/// The rows of `reserved_regions`: first and last address, kind.
pub(crate) fn reserved(text: &str) -> impl Iterator<Item = (u64, u64, &str)> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let mut address = || u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok();
        Some((address()?, address()?, words.next()?))
    })
}

fn shared_interrupts(host: &Host, around: &Surroundings, device: &PciDevice) -> Option<String> {
    if matches!(host.read(UNSAFE_INTERRUPTS).as_deref(), Ok("Y" | "1")) {
        return None;
    }
    let interrupts = around.interrupts(host);
    match interrupts.of(host, around.board(host), device.address) {
        Isolation::Shared(by) => Some(format!("they end in {by}")),
        Isolation::Isolated(_) | Isolation::Unknown => None,
    }
}

/// The devices of Intel that `vfio_pci_dev_in_denylist` of `drivers/vfio/pci/vfio_pci.c` names
/// (Linux 5.9; those of the second row since 6.9).
const DENY_LIST: &[(u16, u32, u32)] = &[
    (0x0435, 5, 9),
    (0x0443, 5, 9),
    (0x19e2, 5, 9),
    (0x19e3, 5, 9),
    (0x37c8, 5, 9),
    (0x37c9, 5, 9),
    (0x0b25, 6, 9),
    (0x0cfe, 6, 9),
];

fn deny_listed(host: &Host, around: &Surroundings, device: &PciDevice) -> Option<String> {
    const INTEL: u16 = 0x8086;
    if device.vendor != INTEL {
        return None;
    }
    let (_, major, minor) = DENY_LIST.iter().find(|(id, ..)| *id == device.device)?;
    let off = host.read("sys/module/vfio_pci/parameters/disable_denylist");
    if matches!(off.as_deref(), Ok("Y" | "1")) || !around.since(host, *major, *minor) {
        return None;
    }
    Some(format!("{:04x}:{:04x}", device.vendor, device.device))
}

/// All ones are what a read gives that nobody answers. A sleeping device is left asleep.
fn dead_config(host: &Host, _: &Surroundings, device: &PciDevice) -> Option<String> {
    health::dead(host, device.address)
}

fn not_coherent(host: &Host, around: &Surroundings, device: &PciDevice) -> Option<String> {
    if !around.since(host, 6, 0) {
        return None;
    }
    let coherent = around.board(host)?.is_coherent(host, device.address)?;
    (!coherent).then(|| "no dma-coherent in the device tree".to_owned())
}

/// `vfio_pci_core_register_device` refuses it, unless the driver removes them before. Of a device that
/// vfio-pci has they may be its own; functions in use are a reason not to take it at all.
fn functions_enabled(host: &Host, _: &Surroundings, device: &PciDevice) -> Option<String> {
    if device.driver.as_deref().is_some_and(group::is_vfio) {
        return None;
    }
    let functions = sriov::functions(host, device.address);
    if !sriov::used_functions(host, device.address).is_empty() {
        return None;
    }
    let names: Vec<String> = functions.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| names.join(", "))
}
