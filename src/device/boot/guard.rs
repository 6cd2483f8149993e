//! When PID 1 leaves devices alone although the boot file names them: where taking them could cost the
//! system its root filesystem, and when the boots before this one came to nothing.
//!
//! **An id that several devices have**, one of which carries what the kernel boots from, is refused; so is
//! one where that cannot be told yet and one of them could. A device named by its address is taken.
//!
//! **Boots that failed** are counted where the last moments of a kernel survive it: in pstore
//! (`Documentation/ABI/testing/pstore`). A record of a panic, soon after PID 1 had started, carries the number
//! of that attempt. There is no count where there is no pstore, and a loop that never panics is left to the
//! bootloader (Android's slots). Nothing is written for it: not to misc, which belongs to the bootloader, nor
//! to pstore, whose records stay for whoever looks for the reason. As long as they stay, so do the devices.
//!
//! **A volume key** that is held down is seen where the driver of the keys is built into the kernel.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::bootfile::DeviceSpec;
use crate::bootlog::TAG;
use crate::cmdline::Cmdline;
use crate::device::boot::mode::{Skip, android_values};
use crate::device::bus::in_use::Functions;
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::sys::host::Host;

/// As many boots may end in a panic before devices are left alone.
pub const ATTEMPTS: u32 = 3;
/// A panic later than this after PID 1 has started has other reasons.
const SOON: f64 = 120.0;
/// Where pstore is mounted.
const PSTORE: &str = "sys/fs/pstore";
/// The largest record that is read, in bytes.
const RECORD_LIMIT: u64 = 1 << 20;

/// Why an id is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One of several devices carries what the kernel boots from.
    #[error(
        "several devices have this id, and {address} carries the system ({by}): name one by its address"
    )]
    Carries {
        /// That device.
        address: PciAddress,
        /// The parameter that says so.
        by: String,
    },
    /// One of several devices may carry it.
    #[error(
        "several devices have this id, and one of them may carry the system ({0}): name one by its address"
    )]
    MayCarry(String),
}

/// Whether devices are left alone in this boot.
pub(crate) fn skip(host: &Host) -> Option<Skip> {
    match failed_boots(host) {
        boots if boots >= ATTEMPTS => Some(Skip::FailedBoots(boots)),
        _ => held(host).map(Skip::KeyHeld),
    }
}

/// The line of the log that a later boot finds the number of this attempt in; `None` for the first.
pub(crate) fn attempt(host: &Host) -> Option<String> {
    match failed_boots(host) {
        0 => None,
        boots => Some(format!("attempt {} of {ATTEMPTS}: the kernel panicked before", boots + 1)),
    }
}

/// How many boots in a row ended in a panic soon after PID 1 had started, as the newest record of pstore
/// has it.
pub fn failed_boots(host: &Host) -> u32 {
    let names = host.list(PSTORE).unwrap_or_default().into_iter();
    let records = names.filter(|name| name.starts_with("dmesg-"));
    let texts = records.filter_map(|name| host.bytes(&format!("{PSTORE}/{name}"), RECORD_LIMIT));
    texts.map(|bytes| attempt_in(&String::from_utf8_lossy(&bytes))).max().unwrap_or(0)
}

/// The number of the attempt that a record tells the end of; 0 when it tells of something else.
fn attempt_in(record: &str) -> u32 {
    let mut lines = record.lines();
    // "Panic#1 Part1"
    if !lines.next().is_some_and(|first| first.starts_with("Panic#")) {
        return 0;
    }
    let (mut attempt, mut begun, mut last) = (0, None, 0.0);
    for line in lines {
        // "<6>[    1.234567] vfioboot: 0.1.0 starts"
        let Some((stamp, text)) = line.split_once("] ") else { continue };
        let Some((_, stamp)) = stamp.split_once('[') else { continue };
        // With CONFIG_PRINTK_CALLER it is two fields.
        let Some(stamp) = stamp.split_whitespace().next().and_then(|s| s.parse().ok()) else {
            continue;
        };
        last = stamp;
        let text = text.split_once(TAG).map(|(_, text)| text);
        let numbered = text.and_then(|text| text.strip_prefix("attempt "));
        if let Some(number) = numbered.and_then(|text| text.split(' ').next()?.parse().ok()) {
            attempt = number;
        } else if text.is_some_and(|text| text.ends_with(" starts")) {
            (attempt, begun) = (1, Some(stamp));
        }
    }
    if begun.is_some_and(|begun: f64| last - begun <= SOON) { attempt } else { 0 }
}

