//! The boot file carried out.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::bind::{self, Origin};
use super::bootmode::{self, Facts, RECOVERY_PROGRAMS, Skip};
use super::host::{Host, errno_text};
use super::kmsg::Level;
use super::modules::{self, Loaded};
use super::pci::{self, PciAddress};
use crate::bootfile::{BootFile, DeviceSpec};

/// The largest boot file that is read, in bytes. A real one has a few hundred.
pub const SIZE_LIMIT: usize = 64 * 1024;

/// A boot file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BootFileError {
    /// It cannot be read.
    #[error("{}", errno_text(.0))]
    Io(io::Error),
    /// It is larger than [`SIZE_LIMIT`].
    #[error("larger than {SIZE_LIMIT} bytes")]
    TooLarge,
    /// It is no text.
    #[error("not UTF-8 at byte {0}")]
    NotText(usize),
    /// It is no boot file.
    #[error("{0}")]
    Syntax(String),
    /// It is for another version of this program.
    #[error("version {0}, but only version {version} is known", version = BootFile::VERSION)]
    Version(u32),
    /// What it names as the next program is no absolute path.
    #[error("init is \"{0}\", not an absolute path")]
    Init(String),
}

/// Reads and checks the boot file at `path`.
///
/// # Errors
/// See [`BootFileError`].
pub fn read(path: &Path) -> Result<BootFile, BootFileError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SIZE_LIMIT as u64 + 1).read_to_end(&mut bytes))
        .map_err(BootFileError::Io)?;
    if bytes.len() > SIZE_LIMIT {
        return Err(BootFileError::TooLarge);
    }
    let text = str::from_utf8(&bytes).map_err(|e| BootFileError::NotText(e.valid_up_to()))?;
    let file: BootFile = toml::from_str(text).map_err(|e| BootFileError::Syntax(e.to_string()))?;
    if file.version != BootFile::VERSION {
        return Err(BootFileError::Version(file.version));
    }
    if !file.init.starts_with('/') || file.init.contains(['\0', '\n']) {
        return Err(BootFileError::Init(file.init));
    }
    Ok(file)
}

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
            Err(error) => problem(&format!("{path}: not loaded: {}", errno_text(&error)), log),
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
                    let from = match done.from {
                        Origin::VfioPci => "was on vfio-pci already".to_owned(),
                        Origin::Driver(driver) => format!("from {driver} to vfio-pci"),
                        Origin::Nothing => "from no driver to vfio-pci".to_owned(),
                    };
                    log(Level::Info, &format!("{device}: {from}, {group}"));
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
