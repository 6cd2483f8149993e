//! Why a device must not be taken from the system: it, or something below it, holds a mounted
//! filesystem or swap, is the only network uplink, or shows the picture.
//!
//! Read from sysfs and procfs: `block/*/slaves` leads from device mapper, RAID and their like to
//! the disks below, `lower_*` from bridges, bonds and VLANs to the network cards. A loop device's
//! file is on a filesystem that is mounted itself.

use core::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::device::bus::pci::{self, PciAddress};
use crate::device::sys::host::Host;

/// What a device is needed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A filesystem is mounted.
    Mount {
        /// Where, the first place.
        place: String,
        /// What the device carries of it: `nvme0n1p2`.
        block: String,
        /// At how many further places.
        more: usize,
    },
    /// The system swaps to it.
    Swap {
        /// What the device carries: `nvme0n1p3`.
        block: String,
    },
    /// The default route leads through it, and no other.
    Uplink {
        /// The interface: `eth0`.
        interface: String,
    },
    /// It shows the picture.
    Display {
        /// How that is known: `boot VGA`, `HDMI-A-1 is connected`, `fb0`.
        evidence: String,
    },
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { place, block, more: 0 } => write!(f, "{block} is mounted at {place}"),
            Self::Mount { place, block, more: 1 } => {
                write!(f, "{block} is mounted at {place} and 1 other place")
            }
            Self::Mount { place, block, more } => {
                write!(f, "{block} is mounted at {place} and {more} other places")
            }
            Self::Swap { block } => write!(f, "the system swaps to {block}"),
            Self::Uplink { interface } => {
                write!(f, "{interface} is the only network uplink")
            }
            Self::Display { evidence } => write!(f, "it drives the display ({evidence})"),
        }
    }
}

/// What is mounted, swapped to and routed through, read once for all devices.
#[derive(Clone, Debug)]
pub struct Holders {
    /// Mount points by the place of the block device in sysfs, disks below others included.
    mounts: Vec<(PathBuf, Vec<String>)>,
    /// Places of block devices that are swapped to.
    swaps: Vec<PathBuf>,
    /// Interfaces that lead out, each with the cards it consists of.
    uplinks: Vec<(String, Vec<PathBuf>)>,
}

impl Holders {
    /// Looks at the system. What cannot be read counts as not there.
    pub fn read(host: &Host) -> Self {
        let mut mounts: Vec<(PathBuf, Vec<String>)> = Vec::new();
        for (place, blocks) in mounted(host) {
            for block in blocks {
                for disk in below(&block, "slaves", "") {
                    match mounts.iter_mut().find(|(known, _)| *known == disk) {
                        Some((_, places)) if places.contains(&place) => {}
                        Some((_, places)) => places.push(place.clone()),
                        None => mounts.push((disk, vec![place.clone()])),
                    }
                }
            }
        }
        mounts.sort_unstable();
        let mut swaps: Vec<PathBuf> =
            swapped_to(host).iter().flat_map(|block| below(block, "slaves", "")).collect();
        swaps.sort_unstable();
        swaps.dedup();
        Self { mounts, swaps, uplinks: uplinks(host) }
    }

    /// What the device at `address` is needed for, when the devices `taken` (this one among
    /// them) are all taken from the system.
    pub fn of(&self, host: &Host, address: PciAddress, taken: &[PciAddress]) -> Vec<Hold> {
        let place = |address| real(host, &format!("{}/{address}", pci::DEVICES));
        let Some(device) = place(address) else { return Vec::new() };
        let mut holds = Vec::new();
        for (block, places) in self.mounts.iter().filter(|(block, _)| block.starts_with(&device)) {
            holds.extend(places.first().map(|first| Hold::Mount {
                place: first.clone(),
                block: name(block),
                more: places.len() - 1,
            }));
        }
        for block in self.swaps.iter().filter(|block| block.starts_with(&device)) {
            holds.push(Hold::Swap { block: name(block) });
        }
        let gone: Vec<PathBuf> = taken.iter().filter_map(|address| place(*address)).collect();
        let is_gone = |card: &PathBuf| gone.iter().any(|device| card.starts_with(device));
        let stays = |cards: &[PathBuf]| !cards.iter().any(is_gone);
        if !self.uplinks.iter().any(|(_, cards)| stays(cards)) {
            let lead = |cards: &[PathBuf]| cards.iter().any(|c| c.starts_with(&device));
            for (interface, _) in self.uplinks.iter().filter(|(_, cards)| lead(cards)) {
                holds.push(Hold::Uplink { interface: interface.clone() });
            }
        }
        holds.extend(display(host, address, &device).map(|evidence| Hold::Display { evidence }));
        holds
    }
}

