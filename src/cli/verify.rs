//! `vfioboot verify`: whether images match their AVB metadata.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value as Json, json};
use vfioboot::bootset::avb::{self, Outcome};
use vfioboot::image::{Image, ImageKind};

use super::image_set;
use super::input::Input;
use super::keys::{self, PassphraseSource};
use super::print::{self, say};
use super::style::{BAD, DIM, GOOD, HEAD};

/// Check AVB: structure, digests, signatures, and the chain from vbmeta.img
///
/// Each image is checked against the vbmeta image it carries. Together with a vbmeta.img the
/// images are also checked against what it says of their partitions: the digest, or the key of
/// a chained partition. Ends with 0 when everything is verified, with 1 when something is not
/// (or is not signed at all), with 2 when an input cannot be read.
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
    let verification = avb::verify(&set, key.as_ref());
    let reports =
        std::iter::zip(std::iter::zip(inputs.iter().copied(), set.images()), &verification.images);
    if args.json {
        let images: Vec<Json> = reports
            .map(|((input, image), report)| {
                json!({
                    "file": input.name(),
                    "kind": image.kind(),
                    "verified": report.verified,
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

fn print(input: &Input, image: &Image<'_>, report: &avb::ImageVerification) -> std::io::Result<()> {
    let (style, verdict) = match report.verified {
        true => (GOOD, "verified"),
        false => (BAD, "not verified"),
    };
    say!("{HEAD}{}{HEAD:#} ({}): {style}{verdict}{style:#}", input.name(), image.kind())?;
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
