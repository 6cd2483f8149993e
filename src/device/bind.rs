//! One device to vfio-pci, and back again when it does not get there.

use core::fmt;

use super::host::{Host, HostError, errno_text};
use super::pci::{self, PciAddress, PciDevice, PciError};

/// The driver that hands a device to user space.
pub const VFIO_PCI: &str = "vfio-pci";

/// Makes the PCI core look for a driver for the device whose address is written.
const DRIVERS_PROBE: &str = "sys/bus/pci/drivers_probe";

/// A device that is on vfio-pci.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The device as it is now.
    pub device: PciDevice,
    /// Where it came from.
    pub from: Origin,
}

/// What a device was on before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On vfio-pci already: nothing was written.
    VfioPci,
    /// On this driver.
    Driver(String),
    /// On none.
    Nothing,
}

/// Why a device is not on vfio-pci. Wherever something was written it has been
/// put back; [`Restored`] says with what success.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The kernel has no vfio-pci (now); the device was not touched.
    #[error("no vfio-pci driver is registered")]
    NoVfioPci,
    /// The device is gone or unreadable; it was not touched.
    #[error(transparent)]
    Device(#[from] PciError),
    /// The device cannot be told which driver to take; it was not touched.
    #[error("{0}")]
    Override(HostError),
    /// Its driver would not let it go.
    #[error("{error}; {restored}")]
    Unbind {
        /// The write that failed.
        error: HostError,
        /// The state it was left in.
        restored: Box<Restored>,
    },
    /// vfio-pci did not take it: the kernel log has the reason just above.
    #[error("vfio-pci did not take it{}; {restored}", probe_text(.probe))]
    NotTaken {
        /// What `drivers_probe` said. Success means nothing: it is reported also
        /// when the probe fails (`drivers/base/dd.c`, `really_probe` errors are
        /// not passed on).
        probe: Option<HostError>,
        /// The state it was left in.
        restored: Box<Restored>,
    },
}

fn probe_text(probe: &Option<HostError>) -> String {
    probe
        .as_ref()
        .map(|error| format!(" (drivers_probe: {})", errno_text(&error.error)))
        .unwrap_or_default()
}

/// How a device was left after a failed attempt.
#[derive(Debug)]
pub struct Restored {
    /// The driver it is on now.
    pub driver: Option<String>,
    /// The first of the restoring steps that failed.
    pub error: Option<HostError>,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.driver {
            Some(driver) => write!(f, "it is on {driver} now")?,
            None => f.write_str("it is on no driver now")?,
        }
        match &self.error {
            Some(error) => write!(f, " (could not {error})"),
            None => Ok(()),
        }
    }
}

/// Whether this kernel has the vfio-pci driver, built in or loaded.
pub fn vfio_pci_registered(host: &Host) -> bool {
    host.exists("sys/bus/pci/drivers/vfio-pci")
}

/// Puts the device at `address` on vfio-pci: driver_override, unbind, probe, and
/// then a look at where it really landed.
///
/// A device without an IOMMU group is not refused beforehand: it may get its
/// group from this very probe (see [`PciDevice::iommu_group`]).
///
/// # Errors
/// See [`BindError`]: either nothing was changed or it was undone as far as the
/// kernel let us.
pub fn to_vfio_pci(host: &Host, address: PciAddress) -> Result<Bound, BindError> {
    let before = PciDevice::read(host, address)?;
    if before.driver.as_deref() == Some(VFIO_PCI) {
        return Ok(Bound { device: before, from: Origin::VfioPci });
    }
    if !vfio_pci_registered(host) {
        return Err(BindError::NoVfioPci);
    }
    let name = address.to_string();
    // First the override: from here on no other driver can win a race for it.
    host.write(&pci::attribute(address, "driver_override"), VFIO_PCI)
        .map_err(BindError::Override)?;
    if before.driver.is_some()
        && let Err(error) = host.write(&pci::attribute(address, "driver/unbind"), &name)
    {
        return Err(BindError::Unbind { error, restored: restore(host, &before) });
    }
    let probe = host.write(DRIVERS_PROBE, &name).err();
    match PciDevice::read(host, address) {
        Ok(device) if device.driver.as_deref() == Some(VFIO_PCI) => {
            Ok(Bound { device, from: before.driver.map_or(Origin::Nothing, Origin::Driver) })
        }
        _ => Err(BindError::NotTaken { probe, restored: restore(host, &before) }),
    }
}

/// Takes a device from vfio-pci that `vfio-pci.ids=` on the command line put there and lets
/// its own driver have it. The id must have been withdrawn ([`withdraw_id`]).
///
/// # Errors
/// What the unbinding says. A device that no driver wants then is no error.
pub fn give_back(host: &Host, address: PciAddress) -> Result<Option<String>, HostError> {
    let name = address.to_string();
    host.write(&pci::attribute(address, "driver/unbind"), &name)?;
    // Its driver may be a module that comes later.
    _ = host.write(DRIVERS_PROBE, &name);
    pci::driver(host, address)
}

/// Makes vfio-pci forget an id that `ids=` gave it (`remove_id_store` in
/// `drivers/pci/pci-driver.c`).
///
/// # Errors
/// `ENODEV` when vfio-pci was not given the id.
pub fn withdraw_id(host: &Host, vendor: u16, device: u16) -> Result<(), HostError> {
    host.write("sys/bus/pci/drivers/vfio-pci/remove_id", &format!("{vendor:04x} {device:04x}"))
}

/// Gives a device its former override and driver back.
fn restore(host: &Host, before: &PciDevice) -> Box<Restored> {
    let address = before.address;
    // "\n" clears: an empty write(2) would not even reach the kernel's store
    // function, and "(null)" would be taken for a driver's name
    // (drivers/base/driver.c, driver_set_override).
    let original = before.driver_override.as_deref().unwrap_or("\n");
    let mut error = host.write(&pci::attribute(address, "driver_override"), original).err();
    if let Some(driver) = &before.driver
        && !matches!(pci::driver(host, address), Ok(Some(_)))
    {
        // Its driver by name; a probe would take whichever matches first.
        let name = address.to_string();
        if let Err(failed) = host.write(&format!("sys/bus/pci/drivers/{driver}/bind"), &name) {
            error = error.or(Some(failed));
            // Perhaps another one takes it: better than none.
            _ = host.write(DRIVERS_PROBE, &name);
        }
    }
    Box::new(Restored { driver: pci::driver(host, address).unwrap_or(None), error })
}
