//! `vfioboot verify`: whether images match their AVB metadata.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value as Json, json};
use vfioboot::bootset::BootSet;
use vfioboot::bootset::avb::{self, Outcome};
use vfioboot::image::{Image, ImageKind};

use super::image_set;
use super::input::Input;
use super::keys::{self, PassphraseSource};
use super::print::{self, say};
use super::style::{BAD, DIM, GOOD, HEAD};

/// Check AVB: structure, digests, signatures, and the chain from vbmeta.img
///
/// An image is verified when a digest of its partition, signed by the key that must have signed,
/// is that of its contents. The digest is in the vbmeta image that the image carries; with a
/// vbmeta.img it is there, in one that it chains to (vbmeta_system.img), or in the image's own if
/// its partition is chained. Ends with 0 when everything is verified, with 1 when something is not
/// (or no digest covers it), with 2 when an input cannot be read.
#[derive(clap::Args)]
pub struct Args {
    /// The images
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// The key that must have signed: PEM (public or private), or AVB's own public key format;
    /// with a vbmeta.img it is that one's key
    #[arg(long, value_name = "PUB")]
    key: Option<PathBuf>,
    /// The vbmeta image of the device; the same as giving it among the images
    #[arg(long, value_name = "FILE")]
    vbmeta: Option<PathBuf>,
    /// The partition of an image, where its file does not tell: a recovery.img that looks like
    /// boot, or a partition with another name. With several images: FILE=NAME
    #[arg(long, value_name = "NAME")]
    partition: Vec<String>,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The status when something is not verified.
const EXIT_NEGATIVE: u8 = 1;

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut paths = args.images.clone();
    paths.extend(args.vbmeta.clone());
    let opened = image_set::open(&paths)?;
    let (set, inputs) = image_set::boot_set(&opened)?;
    image_set::require_one_vbmeta(&set)?;
    if let Some(path) = &args.vbmeta
        && Image::parse(&Input::open(path)?).is_ok_and(|image| image.kind() != ImageKind::Vbmeta)
    {
        anyhow::bail!("{}: is not a vbmeta image", path.display());
    }
    let key = args.key.as_ref().map(|path| keys::public_key(path, &args.passphrase)).transpose()?;
    let partitions = partitions(&args.partition, &set, &inputs)?;
    let verification = avb::verify_as(&set, key.as_ref(), &partitions);
    let reports =
        std::iter::zip(std::iter::zip(inputs.iter().copied(), set.images()), &verification.images);
    if args.json {
        let images: Vec<Json> = reports
            .map(|((input, image), report)| {
                json!({
                    "file": input.name(),
                    "kind": image.kind(),
                    "verified": report.verified,
                    "reason": report.reason,
                    "partition": report.partition,
                    "checks": report.checks,
                    "vbmeta": image.vbmeta().and_then(Result::ok).as_ref().map(super::avb::json),
                })
            })
            .collect();
        let report = json!({ "format": 1, "verified": verification.verified, "images": images });
        print::json(&report)?;
    } else {
        for ((input, image), report) in reports {
            print(input, image, report)?;
        }
    }
    Ok(match verification.verified {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(EXIT_NEGATIVE),
    })
}

/// The partitions that were named: by image.
fn partitions<'p>(
    named: &'p [String],
    set: &BootSet<'_>,
    inputs: &[&Input],
) -> anyhow::Result<Vec<(usize, &'p str)>> {
    let images = set.images().iter().enumerate();
    let images = images.filter(|(_, image)| image.kind() != ImageKind::Vbmeta);
    let images: Vec<usize> = images.map(|(index, _)| index).collect();
    let one = |text: &'p String| match (text.rsplit_once('='), images.as_slice()) {
        (None, [image]) => Ok((*image, text.as_str())),
        (None, []) => bail!("--partition {text}: no image was given that is not a vbmeta image"),
        (None, images) => {
            let files = images.iter().filter_map(|image| inputs.get(*image));
            let files: Vec<String> =
                files.map(|input| format!("{}={text}", input.name())).collect();
            bail!("--partition {text}: name the file, too: {}", files.join(" or "))
        }
        (Some((file, name)), _) => {
            let own = inputs.iter().position(|input| input.full_path() == Path::new(file));
            let image = own.with_context(|| {
                format!("--partition {text}: {file} is not an image of the set")
            })?;
            Ok((image, name))
        }
    };
    named.iter().map(one).collect()
}

fn print(input: &Input, image: &Image<'_>, report: &avb::ImageVerification) -> std::io::Result<()> {
    let (style, verdict) = match &report.reason {
        None => (GOOD, "verified".to_owned()),
        Some(reason) => (BAD, format!("not verified: {reason}")),
    };
    // Another partition than the kind's own is worth a word.
    let kind = image.kind().to_string();
    let partition = report.partition.as_deref().filter(|name| **name != kind);
    let partition = partition.map(|name| format!(", partition {name}")).unwrap_or_default();
    say!("{HEAD}{}{HEAD:#} ({kind}{partition}): {style}{verdict}{style:#}", input.name())?;
    for check in &report.checks {
        let (style, outcome) = match check.outcome {
            Outcome::Pass => (GOOD, "ok"),
            Outcome::Fail => (BAD, "fail"),
            Outcome::Note => (DIM, "note"),
        };
        say!("  {style}{outcome:<4}{style:#} {:<10} {}", check.part, check.message)?;
    }
    Ok(())
}
