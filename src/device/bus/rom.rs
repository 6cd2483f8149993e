//! The option ROM of a device, as the kernel reads it (`rom` of `Documentation/ABI/testing/sysfs-bus-pci`).

use crate::device::bus::group::is_vfio;
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::sys::host::{Host, HostError};

/// No ROM is larger.
const LIMIT: u64 = 16 << 20;
/// How a ROM begins, where it says where its description is, and how that begins (PCI Firmware
/// Specification, "PCI Expansion ROM Contents").
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
const POINTER: usize = 0x18;
const DESCRIPTION: &[u8] = b"PCIR";
/// What the code of an image is for: a PC's BIOS, UEFI.
const KINDS: [(u8, &str); 2] = [(0, "BIOS"), (3, "UEFI")];

/// A ROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rom {
    /// All of it.
    pub bytes: Vec<u8>,
    /// What its images are for.
    pub kinds: Vec<&'static str>,
}

/// Why there is no ROM.
#[derive(Debug, thiserror::Error)]
pub enum RomError {
    /// The kernel has none of the device.
    #[error(
        "{0}: the kernel shows no ROM of it: it has none, or the firmware has hidden it. A card's ROM can be read in another machine, or is its vendor's to have"
    )]
    None(PciAddress),
    /// A driver works with it.
    #[error(
        "{0}: its driver works with it, and reading the ROM would disturb that: vfiorun bind {0} first"
    )]
    Driver(PciAddress),
    /// The kernel does not give it.
    #[error("{address}: {error}")]
    Host {
        /// The device.
        address: PciAddress,
        /// The reason.
        #[source]
        error: HostError,
    },
    /// What it reads is no ROM.
    #[error(
        "{0}: what is read is not a ROM of it: it sleeps, or its firmware has put something else there"
    )]
    NotRom(PciAddress),
}

impl Rom {
    /// Reads the ROM of a device that no driver works with.
    ///
    /// # Errors
    /// See [`RomError`].
    pub fn read(host: &Host, device: &PciDevice) -> Result<Self, RomError> {
        let path = pci::attribute(device.address, "rom");
        if !host.exists(&path) {
            return Err(RomError::None(device.address));
        }
        if device.driver.as_deref().is_some_and(|driver| !is_vfio(driver)) {
            return Err(RomError::Driver(device.address));
        }
        let failed = |error| RomError::Host { address: device.address, error };
        host.write(&path, "1").map_err(failed)?;
        let bytes = host.bytes(&path, LIMIT);
        // The kernel takes two bytes for "off", and everything else for "on".
        host.write(&path, "0\n").map_err(failed)?;
        let not_rom = || RomError::NotRom(device.address);
        let bytes = bytes.ok_or_else(not_rom)?;
        let kinds = kinds(&bytes, device).ok_or_else(not_rom)?;
        Ok(Self { bytes, kinds })
    }
}

/// What the images of a ROM are for; `None` when it is none of this device.
fn kinds(bytes: &[u8], device: &PciDevice) -> Option<Vec<&'static str>> {
    let half = |at: usize| {
        let bytes = bytes.get(at..at + 2)?;
        Some(u16::from_le_bytes([bytes[0], bytes[1]]))
    };
    let (mut kinds, mut start) = (Vec::new(), 0);
    loop {
        let at = start + usize::from(half(start + POINTER)?);
        let begins = bytes.get(start..)?.starts_with(&SIGNATURE);
        if !begins || !bytes.get(at..)?.starts_with(DESCRIPTION) || half(at + 4)? != device.vendor {
            return None;
        }
        let kind = *bytes.get(at + 0x14)?;
        kinds.extend(KINDS.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name));
        let (blocks, last) = (half(at + 0x10)?, *bytes.get(at + 0x15)? & 0x80 != 0);
        start += usize::from(blocks) * 512;
        if last || blocks == 0 {
            return Some(kinds);
        }
    }
}
