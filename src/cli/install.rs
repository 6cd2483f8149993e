//! `--install`: results go to the partitions that the images were read from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use vfioboot::bootset::{BootSet, Pages};
use vfioboot::image::Output;
use vfioboot::install::running::Running;
use vfioboot::install::{Error, Partition, Refusal, Written, device, write};

use super::input::Input;
use super::output;
use super::platform;

/// On the device itself: write to the partition.
#[derive(clap::Args)]
pub struct Install {
    /// On the device: write the result to the partition that the image was read from, and read it
    /// back; when that fails the original is written again. Refused while the partition is in use, for
    /// another partition or slot, and with a locked bootloader
    #[arg(long, conflicts_with_all = ["output", "dir"])]
    pub install: bool,
    /// A copy of the original before anything is written: a file, or for several images a directory
    #[arg(long, value_name = "FILE", requires = "install")]
    pub backup: Option<PathBuf>,
    /// Write to the slot that the device does not run from
    #[arg(long, requires = "install")]
    pub other_slot: bool,
}

impl Install {
    /// Refuse partitions that these results may not go to, before anything is written.
    pub fn check(
        &self,
        set: &BootSet<'_>,
        inputs: &[&Input],
        changed: &[usize],
    ) -> anyhow::Result<()> {
        let running = Running::read(Path::new("/"));
        for image in changed {
            let input = inputs[*image];
            self.allow(set, *image, input, &running).with_context(|| input.name())?;
        }
        let targets = changed.iter().map(|image| self.backup_of(inputs[*image], changed.len()));
        for target in targets.flatten() {
            if fs::symlink_metadata(&target).is_ok() {
                bail!("{}: is there already: a backup replaces nothing", target.display());
            }
        }
        Ok(())
    }

    fn allow(
        &self,
        set: &BootSet<'_>,
        image: usize,
        input: &Input,
        running: &Running,
    ) -> anyhow::Result<()> {
        if input.partition.is_none() {
            return Err(Refusal::NotBlockDevice.into());
        }
        let number = platform::block_device(&fs::metadata(&input.path)?);
        let name = number.and_then(|number| device::partition_name(Path::new("/"), number));
        running.allow(name.as_deref(), &set.partitions_of(image), self.other_slot)?;
        open(&input.path)?;
        Ok(())
    }

    /// Write the results in this order. When one fails, those before it become the originals again: a set
    /// is there whole or not at all.
    pub fn write(&self, results: &[(&Input, &Output<'_>)]) -> anyhow::Result<Vec<PathBuf>> {
        let mut done: Vec<(&Input, Vec<u8>, Vec<u8>)> = Vec::new();
        for (input, result) in results {
            let (before, mut after) = (input.to_vec(), Vec::new());
            result.write_to(&mut after)?;
            if let Some(backup) = self.backup_of(input, results.len()) {
                if let Some(parent) = backup.parent() {
                    fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
                }
                output::write_file(&backup, |file| file.write_all(&before))?;
            }
            if let Err(error) = put(input, &before, &after) {
                let back = done.iter().rev().map(|(input, before, after)| {
                    let text = match put(input, after, before) {
                        Ok(_) => "has its original again".to_owned(),
                        Err(error) => error.to_string(),
                    };
                    format!("; {}: {text}", input.name())
                });
                let back: String = back.collect();
                bail!("{}: {error}{back}", input.name());
            }
            done.push((input, before, after));
        }
        Ok(results.iter().map(|(input, _)| input.path.clone()).collect())
    }

    fn backup_of(&self, input: &Input, images: usize) -> Option<PathBuf> {
        let backup = self.backup.as_ref()?;
        match images {
            1 => Some(backup.clone()),
            _ => Some(backup.join(input.path.file_name()?).with_extension("img")),
        }
    }
}

fn put(input: &Input, before: &[u8], after: &[u8]) -> Result<Written, Error> {
    // what is mapped would be compared instead of what is on the medium
    input.release();
    write(&mut *open(&input.path)?, before, after)
}

#[cfg(target_os = "linux")]
fn open(path: &Path) -> Result<Box<dyn Partition>, Refusal> {
    Ok(Box::new(device::Node::open(path)?))
}

#[cfg(not(target_os = "linux"))]
fn open(_: &Path) -> Result<Box<dyn Partition>, Refusal> {
    Err(Refusal::NotBlockDevice)
}
