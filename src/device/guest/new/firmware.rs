//! Firmware for guests, by the descriptors that packages install for QEMU's users (QEMU's
//! `docs/interop/firmware.json`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::device::guest::file::Arch;

/// Where descriptors are: one hides those of the same name in the directories before it.
const DIRECTORIES: [&str; 3] =
    ["usr/share/qemu/firmware", "usr/local/share/qemu/firmware", "etc/qemu/firmware"];
/// A descriptor has a kilobyte.
const SIZE_LIMIT: u64 = 64 * 1024;
/// What a guest file cannot have QEMU do, and what boots only what its keys have signed.
const UNWANTED: [&str; 2] = ["requires-smm", "enrolled-keys"];

/// UEFI as flash images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Firmware {
    /// The program.
    pub code: String,
    /// What its variables are at first.
    pub variables: String,
}

impl Firmware {
    /// The one to take for a guest of this architecture: the first by the names of the descriptors, which is
    /// how distributions say what they prefer. `root` is QEMU's root directory.
    pub(crate) fn find(root: &Path, arch: Arch) -> Option<Self> {
        let mut descriptors: BTreeMap<_, PathBuf> = BTreeMap::new();
        for directory in DIRECTORIES {
            let entries = fs::read_dir(root.join(directory)).into_iter().flatten();
            let entries = entries.filter_map(Result::ok);
            descriptors.extend(entries.map(|entry| (entry.file_name(), entry.path())));
        }
        descriptors.values().find_map(|path| {
            let small = path.metadata().is_ok_and(|meta| meta.len() < SIZE_LIMIT);
            let text = fs::read(path).ok().filter(|_| small)?;
            let found = Self::of(&serde_json::from_slice(&text).ok()?, arch)?;
            let there = |path: &str| root.join(path.trim_start_matches('/')).is_file();
            (there(&found.code) && there(&found.variables)).then_some(found)
        })
    }

    fn of(descriptor: &Value, arch: Arch) -> Option<Self> {
        let has = |list: &str, wanted: &dyn Fn(&Value) -> bool| {
            descriptor.get(list).and_then(Value::as_array).is_some_and(|all| all.iter().any(wanted))
        };
        let boards = match arch {
            Arch::Aarch64 => "virt",
            Arch::X86_64 => "pc-q35",
        };
        let fits = |target: &Value| {
            let machines = target.get("machines").and_then(Value::as_array);
            target.get("architecture").is_some_and(|name| name == arch.name())
                && machines.is_some_and(|all| {
                    all.iter().filter_map(Value::as_str).any(|name| name.starts_with(boards))
                })
        };
        let is_unwanted =
            |feature: &Value| UNWANTED.iter().any(|unwanted| feature.as_str() == Some(*unwanted));
        if !has("interface-types", &|kind| kind == "uefi")
            || !has("targets", &fits)
            || has("features", &is_unwanted)
        {
            return None;
        }
        let file = |part: &str| {
            let part = descriptor.get("mapping")?.get(part)?;
            // What the guest file has flash images as.
            part.get("format").filter(|format| *format == "raw")?;
            part.get("filename")?.as_str().map(str::to_owned)
        };
        Some(Self { code: file("executable")?, variables: file("nvram-template")? })
    }
}
