//! Moves one device to vfio-pci, and back when that fails.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::device::bus::group::is_vfio;
use crate::device::bus::in_use::{self, InUse};
use crate::device::bus::pci::{self, PciAddress, PciDevice, PciError};

use crate::device::sys::host::{Host, HostError, Write, errno_text};

/// The driver that hands a device to user space.
pub(crate) const VFIO_PCI: &str = "vfio-pci";

/// Whether a device is on a driver that hands it to user space: vfio-pci, or one of its variants for a
/// single kind of device (`mlx5_vfio_pci`), which is kept.
pub(crate) fn is_on_vfio(device: &PciDevice) -> bool {
    device.driver.as_deref().is_some_and(is_vfio)
}

/// Makes the PCI core look for a driver for the device whose address is written.
const DRIVERS_PROBE: &str = "sys/bus/pci/drivers_probe";

/// A device that is on vfio-pci.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundDevice {
    /// The device as it is now.
    pub device: PciDevice,
    /// Its driver before.
    pub from: Origin,
}

/// The driver of a device before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// vfio-pci already: nothing was written.
    VfioPci,
    /// This variant of vfio-pci, which it keeps: nothing was written.
    Variant(String),
    /// This one.
    Driver(String),
    /// None.
    Nothing,
}

impl fmt::Display for Origin {
    /// What happened to it: `from nvme to vfio-pci`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VfioPci => f.write_str("was already on vfio-pci"),
            Self::Variant(driver) => write!(f, "stays on {driver}"),
            Self::Driver(driver) => write!(f, "from {driver} to vfio-pci"),
            Self::Nothing => f.write_str("from no driver to vfio-pci"),
        }
    }
}

