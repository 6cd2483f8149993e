//! What belongs together among the inputs, and the modules beside them.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use vfioboot::audit::sources::{self, Named};
use vfioboot::audit::{CmdlinePart, Facts, Origin};
use vfioboot::image::{Image, ImageKind, SectionName};
use vfioboot::modules::{Gathered, Source, gather};

use super::workers;
use crate::cli::input::Input;

/// One kernel to check, with the images that belong to it.
pub struct Set {
    /// The boot image, kernel or config.
    pub main: PathBuf,
    /// Images without a kernel: vendor_boot, init_boot, bare ramdisks.
    pub beside: Vec<PathBuf>,
}

/// Put the inputs together: an image without a kernel belongs to the last one with a kernel
/// before it, or, when none stands before, to the first one behind. Where there is none at all
/// it stands alone, and checking it says what is wrong.
pub fn sets(inputs: &[PathBuf], jobs: Option<NonZeroUsize>) -> Vec<Set> {
    let mut sets: Vec<Set> = Vec::new();
    let mut early = Vec::new();
    let mut owner = None;
    let roles = workers::map(inputs, jobs, |path| role(path));
    for (path, role) in inputs.iter().zip(roles) {
        match role {
            Role::Beside => match owner.map(|owner: usize| &mut sets[owner]) {
                Some(set) => set.beside.push(path.clone()),
                None => early.push(path.clone()),
            },
            role => {
                let beside = match role {
                    Role::Kernel => std::mem::take(&mut early),
                    _ => Vec::new(),
                };
                sets.push(Set { main: path.clone(), beside });
                if role == Role::Kernel {
                    owner = Some(sets.len() - 1);
                }
            }
        }
    }
    sets.extend(early.into_iter().map(|main| Set { main, beside: Vec::new() }));
    sets
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
        Ok(ImageKind::VendorBoot | ImageKind::InitBoot | ImageKind::Ramdisk) => Role::Beside,
        _ => Role::Kernel,
    }
}

/// The modules that `--modules` names: all there are, as far as the user knows.
pub fn modules(paths: &[PathBuf]) -> anyhow::Result<Option<Gathered>> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut all = Gathered::default();
    for path in paths {
        let name = path.display().to_string();
        let found = if path.is_dir() {
            gather(&Source::Directory(path.clone()))
        } else {
            gather(&source(&Input::open(path)?))
        };
        let found = found.with_context(|| name.clone())?;
        if found.modules.is_empty() {
            let reason = found.problems.first().map(|problem| format!(": {problem}"));
            bail!("--modules {name}: there is no kernel module{}", reason.unwrap_or_default());
        }
        all.extend(found);
    }
    Ok(Some(all))
}

fn source(input: &Input) -> Source<'_> {
    Source::Bytes { name: input.name(), bytes: input }
}

/// Join the command line as bootloaders do: vendor_boot's, then boot's, which is there already.
pub fn add_cmdlines(facts: &mut Facts, name: &str, beside: &[Input]) {
    let boot = facts.cmdline.take().map(|text| (Origin::Boot(name.to_owned()), text));
    let images = beside.iter().filter_map(|input| Some((input.name(), Image::parse(input).ok()?)));
    let images: Vec<_> =
        images.filter(|(_, image)| image.kind() == ImageKind::VendorBoot).collect();
    let named = images.iter().map(|(file, image)| Named { file, image }).collect::<Vec<_>>();
    let mut parts = sources::of_headers(&named);
    parts.extend(boot.map(|(origin, text)| CmdlinePart { origin, text }));
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
        let image = Image::parse(input).ok();
        let has = |image: &Image<'_>| {
            [SectionName::Ramdisk, SectionName::VendorRamdisk]
                .into_iter()
                .any(|name| image.section(name).is_some_and(|bytes| !bytes.is_empty()))
        };
        if image.is_some_and(|image| has(&image)) {
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
