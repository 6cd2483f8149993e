//! The PCI devices of a system, and whether each can be passed through.

use crate::device::bind::plan;
use crate::device::bus::group::{self, Group};
use crate::device::bus::holders::Holders;
use crate::device::bus::pci::{self, PciDevice};
use crate::device::sys::host::{Host, HostError};

/// A device, and what there is to know about it before it is passed through.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub obstacles: Vec<String>,
    /// What to bear in mind.
    pub warnings: Vec<String>,
}

/// Looks at all devices, in the order of their addresses.
///
/// # Errors
/// When the kernel shows no PCI bus.
pub fn read(host: &Host) -> Result<Vec<Entry>, HostError> {
    let devices = pci::enumerate(host)?;
    let holders = Holders::read(host);
    let iommu = group::any_iommu(host);
    Ok(devices.into_iter().map(|device| entry(host, device, &holders, iommu)).collect())
}

fn entry(host: &Host, device: PciDevice, holders: &Holders, iommu: bool) -> Entry {
    let address = device.address;
    let class = pci::class(host, address);
    let bridge = pci::belongs_to_machine(host, address);
    let reset_methods: Option<Vec<String>> = host
        .read(&pci::attribute(address, "reset_method"))
        .ok()
        .map(|text| text.split_whitespace().map(str::to_owned).collect());
    let mut obstacles = Vec::new();
    let mut warnings = Vec::new();
    if bridge {
        obstacles.push("a bridge belongs to the machine".to_owned());
    } else {
        match device.iommu_group {
            None if !iommu => obstacles.push("no IOMMU on this system".to_owned()),
            None if device.driver.is_some() => {
                obstacles.push("no IOMMU stands before it".to_owned());
            }
            None => warnings.push("in no IOMMU group before its first driver".to_owned()),
            Some(number) => match Group::read(host, number) {
                Ok(group) => {
                    let mates = plan::in_the_way(&group, &[address]);
                    if !mates.is_empty() {
                        obstacles.push(format!("only together with {}", mates.join(", ")));
                    }
                }
                Err(error) => warnings.push(error.to_string()),
            },
        }
        let holds = holders.of(host, address, &[address]);
        obstacles.extend(holds.iter().map(ToString::to_string));
        warnings.extend(reset_warning(host, &device, reset_methods.as_deref()));
    }
    Entry { device, class, bridge, reset_methods, obstacles, warnings }
}

/// A device that cannot be reset alone keeps the state that a guest leaves it in.
fn reset_warning(host: &Host, device: &PciDevice, methods: Option<&[String]>) -> Option<String> {
    match methods {
        Some([]) => Some("it cannot be reset".to_owned()),
        Some([only]) if only == "bus" => {
            Some("it can only be reset with all that is on its bus".to_owned())
        }
        Some(_) => None,
        None if host.exists(&pci::attribute(device.address, "reset")) => None,
        // Before Linux 5.15 the attribute is there only when a reset is possible.
        None => Some("it cannot be reset".to_owned()),
    }
}