/// Why a device is not on vfio-pci. Wherever something was written it has been
/// put back; [`RestoredState`] says with what success.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The kernel has no vfio-pci (now); the device was not touched.
    #[error("no vfio-pci driver is registered")]
    NoVfioPci,
    /// The device is gone or unreadable; it was not touched.
    #[error(transparent)]
    Device(#[from] PciError),
    /// Its `driver_override` cannot be set; it was not touched.
    #[error("{0}")]
    Override(#[source] HostError),
    /// The kernel does not come back from a write. The device is as the kernel keeps it, and nothing can
    /// be put back before it does.
    #[error("{error}{}", keeps_text(.driver, .open))]
    Stuck {
        /// The write.
        #[source]
        error: HostError,
        /// The driver that was to release or to take the device.
        driver: Option<String>,
        /// The processes that have it open.
        open: Vec<InUse>,
    },
    /// Its driver does not release it.
    #[error("{error}; {restored}")]
    Unbind {
        /// The write that failed.
        #[source]
        error: HostError,
        /// The state it was left in.
        restored: Box<RestoredState>,
    },
    /// vfio-pci did not take it: the kernel log has the reason just above.
    #[error("vfio-pci did not take it{}; {restored}", probe_text(.probe))]
    NotTaken {
        /// What `drivers_probe` said. Success means nothing: it is reported also
        /// when the probe fails (`drivers/base/dd.c`, `really_probe` errors are
        /// not passed on).
        probe: Option<HostError>,
        /// The state it was left in.
        restored: Box<RestoredState>,
    },
}

fn keeps_text(driver: &Option<String>, open: &[InUse]) -> String {
    match (open, driver) {
        ([], None) => String::new(),
        ([], Some(driver)) => format!("; no process is seen to have it open: {driver} keeps it"),
        (open, _) => open.iter().map(|used| format!("; {used}")).collect(),
    }
}

fn probe_text(probe: &Option<HostError>) -> String {
    probe
        .as_ref()
        .map(|error| format!(" (drivers_probe: {})", errno_text(&error.error)))
        .unwrap_or_default()
}

/// How a device was left after a failed attempt.
#[derive(Debug)]
pub struct RestoredState {
    /// The driver it is on now.
    pub driver: Option<String>,
    /// The first of the restoring steps that failed.
    pub error: Option<HostError>,
}

impl fmt::Display for RestoredState {
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
pub(crate) fn vfio_pci_registered(host: &Host) -> bool {
    host.exists("sys/bus/pci/drivers/vfio-pci")
}

/// What a write of a sequence does, and so what its failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Override,
    Unbind,
    RemoveId,
    Probe,
}

/// The writes that put a device on vfio-pci, in order; none when it is there already.
pub(crate) fn writes(before: &PciDevice) -> Vec<Write> {
    steps(before).into_iter().map(|(_, write)| write).collect()
}

fn steps(before: &PciDevice) -> Vec<(Step, Write)> {
    if is_on_vfio(before) {
        return Vec::new();
    }
    // First the override: from here on no other driver can win a race for it.
    let mut steps = vec![(Step::Override, override_write(before.address, VFIO_PCI))];
    steps.extend(before.driver.is_some().then(|| (Step::Unbind, unbind_write(before.address))));
    steps.push((Step::Probe, probe_write(before.address)));
    steps
}

fn override_write(address: PciAddress, value: &str) -> Write {
    Write { path: pci::attribute(address, "driver_override"), value: value.to_owned() }
}

fn unbind_write(address: PciAddress) -> Write {
    Write { path: pci::attribute(address, "driver/unbind"), value: address.to_string() }
}

fn probe_write(address: PciAddress) -> Write {
    Write { path: DRIVERS_PROBE.to_owned(), value: address.to_string() }
}

/// Puts the device at `address` on vfio-pci: driver_override, unbind, probe, and
/// then reads the driver back.
///
/// A device without an IOMMU group is not refused beforehand: it may join its
/// group in this very probe (see [`PciDevice::iommu_group`]).
///
/// # Errors
/// See [`BindError`]: either nothing was changed or it was undone as far as the
/// kernel let us.
pub fn to_vfio_pci(host: &Host, address: PciAddress) -> Result<BoundDevice, BindError> {
    let before = PciDevice::read(host, address)?;
    if let Some(driver) = before.driver.clone().filter(|_| is_on_vfio(&before)) {
        let vfio_pci = driver == VFIO_PCI;
        let from = if vfio_pci { Origin::VfioPci } else { Origin::Variant(driver) };
        return Ok(BoundDevice { device: before, from });
    }
    if !vfio_pci_registered(host) {
        return Err(BindError::NoVfioPci);
    }
    let mut probe = None;
    for (step, write) in steps(&before) {
        match (host.carry_out(&write), step) {
            (Ok(()), _) => {}
            (Err(error), _) if error.stuck().is_some_and(|stuck| !stuck.gone) => {
                let open = in_use::open_by_processes(host, address);
                return Err(BindError::Stuck { error, driver: before.driver, open });
            }
            (Err(error), Step::Override) => return Err(BindError::Override(error)),
            (Err(error), Step::Probe) => probe = Some(error),
            (Err(error), Step::Unbind | Step::RemoveId) => {
                return Err(BindError::Unbind { error, restored: restore(host, &before) });
            }
        }
    }
    match PciDevice::read(host, address) {
        Ok(device) if device.driver.as_deref() == Some(VFIO_PCI) => {
            Ok(BoundDevice { device, from: before.driver.map_or(Origin::Nothing, Origin::Driver) })
        }
        _ => Err(BindError::NotTaken { probe, restored: restore(host, &before) }),
    }
}

/// The driver and the override of a device: enough to put it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverState {
    /// The device.
    pub address: PciAddress,
    /// Its driver.
    pub driver: Option<String>,
    /// Its `driver_override`.
    pub driver_override: Option<String>,
}

impl From<&PciDevice> for DriverState {
    fn from(device: &PciDevice) -> Self {
        Self {
            address: device.address,
            driver: device.driver.clone(),
            driver_override: device.driver_override.clone(),
        }
    }
}

