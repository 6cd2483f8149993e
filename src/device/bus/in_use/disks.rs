//! What uses the disks of a device: mounts, swap, filesystems of several disks, block devices made
//! of others, and whoever has a disk for himself.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::blocks::{Block, Blocks};
use super::mounts::{self, Mount};
use super::need::{InUse, Need};
use crate::device::sys::host::Host;

/// Where filesystems show themselves: a directory each, in which every filesystem in use has an
/// entry of the name of its disk (ext4, xfs, f2fs) or of its UUID (btrfs, bcachefs).
const FILESYSTEMS: &str = "sys/fs";

/// The pools of ZFS, which has no entry in `/sys/fs` and no disk in mountinfo.
const POOLS: &str = "proc/spl/kstat/zfs";

/// Where udev keeps what it read of block devices.
const UDEV: &str = "run/udev/data";

/// Why each block device is in use, by its number in [`Blocks`].
#[derive(Clone, Debug, Default)]
pub(crate) struct DiskUse(BTreeMap<usize, Vec<InUse>>);

impl DiskUse {
    pub(crate) fn read(host: &Host, blocks: &Blocks, mounts: &[Mount]) -> Self {
        let mut used = Self::default();
        used.mounts(host, blocks, mounts);
        for top in swapped_to(host, blocks) {
            for number in blocks.below(top) {
                let Some(block) = blocks.get(number) else { continue };
                let need = Need::Swap { block: block.name.clone() };
                used.add(number, InUse::new(need, "/proc/swaps"));
            }
        }
        used.filesystems(host, blocks);
        used.pools(host, blocks);
        used.holders(blocks);
        used
    }

    /// All block devices in use.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &InUse)> {
        self.0.iter().flat_map(|(number, uses)| uses.iter().map(|used| (*number, used)))
    }

    fn has(&self, number: usize) -> bool {
        self.0.contains_key(&number)
    }

    fn add(&mut self, number: usize, used: InUse) {
        let known = self.0.entry(number).or_default();
        if !known.contains(&used) {
            known.push(used);
        }
    }

    fn mounts(&mut self, host: &Host, blocks: &Blocks, mounts: &[Mount]) {
        let mut places: BTreeMap<usize, Vec<&Mount>> = BTreeMap::new();
        let filesystems = all_members(host, blocks);
        // Every namespace has most of them again.
        let mut numbered: BTreeMap<&str, Option<usize>> = BTreeMap::new();
        for mount in mounts {
            let known = numbered.entry(&mount.number);
            let block = known.or_insert_with(|| blocks.numbered(host, &mount.number));
            let mut tops: Vec<usize> = block.iter().copied().collect();
            if tops.is_empty() && mount.source.starts_with("/dev/") {
                // Filesystems that span disks have a number of no disk.
                tops.extend(blocks.called(host, &mount.source));
            }
            let spanned =
                filesystems.iter().filter(|disks| tops.iter().any(|top| disks.contains(top)));
            let spanned = spanned.flatten().copied();
            for number in tops.iter().copied().chain(spanned).flat_map(|top| blocks.below(top)) {
                let known = places.entry(number).or_default();
                if !known.iter().any(|known| known.place == mount.place) {
                    known.push(mount);
                }
            }
        }
        for (number, mounts) in places {
            let (Some(block), Some(first)) = (blocks.get(number), mounts.first()) else { continue };
            let need = Need::Mount {
                place: first.place.clone(),
                block: block.name.clone(),
                more: mounts.len() - 1,
                process: first.process.clone(),
            };
            self.add(number, InUse::new(need, first.file.clone()));
        }
    }

    /// Filesystems that the kernel has open although nothing of ours shows where they are mounted.
    fn filesystems(&mut self, host: &Host, blocks: &Blocks) {
        for kind in host.list(FILESYSTEMS).unwrap_or_default() {
            let directory = format!("{FILESYSTEMS}/{kind}");
            for entry in host.list(&directory).unwrap_or_default() {
                let path = format!("{directory}/{entry}");
                let mut found = members(host, blocks, &path);
                found.extend(blocks.called(host, &entry));
                for number in found.into_iter().flat_map(|top| blocks.below(top)) {
                    let Some(block) = blocks.get(number).filter(|_| !self.has(number)) else {
                        continue;
                    };
                    let need = Need::Filesystem {
                        kind: kind.clone(),
                        name: None,
                        block: block.name.clone(),
                    };
                    self.add(number, InUse::new(need, format!("/{path}")));
                }
            }
        }
    }

    fn pools(&mut self, host: &Host, blocks: &Blocks) {
        let mut pools = host.list(POOLS).unwrap_or_default();
        pools.retain(|pool| host.exists(&format!("{POOLS}/{pool}/state")));
        if pools.is_empty() {
            return;
        }
        for (number, block) in blocks.iter() {
            let Some(record) = udev_record(host, block) else { continue };
            let value = |key: &str| {
                record.lines().find_map(|line| line.strip_prefix("E:")?.strip_prefix(key))
            };
            let label = value("ID_FS_LABEL=").unwrap_or_default();
            if value("ID_FS_TYPE=") == Some("zfs_member") && pools.iter().any(|pool| pool == label)
            {
                let need = Need::Filesystem {
                    kind: "zfs".to_owned(),
                    name: Some(label.to_owned()),
                    block: block.name.clone(),
                };
                self.add(number, InUse::new(need, format!("/{POOLS}/{label}/state")));
            }
        }
    }

    /// What is made of others, where nothing else was found to say.
    fn holders(&mut self, blocks: &Blocks) {
        for (number, block) in blocks.iter() {
            if self.has(number) {
                continue;
            }
            for upper in &block.upper {
                let need = Need::Holder { block: block.name.clone(), holder: blocks.shown(*upper) };
                let source = format!("/sys/class/block/{}/holders", block.name);
                self.add(number, InUse::new(need, source));
            }
        }
    }
}

