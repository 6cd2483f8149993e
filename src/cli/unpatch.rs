//! `vfioboot unpatch`: the originals of patched images.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use vfioboot::bootset::BootSet;
use vfioboot::image::{AvbChange, Output};
use vfioboot::patch;

use super::image_set::{self, Destination, ORIGINAL};
use super::output;
use super::patch::remedy;
use super::print::say;
use super::style::GOOD;

/// Give back the original of a patched image, byte for byte
///
/// The result is checked against the SHA-256 that the patch recorded. Images that were patched
/// as a set are given as a set. An image that another program has changed since (Magisk, say, which
/// rebuilds the whole ramdisk) has no exact way back: --remove takes out what the patch added and
/// keeps the other program's work.
#[derive(clap::Args)]
pub struct Args {
    /// The patched images
    #[arg(required = true)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    destination: Destination,
    /// Where an image was changed after the patch, take out the files and kernel parameters that the
    /// patch added, put back what they replaced, and keep everything else
    #[arg(long)]
    remove: bool,
}

/// An image to write.
struct Result<'a> {
    output: Output<'a>,
    exact: bool,
    avb: Option<AvbChange>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let files = image_set::open_each(&args.images)?;
    let (set, inputs) = image_set::boot_set(&files)?;
    let results = results(args, &set).map_err(remedy::with_remedy).with_context(|| {
        let names: Vec<_> = args.images.iter().map(|path| path.display().to_string()).collect();
        names.join(", ")
    })?;
    let changed: Vec<usize> = (0..inputs.len()).filter(|i| results[*i].is_some()).collect();
    args.destination.place(ORIGINAL).check(&set, &inputs, &changed, [])?;
    let outputs = changed.iter().filter_map(|i| Some((inputs[*i], &results[*i].as_ref()?.output)));
    let paths = args.destination.place(ORIGINAL).write(&outputs.collect::<Vec<_>>())?;
    for (path, result) in paths.iter().zip(changed.iter().filter_map(|i| results[*i].as_ref())) {
        let Result { exact, avb, .. } = result;
        if !output::is_stdout(path) {
            let what = match exact {
                true => "the original, byte for byte",
                false => "without the patch; not byte for byte the original",
            };
            say!("{GOOD}wrote{GOOD:#} {}: {what}", path.display())?;
        }
        super::report_avb(&path.display().to_string(), *avb);
    }
    Ok(ExitCode::SUCCESS)
}

fn results<'a>(
    args: &Args,
    set: &BootSet<'a>,
) -> std::result::Result<Vec<Option<Result<'a>>>, patch::Error> {
    if !args.remove {
        let originals = patch::unpatch(set)?.into_iter();
        let exact = |output| Result { output, exact: true, avb: None };
        return Ok(originals.map(|original| original.map(exact)).collect());
    }
    let removed = patch::remove(set)?.into_iter();
    let result = |patch::Removed { output, exact, avb, .. }| Result { output, exact, avb };
    Ok(removed.map(|own| own.map(result)).collect())
}
