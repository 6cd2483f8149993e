//! Groups files that belong together.

use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::workers;
use crate::bootset::{self, Identity};
use crate::image::{Image, ImageKind};
use crate::kernel::{Kernel, LayerKind};
use crate::modules::survey::is_module_name;

/// Maximum depth of nested directories.
const MAX_DEPTH: usize = 16;

/// The files of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The boot image, kernel or config.
    pub main: PathBuf,
    /// Images without a kernel: vendor_boot, init_boot, vbmeta, dtbo, bare ramdisks.
    pub beside: Vec<PathBuf>,
}

/// Opens files, as a memory map or otherwise.
pub trait Open: Sync {
    /// The bytes of a file.
    type Bytes: AsRef<[u8]>;

    /// Open a file.
    ///
    /// # Errors
    /// The system's error.
    fn open(&self, path: &Path) -> io::Result<Self::Bytes>;

    /// Which file these bytes are; None where they are not those of a file.
    fn identity(&self, _: &Self::Bytes) -> Option<Identity> {
        None
    }

    /// Whether the file can be opened more than once: a pipe cannot.
    fn opens_again(&self, path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
    }
}

impl<F, B> Open for F
where
    F: Fn(&Path) -> io::Result<B> + Sync,
    B: AsRef<[u8]>,
{
    type Bytes = B;

    fn open(&self, path: &Path) -> io::Result<B> {
        self(path)
    }
}

/// Replace each directory by the files in and below it, in order of their names, that are a config,
/// contain a kernel or belong to one. A directory without such files is kept, and fails the check.
pub fn expand(paths: &[PathBuf], files: &impl Open) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for path in paths {
        let before = all.len();
        if path.is_dir() {
            files_below(path, 0, files, &mut all);
        }
        if all.len() == before {
            all.push(path.clone());
        }
    }
    all
}

fn files_below(directory: &Path, depth: usize, files: &impl Open, all: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        all.push(directory.to_owned());
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        // Links to directories may form a cycle.
        let is_directory = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        let is_file = || fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
        if is_directory && depth < MAX_DEPTH {
            files_below(&path, depth + 1, files, all);
        } else if is_file() && is_wanted(&path, files) {
            all.push(path);
        }
    }
}

/// Whether to check the file, according to its headers. Unreadable files are checked, which reports
/// the error.
fn is_wanted(path: &Path, files: &impl Open) -> bool {
    // They are read with --modules; a packed one looks like a packed kernel.
    if path.file_name().and_then(|name| name.to_str()).is_some_and(is_module_name) {
        return false;
    }
    let Ok(input) = files.open(path) else { return true };
    let bytes = input.as_ref();
    let is_image = |image: Image<'_>| {
        let kinds = [ImageKind::Ramdisk, ImageKind::Vbmeta, ImageKind::Config];
        image.header().is_some() || kinds.contains(&image.kind())
    };
    if bootset::parse(bytes).is_ok_and(is_image) {
        return true;
    }
    let Ok(kernel) = Kernel::parse(bytes) else { return false };
    // Programs and modules are ELF files too: only the file name of a kernel build is accepted.
    let is_elf = kernel.layers().iter().all(|layer| layer.kind == LayerKind::Elf);
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    !kernel.is_raw() && (!is_elf || name.starts_with(b"vmlinux"))
}

/// Group files: an image without a kernel belongs to the last file with a kernel before it or, if
/// there is none, to the first one after it. A file in the same directory takes precedence. Without
/// any kernel, the image is a group by itself, and fails the check.
pub fn group(paths: &[PathBuf], files: &impl Open, jobs: Option<NonZeroUsize>) -> Vec<Group> {
    let parts = workers::map(paths, jobs, |path| part(path, files));
    let owner = |image: usize| {
        let nearest = |fits: &dyn Fn(usize) -> bool| {
            let fits = |&at: &usize| parts[at] == Part::Kernel && fits(at);
            (0..image).rev().find(fits).or_else(|| (image..paths.len()).find(fits))
        };
        let near = |at: usize| paths[at].parent() == paths[image].parent();
        nearest(&near).or_else(|| nearest(&|_| true))
    };
    let owners: Vec<Option<usize>> = (0..paths.len())
        .map(|at| (parts[at] == Part::Beside).then(|| owner(at)).flatten())
        .collect();
    let group = |at: usize| {
        let beside = |&other: &usize| owners[other] == Some(at);
        let beside = (0..paths.len()).filter(beside).map(|other| paths[other].clone());
        Group { main: paths[at].clone(), beside: beside.collect() }
    };
    (0..paths.len()).filter(|&at| owners[at].is_none()).map(group).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Contains a kernel.
    Kernel,
    /// Belongs to a kernel.
    Beside,
    /// A config, or unreadable.
    Alone,
}

/// Classify a file by its headers. Standard input, which can be read only once, counts as a kernel.
fn part(path: &Path, files: &impl Open) -> Part {
    if path == Path::new("-") {
        return Part::Kernel;
    }
    let opens_again = files.opens_again(path);
    let Some(input) = opens_again.then(|| files.open(path).ok()).flatten() else {
        return Part::Alone;
    };
    let bytes = input.as_ref();
    match bootset::parse(bytes).map(|image| image.kind()) {
        Ok(ImageKind::Config) => Part::Alone,
        Ok(
            ImageKind::VendorBoot
            | ImageKind::InitBoot
            | ImageKind::Ramdisk
            | ImageKind::Vbmeta
            | ImageKind::Dtbo,
        ) => Part::Beside,
        Ok(ImageKind::Boot | ImageKind::Kernel) | Err(_) => Part::Kernel,
    }
}