/// Codes of `linux/input-event-codes.h`.
const VOLUME_KEYS: &[(u16, &str)] = &[(114, "volume down"), (115, "volume up")];
/// `KEY_MAX` in bytes.
const KEY_BYTES: usize = 96;

/// The volume key that is held down.
fn held(host: &Host) -> Option<&'static str> {
    let class = "sys/class/input";
    let names = host.list(class).ok()?.into_iter();
    names.filter(|name| name.starts_with("event")).find_map(|name| {
        let keys = host.read(&format!("{class}/{name}/device/capabilities/key")).ok()?;
        if !has_volume_keys(&keys) {
            return None;
        }
        let number = host.read(&format!("{class}/{name}/dev")).ok()?;
        let (major, minor) = number.split_once(':')?;
        let device = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
        // There may be no /dev.
        let node = host.path(&name);
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &node, kind, mode, device).ok()?;
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&node);
        _ = fs::remove_file(&node);
        held_in(&states(&opened.ok()?)?)
    })
}

/// Whether a device has a volume key: 64 keys a word, the first of them last
/// (`input_print_bitmap` in `drivers/input/input.c`).
pub fn has_volume_keys(capabilities: &str) -> bool {
    let words: Vec<u64> = capabilities
        .split_whitespace()
        .rev()
        .map(|word| u64::from_str_radix(word, 16).unwrap_or(0))
        .collect();
    VOLUME_KEYS.iter().any(|(key, _)| {
        words.get(usize::from(key / 64)).is_some_and(|word| word & (1 << (key % 64)) != 0)
    })
}

/// The keys of a device, a bit each (`EVIOCGKEY` of `linux/input.h`).
fn states(device: &File) -> Option<[u8; KEY_BYTES]> {
    let mut keys = [0; KEY_BYTES];
    // _IOC(_IOC_READ, 'E', 0x18, sizeof(keys))
    let request = (2 << 30) | ((KEY_BYTES as u32) << 16) | (0x45 << 8) | 0x18;
    // SAFETY: the request carries the size of the buffer, which it fills.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), request as _, keys.as_mut_ptr()) };
    (result >= 0).then_some(keys)
}

/// The volume key among those that are down.
pub fn held_in(keys: &[u8]) -> Option<&'static str> {
    let down =
        |key: u16| keys.get(usize::from(key / 8)).is_some_and(|byte| byte & (1 << (key % 8)) != 0);
    VOLUME_KEYS.iter().find(|(key, _)| down(*key)).map(|(_, name)| *name)
}

/// Whether the devices that an id names must be left alone. `found` are all that have it.
///
/// # Errors
/// The reason.
pub fn examine(host: &Host, spec: &DeviceSpec, found: &[&PciDevice]) -> Result<(), Refusal> {
    if !matches!(spec, DeviceSpec::Id { .. }) || found.len() < 2 {
        return Ok(());
    }
    let cmdline = host.read("proc/cmdline").unwrap_or_default();
    let bootconfig = host.read("proc/bootconfig").unwrap_or_default();
    let mut boot_devices = Vec::new();
    for key in ["androidboot.boot_devices", "androidboot.boot_device"] {
        for value in android_values(&cmdline, &bootconfig, key) {
            boot_devices.extend(value.split(',').map(|path| (key, path.trim().to_owned())));
        }
    }
    for (key, path) in boot_devices.iter().filter(|(_, path)| !path.is_empty()) {
        if let Some(device) = found.iter().find(|device| is_at(host, device.address, path)) {
            let by = format!("{key}={path}");
            return Err(Refusal::Carries { address: device.address, by });
        }
    }
    // Android knows its disk by nothing else.
    if !boot_devices.is_empty() {
        return Ok(());
    }
    let line = Cmdline::new(cmdline);
    match line.value("root").map(String::from_utf8_lossy) {
        None => Ok(()),
        Some(root) => of_root(host, &root, found),
    }
}

