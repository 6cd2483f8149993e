//! PCI devices as sysfs shows them (`Documentation/ABI/testing/sysfs-bus-pci`).

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::bootfile::DeviceSpec;
use crate::device::sys::host::{Host, HostError};

/// The directory with one link per device.
pub(crate) const DEVICES: &str = "sys/bus/pci/devices";

/// A place on a PCI bus. Its text is the one sysfs uses: `0000:00:02.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PciAddress {
    /// PCI domain (segment), up to 32 bits wide in Linux.
    pub domain: u32,
    /// Bus number.
    pub bus: u8,
    /// Device (slot), 0–31.
    pub device: u8,
    /// Function, 0–7.
    pub function: u8,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

/// Text that is not a PCI address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a PCI address: expected DOMAIN:BUS:DEVICE.FUNCTION (0000:00:02.0)")]
pub struct PciAddressError(pub String);

impl FromStr for PciAddress {
    type Err = PciAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(DeviceSpec::Address { domain, bus, device, function }) => {
                Ok(Self { domain, bus, device, function })
            }
            _ => Err(PciAddressError(text.to_owned())),
        }
    }
}

impl From<PciAddress> for String {
    fn from(address: PciAddress) -> Self {
        address.to_string()
    }
}

impl TryFrom<String> for PciAddress {
    type Error = PciAddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// One PCI device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciDevice {
    /// Its place.
    pub address: PciAddress,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// The driver it is bound to.
    pub driver: Option<String>,
    /// The only driver that may bind it, if one is set. Among all devices ([`enumerate`]) also `None`
    /// where the kernel keeps the device locked.
    pub driver_override: Option<String>,
    /// Its IOMMU group. On devicetree systems before Linux 6.16 a device has none
    /// until a driver probes it for the first time (`drivers/of/device.c`,
    /// `of_dma_configure_id`), so `None` says nothing about an unbound device.
    pub iommu_group: Option<u32>,
}

/// An attribute that is there but does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum PciError {
    /// It could not be read.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It is not a number.
    #[error("/{path}: \"{value}\" is not a PCI id")]
    Id {
        /// Path of the attribute, without the leading slash.
        path: String,
        /// What it holds.
        value: String,
    },
}

impl PciDevice {
    /// Reads one device.
    ///
    /// # Errors
    /// When its ids cannot be read: it is gone, or the tree is not sysfs; or when the kernel keeps it
    /// locked.
    pub fn read(host: &Host, address: PciAddress) -> Result<Self, PciError> {
        let mut device = Self::read_unlocked(host, address)?;
        let path = [attribute(address, OVERRIDE)];
        device.driver_override = match host.read_locked(&path).into_iter().next() {
            Some(Err(error)) if error.error.kind() == std::io::ErrorKind::WouldBlock => {
                return Err(error.into());
            }
            value => value.and_then(override_of),
        };
        Ok(device)
    }

    /// Reads what no lock keeps.
    fn read_unlocked(host: &Host, address: PciAddress) -> Result<Self, PciError> {
        let id = |name: &str| -> Result<u16, PciError> {
            let path = attribute(address, name);
            let value = host.read(&path)?;
            value
                .strip_prefix("0x")
                .and_then(|hex| u16::from_str_radix(hex, 16).ok())
                .ok_or(PciError::Id { path, value })
        };
        Ok(Self {
            address,
            vendor: id("vendor")?,
            device: id("device")?,
            driver: driver(host, address)?,
            driver_override: None,
            iommu_group: iommu_group(host, address),
        })
    }

    /// Whether `spec` names this device.
    pub fn matches(&self, spec: &DeviceSpec) -> bool {
        match *spec {
            DeviceSpec::Id { vendor, device } => (vendor, device) == (self.vendor, self.device),
            DeviceSpec::Address { domain, bus, device, function } => {
                self.address == PciAddress { domain, bus, device, function }
            }
        }
    }
}

impl fmt::Display for PciDevice {
    /// `0000:00:02.0 (1b36:0010)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:04x}:{:04x})", self.address, self.vendor, self.device)
    }
}

/// The attribute that names the only driver that may bind a device.
const OVERRIDE: &str = "driver_override";

/// Unset it reads "(null)" (a NULL through "%s"), on some kernels nothing.
fn override_of(value: Result<String, HostError>) -> Option<String> {
    value.ok().filter(|value| !value.is_empty() && value != "(null)")
}

