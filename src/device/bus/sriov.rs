//! Physical functions and their virtual ones (`Documentation/PCI/pci-iov-howto.rst`).

use core::fmt;
use std::fs::File;
use std::io::Read;

use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::sys::host::Host;

/// The physical function of a virtual one.
pub(crate) fn physical(host: &Host, function: PciAddress) -> Option<PciAddress> {
    host.link_name(&pci::attribute(function, "physfn")).ok()??.parse().ok()
}

/// The virtual functions of a physical one.
pub(crate) fn functions(host: &Host, physical: PciAddress) -> Vec<PciAddress> {
    let place = format!("{}/{physical}", pci::DEVICES);
    let entries = host.list(&place).unwrap_or_default().into_iter();
    entries
        .filter(|name| name.starts_with("virtfn"))
        .filter_map(|name| host.link_name(&format!("{place}/{name}")).ok()??.parse().ok())
        .collect()
}

/// The virtual functions of a physical one that have a driver: the host or a guest uses them. They go when
/// its driver does.
pub(crate) fn used_functions(host: &Host, physical: PciAddress) -> Vec<PciDevice> {
    let functions = functions(host, physical).into_iter();
    let devices = functions.filter_map(|address| PciDevice::read(host, address).ok());
    devices.filter(|device| device.driver.is_some()).collect()
}

/// Whether a physical function has virtual ones.
pub(crate) fn has_functions(host: &Host, physical: PciAddress) -> bool {
    host.exists(&pci::attribute(physical, "virtfn0"))
}

/// The token that vfio-pci asks for: a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token([u8; 16]);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, byte) in self.0.iter().enumerate() {
            f.write_str(if matches!(number, 4 | 6 | 8 | 10) { "-" } else { "" })?;
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl Token {
    /// A random one (version 4 of RFC 9562).
    pub(crate) fn random() -> Option<Self> {
        let mut bytes = [0_u8; 16];
        // Not by libc's getrandom: std refers to it weakly, so the static program has none.
        File::open("/dev/urandom").ok()?.read_exact(&mut bytes).ok()?;
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Some(Self(bytes))
    }

    /// The one that is written as `text`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        if !parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) {
            return None;
        }
        let digit = |digit| char::from(digit).to_digit(16);
        let digits: Option<Vec<u32>> = parts.concat().bytes().map(digit).collect();
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits?.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8);
        }
        Some(Self(bytes))
    }

    /// Its bytes, in the order in which they are written.
    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}
