//! The PCI devices of a system, and whether each can be passed through.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;

use crate::device::bind::plan;
use crate::device::bus::group::{self, Group, Member};
use crate::device::bus::in_use::{InUse, Survey, Weight};
use crate::device::bus::pci::{self, PciDevice};
use crate::device::causes::facts::{Fact, Surroundings};
use crate::device::causes::{self, Reason};
use crate::device::sys::host::{Host, HostError};

/// A device, and what there is to know about it before it is passed through.
#[derive(Debug)]
pub struct Entry {
    /// The device.
    pub device: PciDevice,
    /// Its class code, 24 bits.
    pub class: Option<u32>,
    /// Whether it is a bridge.
    pub bridge: bool,
    /// How the kernel can reset it, in the order it tries (`reset_method`, Linux 5.15;
    /// `None` on an older one).
    pub reset_methods: Option<Vec<String>>,
    /// Why it cannot be passed through alone, as it is now. Nothing: it can.
    pub obstacles: Vec<Obstacle>,
    /// What to know before a guest uses it.
    pub warnings: Vec<Warning>,
}

impl Entry {
    /// What depends on the device, whether it keeps it from a guest or not.
    pub fn in_use(&self) -> impl Iterator<Item = &InUse> {
        let obstacles = self.obstacles.iter().filter_map(|obstacle| match obstacle {
            Obstacle::Held(used) => Some(used),
            _ => None,
        });
        let warnings = self.warnings.iter().filter_map(|warning| match warning {
            Warning::InUse(used) => Some(used),
            _ => None,
        });
        obstacles.chain(warnings)
    }
}

/// Why a device cannot be passed through alone, as it is now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// It is a bridge.
    #[error("a bridge cannot be passed through")]
    Bridge,
    /// The system has no IOMMU.
    #[error("no IOMMU on this system")]
    NoIommu,
    /// A guest could not have it: it is in no group, its memory is reserved, it is dead.
    #[error("{0}")]
    Cause(Reason),
    /// Others of its group stay with the host.
    #[error("only together with {}", plan::join(.0))]
    Mates(Vec<Member>),
    /// The system needs it.
    #[error("{0}")]
    Held(InUse),
}

/// What to know about a device before a guest uses it.
#[derive(Debug, thiserror::Error)]
pub enum Warning {
    /// It joins a group when a driver probes it.
    #[error("joins an IOMMU group when a driver first probes it")]
    NoGroupYet,
    /// The members of its group are not known.
    #[error("{0}")]
    Group(#[source] HostError),
    /// Something depends on it, which can do without.
    #[error("{0}")]
    InUse(InUse),
    /// VFIO may refuse it.
    #[error("{0}")]
    Cause(Reason),
    /// It keeps the state that a guest leaves it in.
    #[error("it cannot be reset")]
    NoReset,
    /// A reset of it resets its neighbours.
    #[error("it can only be reset together with everything on its bus")]
    BusReset,
}

/// Looks at all devices, in the order of their addresses.
///
/// # Errors
/// When the kernel shows no PCI bus.
pub fn read(host: &Host) -> Result<Vec<Entry>, HostError> {
    let devices = pci::enumerate(host)?;
    let mut looked_at = LookedAt {
        survey: Survey::read(host),
        around: Surroundings::default(),
        iommu: group::any_iommu(host),
        groups: BTreeMap::new(),
    };
    Ok(devices.into_iter().map(|device| entry(host, device, &mut looked_at)).collect())
}

/// What is read once for all devices.
struct LookedAt {
    survey: Survey,
    around: Surroundings,
    iommu: bool,
    groups: BTreeMap<u32, Group>,
}

impl LookedAt {
    fn group(&mut self, host: &Host, number: u32) -> Result<&Group, HostError> {
        Ok(match self.groups.entry(number) {
            MapEntry::Occupied(known) => known.into_mut(),
            MapEntry::Vacant(place) => place.insert(Group::read(host, number)?),
        })
    }
}

fn entry(host: &Host, device: PciDevice, looked_at: &mut LookedAt) -> Entry {
    let address = device.address;
    let class = pci::class(host, address);
    let bridge = pci::belongs_to_machine(host, address);
    let reset_methods = reset_methods(host, &device);
    let mut obstacles = Vec::new();
    let mut warnings = Vec::new();
    if bridge {
        obstacles.push(Obstacle::Bridge);
    } else {
        let outlook = causes::outlook(host, &looked_at.around, &device);
        // Where no device has an IOMMU, that is what there is to say.
        let own = |reason: &Reason| looked_at.iommu || reason.fact() != Some(Fact::NoGroup);
        obstacles.extend(outlook.refused.into_iter().filter(own).map(Obstacle::Cause));
        let doubts = outlook.doubtful.into_iter().filter(|_| looked_at.iommu);
        warnings.extend(doubts.map(Warning::Cause));
        match device.iommu_group {
            None if !looked_at.iommu => obstacles.push(Obstacle::NoIommu),
            None if !obstacles.is_empty() => {}
            None => warnings.push(Warning::NoGroupYet),
            Some(number) => match looked_at.group(host, number) {
                Ok(group) => {
                    let mates = group.blockers(&[address]);
                    if !mates.is_empty() {
                        obstacles.push(Obstacle::Mates(mates));
                    }
                }
                Err(error) => warnings.push(Warning::Group(error)),
            },
        }
        for used in looked_at.survey.of(host, &device, &[address]) {
            match used.weight() {
                Weight::Refuse => obstacles.push(Obstacle::Held(used)),
                Weight::Warn => warnings.push(Warning::InUse(used)),
            }
        }
        warnings.extend(reset_warning(host, &device, reset_methods.as_deref()));
    }
    Entry { device, class, bridge, reset_methods, obstacles, warnings }
}

/// How the kernel can reset a device; see [`Entry::reset_methods`].
pub(crate) fn reset_methods(host: &Host, device: &PciDevice) -> Option<Vec<String>> {
    let text = host.read(&pci::attribute(device.address, "reset_method")).ok()?;
    Some(text.split_whitespace().map(str::to_owned).collect())
}

/// A device that cannot be reset alone keeps the state that a guest leaves it in.
pub(crate) fn reset_warning(
    host: &Host,
    device: &PciDevice,
    methods: Option<&[String]>,
) -> Option<Warning> {
    match methods {
        Some([]) => Some(Warning::NoReset),
        Some([only]) if only == "bus" => Some(Warning::BusReset),
        Some(_) => None,
        None if host.exists(&pci::attribute(device.address, "reset")) => None,
        // Before Linux 5.15 the attribute is there only when a reset is possible.
        None => Some(Warning::NoReset),
    }
}
