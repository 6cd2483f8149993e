//! Groups files that belong together.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::{stand, workers};
use crate::bootset::{self, Identity};
use crate::compression::Budget;
use crate::container;
use crate::image::{Image, ImageKind};
use crate::kernel::{Kernel, LayerKind};
use crate::modules::survey::is_module_name;

/// Maximum depth of nested directories.
const MAX_DEPTH: usize = 16;

/// The files of one kernel, or a container and what belongs to the kernel in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The boot image, kernel, config or container.
    pub main: PathBuf,
    /// Images without a kernel: vendor_boot, init_boot, vbmeta, dtbo, bare ramdisks.
    pub beside: Vec<PathBuf>,
    /// The directory with the kernel's modules, where it is beside the kernel.
    pub modules: Option<PathBuf>,
}

/// What [`find`] finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What is to be checked.
    pub groups: Vec<Group>,
    /// Files in directories that have the name of a config and do not begin like one.
    pub left_out: Vec<PathBuf>,
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

    /// The images in a container with their paths, which go on in it: `factory.zip/boot.img`. Any other
    /// file is its own image.
    ///
    /// # Errors
    /// Those of the container.
    fn unpack(
        &self,
        path: &Path,
        file: Self::Bytes,
    ) -> Result<Vec<(PathBuf, Self::Bytes)>, container::Error> {
        Ok(vec![(path.to_owned(), file)])
    }

    /// The bytes are not needed for now.
    fn release(&self, _: &Self::Bytes) {}
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

/// Find the files to check and group them. A directory is replaced by the files in and below it, in order
/// of their names, that are a config, contain a kernel or belong to one; one without such files is kept,
/// and fails the check. Only the beginning of each file is read.
pub fn find(
    paths: &[PathBuf],
    files: &impl Open,
    jobs: Option<NonZeroUsize>,
    budget: Option<Budget>,
) -> Found {
    let listed = list(paths);
    let parts = workers::map(&listed, jobs, |own| classify(own, files, budget));
    let fruitful: BTreeSet<usize> = listed
        .iter()
        .zip(&parts)
        .filter(|(_, part)| part.is_some())
        .filter_map(|(own, _)| own.found_in)
        .collect();
    let (mut paths, mut kept, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (own, part)) in listed.into_iter().zip(parts).enumerate() {
        match part {
            Some(part) if !fruitful.contains(&at) => {
                paths.push(own.path);
                kept.push(part);
            }
            None if is_config_name(&own.path) => left_out.push(own.path),
            Some(_) | None => {}
        }
    }
    let group = |members: Vec<usize>| {
        let mut own = members.into_iter().map(|at| paths[at].clone());
        let main = own.next()?;
        Some(Group { modules: stand::modules(&main), main, beside: own.collect() })
    };
    let groups = belonging(&paths, &kept).into_iter().filter_map(group).collect();
    Found { groups, left_out }
}

/// Whether people call a config so.
fn is_config_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == ".config"
        || name == "defconfig"
        || name.starts_with("config-")
        || [".config", ".cfg", "_defconfig", ".config.gz"].iter().any(|end| name.ends_with(end))
}

/// A path to look at.
struct Listed {
    path: PathBuf,
    /// The index of the directory that it was found in; None for what was given.
    found_in: Option<usize>,
}

fn list(paths: &[PathBuf]) -> Vec<Listed> {
    let mut listed = Vec::new();
    for path in paths {
        let at = listed.len();
        listed.push(Listed { path: path.clone(), found_in: None });
        if path.is_dir() {
            let mut found = Vec::new();
            files_below(path, 0, &mut found);
            listed.extend(found.into_iter().map(|path| Listed { path, found_in: Some(at) }));
        }
    }
    listed
}

fn files_below(directory: &Path, depth: usize, all: &mut Vec<PathBuf>) {
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
            files_below(&path, depth + 1, all);
        } else if is_file() {
            all.push(path);
        }
    }
}

/// What a file is; None for one that was found and is not to be checked. Unreadable files are checked,
/// which reports the error. Standard input, which can be read only once, counts as a kernel.
fn classify(listed: &Listed, files: &impl Open, budget: Option<Budget>) -> Option<Part> {
    let Listed { path, found_in } = listed;
    // They are read with --modules; a packed one looks like a packed kernel.
    let name = path.file_name().and_then(|name| name.to_str());
    if found_in.is_some() && name.is_some_and(is_module_name) {
        return None;
    }
    if path == Path::new("-") {
        return Some(Part::Kernel);
    }
    let Some(file) = files.opens_again(path).then(|| files.open(path).ok()).flatten() else {
        return Some(Part::Alone);
    };
    let bytes = file.as_ref();
    let _scope = budget.unwrap_or(Budget::for_input(bytes.len() as u64)).enter();
    if found_in.is_some() && !is_wanted(path, bytes) {
        return None;
    }
    Some(match part(bytes) {
        Part::Alone if stand::is_config(path) => Part::Config,
        part => part,
    })
}

/// Whether to check a file in a directory, according to its headers.
fn is_wanted(path: &Path, bytes: &[u8]) -> bool {
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

/// What a file is for its group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Contains a kernel, or several files.
    Kernel,
    /// Belongs to a kernel.
    Beside,
    /// A config of a release, which belongs to the kernel of the same one.
    Config,
    /// A config, or unreadable.
    Alone,
}

/// Classify a file by its headers, an image in a container by its own.
pub(super) fn part(bytes: &[u8]) -> Part {
    let kind = match container::kind_inside(bytes) {
        Some(inside) => inside,
        None => bootset::parse(bytes).map(|image| image.kind()).ok(),
    };
    match kind {
        Some(ImageKind::Config) => Part::Alone,
        Some(
            ImageKind::VendorBoot
            | ImageKind::InitBoot
            | ImageKind::Ramdisk
            | ImageKind::Vbmeta
            | ImageKind::Dtbo,
        ) => Part::Beside,
        Some(ImageKind::Boot | ImageKind::Kernel) | None => Part::Kernel,
    }
}

/// Group files by their indices, the main one first: an image without a kernel belongs to the last file
/// with a kernel before it or, if there is none, to the first one after it. A file in the same directory
/// takes precedence, and one of the same release. A config belongs to the kernel of its release. Without
/// any kernel, the image is a group by itself, and fails the check.
pub(super) fn belonging(paths: &[PathBuf], parts: &[Part]) -> Vec<Vec<usize>> {
    let owner = |image: usize| {
        let nearest = |fits: &dyn Fn(usize) -> bool| {
            let fits = |&at: &usize| parts[at] == Part::Kernel && fits(at);
            (0..image).rev().find(fits).or_else(|| (image..paths.len()).find(fits))
        };
        let near = |at: usize| paths[at].parent() == paths[image].parent();
        let together = |at: usize| stand::together(&paths[at], &paths[image]);
        let of_release = nearest(&together);
        match parts[image] {
            Part::Beside => of_release.or_else(|| nearest(&near)).or_else(|| nearest(&|_| true)),
            _ => of_release,
        }
    };
    let mut groups: Vec<Vec<usize>> = (0..paths.len()).map(|at| vec![at]).collect();
    let owned = |at: &usize| [Part::Beside, Part::Config].contains(&parts[*at]);
    for image in (0..paths.len()).filter(owned) {
        if let Some(owner) = owner(image) {
            groups[owner].push(image);
            groups[image].clear();
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}