/// The disks of each filesystem that spans several.
fn all_members(host: &Host, blocks: &Blocks) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for kind in host.list(FILESYSTEMS).unwrap_or_default() {
        for entry in host.list(&format!("{FILESYSTEMS}/{kind}")).unwrap_or_default() {
            let members = members(host, blocks, &format!("{FILESYSTEMS}/{kind}/{entry}"));
            all.extend(Some(members).filter(|members| !members.is_empty()));
        }
    }
    all
}

/// The disks of a filesystem: `btrfs/UUID/devices/sda`, `bcachefs/UUID/dev-0/block`.
fn members(host: &Host, blocks: &Blocks, filesystem: &str) -> Vec<usize> {
    let devices = format!("{filesystem}/devices");
    let paths = host.list(&devices).unwrap_or_default();
    let mut paths: Vec<String> =
        paths.into_iter().map(|name| format!("{devices}/{name}")).collect();
    if paths.is_empty() {
        let entries = host.list(filesystem).unwrap_or_default().into_iter();
        let entries = entries.filter(|name| name.starts_with("dev-"));
        paths = entries.map(|name| format!("{filesystem}/{name}/block")).collect();
    }
    paths.iter().filter_map(|path| blocks.at(&host.real(path)?)).collect()
}

fn udev_record(host: &Host, block: &Block) -> Option<String> {
    let number = fs::read_to_string(block.place.join("dev")).ok()?;
    host.read(&format!("{UDEV}/b{}", number.trim())).ok()
}

/// Swap partitions; a swap file is on a filesystem that is mounted.
fn swapped_to(host: &Host, blocks: &Blocks) -> Vec<usize> {
    let text = host.read("proc/swaps").unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| blocks.called(host, &mounts::unescape(line.split_whitespace().next()?)))
        .collect()
}

/// Whether somebody has a disk or one of its partitions for himself: a mount in whatever
/// namespace, a pool, RAID, device mapper, swap. The kernel's own answer (`bd_prepare_to_claim`,
/// `block/bdev.c`), which is asked on the running system alone.
pub(crate) fn is_busy(host: &Host, block: &Block) -> bool {
    host.is_running_system() && open_exclusively(host, block).is_some_and(|error| is_taken(&error))
}

/// Somebody has it for himself, or the kernel itself is at it.
fn is_taken(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBUSY) || error.kind() == io::ErrorKind::WouldBlock
}

/// The error of an exclusive open. `None` when it succeeds, or when there is nothing to open.
fn open_exclusively(host: &Host, block: &Block) -> Option<io::Error> {
    let number = fs::read_to_string(block.place.join("dev")).ok()?;
    let (major, minor) = number.trim().split_once(':')?;
    let device = makedev(major.parse().ok()?, minor.parse().ok()?);
    let uevent = fs::read_to_string(block.place.join("uevent")).unwrap_or_default();
    let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    let name = name.unwrap_or(&block.name);
    // Android's ueventd has them in a directory of their own.
    let nodes = [format!("dev/{name}"), format!("dev/block/{name}")].map(|node| host.path(node));
    let is_it = |node: &&PathBuf| fs::metadata(node).is_ok_and(|found| found.rdev() == device);
    if let Some(node) = nodes.iter().find(is_it) {
        return host.refuses_exclusive_open(node);
    }
    // Nobody made its node.
    let node = host.path(format!("dev/.vfiorun-{}-{major}-{minor}", std::process::id()));
    mknodat(CWD, &node, FileType::BlockDevice, Mode::RUSR, device).ok()?;
    let answer = host.refuses_exclusive_open(&node);
    _ = fs::remove_file(&node);
    answer
}
