//! Disks, partitions, and the block devices that are made of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::carriers::{Carrier, Functions};
use crate::device::sys::host::Host;

/// The directory with one link for each block device.
const BLOCKS: &str = "sys/class/block";

/// A block device.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// `nvme0n1p2`.
    pub name: String,
    /// Where it really is in sysfs.
    pub place: PathBuf,
    /// The PCI devices that it is on by itself: not through what it is made of.
    pub carriers: Vec<Carrier>,
    /// What it is made of (`slaves`).
    lower: Vec<usize>,
    /// What is made of it (`holders`).
    pub upper: Vec<usize>,
}

/// All block devices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks {
    all: Vec<Block>,
    by_place: BTreeMap<PathBuf, usize>,
}

impl Blocks {
    pub(crate) fn read(host: &Host, functions: &Functions) -> Self {
        let mut blocks = Self::default();
        for name in host.list(BLOCKS).unwrap_or_default() {
            if let Some(place) = host.real(&format!("{BLOCKS}/{name}")) {
                blocks.add(place, functions);
            }
        }
        for number in 0..blocks.all.len() {
            // A loop device on a disk: the kernel shows no slaves of it.
            let file = blocks.all.get(number).map(|block| block.place.join("loop/backing_file"));
            if let Some(file) = file.and_then(|path| fs::read_to_string(path).ok())
                && file.starts_with("/dev/")
                && let Some(lower) = blocks.called(host, file.trim_end())
            {
                blocks.join(number, lower);
            }
            for (directory, down) in [("slaves", true), ("holders", false)] {
                let Some(place) = blocks.all.get(number).map(|block| block.place.join(directory))
                else {
                    continue;
                };
                for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                    let Ok(other) = fs::canonicalize(entry.path()) else { continue };
                    let other = blocks.add(other, functions);
                    let (upper, lower) = if down { (number, other) } else { (other, number) };
                    blocks.join(upper, lower);
                }
            }
        }
        blocks
    }

    fn add(&mut self, place: PathBuf, functions: &Functions) -> usize {
        if let Some(number) = self.by_place.get(&place) {
            return *number;
        }
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let carriers = functions.carriers(&place);
        self.by_place.insert(place.clone(), self.all.len());
        self.all.push(Block { name, place, carriers, lower: Vec::new(), upper: Vec::new() });
        self.all.len() - 1
    }

    fn join(&mut self, upper: usize, lower: usize) {
        if let Some(block) = self.all.get_mut(upper)
            && !block.lower.contains(&lower)
        {
            block.lower.push(lower);
        }
        if let Some(block) = self.all.get_mut(lower)
            && !block.upper.contains(&upper)
        {
            block.upper.push(upper);
        }
    }

    /// All of them, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Block)> {
        self.all.iter().enumerate()
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Block> {
        self.all.get(number)
    }

    /// The block device at a real path.
    pub(crate) fn at(&self, place: &Path) -> Option<usize> {
        self.by_place.get(place).copied()
    }

    /// The block device with a device number, `259:1`.
    pub(crate) fn numbered(&self, host: &Host, number: &str) -> Option<usize> {
        self.at(&host.real(&format!("sys/dev/block/{number}"))?)
    }

    /// The block device that a node is for, by its name; a link (`/dev/mapper/root`, `by-uuid`) is
    /// followed.
    pub(crate) fn called(&self, host: &Host, node: &str) -> Option<usize> {
        let node = Path::new(node.trim_start_matches('/'));
        let target = fs::read_link(host.path(node)).ok();
        let name = target.as_deref().unwrap_or(node).file_name()?.to_str()?;
        self.at(&host.real(&format!("{BLOCKS}/{name}"))?)
    }

    /// The block device and all that it is made of.
    pub(crate) fn below(&self, top: usize) -> Vec<usize> {
        let mut all = vec![top];
        let mut looked_at = 0;
        while let Some(next) = all.get(looked_at).copied() {
            looked_at += 1;
            let lower = self.all.get(next).map(|block| block.lower.as_slice()).unwrap_or_default();
            for number in lower {
                if !all.contains(number) {
                    all.push(*number);
                }
            }
        }
        all
    }

    /// The disk that a partition is on; a disk itself.
    pub(crate) fn disk_of(&self, number: usize) -> usize {
        let above = self.get(number).and_then(|block| block.place.parent());
        above.and_then(|place| self.at(place)).unwrap_or(number)
    }

    /// A name for people: `dm-3 (data-vm)`.
    pub(crate) fn shown(&self, number: usize) -> String {
        let Some(block) = self.get(number) else { return String::new() };
        let own = fs::read_to_string(block.place.join("dm/name")).unwrap_or_default();
        match own.trim() {
            "" => block.name.clone(),
            own => format!("{} ({own})", block.name),
        }
    }
}
