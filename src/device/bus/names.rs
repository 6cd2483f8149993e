//! Names of PCI vendors, devices and classes, from the `pci.ids` database where the system has
//! one (<https://pci-ids.ucw.cz>), else from a small table.
//!
//! The database has 1.5 MB: it is read line by line, and only what is asked for is kept.

use std::fs::File;
use std::io::{BufRead, BufReader};

use crate::device::sys::host::Host;

/// Where distributions put the database.
const DATABASES: &[&str] = &[
    "usr/share/misc/pci.ids",
    "usr/share/hwdata/pci.ids",
    "usr/share/pci.ids",
    "var/lib/pciutils/pci.ids",
    "vendor/etc/pci.ids",
];

/// The table for systems without a database.
const TABLE: &str = include_str!("names.ids");

/// The names that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<(Key, String)>);

/// Whose name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Vendor(u16),
    Device(u16, u16),
    Class(u8),
    Subclass(u8, u8),
}

/// What the indented lines below belong to.
enum Block {
    Vendor(u16),
    Class(u8),
    Other,
}

impl Names {
    /// Looks up the names of devices, each given as vendor and device id, in the first database
    /// that there is. The names of classes are few: they are all kept.
    pub fn find(host: &Host, wanted: &[(u16, u16)]) -> Self {
        let database = DATABASES.iter().find_map(|path| File::open(host.path(path)).ok());
        match database {
            Some(file) => Self::read(BufReader::new(file), wanted),
            None => Self::read(TABLE.as_bytes(), wanted),
        }
    }

    /// Looks names up in the text of a database. Other lines are skipped, and an unreadable
    /// rest is ignored.
    pub(crate) fn read(mut database: impl BufRead, wanted: &[(u16, u16)]) -> Self {
        let mut names = Self::default();
        let mut block = Block::Other;
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match database.read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => return names,
                Ok(_) => {}
            }
            let line = String::from_utf8_lossy(&bytes);
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') || line.starts_with("\t\t") {
                continue;
            }
            names.take(line, &mut block, wanted);
        }
    }

    fn take(&mut self, line: &str, block: &mut Block, wanted: &[(u16, u16)]) {
        let (inner, line) = match line.strip_prefix('\t') {
            Some(line) => (true, line),
            None => (false, line),
        };
        let class = line.strip_prefix("C ").filter(|_| !inner);
        let Some((id, name)) = class.unwrap_or(line).split_once("  ") else {
            *block = if inner { Block::Other } else { std::mem::replace(block, Block::Other) };
            return;
        };
        let number = u16::from_str_radix(id, 16).ok();
        let name = || name.trim().to_owned();
        match (inner, &*block, number) {
            (true, Block::Vendor(vendor), Some(device)) if wanted.contains(&(*vendor, device)) => {
                self.0.push((Key::Device(*vendor, device), name()));
            }
            (true, Block::Class(class), Some(subclass)) => {
                self.0.push((Key::Subclass(*class, subclass as u8), name()));
            }
            (false, _, Some(number)) if class.is_some() => {
                *block = Block::Class(number as u8);
                self.0.push((Key::Class(number as u8), name()));
            }
            (false, _, Some(vendor)) => {
                *block = Block::Vendor(vendor);
                if wanted.iter().any(|(wanted, _)| *wanted == vendor) {
                    self.0.push((Key::Vendor(vendor), name()));
                }
            }
            (false, _, None) => *block = Block::Other,
            _ => {}
        }
    }

    /// The vendor's name.
    pub fn vendor(&self, vendor: u16) -> Option<&str> {
        self.get(Key::Vendor(vendor))
    }

    /// The device's name.
    pub fn device(&self, vendor: u16, device: u16) -> Option<&str> {
        self.get(Key::Device(vendor, device))
    }

    /// The name of a class code: of its subclass, or else of its base class.
    pub fn class(&self, class: u32) -> Option<&str> {
        let [_, base, sub, _] = class.to_be_bytes();
        self.get(Key::Subclass(base, sub)).or_else(|| self.get(Key::Class(base)))
    }

    fn get(&self, wanted: Key) -> Option<&str> {
        let (_, name) = self.0.iter().find(|(key, _)| *key == wanted)?;
        Some(name)
    }
}
