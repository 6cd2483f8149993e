//! `/vfioboot/boot.toml`: what PID 1 is to do, written by `vfioboot patch` and
//! carried out by `vfiorun`.
//!
//! A flat list, because everything that needs thought (module order, strategy)
//! was decided on the desktop.

use serde::{Deserialize, Serialize};

use crate::cmdline::Cmdline;

/// The path of the boot file in the ramdisk.
pub(crate) const BOOT_FILE: &str = "/vfioboot/boot.toml";
/// The path of the runtime in the ramdisk; the value of `rdinit=`.
pub const RUNTIME: &str = "/vfioboot/init";
/// The bytes by which the runtime is known, whatever its name and place. They must never change.
pub const RUNTIME_MARK: &[u8; 18] = b"\0vfioboot-runtime\0";
/// The path of the undo record in the ramdisk. Only the desktop reads it.
pub(crate) const UNDO_FILE: &str = "/vfioboot/undo";
/// Where the program that the runtime replaces (the init hook) is kept. PID 1 moves it back before it
/// executes it.
pub const ORIGINAL_INIT: &str = "/vfioboot/init.orig";
/// Instead of [`ORIGINAL_INIT`] where that program has another name in the ramdisk (a hard
/// link): a symbolic link to that name.
pub(crate) const ORIGINAL_INIT_LINK: &str = "/vfioboot/init.link";
/// The directory in the ramdisk with the originals of shadowed files, each under its
/// own path.
pub(crate) const ORIGINALS: &str = "/vfioboot/original";
/// The kernel parameter that makes PID 1 do nothing.
pub const DISABLE_PARAMETER: &str = "vfioboot.disable";

/// Whether a command line turns PID 1 off: by [`DISABLE_PARAMETER`] alone or with the value 1, also
/// among the arguments of init, which are for user space.
pub fn is_disabled<B: AsRef<[u8]>>(line: &Cmdline<B>) -> bool {
    line.all().any(|own| own.is(DISABLE_PARAMETER) && matches!(own.value, None | Some(b"1")))
}

/// The boot file, version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootFile {
    /// Format version; readers refuse any other than [`BootFile::VERSION`].
    pub version: u32,
    /// The program PID 1 executes when it is done: `/init`, or what an earlier
    /// `rdinit=` named.
    pub init: String,
    /// The time PID 1 may take before it executes `init`, in milliseconds; work that still gets on
    /// then has up to six times that.
    pub deadline_ms: u32,
    /// How long a listed device that is not there yet is waited for, in milliseconds; within
    /// `deadline_ms`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wait_ms: u32,
    /// Devices to put on vfio-pci, each `vendor:device` (four hex digits each)
    /// or `domain:bus:device.function`, in order.
    pub devices: Vec<String>,
    /// Files that the patch shadows, absolute. In a boot in which nothing is to be done each is
    /// replaced by its original below `ORIGINALS`, or removed when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<String>,
    /// More paths of the runtime, absolute: where an rc file starts it. The ramdisk has a symbolic link
    /// to `RUNTIME` at each, which PID 1 makes a name of its own file (a hard link) before `/vfioboot`
    /// is removed. So the archive has one copy, and no hard link, which not every tool keeps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runtime_names: Vec<String>,
    /// Modules to load first, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<BootModule>,
}

/// One module to load before binding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootModule {
    /// Absolute path in the ramdisk.
    pub path: String,
    /// Module parameters as `insmod` takes them (`ids=1b36:0010 disable_vga=1`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub params: String,
}

impl BootFile {
    /// The only version there is.
    pub const VERSION: u32 = 1;
    /// `deadline_ms` by default.
    pub const DEFAULT_DEADLINE_MS: u32 = 5000;
    /// `wait_ms` by default: the second that a device may take after
    /// a reset until it answers (PCI Express Base Specification 6.6.1), and for which drivers of
    /// host bridges wait for a link (`drivers/pci/controller/dwc/pcie-designware.h`).
    pub const DEFAULT_WAIT_MS: u32 = 1000;
}

