//! Carries out the boot file.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use crate::bootfile::{BootFile, BootModule, DeviceSpec, DeviceSpecError, ORIGINALS};
use crate::device::bind::driver::{self, BindError};
use crate::device::boot::guard;
use crate::device::boot::late::Arrivals;
use crate::device::boot::mode::{self, Facts, RECOVERY_PROGRAMS, Skip};
use crate::device::boot::modules::{self, LoadResult};
use crate::device::bus::in_use::Survey;
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
    .or_else(|| guard::skip(host))
}

/// Gives back what `vfio-pci.ids=` took before any program ran, in a boot in which PID 1 does
/// nothing: the parameter is on the command line because `file` lists the same ids.
pub(crate) fn give_back(file: &BootFile, host: &Host, log: &mut dyn FnMut(Level, &str)) {
    let specs = file.devices.iter().filter_map(|text| text.parse().ok());
    specs.for_each(|spec| give_back_id(&spec, host, log));
}

/// As [`give_back`], for the devices of one id.
fn give_back_id(spec: &DeviceSpec, host: &Host, log: &mut dyn FnMut(Level, &str)) {
    if let DeviceSpec::Id { vendor, device } = *spec {
        // Not ours to touch unless the kernel itself was given the id.
        if driver::withdraw_id(host, vendor, device).is_err() {
            return;
        }
        for found in pci::enumerate(host).unwrap_or_default() {
            if !found.matches(spec) || found.driver.as_deref() != Some("vfio-pci") {
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

/// Puts the originals of the files that `file` shadows back, in a boot in which PID 1 does nothing.
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

/// Makes this program, which is at `own`, the file at each of the paths that rc files start it by. It
/// keeps them when `/vfioboot` is removed.
pub fn make_names(file: &BootFile, own: &str, ramdisk: &Path, log: &mut dyn FnMut(Level, &str)) {
    let inside = |path: &str| ramdisk.join(path.trim_start_matches('/'));
    for path in &file.runtime_names {
        let new = inside(&format!("{path}.new"));
        // A rename of one name of a file to another would do nothing: what is there is a link.
        let made = fs::hard_link(inside(own), &new).and_then(|()| fs::rename(&new, inside(path)));
        if let Err(error) = made {
            log(Level::Warning, &format!("{path}: vfiorun is not there: {}", errno_text(&error)));
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

/// Loads the modules and binds the devices of `file`, and logs each. A listed device that is not
/// there yet is waited for, [`BootFile::wait_ms`] at most and never past the deadline. No failure
/// stops it.
pub fn carry_out(
    file: &BootFile,
    host: &Host,
    ramdisk: &Path,
    log: &mut dyn FnMut(Level, &str),
) -> Summary {
    carry_out_steps(file, host, ramdisk, log, &mut |_| true)
}

/// Like [`carry_out`], and calls `step` with each module or device before it is its turn; when that
/// returns `false`, nothing further is begun.
pub fn carry_out_steps(
    file: &BootFile,
    host: &Host,
    ramdisk: &Path,
    log: &mut dyn FnMut(Level, &str),
    step: &mut dyn FnMut(&str) -> bool,
) -> Summary {
    let started = Instant::now();
    let mut work = Work { host, log, step, stopped: false, summary: Summary::default() };
    work.load_modules(&file.modules, ramdisk);
    let vfio = driver::vfio_pci_registered(host);
    if !vfio {
        work.problem("no vfio-pci driver is registered: not in this kernel, or its module failed");
    }
    // Without vfio-pci there is nothing to wait for.
    let deadline = Duration::from_millis(file.deadline_ms.into()).saturating_sub(AFTER_WAIT);
    let wait =
        Duration::from_millis(file.wait_ms.into()).min(deadline.saturating_sub(started.elapsed()));
    // Before the first look at sysfs, so that no device is missed in between.
    let arrivals = Arrivals::listen(if vfio { wait } else { Duration::ZERO });
    match pci::enumerate(host) {
        Ok(devices) => {
            let specs = work.specs(&file.devices);
            work.bind(specs, devices, &arrivals, wait);
        }
        Err(error) => work.problem(&error.to_string()),
    }
    work.summary
}

/// What is being done, and what has been done so far.
struct Work<'a> {
    host: &'a Host,
    log: &'a mut dyn FnMut(Level, &str),
    step: &'a mut dyn FnMut(&str) -> bool,
    /// Nothing further is begun.
    stopped: bool,
    summary: Summary,
}

impl Work<'_> {
    fn problem(&mut self, text: &str) {
        self.summary.problems += 1;
        (self.log)(Level::Warning, text);
    }

    /// Whether to begin the next step.
    fn begin(&mut self, what: &str) -> bool {
        self.stopped |= !(self.step)(what);
        if self.stopped {
            self.problem(&format!("{what}: not begun: the time is over"));
        }
        !self.stopped
    }

    fn load_modules(&mut self, modules: &[BootModule], ramdisk: &Path) {
        for BootModule { path, params } in modules {
            if !self.begin(path) {
                continue;
            }
            match modules::load(&ramdisk.join(path.trim_start_matches('/')), params) {
                Ok(LoadResult::Now) => (self.log)(Level::Info, &format!("{path}: loaded")),
                Ok(LoadResult::Before) => {
                    (self.log)(Level::Info, &format!("{path}: was already loaded"));
                }
                Err(error) => self.problem(&format!("{path}: not loaded: {error}")),
            }
        }
    }

    fn specs(&mut self, devices: &[String]) -> Vec<DeviceSpec> {
        let mut specs = Vec::new();
        for text in devices {
            match text.parse() {
                Ok(spec) => specs.push(spec),
                Err(error) => self.problem(&DeviceSpecError::to_string(&error)),
            }
        }
        specs
    }

    /// Whether the devices that a spec names may be taken; if not, they are given back where the kernel
    /// itself has taken them.
    fn allows(&mut self, spec: &DeviceSpec, devices: &[PciDevice]) -> bool {
        let found: Vec<&PciDevice> = devices.iter().filter(|d| d.matches(spec)).collect();
        let Err(refusal) = guard::examine(self.host, spec, &found) else { return true };
        self.problem(&format!("{spec}: left alone: {refusal}"));
        give_back_id(spec, self.host, self.log);
        false
    }

    /// Binds those of the devices that are there, and then the others as they arrive.
    fn bind(
        &mut self,
        mut specs: Vec<DeviceSpec>,
        mut devices: Vec<PciDevice>,
        arrivals: &Arrivals,
        wait: Duration,
    ) {
        let mut known: Vec<PciAddress> = Vec::new();
        let mut late = false;
        loop {
            let there = |spec: &DeviceSpec| devices.iter().any(|device| device.matches(spec));
            let (mut present, missing): (Vec<_>, Vec<_>) = specs.into_iter().partition(there);
            present.retain(|spec| self.allows(spec, &devices));
            for device in present.iter().flat_map(|spec| devices.iter().filter(|d| d.matches(spec)))
            {
                if known.contains(&device.address) {
                    continue;
                }
                known.push(device.address);
                if !self.begin(&device.to_string()) {
                    continue;
                }
                match to_vfio_pci(self.host, device, late.then_some(arrivals), self.log) {
                    true => self.summary.bound += 1,
                    false => self.summary.problems += 1,
                }
            }
            specs = missing;
            if specs.is_empty() || self.stopped || !arrivals.wait() {
                break;
            }
            late = true;
            devices = pci::enumerate(self.host).unwrap_or_default();
        }
        let waited =
            if late { format!(" (waited {} ms)", wait.as_millis()) } else { String::new() };
        for spec in specs {
            self.problem(&format!("{spec}: no such device{waited}"));
        }
    }
}

/// Finishes what a process that died has begun: a device that it took from its driver, and that is on
/// no driver since, gets to vfio-pci, or back to a driver of its own.
pub fn finish(file: &BootFile, host: &Host, log: &mut dyn FnMut(Level, &str)) {
    let specs: Vec<DeviceSpec> = file.devices.iter().filter_map(|text| text.parse().ok()).collect();
    for device in pci::enumerate(host).unwrap_or_default() {
        let begun = device.driver.is_none()
            && device.driver_override.as_deref() == Some(driver::VFIO_PCI)
            && specs.iter().any(|spec| device.matches(spec));
        if !begun {
            continue;
        }
        if driver::to_vfio_pci(host, device.address).is_ok() {
            log(Level::Info, &format!("{device}: was left without a driver, is on vfio-pci now"));
            continue;
        }
        match driver::release(host, device.address) {
            Ok(driver) => {
                let driver = driver.as_deref().unwrap_or("no driver");
                log(
                    Level::Warning,
                    &format!("{device}: was left without a driver, is on {driver}"),
                );
            }
            Err(error) => {
                log(Level::Warning, &format!("{device}: is left without a driver: {error}"));
            }
        }
    }
}

/// Puts one device on vfio-pci and logs the result; `true` when it is there.
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
    // Before any program ran, what the kernel itself made of disks (`dm-mod.create=`, RAID) can be in
    // use. Everything else the user has decided who named the device.
    let uses = Survey::read(host).of(host, device, &[device.address]);
    if let Some(used) = uses.iter().find(|used| used.is_storage()) {
        log(Level::Warning, &format!("{device}: left alone: {used}"));
        return false;
    }
    for used in uses {
        log(Level::Info, &format!("{device}: {used}"));
    }
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
