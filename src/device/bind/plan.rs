//! What is written to have devices on vfio-pci, as data; or why that must not be.

use core::fmt;

use crate::bootfile::DeviceSpec;
use crate::device::bind::driver;
use crate::device::bus::group::{Group, Member};
use crate::device::bus::in_use::{InUse, Survey, Weight};
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::causes::facts::Surroundings;
use crate::device::causes::{self, Reason};
use crate::device::sys::host::{Host, HostError, Write};

/// What may be done that is refused otherwise.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Devices to take although the system needs them, by name: see [`Survey`].
    pub force: Vec<DeviceSpec>,
    /// Whether the other members of their groups are taken too.
    pub with_group: bool,
    /// Devices that are taken so that their group can be used, and that no guest gets.
    pub hold: Vec<DeviceSpec>,
}

/// Devices to put on vfio-pci.
#[derive(Debug)]
pub struct Plan {
    /// Each device once, in the order in which they were asked for.
    pub moves: Vec<Move>,
    /// The groups they are in, as far as they are known before the first probe.
    pub groups: Vec<Group>,
    /// What works, but not as well as it might.
    pub warnings: Vec<Warning>,
    /// Devices that are taken although the system needs them.
    force: Vec<DeviceSpec>,
}

/// What works, but not as well as it might.
#[derive(Debug, thiserror::Error)]
pub enum Warning {
    /// The system needs the device, which is taken because the user named it.
    #[error("{device}: taken by force: {}", join(.holds))]
    Forced {
        /// The device.
        device: PciDevice,
        /// What the system needs it for.
        holds: Vec<InUse>,
    },
    /// Something depends on the device, which can do without.
    #[error("{device}: {}", join(.uses))]
    InUse {
        /// The device.
        device: PciDevice,
        /// What.
        uses: Vec<InUse>,
    },
    /// Something stands in its way, and is tried because the user named the device, or may do so.
    #[error("{device}: {}", .reason.with_fix())]
    Cause {
        /// The device.
        device: PciDevice,
        /// What.
        reason: Reason,
    },
    /// The members of a group are not known.
    #[error("IOMMU group {group}: {error}")]
    Group {
        /// Its number.
        group: u32,
        /// The reason.
        #[source]
        error: HostError,
    },
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
    /// A plan without any device.
    pub(crate) fn nothing() -> Self {
        Self { moves: Vec::new(), groups: Vec::new(), warnings: Vec::new(), force: Vec::new() }
    }

    /// What the system needs a device for at this moment, unless the user took it by name.
    pub(crate) fn holds_now(&self, host: &Host, device: &PciDevice) -> Vec<InUse> {
        if self.force.iter().any(|spec| device.matches(spec)) {
            return Vec::new();
        }
        let mut uses = Survey::read(host).of(host, device, &self.addresses());
        uses.retain(|used| used.weight() == Weight::Refuse);
        uses
    }

    /// The addresses of the devices.
    pub(crate) fn addresses(&self) -> Vec<PciAddress> {
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
    NoPci(#[source] HostError),
    /// No device matches.
    #[error("{0}: no such device (vfiorun devices lists them)")]
    NoDevice(DeviceSpec),
    /// The kernel has no vfio-pci.
    #[error(
        "no vfio-pci driver is registered: the kernel is built without CONFIG_VFIO_PCI, or its module is not loaded (modprobe vfio-pci)"
    )]
    NoVfioPci,
    /// A bridge belongs to the machine.
    #[error("{0}: a bridge cannot be passed through; name the devices below it")]
    Bridge(PciDevice),
    /// A guest could not have it: it is in no group, its memory is reserved, it is dead.
    #[error("{device}: {}", .reason.with_fix())]
    Cause {
        /// The device.
        device: PciDevice,
        /// Why.
        reason: Reason,
    },
    /// Others of its group stay with the host.
    #[error("{device}: IOMMU group {group} can only be taken as a whole, and {} not requested: {}", if mates.len() == 1 { "this member is" } else { "these members are" }, join(.mates))]
    Mates {
        /// The device.
        device: PciDevice,
        /// Its group.
        group: u32,
        /// The members that stay with the host.
        mates: Vec<Member>,
    },
    /// The system needs it.
    #[error("{device}: {}{}", join(.holds), others_text(.others))]
    Held {
        /// The device.
        device: PciDevice,
        /// What for.
        holds: Vec<InUse>,
        /// Those that the same name was about and that nothing needs.
        others: Vec<PciAddress>,
    },
}

fn others_text(others: &[PciAddress]) -> String {
    match others {
        [] => String::new(),
        [one] => format!("; {one}, which has the same id, is not in use: name it by this address"),
        more => format!("; not in use, with the same id: {}", join(more)),
    }
}

/// Several with commas.
pub(crate) fn join<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

impl Plan {
    /// Works out what is to be written so that the devices that `specs` name are on vfio-pci,
    /// whole groups only. Nothing is changed.
    ///
    /// A device without a driver may be in no group: it joins one when it is probed. That
    /// group and its other members are examined when the plan is carried out.
    ///
    /// # Errors
    /// All reasons against it.
    pub fn new(host: &Host, specs: &[DeviceSpec], options: &Options) -> Result<Self, PlanError> {
        let mut refusals = Vec::new();
        let devices = match pci::enumerate(host) {
            Ok(devices) => devices,
            Err(error) => return Err(PlanError { refusals: vec![Refusal::NoPci(error)] }),
        };
        let wanted = wanted(host, &devices, specs, options, &mut refusals);
        let taken: Vec<PciAddress> = wanted.iter().map(|device| device.address).collect();
        let moves: Vec<Move> = wanted
            .into_iter()
            .map(|before| Move { writes: driver::writes(&before), before })
            .collect();
        let moving = moves.iter().any(|a_move| !a_move.writes.is_empty());
        if moving && !driver::vfio_pci_registered(host) {
            refusals.push(Refusal::NoVfioPci);
        }
        let mut examined = Examination {
            host,
            specs,
            force: &options.force,
            survey: Survey::read(host),
            around: Surroundings::default(),
            taken,
            groups: Vec::new(),
            warnings: Vec::new(),
            refusals,
        };
        for a_move in &moves {
            examined.device(a_move, &moves);
        }
        let Examination { groups, warnings, refusals, .. } = examined;
        if refusals.is_empty() {
            Ok(Self { moves, groups, warnings, force: options.force.clone() })
        } else {
            Err(PlanError { refusals })
        }
    }
}

