//! What belongs together among the inputs, and the modules beside them.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use vfioboot::audit::sources::{self, Named};
use vfioboot::audit::{CmdlinePart, Facts, Links, Origin, Profile, links};
use vfioboot::image::{Image, ImageKind, SectionName};
use vfioboot::kernel::{Kernel, LayerKind};
use vfioboot::modules::{Gathered, Source, gather};

use super::workers;
use crate::cli::config::kernel_payload;
use crate::cli::input::Input;

/// One kernel to check, with the images that belong to it.
pub struct Set {
    /// The boot image, kernel or config.
    pub main: PathBuf,
    /// Images without a kernel: vendor_boot, init_boot, vbmeta, bare ramdisks.
    pub beside: Vec<PathBuf>,
}

/// Put the files of a directory, and of those in it, in its place, in order of their names: those
/// that hold a kernel or a config or belong to a kernel. A directory without any stays, and
/// checking it says so.
pub fn expand(inputs: &[PathBuf]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for path in inputs {
        let before = all.len();
        if path.is_dir() {
            files_below(path, 0, &mut all);
        }
        if all.len() == before {
            all.push(path.clone());
        }
    }
    all
}

/// How deep directories may lie in one another.
const MAX_DEPTH: usize = 16;

fn files_below(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        files.push(directory.to_owned());
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        // Links to directories may lead round in circles.
        let is_directory = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
        if is_directory && depth < MAX_DEPTH {
            files_below(&path, depth + 1, files);
        } else if fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) && is_wanted(&path) {
            files.push(path);
        }
    }
}

/// The file is one to check, by its headers; or cannot be read, which is to be told.
fn is_wanted(path: &Path) -> bool {
    let Ok(input) = Input::open(path) else { return true };
    let is_image = |image: Image<'_>| {
        image.header().is_some() || matches!(image.kind(), ImageKind::Ramdisk | ImageKind::Vbmeta)
    };
    if !matches!(super::config_text(&input), Ok(None)) || Image::parse(&input).is_ok_and(is_image) {
        return true;
    }
    let Ok(kernel) = Kernel::parse(&input) else { return false };
    // Of all ELF files, programs and modules, those that are called as the kernel's build calls it.
    let is_elf = kernel.layers().iter().all(|layer| layer.kind == LayerKind::Elf);
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    !kernel.is_raw() && (!is_elf || name.starts_with(b"vmlinux"))
}

/// Put the inputs together: an image without a kernel belongs to the last one with a kernel
/// before it, or, when none stands before, to the first one behind; and to one in its own
/// directory rather than in another. Where there is none at all it stands alone, and checking it
/// says what is wrong.
pub fn sets(inputs: &[PathBuf], jobs: Option<NonZeroUsize>) -> Vec<Set> {
    let roles = workers::map(inputs, jobs, |path| role(path));
    let owner = |image: usize| {
        let nearest = |fits: &dyn Fn(usize) -> bool| {
            let fits = |&at: &usize| roles[at] == Role::Kernel && fits(at);
            (0..image).rev().find(fits).or_else(|| (image..inputs.len()).find(fits))
        };
        let near = |at: usize| inputs[at].parent() == inputs[image].parent();
        nearest(&near).or_else(|| nearest(&|_| true))
    };
    let owners: Vec<Option<usize>> = (0..inputs.len())
        .map(|at| (roles[at] == Role::Beside).then(|| owner(at)).flatten())
        .collect();
    let set = |at: usize| {
        let beside = |&other: &usize| owners[other] == Some(at);
        let beside = (0..inputs.len()).filter(beside).map(|other| inputs[other].clone());
        Set { main: inputs[at].clone(), beside: beside.collect() }
    };
    (0..inputs.len()).filter(|&at| owners[at].is_none()).map(set).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Holds a kernel.
    Kernel,
    /// Belongs to a kernel.
    Beside,
    /// A config, or unreadable.
    Other,
}

/// By the headers. Standard input can be read once only, and is taken for a kernel.
fn role(path: &Path) -> Role {
    if path == Path::new("-") {
        return Role::Kernel;
    }
    let regular = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let Some(input) = regular.then(|| Input::open(path).ok()).flatten() else {
        return Role::Other;
    };
    if !matches!(super::config_text(&input), Ok(None)) {
        return Role::Other;
    }
    match Image::parse(&input).map(|image| image.kind()) {
        Ok(
            ImageKind::VendorBoot | ImageKind::InitBoot | ImageKind::Ramdisk | ImageKind::Vbmeta,
        ) => Role::Beside,
        _ => Role::Kernel,
    }
}

