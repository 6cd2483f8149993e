//! USB devices as sysfs shows them (`Documentation/ABI/testing/sysfs-bus-usb`), and their nodes (usbfs).

use core::fmt;
use core::str::FromStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::device::sys::host::Host;

/// The directory with one link for each device and each interface.
const DEVICES: &str = "sys/bus/usb/devices";
/// Makes the kernel look for a driver for the interface whose name is written.
const DRIVERS_PROBE: &str = "sys/bus/usb/drivers_probe";
/// `bDeviceClass` of a hub.
const HUB: &str = "09";

/// Which USB device: `046d:c52b`, or the port that it is at: `1-1.2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsbSpec {
    /// By its ids.
    Id {
        /// That of its vendor.
        vendor: u16,
        /// That of the vendor for it.
        product: u16,
    },
    /// By the number of its bus and those of the ports that lead to it.
    Port(String),
}

/// Text that names no USB device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no USB device: expected VENDOR:PRODUCT (046d:c52b) or BUS-PORT (1-1.2)")]
pub struct UsbSpecError(String);

impl FromStr for UsbSpec {
    type Err = UsbSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = |text: &str| {
            let digits = text.len() == 4 && text.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| u16::from_str_radix(text, 16).ok())?
        };
        if let Some((vendor, product)) = text.split_once(':')
            && let (Some(vendor), Some(product)) = (id(vendor), id(product))
        {
            return Ok(Self::Id { vendor, product });
        }
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.split_once('-') {
            Some((bus, ports)) if number(bus) && ports.split('.').all(number) => {
                Ok(Self::Port(text.to_owned()))
            }
            _ => Err(UsbSpecError(text.to_owned())),
        }
    }
}

impl fmt::Display for UsbSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id { vendor, product } => write!(f, "{vendor:04x}:{product:04x}"),
            Self::Port(port) => f.write_str(port),
        }
    }
}

/// A USB device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsbDevice {
    /// Its place, `1-1.2`, which is its name in sysfs as well.
    pub port: String,
    /// The id of its vendor.
    pub vendor: u16,
    /// That of the vendor for it.
    pub product: u16,
    /// The major and minor number of its node.
    pub number: (u32, u32),
    /// The path of its node where there is one, below the root.
    pub node: String,
    /// Whether it is a hub.
    pub hub: bool,
}

impl fmt::Display for UsbDevice {
    /// `1-1.2 (046d:c52b)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:04x}:{:04x})", self.port, self.vendor, self.product)
    }
}

/// Why a name is not that of one device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsbError {
    /// There is none.
    #[error("{0}: no such USB device (/sys/bus/usb/devices has them)")]
    Nothing(UsbSpec),
    /// There are several.
    #[error("{spec}: several are connected; name one by its port: {ports}")]
    Several {
        /// The name.
        spec: UsbSpec,
        /// The ports.
        ports: String,
    },
    /// A hub belongs to the machine.
    #[error("{0}: a hub is not for a guest; name what is connected to it")]
    Hub(UsbDevice),
}

impl UsbDevice {
    fn read(host: &Host, port: &str) -> Option<Self> {
        let read = |name: &str| host.read(&format!("{DEVICES}/{port}/{name}")).ok();
        let id = |name: &str| u16::from_str_radix(&read(name)?, 16).ok();
        let number = |name: &str| read(name)?.parse::<u32>().ok();
        let (major, minor) = read("dev")?.split_once(':').map(|(major, minor)| {
            (major.parse::<u32>().unwrap_or_default(), minor.parse::<u32>().unwrap_or_default())
        })?;
        Some(Self {
            port: port.to_owned(),
            vendor: id("idVendor")?,
            product: id("idProduct")?,
            number: (major, minor),
            node: format!("dev/bus/usb/{:03}/{:03}", number("busnum")?, number("devnum")?),
            hub: read("bDeviceClass").as_deref() == Some(HUB),
        })
    }

    /// All that are connected. What is no device (an interface, the hub of a controller) is left out.
    fn all(host: &Host) -> Vec<Self> {
        let names = host.list(DEVICES).unwrap_or_default().into_iter();
        let devices = names.filter(|name| name.contains('-') && !name.contains(':'));
        devices.filter_map(|name| Self::read(host, &name)).collect()
    }

    /// The one that a name is for.
    ///
    /// # Errors
    /// See [`UsbError`].
    pub fn find(host: &Host, spec: &UsbSpec) -> Result<Self, UsbError> {
        let is_it = |device: &Self| match spec {
            UsbSpec::Id { vendor, product } => {
                (device.vendor, device.product) == (*vendor, *product)
            }
            UsbSpec::Port(port) => device.port == *port,
        };
        let mut found: Vec<Self> = Self::all(host).into_iter().filter(is_it).collect();
        match found.pop() {
            None => Err(UsbError::Nothing(spec.clone())),
            Some(device) if found.is_empty() && device.hub => Err(UsbError::Hub(device)),
            Some(device) if found.is_empty() => Ok(device),
            Some(last) => {
                let ports = found.iter().chain([&last]).map(|device| device.port.as_str());
                let ports = ports.collect::<Vec<_>>().join(", ");
                Err(UsbError::Several { spec: spec.clone(), ports })
            }
        }
    }

    /// Where it is in sysfs, with all that it carries.
    pub(crate) fn place(&self, host: &Host) -> Option<PathBuf> {
        host.real(&format!("{DEVICES}/{}", self.port))
    }

    /// Where its node is made when nobody has made it, for as long as it takes to open it.
    pub(crate) fn own_node(&self) -> String {
        format!("dev/vfiorun-usb-{}", self.port)
    }

    /// Opens its node; that of this system, or one made for the purpose ([`own_node`](Self::own_node)).
    ///
    /// # Errors
    /// As `open(2)`.
    pub(crate) fn open(&self, host: &Host) -> io::Result<File> {
        let (major, minor) = self.number;
        let device = makedev(major, minor);
        let open = |path: &PathBuf| OpenOptions::new().read(true).write(true).open(path);
        let usual = host.path(&self.node);
        if fs::metadata(&usual).is_ok_and(|found| found.rdev() == device) {
            return open(&usual);
        }
        let own = host.path(self.own_node());
        _ = fs::remove_file(&own);
        mknodat(CWD, &own, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, device)?;
        let opened = open(&own);
        _ = fs::remove_file(&own);
        opened
    }
}

/// Has the kernel find drivers for the interfaces of the device at a port that have none: QEMU gives them back,
/// unless it was killed. `None` when no device is there, else whether there was anything to do.
pub(crate) fn probe(host: &Host, port: &str) -> Option<bool> {
    if !host.exists(&format!("{DEVICES}/{port}")) {
        return None;
    }
    let names = host.list(DEVICES).unwrap_or_default().into_iter();
    let interfaces = names.filter(|name| {
        name.strip_prefix(port).is_some_and(|rest| rest.starts_with(':'))
            && !host.exists(&format!("{DEVICES}/{name}/driver"))
    });
    let mut any = false;
    for interface in interfaces {
        // That no driver wants it is no error.
        any |= host.write(DRIVERS_PROBE, &interface).is_ok();
    }
    Some(any)
}
