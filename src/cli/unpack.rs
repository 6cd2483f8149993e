//! `vfioboot unpack`: an image as a directory of sections.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use vfioboot::image::{Image, unpacked};

use super::image_set;
use super::output::{self, Links};

/// Unpack an image into a directory: its sections and an editable image.toml
///
/// `repack` builds the image again; without an edit the same bytes come out.
#[derive(clap::Args)]
pub struct Args {
    /// The image; `-` is standard input
    image: PathBuf,
    /// The directory, made when missing; must hold no other unpacked image
    #[arg(short, long)]
    dir: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let input = image_set::open_one(&args.image)?;
    let image = Image::parse(&input).map_err(|error| input.named(error));
    let image = image.with_context(|| input.name())?;
    super::report_problems(&input, &image);
    let manifest = args.dir.join(unpacked::MANIFEST);
    if manifest.exists() {
        bail!("{}: exists already; name an empty directory", manifest.display());
    }
    fs::create_dir_all(&args.dir).with_context(|| args.dir.display().to_string())?;
    let unpacked = unpacked::unpack(&image);
    // The manifest last, so that a directory with a manifest is a whole one.
    let manifest = (unpacked::MANIFEST, unpacked.manifest.as_bytes());
    let files = unpacked.files.iter().map(|(name, bytes)| (name.as_str(), *bytes));
    let mut staged = Vec::new();
    for (name, bytes) in files.chain([manifest]) {
        let path = args.dir.join(name);
        output::refuse_inputs(&path, [args.image.as_path()])?;
        staged.push(output::stage(&path, Links::Refuse, |file| file.write_all(bytes))?);
    }
    output::publish(staged)?;
    Ok(ExitCode::SUCCESS)
}