/// What `--modules` names: all modules there are, as far as the user knows.
pub struct Modules {
    places: Vec<Place>,
    /// What is in them.
    pub gathered: Gathered,
}

enum Place {
    Directory(PathBuf),
    File(Input),
}

impl Modules {
    /// None when nothing is named.
    pub fn open(paths: &[PathBuf]) -> anyhow::Result<Option<Self>> {
        if paths.is_empty() {
            return Ok(None);
        }
        let mut all = Modules { places: Vec::new(), gathered: Gathered::default() };
        for path in paths {
            let name = path.display().to_string();
            let place = match path.is_dir() {
                true => Place::Directory(path.clone()),
                false => Place::File(Input::open(path)?),
            };
            let found = gather(&place.source()).with_context(|| name.clone())?;
            if found.modules.is_empty() {
                let reason = found.problems.first().map(|problem| format!(": {problem}"));
                bail!("--modules {name}: there is no kernel module{}", reason.unwrap_or_default());
            }
            all.gathered.extend(found);
            all.places.push(place);
        }
        Ok(Some(all))
    }
}

impl Place {
    fn source(&self) -> Source<'_> {
        match self {
            Place::Directory(path) => Source::Directory(path.clone()),
            Place::File(input) => source(input),
        }
    }
}

/// Compare the symbols of the modules that decide something with what the kernel in `input`
/// exports, where that can be read.
pub fn link<'a>(
    facts: &mut Facts,
    profile: &Profile,
    input: &Input,
    modules: Option<&'a Modules>,
    images: impl Iterator<Item = &'a Input>,
) -> anyhow::Result<()> {
    let exports = kernel_payload(input)?.kernel()?.exports();
    // Damage was told when the kernel was searched.
    let Ok(Some(exports)) = exports else { return Ok(()) };
    let given = modules.iter().flat_map(|modules| modules.places.iter().map(Place::source));
    let carried = images.filter(|input| carries_ramdisk(input)).map(source);
    let sources: Vec<Source<'_>> = given.chain(carried).collect();
    let linked = links::read(profile, facts.modules.as_deref().unwrap_or_default(), &sources)?;
    facts.links = Some(Links::new(&linked, &exports, facts));
    Ok(())
}

fn source(input: &Input) -> Source<'_> {
    Source::Bytes { name: input.name(), bytes: input }
}

/// Join the command line as bootloaders do: vendor_boot's, boot's (which is there already), and
/// what AVB's descriptors add. What there is to say about those goes to `problems`.
pub fn add_cmdlines(
    facts: &mut Facts,
    problems: &mut Vec<String>,
    input: &Input,
    beside: &[Input],
) {
    let boot = facts.cmdline.take().map(|text| (Origin::Boot(input.name()), text));
    let images: Vec<_> = std::iter::once(input)
        .chain(beside)
        .filter_map(|input| Some((input.name(), Image::parse(input).ok()?)))
        .collect();
    let named: Vec<_> = images.iter().map(|(file, image)| Named { file, image }).collect();
    let vendor = named.iter().filter(|named| named.image.kind() == ImageKind::VendorBoot);
    let mut parts = sources::of_headers(&vendor.copied().collect::<Vec<_>>());
    parts.extend(boot.map(|(origin, text)| CmdlinePart { origin, text }));
    let avb = sources::of_avb(&named);
    parts.extend(avb.parts);
    problems.extend(avb.notes);
    if !parts.is_empty() {
        facts.set_cmdline(parts);
    }
}

/// Add the modules in the ramdisks of these images to the facts, and what went wrong to
/// `problems`. Whatever has no ramdisk is passed over.
pub fn add_from_images<'a>(
    facts: &mut Facts,
    problems: &mut Vec<String>,
    images: impl Iterator<Item = &'a Input>,
) -> anyhow::Result<()> {
    let mut found = Gathered::default();
    let mut ramdisks = false;
    for input in images {
        if carries_ramdisk(input) {
            ramdisks = true;
            found.extend(gather(&source(input)).with_context(|| input.name())?);
        }
    }
    if !ramdisks {
        return Ok(());
    }
    facts.modules_partial = facts.modules.is_none();
    facts.modules.get_or_insert_default().extend(found.modules);
    problems.extend(found.problems);
    Ok(())
}

fn carries_ramdisk(input: &Input) -> bool {
    let Ok(image) = Image::parse(input) else { return false };
    [SectionName::Ramdisk, SectionName::VendorRamdisk]
        .into_iter()
        .any(|name| image.section(name).is_some_and(|bytes| !bytes.is_empty()))
}
