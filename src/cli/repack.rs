//! `vfioboot repack`: the image that an unpacked directory describes.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use vfioboot::image::unpacked;

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
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let manifest_path = args.dir.join(unpacked::MANIFEST);
    let manifest =
        fs::read_to_string(&manifest_path).with_context(|| manifest_path.display().to_string())?;
    let mut read = vec![manifest_path];
    let bytes = unpacked::repack(&manifest, |name| {
        read.push(args.dir.join(name));
        Input::open(&args.dir.join(name))
            .map_err(|error| error.downcast().unwrap_or_else(io::Error::other))
    })
    .with_context(|| args.dir.display().to_string())?;
    output::refuse_inputs(&args.output, read.iter().map(PathBuf::as_path))?;
    output::write_file(&args.output, |file| file.write_all(&bytes))?;
    Ok(ExitCode::SUCCESS)
}
