//! `vfioboot repack`: the image that an unpacked directory describes.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use vfioboot::image::unpacked::{self, RepackError};

use super::image_set::{self, Partition};
use super::input::Input;
use super::output;

/// Build an image from a directory that `unpack` made
///
/// Sizes, offsets, the id of v0–v2 and the vendor ramdisk table follow the edited files.
#[derive(clap::Args)]
pub struct Args {
    /// The directory with image.toml
    dir: PathBuf,
    /// The image to write; `-` is standard output
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    partition: Partition,
}

/// The largest page that images commonly have.
const PAGE: usize = 4096;

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let manifest_path = args.dir.join(unpacked::MANIFEST);
    let manifest = Input::text(&manifest_path)?;
    let mut read = vec![manifest_path];
    let mut files = Vec::new();
    let bytes = unpacked::repack(&manifest, |name| {
        read.push(args.dir.join(name));
        let file = Input::open(&args.dir.join(name))
            .map_err(|error| error.downcast().unwrap_or_else(io::Error::other))?;
        files.push((name.to_owned(), file.len() as u64));
        Ok(file)
    });
    let dir = args.dir.display().to_string();
    let remedy = || image_set::largest(&dir, files);
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(RepackError::Image(error)) => {
            return Err(image_set::with_remedy(error, remedy)).context(dir.clone());
        }
        Err(error) => return Err(error).context(dir),
    };
    let content = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    // The page that the image ends in is part of it.
    let content = content.next_multiple_of(PAGE).min(bytes.len());
    let (size, content) = (bytes.len() as u64, content as u64);
    args.partition.require_room(None, size, content, remedy).with_context(|| dir.clone())?;
    output::refuse_inputs(&args.output, read.iter().map(PathBuf::as_path))?;
    output::write_file(&args.output, |file| file.write_all(&bytes))?;
    Ok(ExitCode::SUCCESS)
}
