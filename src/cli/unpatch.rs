//! `vfioboot unpatch`: the originals of patched images.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use vfioboot::patch;

use super::image_set::{self, Destination};
use super::output;
use super::print::say;
use super::style::GOOD;

/// Give back the original of a patched image, byte for byte
///
/// The result is checked against the SHA-256 that the patch recorded. Images that were patched
/// as a set are given as a set.
#[derive(clap::Args)]
pub struct Args {
    /// The patched images
    #[arg(required = true)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    destination: Destination,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let files = image_set::open_each(&args.images)?;
    let (set, inputs) = image_set::boot_set(&files)?;
    let originals = patch::unpatch(&set).with_context(|| {
        let names: Vec<_> = args.images.iter().map(|path| path.display().to_string()).collect();
        names.join(", ")
    })?;
    let changed: Vec<usize> = (0..inputs.len()).filter(|i| originals[*i].is_some()).collect();
    args.destination.check(&inputs, &changed, [])?;
    for i in changed {
        let Some(output) = &originals[i] else { continue };
        let path = args.destination.write(inputs[i], output)?;
        if !output::is_stdout(&path) {
            say!("{GOOD}wrote{GOOD:#} {}", path.display())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