/// Where a path of sysfs really is: `/sys/devices/...` below the root.
fn real(host: &Host, path: &str) -> Option<PathBuf> {
    fs::canonicalize(host.path(path)).ok()
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The block device or interface at `top` and all that it consists of. A partition's are those of
/// nothing else: the kernel gives partitions no `slaves`.
fn below(top: &Path, directory: &str, prefix: &str) -> Vec<PathBuf> {
    let mut all = vec![top.to_owned()];
    let mut looked_at = 0;
    while let Some(next) = all.get(looked_at).cloned() {
        looked_at += 1;
        for entry in fs::read_dir(next.join(directory)).into_iter().flatten().flatten() {
            if !entry.file_name().to_string_lossy().starts_with(prefix) {
                continue;
            }
            if let Ok(lower) = fs::canonicalize(entry.path())
                && !all.contains(&lower)
            {
                all.push(lower);
            }
        }
    }
    all
}

/// Mount points with the block devices that they are on, in our mount namespace and in init's
/// (`/proc/PID/mountinfo`, `proc(5)`).
fn mounted(host: &Host) -> Vec<(String, Vec<PathBuf>)> {
    let mut mounted = Vec::new();
    for process in ["self", "1"] {
        let path = host.path(format!("proc/{process}/mountinfo"));
        // Longer than `Host::read` allows where there are containers.
        let text = fs::read(path).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
            let Some((front, back)) = line.split_once(" - ") else { continue };
            let mut front = front.split(' ').skip(2);
            let (Some(number), Some(place)) = (front.next(), front.nth(1)) else { continue };
            let mut back = back.split(' ');
            let (kind, source) = (back.next().unwrap_or(""), back.next().unwrap_or(""));
            let mut blocks: Vec<PathBuf> =
                real(host, &format!("sys/dev/block/{number}")).into_iter().collect();
            if blocks.is_empty() && source.starts_with("/dev/") {
                // Filesystems that span disks have a number of no disk (btrfs).
                blocks.extend(block_called(host, source));
            }
            if kind == "btrfs" {
                blocks.extend(btrfs_disks(host, &blocks));
            }
            if !blocks.is_empty() {
                mounted.push((unescape(place), blocks));
            }
        }
    }
    mounted
}

/// The other disks of a btrfs that one of `blocks` belongs to (`/sys/fs/btrfs/UUID/devices`).
fn btrfs_disks(host: &Host, blocks: &[PathBuf]) -> Vec<PathBuf> {
    for filesystem in host.list("sys/fs/btrfs").unwrap_or_default() {
        let directory = format!("sys/fs/btrfs/{filesystem}/devices");
        let disks: Vec<PathBuf> = host
            .list(&directory)
            .unwrap_or_default()
            .iter()
            .filter_map(|disk| real(host, &format!("{directory}/{disk}")))
            .collect();
        if disks.iter().any(|disk| blocks.contains(disk)) {
            return disks;
        }
    }
    Vec::new()
}

/// The block device that a node is for, by its name; a link (`/dev/mapper/root`, `by-uuid`) is
/// followed.
fn block_called(host: &Host, node: &str) -> Option<PathBuf> {
    let node = Path::new(node.trim_start_matches('/'));
    let target = fs::read_link(host.path(node)).ok();
    let name = name(target.as_deref().unwrap_or(node));
    real(host, &format!("sys/class/block/{name}"))
}

/// `\040` is a space (`mangle_path` in `fs/seq_file.c`).
fn unescape(text: &str) -> String {
    let mut plain = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
        plain.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// Swap partitions; a swap file is on a filesystem that is mounted.
fn swapped_to(host: &Host) -> Vec<PathBuf> {
    let text = host.read("proc/swaps").unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| block_called(host, &unescape(line.split_whitespace().next()?)))
        .collect()
}

/// The interfaces that lead out, with their cards: those of the default routes; where no table
/// that we can read has one (Android routes by policy), those that are up and have a carrier.
fn uplinks(host: &Host) -> Vec<(String, Vec<PathBuf>)> {
    let mut interfaces = default_routes(host);
    if interfaces.is_empty() {
        interfaces = host.list("sys/class/net").unwrap_or_default();
        interfaces.retain(|name| {
            host.exists(&format!("sys/class/net/{name}/device"))
                && host.read(&format!("sys/class/net/{name}/carrier")).is_ok_and(|c| c == "1")
        });
    }
    interfaces
        .into_iter()
        .filter_map(|interface| {
            let place = real(host, &format!("sys/class/net/{interface}"))?;
            Some((interface, below(&place, "", "lower_")))
        })
        .collect()
}

/// The interfaces of default routes, `/proc/net/route` and `/proc/net/ipv6_route`.
fn default_routes(host: &Host) -> Vec<String> {
    /// `RTF_UP` and `RTF_REJECT`, `include/uapi/linux/route.h`.
    const UP: u32 = 0x1;
    const REJECT: u32 = 0x200;
    let leads =
        |flags: &str| u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & (UP | REJECT) == UP);
    let mut interfaces = Vec::new();
    for line in host.read("proc/net/route").unwrap_or_default().lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [interface, "00000000", _, flags, _, _, _, "00000000", ..] = fields.as_slice()
            && leads(flags)
        {
            interfaces.push((*interface).to_owned());
        }
    }
    for line in host.read("proc/net/ipv6_route").unwrap_or_default().lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [to, "00", .., flags, interface] = fields.as_slice()
            && to.bytes().all(|byte| byte == b'0')
            && leads(flags)
        {
            interfaces.push((*interface).to_owned());
        }
    }
    interfaces.sort_unstable();
    interfaces.dedup();
    interfaces
}

/// How it is known that a device shows the picture.
fn display(host: &Host, address: PciAddress, device: &Path) -> Option<String> {
    if host.read(&pci::attribute(address, "boot_vga")).is_ok_and(|value| value == "1") {
        return Some("boot VGA".to_owned());
    }
    let is_below = |path: &str| real(host, path).is_some_and(|place| place.starts_with(device));
    for connector in host.list("sys/class/drm").unwrap_or_default() {
        let path = format!("sys/class/drm/{connector}");
        let reads = |attribute: &str, text: &str| {
            host.read(&format!("{path}/{attribute}")).is_ok_and(|value| value == text)
        };
        if is_below(&path) && reads("status", "connected") && reads("enabled", "enabled") {
            let (_, output) = connector.split_once('-').unwrap_or(("", &connector));
            return Some(format!("{output} is connected"));
        }
    }
    let buffers = host.list("sys/class/graphics").unwrap_or_default();
    buffers.into_iter().find(|buffer| {
        buffer.starts_with("fb") && is_below(&format!("sys/class/graphics/{buffer}"))
    })
}
