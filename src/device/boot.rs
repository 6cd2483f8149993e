//! The boot file carried out.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use super::bind;
use super::bootmode::{self, Facts, RECOVERY_PROGRAMS, Skip};
use super::host::{Host, errno_text};
use super::kmsg::Level;
use super::modules::{self, Loaded};
use super::pci::{self, PciAddress};
use crate::bootfile::{BootFile, DeviceSpec, ORIGINALS};

/// Gathers the [`Facts`] and decides whether to do anything in this boot.
/// `ramdisk` is where the ramdisk's files are: `/` for PID 1.
pub fn mode(host: &Host, ramdisk: &Path) -> Option<Skip> {
    let cmdline = host.read("proc/cmdline").ok();
    let bootconfig = host.read("proc/bootconfig").ok();
    bootmode::decide(Facts {
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
        if bind::withdraw_id(host, vendor, device).is_err() {
            continue;
        }
        for found in pci::enumerate(host).unwrap_or_default() {
            if !found.matches(&spec) || found.driver.as_deref() != Some("vfio-pci") {
                continue;
            }
            match bind::give_back(host, found.address) {
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

/// Loads the modules and binds the devices of `file`, telling `log` about each.
/// Nothing that fails stops it.
pub fn carry_out(
    file: &BootFile,
    host: &Host,
    ramdisk: &Path,
    log: &mut dyn FnMut(Level, &str),
) -> Summary {
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
    if !bind::vfio_pci_registered(host) {
        problem("no vfio-pci driver is registered: not in this kernel, or its module failed", log);
    }
    let devices = match pci::enumerate(host) {
        Ok(devices) => devices,
        Err(error) => {
            problem(&error.to_string(), log);
            return summary;
        }
    };
    let mut seen: BTreeSet<PciAddress> = BTreeSet::new();
    let mut bound = 0;
    for text in &file.devices {
        let spec: DeviceSpec = match text.parse() {
            Ok(spec) => spec,
            Err(error) => {
                problem(&format!("{error}"), log);
                continue;
            }
        };
        let mut any = false;
        for device in devices.iter().filter(|device| device.matches(&spec)) {
            any = true;
            if !seen.insert(device.address) {
                continue;
            }
            match bind::to_vfio_pci(host, device.address) {
                Ok(done) => {
                    bound += 1;
                    let group = match done.device.iommu_group {
                        Some(group) => format!("IOMMU group {group}"),
                        None => "no IOMMU group".to_owned(),
                    };
                    log(Level::Info, &format!("{device}: {}, {group}", done.from));
                }
                Err(error) => problem(&format!("{device}: failed: {error}"), log),
            }
        }
        if !any {
            problem(&format!("{spec}: no such device"), log);
        }
    }
    summary.bound = bound;
    summary
}
