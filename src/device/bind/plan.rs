//! What is written to have devices on vfio-pci, as data; or why that must not be.

use core::fmt;

use crate::bootfile::DeviceSpec;
use crate::device::bind::driver;
use crate::device::bus::group::{self, Group};
use crate::device::bus::holders::{Hold, Holders};
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::sys::host::{Host, HostError, Write};

/// What may be done that is refused otherwise.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Devices to take although the system needs them, by name: see [`Holders`].
    pub force: Vec<DeviceSpec>,
}

/// Devices to put on vfio-pci.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Each device once, in the order in which they were asked for.
    pub moves: Vec<Move>,
    /// The groups they are in, as far as they are known before the first probe.
    pub groups: Vec<Group>,
    /// What works, but not as well as it might.
    pub warnings: Vec<String>,
}

/// One device's way to vfio-pci.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The device as it is.
    pub before: PciDevice,
    /// The writes; none when it is on vfio-pci already.
    pub writes: Vec<Write>,
}

impl Plan {
    /// The addresses of the devices.
    pub fn addresses(&self) -> Vec<PciAddress> {
        self.moves.iter().map(|a_move| a_move.before.address).collect()
    }
}

/// Why devices are not put on vfio-pci: every reason there is.
#[derive(Debug)]
pub struct PlanError {
    /// The reasons, at least one.
    pub refusals: Vec<Refusal>,
}

impl fmt::Display for PlanError {
    /// One line a reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, refusal) in self.refusals.iter().enumerate() {
            write!(f, "{}{refusal}", if number == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl core::error::Error for PlanError {}

/// A reason.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The kernel shows no PCI devices at all.
    #[error("no PCI on this system ({0})")]
    NoPci(HostError),
    /// No device matches.
    #[error("{0}: no such device (vfiorun devices lists them)")]
    NoDevice(DeviceSpec),
    /// The kernel has no vfio-pci.
    #[error(
        "no vfio-pci driver is registered: the kernel is built without CONFIG_VFIO_PCI, or its module is not loaded (modprobe vfio-pci)"
    )]
    NoVfioPci,
    /// A bridge belongs to the machine.
    #[error("{0}: a bridge cannot be passed through; name the devices behind it")]
    Bridge(PciDevice),
    /// A driver has it, and still it is in no group: no IOMMU stands before it.
    #[error(
        "{0}: in no IOMMU group: no IOMMU translates its DMA (is one there and enabled? vfiorun doctor)"
    )]
    NoGroup(PciDevice),
    /// Others of its group stay with the host.
    #[error("{device}: IOMMU group {group} goes as a whole, and {} not asked for: {}", if mates.len() == 1 { "this member is" } else { "these members are" }, mates.join(", "))]
    Mates {
        /// The device.
        device: PciDevice,
        /// Its group.
        group: u32,
        /// The members that are in the way, with their drivers.
        mates: Vec<String>,
    },
    /// The system needs it.
    #[error("{device}: {}; to take it all the same: --force {}", join(.holds), .device.address)]
    Held {
        /// The device.
        device: PciDevice,
        /// What for.
        holds: Vec<Hold>,
    },
}

/// Several with commas.
fn join(holds: &[Hold]) -> String {
    holds.iter().map(Hold::to_string).collect::<Vec<_>>().join(", ")
}

impl Plan {
    /// Works out what is to be written so that the devices that `specs` name are on vfio-pci,
    /// whole groups only. Nothing is changed.
    ///
    /// A device without a driver may be in no group: it gets one when it is probed. What group
    /// that is, and who else is in it, is looked at when the plan is carried out.
    ///
    /// # Errors
    /// All reasons against it.
    pub fn new(host: &Host, specs: &[DeviceSpec], options: &Options) -> Result<Self, PlanError> {
        let mut refusals = Vec::new();
        let devices = match pci::enumerate(host) {
            Ok(devices) => devices,
            Err(error) => return Err(PlanError { refusals: vec![Refusal::NoPci(error)] }),
        };
        let mut wanted: Vec<PciDevice> = Vec::new();
        for spec in specs {
            let found: Vec<&PciDevice> = devices.iter().filter(|d| d.matches(spec)).collect();
            if found.is_empty() {
                refusals.push(Refusal::NoDevice(spec.clone()));
            }
            for device in found {
                if !wanted.contains(device) {
                    wanted.push(device.clone());
                }
            }
        }
        let taken: Vec<PciAddress> = wanted.iter().map(|device| device.address).collect();
        let moves: Vec<Move> = wanted
            .into_iter()
            .map(|before| Move { writes: driver::writes(&before), before })
            .collect();
        let moving = moves.iter().any(|a_move| !a_move.writes.is_empty());
        if moving && !driver::vfio_pci_registered(host) {
            refusals.push(Refusal::NoVfioPci);
        }
        let holders = Holders::read(host);
        let mut groups: Vec<Group> = Vec::new();
        let mut warnings = Vec::new();
        for Move { before: device, writes } in &moves {
            let address = device.address;
            if pci::belongs_to_machine(host, address) {
                refusals.push(Refusal::Bridge(device.clone()));
                continue;
            }
            match device.iommu_group {
                None if device.driver.is_some() => refusals.push(Refusal::NoGroup(device.clone())),
                None => {}
                Some(number) => {
                    if let Some(group) = group_of(host, number, &mut groups, &mut warnings) {
                        let mates = in_the_way(group, &taken);
                        if !mates.is_empty() {
                            let device = device.clone();
                            refusals.push(Refusal::Mates { device, group: number, mates });
                        }
                    }
                }
            }
            let forced = options.force.iter().any(|spec| device.matches(spec));
            let holds = holders.of(host, address, &taken);
            if !holds.is_empty() && !writes.is_empty() {
                if forced {
                    warnings.push(format!("{device}: taken by force: {}", join(&holds)));
                } else {
                    refusals.push(Refusal::Held { device: device.clone(), holds });
                }
            }
        }
        if refusals.is_empty() {
            Ok(Self { moves, groups, warnings })
        } else {
            Err(PlanError { refusals })
        }
    }
}

/// The group, read once.
fn group_of<'a>(
    host: &Host,
    number: u32,
    groups: &'a mut Vec<Group>,
    warnings: &mut Vec<String>,
) -> Option<&'a Group> {
    if !groups.iter().any(|group| group.number == number) {
        match Group::read(host, number) {
            Ok(group) => groups.push(group),
            Err(error) => warnings.push(format!("IOMMU group {number}: {error}")),
        }
    }
    groups.iter().find(|group| group.number == number)
}

/// The members that are in the way, for a message.
pub(super) fn in_the_way(group: &Group, taken: &[PciAddress]) -> Vec<String> {
    group.in_the_way(taken).into_iter().map(group::Member::to_string).collect()
}