/// The devices to move, each once: those named, those held, and the rest of their groups when that
/// is asked for.
fn wanted(
    host: &Host,
    devices: &[PciDevice],
    specs: &[DeviceSpec],
    options: &Options,
    refusals: &mut Vec<Refusal>,
) -> Vec<PciDevice> {
    let mut wanted: Vec<PciDevice> = Vec::new();
    let mut add = |device: &PciDevice| {
        if !wanted.contains(device) {
            wanted.push(device.clone());
        }
    };
    for spec in specs.iter().chain(&options.hold) {
        let found: Vec<&PciDevice> = devices.iter().filter(|d| d.matches(spec)).collect();
        if found.is_empty() {
            refusals.push(Refusal::NoDevice(spec.clone()));
        }
        found.into_iter().for_each(&mut add);
    }
    if options.with_group {
        let groups: Vec<u32> = wanted.iter().filter_map(|device| device.iommu_group).collect();
        for device in devices {
            let is_mate = device.iommu_group.is_some_and(|group| groups.contains(&group));
            if is_mate && !pci::belongs_to_machine(host, device.address) && !wanted.contains(device)
            {
                wanted.push(device.clone());
            }
        }
    }
    wanted
}

/// The examination of a plan, device by device.
struct Examination<'a> {
    host: &'a Host,
    specs: &'a [DeviceSpec],
    force: &'a [DeviceSpec],
    survey: Survey,
    around: Surroundings,
    /// All devices of the plan.
    taken: Vec<PciAddress>,
    groups: Vec<Group>,
    warnings: Vec<Warning>,
    refusals: Vec<Refusal>,
}

impl Examination<'_> {
    fn device(&mut self, Move { before: device, writes }: &Move, moves: &[Move]) {
        let address = device.address;
        if pci::belongs_to_machine(self.host, address) {
            self.refusals.push(Refusal::Bridge(device.clone()));
            return;
        }
        self.outlook(device);
        if let Some(number) = device.iommu_group {
            let group = group_of(self.host, number, &mut self.groups, &mut self.warnings);
            let mates = group.map(|group| group.blockers(&self.taken)).unwrap_or_default();
            if !mates.is_empty() {
                let device = device.clone();
                self.refusals.push(Refusal::Mates { device, group: number, mates });
            }
        }
        if writes.is_empty() {
            return;
        }
        let uses = self.survey.of(self.host, device, &self.taken);
        let (holds, uses): (Vec<InUse>, Vec<InUse>) =
            uses.into_iter().partition(|used| used.weight() == Weight::Refuse);
        if !uses.is_empty() {
            self.warnings.push(Warning::InUse { device: device.clone(), uses });
        }
        if holds.is_empty() {
            return;
        }
        if self.is_forced(device) {
            self.warnings.push(Warning::Forced { device: device.clone(), holds });
        } else {
            let others = self.free_namesakes(device, moves);
            self.refusals.push(Refusal::Held { device: device.clone(), holds, others });
        }
    }

    /// The devices that were named together with this one, by an id, and that nothing needs.
    fn free_namesakes(&self, device: &PciDevice, moves: &[Move]) -> Vec<PciAddress> {
        let by_id = |spec: &&DeviceSpec| matches!(spec, DeviceSpec::Id { .. });
        let Some(id) = self.specs.iter().filter(by_id).find(|spec| device.matches(spec)) else {
            return Vec::new();
        };
        let is_free = |other: &&PciDevice| {
            let uses = self.survey.of(self.host, other, &[other.address]);
            !uses.iter().any(|used| used.weight() == Weight::Refuse)
        };
        let others = moves.iter().map(|other| &other.before);
        let others = others.filter(|other| other.address != device.address && other.matches(id));
        others.filter(is_free).map(|other| other.address).collect()
    }

    fn is_forced(&self, device: &PciDevice) -> bool {
        self.force.iter().any(|spec| device.matches(spec))
    }

    /// What will keep the device from a guest, whoever else needs it.
    fn outlook(&mut self, device: &PciDevice) {
        let outlook = causes::outlook(self.host, &self.around, device);
        let forced = self.is_forced(device);
        for reason in outlook.refused {
            let device = device.clone();
            match forced {
                true => self.warnings.push(Warning::Cause { device, reason }),
                false => self.refusals.push(Refusal::Cause { device, reason }),
            }
        }
        let doubts = outlook.doubtful.into_iter();
        self.warnings
            .extend(doubts.map(|reason| Warning::Cause { device: device.clone(), reason }));
    }
}

/// The group, read once.
fn group_of<'a>(
    host: &Host,
    number: u32,
    groups: &'a mut Vec<Group>,
    warnings: &mut Vec<Warning>,
) -> Option<&'a Group> {
    if !groups.iter().any(|group| group.number == number) {
        match Group::read(host, number) {
            Ok(group) => groups.push(group),
            Err(error) => warnings.push(Warning::Group { group: number, error }),
        }
    }
    groups.iter().find(|group| group.number == number)
}