/// For serde, which hands over a reference.
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// How a user names a PCI device: as lspci prints it, or by its directory in sysfs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeviceSpec {
    /// `vendor:device`, every such device: `1b36:0010`, on input also in brackets.
    Id {
        /// PCI vendor id.
        vendor: u16,
        /// PCI device id.
        device: u16,
    },
    /// A place on the bus: `0000:00:02.0`. On input the domain may be left out, or the whole be the
    /// last part of a path below `/sys`.
    Address {
        /// PCI domain (segment), up to 32 bits wide in Linux.
        domain: u32,
        /// Bus number.
        bus: u8,
        /// Device (slot), 0–31.
        device: u8,
        /// Function, 0–7.
        function: u8,
    },
}

/// Where a user reads the ids and addresses of the devices there are, for messages.
pub const WHERE_DEVICES_ARE_LISTED: &str =
    "lspci -nn, vfiorun devices and cat /sys/bus/pci/devices/*/uevent show both for each device";

/// Text that names no PCI device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a PCI device: expected VENDOR:DEVICE (1b36:0010) or DOMAIN:BUS:DEVICE.FUNCTION (0000:00:02.0), in hex, or its path below /sys; {WHERE_DEVICES_ARE_LISTED}"
)]
pub struct DeviceSpecError(pub String);

impl core::str::FromStr for DeviceSpec {
    type Err = DeviceSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match (text.strip_prefix("/sys/"), text.strip_prefix('[')) {
            (Some(path), _) => parse_sysfs_path(path),
            (None, Some(id)) => id.strip_suffix(']').and_then(parse_id),
            (None, None) => parse_id(text).or_else(|| parse_address(text)),
        };
        parsed.ok_or_else(|| DeviceSpecError(text.into()))
    }
}

/// A number of exactly so many digits: `from_str_radix` would also take a sign.
fn hex(text: &str, digits: core::ops::RangeInclusive<usize>) -> Option<u32> {
    let hexadecimal = text.bytes().all(|b| b.is_ascii_hexdigit());
    (digits.contains(&text.len()) && hexadecimal).then(|| u32::from_str_radix(text, 16).ok())?
}

fn parse_id(text: &str) -> Option<DeviceSpec> {
    let (vendor, device) = text.split_once(':')?;
    let id = |text: &str| hex(text, 4..=4).map(|number| number as u16);
    Some(DeviceSpec::Id { vendor: id(vendor)?, device: id(device)? })
}

fn parse_address(text: &str) -> Option<DeviceSpec> {
    let (place, function) = text.split_once('.')?;
    let function = hex(function, 1..=1).filter(|f| *f < 8)? as u8;
    let (bus_part, device) = place.rsplit_once(':')?;
    let device = hex(device, 2..=2).filter(|d| *d < 32)? as u8;
    let (domain, bus) = match bus_part.split_once(':') {
        Some((domain, bus)) => (hex(domain, 4..=8)?, bus),
        None => (0, bus_part),
    };
    Some(DeviceSpec::Address { domain, bus: hex(bus, 2..=2)? as u8, device, function })
}

/// The directory of a device, under whichever of its names: below `bus/pci/devices`, a driver, an
/// IOMMU group, or `devices/pci…` with the bridges before it. Links are not followed: the desktop
/// has other devices.
fn parse_sysfs_path(path: &str) -> Option<DeviceSpec> {
    let mut parts = path.trim_end_matches('/').split('/');
    let name = parts.next_back()?;
    let plain = parts.all(|part| !matches!(part, "" | "." | ".."));
    // sysfs always writes the domain.
    let whole = name.bytes().filter(|byte| *byte == b':').count() == 2;
    (plain && whole).then(|| parse_address(name))?
}

impl core::fmt::Display for DeviceSpec {
    /// The form sysfs uses: four-digit domain at least, lower case.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            DeviceSpec::Id { vendor, device } => write!(f, "{vendor:04x}:{device:04x}"),
            DeviceSpec::Address { domain, bus, device, function } => {
                write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
            }
        }
    }
}