/// Whether the device is (still) on its bus.
pub(crate) fn exists(host: &Host, address: PciAddress) -> bool {
    host.exists(&attribute(address, "vendor"))
}

/// The class code of a device, 24 bits: base class, subclass, programming interface.
pub(crate) fn class(host: &Host, address: PciAddress) -> Option<u32> {
    let text = host.read(&attribute(address, "class")).ok()?;
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Whether it is a PCI-to-PCI or CardBus bridge (header type 1 or 2), which no guest can have:
/// VFIO takes header type 0 alone.
///
/// The type is what the device itself says in its config space. The class code says the same of most
/// devices, and is asked where the config space cannot be read.
pub(crate) fn is_bridge(host: &Host, address: PciAddress) -> bool {
    const PCI_BRIDGE: u32 = 0x0604;
    const CARDBUS_BRIDGE: u32 = 0x0607;
    match header_type(host, address) {
        Some(header) => header == 1 || header == 2,
        None => class(host, address)
            .is_some_and(|class| [PCI_BRIDGE, CARDBUS_BRIDGE].contains(&(class >> 8))),
    }
}

/// The header type without the bit for several functions. `None` when it cannot be read, or when
/// the device does not answer: then every bit is set.
fn header_type(host: &Host, address: PciAddress) -> Option<u8> {
    const HEADER_TYPE: usize = 0x0e;
    const SEVERAL_FUNCTIONS: u8 = 0x80;
    let config = host.bytes(&attribute(address, "config"), HEADER_TYPE as u64 + 1)?;
    let byte = config.get(HEADER_TYPE).filter(|byte| **byte != u8::MAX)?;
    Some(byte & !SEVERAL_FUNCTIONS)
}

/// Whether it belongs to the machine itself: a bridge, or the host bridge, which has the header of an
/// endpoint. Other devices of the base class of bridges (FPGAs, NTBs, what is left of ISA) are
/// endpoints as any other.
pub(crate) fn belongs_to_machine(host: &Host, address: PciAddress) -> bool {
    const HOST_BRIDGE: u32 = 0x0600;
    is_bridge(host, address) || class(host, address).is_some_and(|class| class >> 8 == HOST_BRIDGE)
}

/// How much memory of a device has 64-bit addresses, in bytes, by its `resource`: a line for each region, with
/// its first and last address and its flags (`include/linux/ioport.h`).
pub(crate) fn large_memory(host: &Host, address: PciAddress) -> u64 {
    const MEM_64: u64 = 0x0010_0000;
    const REGIONS: usize = 6;
    let text = host.read(&attribute(address, "resource")).unwrap_or_default();
    let size = |line: &str| {
        let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
        let mut words = line.split_whitespace().map_while(hex);
        let (first, last, flags) = (words.next()?, words.next()?, words.next()?);
        (flags & MEM_64 != 0 && last > first).then(|| (last - first).saturating_add(1))
    };
    text.lines().take(REGIONS).filter_map(size).fold(0, u64::saturating_add)
}

/// The path of a device's attribute, relative to the [`Host`].
pub(crate) fn attribute(address: PciAddress, name: &str) -> String {
    format!("{DEVICES}/{address}/{name}")
}

/// The driver that a device is bound to at this moment.
///
/// # Errors
/// When the link cannot be read for another reason than being absent.
pub fn driver(host: &Host, address: PciAddress) -> Result<Option<String>, HostError> {
    host.link_name(&attribute(address, "driver"))
}

/// The IOMMU group that a device is in at this moment.
pub(crate) fn iommu_group(host: &Host, address: PciAddress) -> Option<u32> {
    host.link_name(&attribute(address, "iommu_group")).ok()??.parse().ok()
}

/// All PCI devices, in the order of their addresses. One that disappears while
/// it is read, or that cannot be read, is left out.
///
/// # Errors
/// When the directory cannot be listed: this kernel has no PCI.
pub fn enumerate(host: &Host) -> Result<Vec<PciDevice>, HostError> {
    let mut devices: Vec<PciDevice> = host
        .list(DEVICES)?
        .iter()
        .filter_map(|name| PciDevice::read_unlocked(host, name.parse().ok()?).ok())
        .collect();
    let paths: Vec<String> =
        devices.iter().map(|device| attribute(device.address, OVERRIDE)).collect();
    for (device, value) in devices.iter_mut().zip(host.read_locked(&paths)) {
        device.driver_override = override_of(value);
    }
    devices.sort_unstable_by_key(|device| device.address);
    Ok(devices)
}
