//! The boot file carried out.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use crate::bootfile::{BootFile, DeviceSpec, ORIGINALS};
use crate::device::bind::driver::{self, BindError};
use crate::device::boot::late::Arrivals;
use crate::device::boot::mode::{self, Facts, RECOVERY_PROGRAMS, Skip};
use crate::device::boot::modules::{self, Loaded};
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::sys::host::{Host, errno_text};
use crate::device::sys::kmsg::Level;

/// Gathers the [`Facts`] and decides whether to do anything in this boot.
/// `ramdisk` is where the ramdisk's files are: `/` for PID 1.
pub fn mode(host: &Host, ramdisk: &Path) -> Option<Skip> {
    let cmdline = host.read("proc/cmdline").ok();
    let bootconfig = host.read("proc/bootconfig").ok();
    mode::decide(Facts {
        cmdline: cmdline.as_deref(),
        bootconfig: bootconfig.as_deref(),
        recovery_program: RECOVERY_PROGRAMS
            .iter()
            .any(|path| ramdisk.join(path).symlink_metadata().is_ok()),
    })
}

/// Gives back what `vfio-pci.ids=` took before any program ran, in a boot that is to be left
/// alone: the word is on the command line because `file` lists the same ids.
pub fn give_back(file: &BootFile, host: &Host, log: &mut dyn FnMut(Level, &str)) {
    let specs = file.devices.iter().filter_map(|text| text.parse().ok());
    for spec in specs {
        let DeviceSpec::Id { vendor, device } = spec else { continue };
        // Not ours to touch unless the kernel itself was given the id.
        if driver::withdraw_id(host, vendor, device).is_err() {
            continue;
        }
        for found in pci::enumerate(host).unwrap_or_default() {
            if !found.matches(&spec) || found.driver.as_deref() != Some("vfio-pci") {
                continue;
            }
            match driver::give_back(host, found.address) {
                Ok(driver) => {
                    let driver = driver.as_deref().unwrap_or("no driver yet");
                    log(Level::Info, &format!("{found}: given back, on {driver}"));
                }
                Err(error) => log(Level::Warning, &format!("{found}: not given back: {error}")),
            }
        }
    }
}

/// Puts the originals of the files that `file` shadows back, in a boot that is to be left alone.
/// `ramdisk` is where the ramdisk's files are.
pub fn put_back(file: &BootFile, ramdisk: &Path, log: &mut dyn FnMut(Level, &str)) {
    let inside = |path: &str| ramdisk.join(path.trim_start_matches('/'));
    for path in &file.shadows {
        let done = match fs::rename(inside(&format!("{ORIGINALS}{path}")), inside(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_file(inside(path)),
            done => done,
        };
        if let Err(error) = done {
            log(Level::Warning, &format!("{path}: not put back: {}", errno_text(&error)));
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Devices that are on vfio-pci now.
    pub bound: usize,
    /// Modules and devices that failed or are absent.
    pub problems: usize,
}

/// Time of the deadline that is kept for what follows the wait: binding, and putting back.
const AFTER_WAIT: Duration = Duration::from_millis(500);

/// Loads the modules and binds the devices of `file`, telling `log` about each. A listed device
/// that is not there yet is waited for, [`BootFile::wait_ms`] at most and never past the
/// deadline. Nothing that fails stops it.
pub fn carry_out(
    file: &BootFile,
    host: &Host,
    ramdisk: &Path,
    log: &mut dyn FnMut(Level, &str),
) -> Summary {
    let started = Instant::now();
    let mut summary = Summary::default();
    let mut problem = |text: &str, log: &mut dyn FnMut(Level, &str)| {
        summary.problems += 1;
        log(Level::Warning, text);
    };
    for module in &file.modules {
        let path = &module.path;
        let real = ramdisk.join(path.trim_start_matches('/'));
        match modules::load(&real, &module.params) {
            Ok(Loaded::Now) => log(Level::Info, &format!("{path}: loaded")),
            Ok(Loaded::Before) => log(Level::Info, &format!("{path}: was loaded already")),
            Err(error) => problem(&format!("{path}: not loaded: {error}"), log),
        }
    }
    let vfio = driver::vfio_pci_registered(host);
    if !vfio {
        problem("no vfio-pci driver is registered: not in this kernel, or its module failed", log);
    }
    // Without a driver to bind to there is nothing to wait for.
    let deadline = Duration::from_millis(file.deadline_ms.into()).saturating_sub(AFTER_WAIT);
    let wait =
        Duration::from_millis(file.wait_ms.into()).min(deadline.saturating_sub(started.elapsed()));
    let arrivals = Arrivals::listen(if vfio { wait } else { Duration::ZERO });
    let mut devices = match pci::enumerate(host) {
        Ok(devices) => devices,
        Err(error) => {
            problem(&error.to_string(), log);
            return summary;
        }
    };
    let mut specs: Vec<DeviceSpec> = Vec::new();
    for text in &file.devices {
        match text.parse() {
            Ok(spec) => specs.push(spec),
            Err(error) => problem(&format!("{error}"), log),
        }
    }
    let mut seen: Vec<PciAddress> = Vec::new();
    let mut late = false;
    loop {
        let there = |spec: &DeviceSpec| devices.iter().any(|device| device.matches(spec));
        let (present, missing): (Vec<_>, Vec<_>) = specs.into_iter().partition(there);
        for device in present.iter().flat_map(|spec| devices.iter().filter(|d| d.matches(spec))) {
            if seen.contains(&device.address) {
                continue;
            }
            seen.push(device.address);
            match to_vfio_pci(host, device, late.then_some(&arrivals), log) {
                true => summary.bound += 1,
                false => summary.problems += 1,
            }
        }
        specs = missing;
        if specs.is_empty() || !arrivals.wait() {
            break;
        }
        late = true;
        devices = pci::enumerate(host).unwrap_or_default();
    }
    for spec in specs {
        summary.problems += 1;
        let waited = match late {
            true => format!(" (waited {} ms)", wait.as_millis()),
            false => String::new(),
        };
        log(Level::Warning, &format!("{spec}: no such device{waited}"));
    }
    summary
}

/// Puts one device on vfio-pci and logs what came of it; `true` when it is there.
///
/// One that has just appeared is in the middle of being added: until the kernel has come to
/// matching drivers a probe does nothing, and its own driver may still get it first. So it is
/// tried again while `arrivals` has time.
fn to_vfio_pci(
    host: &Host,
    device: &PciDevice,
    arrivals: Option<&Arrivals>,
    log: &mut dyn FnMut(Level, &str),
) -> bool {
    let mut result = driver::to_vfio_pci(host, device.address);
    while matches!(result, Err(BindError::NotTaken { .. })) && arrivals.is_some_and(Arrivals::wait)
    {
        result = driver::to_vfio_pci(host, device.address);
    }
    match result {
        Ok(done) => {
            let group = match done.device.iommu_group {
                Some(group) => format!("IOMMU group {group}"),
                None => "no IOMMU group".to_owned(),
            };
            let late = if arrivals.is_some() { "appeared late, " } else { "" };
            log(Level::Info, &format!("{device}: {late}{}, {group}", done.from));
            true
        }
        Err(error) => {
            log(Level::Warning, &format!("{device}: failed: {error}"));
            false
        }
    }
}