/// Why a device is not in its original state.
#[derive(Debug, thiserror::Error)]
pub enum PutBackError {
    /// It cannot be read.
    #[error(transparent)]
    Device(#[from] PciError),
    /// The kernel does not come back from a write.
    #[error(transparent)]
    Stuck(HostError),
    /// It is on another driver, or has another override, than before.
    #[error("{}{}", mismatch(.now, .original), .error.as_ref().map(|e| format!(" (could not {e})")).unwrap_or_default())]
    Mismatch {
        /// Its state before.
        original: Box<DriverState>,
        /// Its state now.
        now: Box<DriverState>,
        /// The first of the writes that failed.
        #[source]
        error: Option<HostError>,
    },
}

fn mismatch(now: &DriverState, original: &DriverState) -> String {
    let name = |driver: &Option<String>| driver.as_deref().unwrap_or("no driver").to_owned();
    if now.driver != original.driver {
        return format!(
            "it is on {}, not on {} as before",
            name(&now.driver),
            name(&original.driver)
        );
    }
    let text = |value: &Option<String>| value.as_deref().unwrap_or("").to_owned();
    let (is, was) = (text(&now.driver_override), text(&original.driver_override));
    format!("its driver_override is \"{is}\", not \"{was}\" as before")
}

/// The writes that bring a device from its state now to its original one; none when they are equal.
pub(crate) fn writes_back(now: &PciDevice, original: &DriverState) -> Vec<Write> {
    let address = now.address;
    // "\n" clears: an empty write(2) would not even reach the kernel's store
    // function, and "(null)" would be taken for a driver's name
    // (drivers/base/driver.c, driver_set_override).
    let value = original.driver_override.as_deref().unwrap_or("\n");
    let moves = now.driver != original.driver;
    let mut writes = Vec::new();
    // An override that names another driver would keep the device from its original one.
    let interim = original.driver.as_deref().filter(|driver| {
        moves && original.driver_override.as_deref().is_some_and(|o| o != *driver)
    });
    if let Some(driver) = interim {
        writes.push(override_write(address, driver));
    } else if now.driver_override != original.driver_override {
        writes.push(override_write(address, value));
    }
    if moves {
        writes.extend(now.driver.is_some().then(|| unbind_write(address)));
        // Its driver by name; a probe would take whichever matches first.
        writes.extend(original.driver.as_ref().map(|driver| Write {
            path: format!("sys/bus/pci/drivers/{driver}/bind"),
            value: address.to_string(),
        }));
    }
    writes.extend(interim.map(|_| override_write(address, value)));
    writes
}

/// Gives a device its original driver and override back, and reads both again. Says whether
/// anything had to be written.
///
/// # Errors
/// See [`PutBackError`]. A driver that is no longer there is replaced by the one that a probe
/// finds: better than none, and still an error.
pub(crate) fn put_back(host: &Host, original: &DriverState) -> Result<bool, PutBackError> {
    let address = original.address;
    let now = PciDevice::read(host, address)?;
    let writes = writes_back(&now, original);
    let mut error = None;
    for write in &writes {
        match host.carry_out(write) {
            // What follows would wait as well.
            Err(failed) if failed.stuck().is_some_and(|stuck| !stuck.gone) => {
                return Err(PutBackError::Stuck(failed));
            }
            Err(failed) => error = error.or(Some(failed)),
            Ok(()) => {}
        }
    }
    let mut now = PciDevice::read(host, address)?;
    if now.driver.is_none() && original.driver.is_some() {
        _ = host.carry_out(&probe_write(address));
        now = PciDevice::read(host, address)?;
    }
    match DriverState::from(&now) {
        found if found == *original => Ok(!writes.is_empty()),
        found => Err(PutBackError::Mismatch {
            original: Box::new(original.clone()),
            now: Box::new(found),
            error,
        }),
    }
}

/// The writes that give a device to whichever driver wants it when no record is left of how it came
/// to vfio-pci: by PID 1 in the ramdisk, or by `vfio-pci.ids=`.
///
/// The id is withdrawn between unbinding and probing, or vfio-pci would take the device again;
/// that write fails with `ENODEV` where vfio-pci was not given the id ([`withdraw_id`]).
pub(crate) fn release_writes(now: &PciDevice) -> Vec<Write> {
    release_steps(now).into_iter().map(|(_, write)| write).collect()
}

fn release_steps(now: &PciDevice) -> Vec<(Step, Write)> {
    let mut steps = Vec::new();
    if now.driver_override.is_some() {
        steps.push((Step::Override, override_write(now.address, "\n")));
    }
    steps.extend(now.driver.is_some().then(|| (Step::Unbind, unbind_write(now.address))));
    steps.push((Step::RemoveId, id_write(now.vendor, now.device)));
    steps.push((Step::Probe, probe_write(now.address)));
    steps
}

/// Why a device is still on vfio-pci.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// It cannot be read.
    #[error(transparent)]
    Device(#[from] PciError),
    /// A write failed.
    #[error("{0}")]
    Write(#[source] HostError),
    /// It is on vfio-pci again, or still.
    #[error("it is still on vfio-pci")]
    Still,
}

/// Carries out [`release_writes`] and says which driver has the device now.
///
/// # Errors
/// See [`ReleaseError`]. A device that no driver wants is not an error.
pub(crate) fn release(host: &Host, address: PciAddress) -> Result<Option<String>, ReleaseError> {
    let now = PciDevice::read(host, address)?;
    for (step, write) in release_steps(&now) {
        match (host.carry_out(&write), step) {
            (Ok(()), _) => {}
            // It was not given the id; no driver wants the device, as is read back below.
            (Err(error), _) if error.stuck().is_some() => return Err(ReleaseError::Write(error)),
            (Err(_), Step::RemoveId | Step::Probe) => {}
            (Err(error), Step::Override | Step::Unbind) => return Err(ReleaseError::Write(error)),
        }
    }
    match PciDevice::read(host, address)? {
        device if is_on_vfio(&device) => Err(ReleaseError::Still),
        device => Ok(device.driver),
    }
}

/// Takes a device from vfio-pci that `vfio-pci.ids=` on the command line put there and lets
/// its own driver have it. The id must have been withdrawn ([`withdraw_id`]).
///
/// # Errors
/// When it cannot be unbound. That no driver wants the device is not an error.
pub(crate) fn give_back(host: &Host, address: PciAddress) -> Result<Option<String>, HostError> {
    let name = address.to_string();
    host.write(&pci::attribute(address, "driver/unbind"), &name)?;
    // Its driver may be a module that comes later.
    _ = host.write(DRIVERS_PROBE, &name);
    pci::driver(host, address)
}

/// Makes vfio-pci forget an id.
const REMOVE_ID: &str = "sys/bus/pci/drivers/vfio-pci/remove_id";

fn id_write(vendor: u16, device: u16) -> Write {
    Write { path: REMOVE_ID.to_owned(), value: format!("{vendor:04x} {device:04x}") }
}

/// Makes vfio-pci forget an id that `ids=` gave it (`remove_id_store` in
/// `drivers/pci/pci-driver.c`).
///
/// # Errors
/// `ENODEV` when vfio-pci was not given the id.
pub(crate) fn withdraw_id(host: &Host, vendor: u16, device: u16) -> Result<(), HostError> {
    host.carry_out(&id_write(vendor, device))
}

/// Gives a device its original override and driver back, as far as the kernel lets us.
fn restore(host: &Host, before: &PciDevice) -> Box<RestoredState> {
    let error = match put_back(host, &before.into()) {
        Err(PutBackError::Mismatch { error, .. }) => error,
        _ => None,
    };
    Box::new(RestoredState { driver: pci::driver(host, before.address).unwrap_or(None), error })
}
