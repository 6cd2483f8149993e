//! The images in a container, and which of them a device boots with.

use super::error::{Error, names};
use crate::compression::Format;

/// The partitions that `check` and other commands take out of a container.
pub const BOOT_SET: &[&str] =
    &["boot", "init_boot", "vendor_boot", "vendor_kernel_boot", "dtbo", "vbmeta"];
/// The partitions that are extracted by default.
pub const EXTRACTED: &[&str] =
    &["boot", "init_boot", "vendor_boot", "vendor_kernel_boot", "recovery", "dtbo", "vbmeta"];

/// The suffix of an image.
const IMAGE: &str = ".img";
/// The partition of a kernel.
const KERNEL: &str = "kernel";
/// The files of kernel builds, which installers such as AnyKernel use: a name, or what it starts with.
const KERNELS: &[&str] = &["Image", "zImage", "bzImage", "uImage", "vmlinuz", "vmlinux", KERNEL];

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// The image of a partition.
    Image,
    /// A kernel.
    Kernel,
}

/// An image in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The partition, `kernel` for a kernel.
    pub partition: String,
    /// The name of the file that it is extracted to.
    pub file: String,
    /// Its path in the container.
    pub path: String,
    /// Its size in bytes; None if it is compressed.
    pub size: Option<u64>,
    /// What it is.
    pub kind: EntryKind,
    /// Its number among the files of the container.
    pub(super) index: usize,
}

impl Entry {
    /// The image or kernel at this path of an archive; None for any other file.
    pub(super) fn of_file(path: &str, size: u64, index: usize) -> Option<Self> {
        let name = file_name(path);
        let plain = without_suffix(name);
        let new = |partition: &str, file: &str, size, kind| Entry {
            partition: partition.to_owned(),
            file: file.to_owned(),
            path: path.to_owned(),
            size,
            kind,
            index,
        };
        if let Some(partition) = plain.strip_suffix(IMAGE).filter(|name| !name.is_empty()) {
            let size = (plain == name).then_some(size);
            return Some(new(partition, plain, size, EntryKind::Image));
        }
        let is_kernel = |known: &str| {
            let rest = name.strip_prefix(known);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
        };
        let found = KERNELS.iter().any(|known| is_kernel(known));
        found.then(|| new(KERNEL, name, Some(size), EntryKind::Kernel))
    }

    /// The image of a partition whose name is known.
    pub(super) fn of_partition(partition: &str, size: u64, index: usize) -> Self {
        let file = format!("{partition}.img");
        Entry {
            partition: partition.to_owned(),
            path: file.clone(),
            file,
            size: Some(size),
            kind: EntryKind::Image,
            index,
        }
    }

    /// The only image in a file of this name.
    pub(super) fn only(name: &str, size: Option<u64>) -> Self {
        let file = without_suffix(file_name(name));
        let file = if file.is_empty() { "image" } else { file };
        Entry {
            partition: file.strip_suffix(IMAGE).unwrap_or(file).to_owned(),
            file: file.to_owned(),
            path: name.to_owned(),
            size,
            kind: EntryKind::Image,
            index: 0,
        }
    }

    /// The directory in the container.
    fn directory(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(directory, _)| directory)
    }
}

/// The last part of a path.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The name without the suffix of a compression.
fn without_suffix(name: &str) -> &str {
    split_suffix(name).map_or(name, |(plain, _)| plain)
}

/// The format in the suffix of an image's name; kernels are compressed as kernels are.
pub(super) fn suffix_format(name: &str) -> Option<Format> {
    let (plain, format) = split_suffix(name)?;
    plain.ends_with(IMAGE).then_some(format)
}

fn split_suffix(name: &str) -> Option<(&str, Format)> {
    Format::all().find_map(|format| {
        let plain = name.strip_suffix(format.suffix())?.strip_suffix('.')?;
        Some((plain, format))
    })
}

/// Whether `entries` have an image that contains the kernel of a normal boot.
pub(super) fn has_boot(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| entry.partition == BOOT_SET[0])
}

/// Of several files at the same path the last one is there.
pub(super) fn last_of_each_path(entries: Vec<Entry>) -> Vec<Entry> {
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<Entry> =
        entries.into_iter().rev().filter(|entry| seen.insert(entry.path.clone())).collect();
    kept.reverse();
    kept
}

/// The index of the image of a partition; None if there is no such image.
///
/// # Errors
/// [`Error::Ambiguous`].
pub(super) fn find(entries: &[Entry], partition: &str) -> Result<Option<usize>, Error> {
    let all: Vec<usize> =
        (0..entries.len()).filter(|index| entries[*index].partition == partition).collect();
    match all[..] {
        [] => Ok(None),
        [index] => Ok(Some(index)),
        _ => Err(Error::Ambiguous {
            partition: partition.to_owned(),
            paths: names(all.iter().map(|index| entries[*index].path.as_str())),
        }),
    }
}

/// The kernels in the directory that is nearest to the root.
pub(super) fn kernels(entries: &[Entry]) -> Vec<usize> {
    let kernels = (0..entries.len()).filter(|index| entries[*index].kind == EntryKind::Kernel);
    let depth = |index: &usize| entries[*index].directory().split('/').count();
    let nearest = kernels.clone().min_by_key(depth).map(|index| entries[index].directory());
    kernels.filter(|index| Some(entries[*index].directory()) == nearest).collect()
}
