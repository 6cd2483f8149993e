//! A set of images, and the files for the results.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use vfioboot::bootset::{BootSet, Role};
use vfioboot::container::{self, Choice};
use vfioboot::image::{self, Output};

use super::input::Input;
use super::install::Install;
use super::output::{self, Links};

/// Where results go.
#[derive(clap::Args)]
pub struct Destination {
    /// Write the changed image to this file; `-` is standard output. By default a word is added to its
    /// name: boot.patched.img
    #[arg(short, long, conflicts_with = "dir")]
    pub output: Option<PathBuf>,
    /// Write the changed images into this directory, under their own names
    #[arg(short, long)]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub install: Install,
}

/// Open all the images of a set, also those in containers.
pub fn open(paths: &[PathBuf]) -> anyhow::Result<Vec<Input>> {
    let images = paths.iter().map(|path| images(path, Choice::BootSet));
    Ok(images.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Open images to edit: each path is one image, which a container around it does not change.
pub fn open_each(paths: &[PathBuf]) -> anyhow::Result<Vec<Input>> {
    paths
        .iter()
        .enumerate()
        .map(|(place, path)| open_one(path).map_err(|e| mistaken(e, place, path)))
        .collect()
}

/// `patch boot.img new.img` of who is used to `cp`: the second one does not exist.
fn mistaken(error: anyhow::Error, place: usize, path: &Path) -> anyhow::Error {
    match error.root_cause().downcast_ref::<std::io::Error>() {
        Some(cause) if place > 0 && cause.kind() == std::io::ErrorKind::NotFound => {
            anyhow!("{}: no such file; a file to write goes after -o", path.display())
        }
        _ => error,
    }
}

/// The same for one image.
pub fn open_one(path: &Path) -> anyhow::Result<Input> {
    let images = images(path, Choice::Only)?;
    images.into_iter().next().with_context(|| format!("{}: has no image", path.display()))
}

fn images(path: &Path, choice: Choice) -> anyhow::Result<Vec<Input>> {
    let input = Input::open(path)?;
    let images = input.images(choice).map_err(|error| container_error(error, path));
    images.with_context(|| path.display().to_string())
}

/// An error of a container, with the next command.
pub fn container_error(error: container::Error, path: &Path) -> anyhow::Error {
    let extract = |partitions: &[String]| {
        let partitions = partitions.iter().map(|name| format!(" {name}")).collect::<String>();
        format!("vfioboot extract {} -d DIR{partitions}", path.display())
    };
    match &error {
        container::Error::Several { boot_set, .. } => {
            anyhow!("{error}: take them out first with {}", extract(boot_set))
        }
        container::Error::NoBootImage { .. } => {
            anyhow!("{error}; {} takes others out", extract(&["PARTITION".to_owned()]))
        }
        _ => error.into(),
    }
}

/// The set of images in these files, and the file of each image: the same file given twice is one
/// image. Messages name the file.
pub fn boot_set(inputs: &[Input]) -> anyhow::Result<(BootSet<'_>, Vec<&Input>)> {
    Ok(with_files(BootSet::of_images(inputs.iter().map(Input::file))?, inputs))
}

/// The same, for files that may also be bare kernels and kernel configs.
pub fn any_set(inputs: &[Input]) -> anyhow::Result<(BootSet<'_>, Vec<&Input>)> {
    Ok(with_files(BootSet::new(inputs.iter().map(Input::file))?, inputs))
}

fn with_files<'i>(set: BootSet<'i>, inputs: &'i [Input]) -> (BootSet<'i>, Vec<&'i Input>) {
    let files = (0..set.images().len()).filter_map(|image| set.file_of(image));
    let files = files.map(|file| &inputs[file]).collect();
    (set, files)
}

/// The partition that a result goes to.
#[derive(clap::Args)]
pub struct Partition {
    /// Refuse a result of more bytes than this, the size of the partition; that of a block device
    /// and of an image with an AVB footer is known
    #[arg(long, value_name = "BYTES")]
    pub partition_size: Option<u64>,
}

impl Partition {
    /// Refuse a result that does not fit the partition, whose size is given or `known`. The result has
    /// `size` bytes; those after `content` are zeros. `remedy` names what to leave out.
    pub fn require_room(
        &self,
        known: Option<u64>,
        size: u64,
        content: u64,
        remedy: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let partition = self.partition_size.or(known);
        let Some(partition) = partition.filter(|partition| size > *partition) else {
            return Ok(());
        };
        let missing = size - partition;
        let zeros = size.saturating_sub(content);
        let remedy = match zeros >= missing {
            true => format!("cut off the zeros at the end of the file first, {zeros} bytes"),
            false => remedy(),
        };
        bail!(
            "the result of {size} bytes does not fit the partition of {partition}: {missing} bytes are missing; {remedy}"
        )
    }
}

/// An error of an edit, with `remedy` if the result does not fit the partition.
pub fn with_remedy(error: image::Error, remedy: impl FnOnce() -> String) -> anyhow::Error {
    match error {
        image::Error::PartitionTooSmall { .. } => anyhow!("{error}; {}", remedy()),
        error => error.into(),
    }
}

/// Name the largest of `files`: leaving them out saves the most space.
pub fn largest(whose: &str, mut files: Vec<(String, u64)>) -> String {
    files.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let named = files.iter().take(3).map(|(name, size)| format!("{name} ({size} bytes)"));
    let named: Vec<_> = named.collect();
    format!("what could be left out: the largest files of {whose} are {}", named.join(", "))
}

/// Refuse more than one top-level vbmeta image; others must be chained to it.
pub fn require_one_vbmeta(set: &BootSet<'_>) -> anyhow::Result<()> {
    let tops = set.members().filter(|(.., role)| *role == Role::Vbmeta);
    let names: Vec<&str> = tops.map(|(index, ..)| set.name(index)).collect();
    match names.len() {
        0 | 1 => Ok(()),
        count => bail!(
            "{count} vbmeta images ({}): give the top-level one, and others only where it chains \
             to them",
            names.join(", ")
        ),
    }
}

impl Destination {
    /// Where results go; without a name from the user, `word` is added to that of the image
    /// (boot.img, "patched": boot.patched.img in the current directory).
    pub fn place(&self, word: &'static str) -> Place<'_> {
        Place { destination: self, word }
    }

    /// Whether the result is printed.
    pub fn is_stdout(&self) -> bool {
        self.output.as_deref().is_some_and(output::is_stdout)
    }
}

/// Where the results of one command go.
pub struct Place<'d> {
    destination: &'d Destination,
    word: &'static str,
}

impl Place<'_> {
    /// Refuse a place that cannot take `changed` results, before anything is written.
    /// `others` are what was read besides the images.
    pub fn check<'i>(
        &self,
        set: &BootSet<'_>,
        inputs: &[&'i Input],
        changed: &[usize],
        others: impl IntoIterator<Item = &'i Input>,
    ) -> anyhow::Result<()> {
        let Destination { dir, install, .. } = self.destination;
        if install.install {
            return install.check(set, inputs, changed);
        }
        if dir.is_none() && changed.len() > 1 {
            let names: Vec<_> = changed.iter().map(|i| inputs[*i].name()).collect();
            bail!("{} images change ({}): name a directory with -d", names.len(), names.join(", "))
        }
        let sources: Vec<&Path> =
            others.into_iter().chain(inputs.iter().copied()).map(|i| &*i.path).collect();
        let mut targets: Vec<PathBuf> = Vec::new();
        for i in changed {
            let target = self.path(inputs[*i])?;
            output::refuse_inputs(&target, sources.iter().copied())?;
            if targets.contains(&target) {
                bail!("{}: two images would be written to this file; rename one", target.display());
            }
            targets.push(target);
        }
        Ok(())
    }

    /// The file for the result of this input.
    fn path(&self, input: &Input) -> anyhow::Result<PathBuf> {
        let Destination { output, dir, .. } = self.destination;
        if let Some(path) = output {
            return Ok(path.clone());
        }
        let Some(name) = input.file_name() else {
            bail!("standard input has no name to write under: name a file with -o")
        };
        Ok(match dir {
            Some(dir) => dir.join(name),
            None => named(Path::new(&name), self.word),
        })
    }

    /// Write all results, or none: each is complete before the first gets its name.
    pub fn write(&self, results: &[(&Input, &Output<'_>)]) -> anyhow::Result<Vec<PathBuf>> {
        let Destination { dir, install, .. } = self.destination;
        if install.install {
            return install.write(results);
        }
        if let Some(dir) = dir {
            std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        let (mut paths, mut staged) = (Vec::new(), Vec::new());
        for (input, bytes) in results {
            let path = self.path(input)?;
            staged.push(output::stage(&path, Links::Follow, |file| bytes.write_to(file))?);
            paths.push(path);
        }
        output::publish(staged)?;
        for ((input, _), path) in results.iter().zip(&paths) {
            super::report_packing(input, path);
        }
        Ok(paths)
    }
}

/// The default names of results, by command.
pub const PATCHED: &str = "patched";
pub const ORIGINAL: &str = "original";

/// boot.img with "patched": boot.patched.img; boot.patched.img with "original": boot.original.img.
pub fn named(name: &Path, word: &str) -> PathBuf {
    let stem = name.file_stem().unwrap_or_default().to_string_lossy();
    let suffixes = [PATCHED, ORIGINAL].map(|word| format!(".{word}"));
    let base = suffixes.iter().find_map(|suffix| stem.strip_suffix(suffix.as_str()));
    let base = base.unwrap_or(&stem);
    match name.extension() {
        Some(extension) => format!("{base}.{word}.{}", extension.to_string_lossy()),
        None => format!("{base}.{word}"),
    }
    .into()
}