/// Whether a device is at a path as Android has them: `soc/1d84000.ufshc`, `pci0000:00/0000:00:04.0`.
fn is_at(host: &Host, address: PciAddress, path: &str) -> bool {
    let place = host.real(&format!("{}/{address}", pci::DEVICES)).unwrap_or_default();
    let place = format!("{}/", place.display());
    place.contains(&format!("/{}/", path.trim_matches('/')))
        || path.split('/').any(|part| part == address.to_string())
}

/// What the beginning of a disk's name says of its controller: the class, 16 bits.
const CONTROLLERS: &[(&str, &[u32])] = &[
    ("mmcblk", &[0x0805]),
    ("mtd", &[]),
    ("ubi", &[]),
    ("nfs", &[]),
    ("ram", &[]),
    ("nvme", &[0x0108]),
];
/// Classes of controllers that any other disk may be on: mass storage of any kind, virtio and USB.
const STORAGE: &[u32] =
    &[0x0100, 0x0101, 0x0104, 0x0105, 0x0106, 0x0107, 0x0108, 0x0180, 0x0805, 0x0c03];

fn of_root(host: &Host, root: &str, found: &[&PciDevice]) -> Result<(), Refusal> {
    let by = format!("root={root}");
    if let Some(place) = disk(host, root) {
        let functions = Functions::read(host);
        for place in with_slaves(&place) {
            let carriers = functions.carriers(&place);
            let one = found.iter().find(|d| carriers.iter().any(|on| on.address == d.address));
            if let Some(device) = one {
                return Err(Refusal::Carries { address: device.address, by });
            }
        }
        return Ok(());
    }
    // Its driver has not found it yet.
    let name = root.strip_prefix("/dev/").unwrap_or(root);
    let known = CONTROLLERS.iter().find(|(prefix, _)| name.starts_with(prefix));
    let classes = known.map_or(STORAGE, |(_, classes)| classes);
    let may = |device: &&PciDevice| {
        pci::class(host, device.address).is_some_and(|class| classes.contains(&(class >> 8)))
    };
    if found.iter().any(may) { Err(Refusal::MayCarry(by)) } else { Ok(()) }
}

/// The place in sysfs of the disk that `root=` names (`init/do_mounts.c`), as far as it is there.
fn disk(host: &Host, root: &str) -> Option<PathBuf> {
    let path = match root.split_once('=') {
        Some(("PARTUUID", id)) => partition(host, "PARTUUID", id)?,
        Some(("PARTLABEL", label)) => partition(host, "PARTNAME", label)?,
        Some(_) => return None,
        None if root.starts_with("/dev/") => {
            format!("sys/class/block/{}", root.trim_start_matches("/dev/"))
        }
        None => format!("sys/dev/block/{root}"),
    };
    host.real(&path)
}

/// The partition whose uevent has a key of this value.
fn partition(host: &Host, key: &str, value: &str) -> Option<String> {
    // "/PARTNROFF=1": another partition of that disk.
    let value = value.split('/').next()?;
    host.list("sys/class/block").ok()?.into_iter().find_map(|name| {
        let path = format!("sys/class/block/{name}");
        let text = host.read(&format!("{path}/uevent")).ok()?;
        let own = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        own.eq_ignore_ascii_case(value).then_some(path)
    })
}

/// A disk and those that it consists of.
fn with_slaves(place: &Path) -> Vec<PathBuf> {
    let mut all = vec![place.to_owned()];
    let mut looked_at = 0;
    while let Some(next) = all.get(looked_at).cloned() {
        looked_at += 1;
        for entry in fs::read_dir(next.join("slaves")).into_iter().flatten().flatten() {
            if let Ok(below) = fs::canonicalize(entry.path())
                && !all.contains(&below)
            {
                all.push(below);
            }
        }
    }
    all
}
