//! The AVB options of `vfioboot patch`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use vfioboot::bootset::BootSet;
use vfioboot::image::avb::SigningKey;
use vfioboot::image::{Image, ImageKind};
use vfioboot::patch::{AvbMode, AvbOptions};

use super::super::input::Input;
use super::super::keys::{self, PassphraseSource};

#[derive(clap::Args)]
#[command(next_help_heading = "Android Verified Boot")]
pub struct AvbArgs {
    /// How to update an AVB footer and its vbmeta blob
    #[arg(long, value_enum, default_value_t)]
    avb: Mode,
    /// The private key for --avb resign: RSA 2048, 4096 or 8192 in PEM, may be encrypted
    #[arg(long, value_name = "PEM")]
    key: Option<PathBuf>,
    /// The device's vbmeta.img, which is updated with the images; it can also be given as one of
    /// the images
    #[arg(long, value_name = "FILE")]
    pub vbmeta: Option<PathBuf>,
    /// The private key that signs vbmeta.img, when it is not the one of --key
    #[arg(long, value_name = "PEM")]
    vbmeta_key: Option<PathBuf>,
    /// The flags to set in vbmeta.img (1: hash trees disabled, 2: verification disabled, 3: both);
    /// unchanged by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=3))]
    vbmeta_flags: Option<u32>,
    #[command(flatten)]
    passphrase: PassphraseSource,
}

/// How to update AVB's metadata.
#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Keep a signed vbmeta blob byte-identical and update the footer; recompute the digest in an
    /// unsigned blob
    #[default]
    Preserve,
    /// Recompute the digest and sign with --key; keep properties, rollback index, salt and algorithm
    Resign,
    /// Overwrite blob and footer with zeros
    Strip,
}

/// The keys, kept while the plan is made.
pub struct Keys {
    key: Option<(Input, SigningKey)>,
    vbmeta: Option<(Input, SigningKey)>,
}

impl Keys {
    /// The files they came from.
    pub fn files(&self) -> impl Iterator<Item = &Input> {
        self.key.iter().chain(&self.vbmeta).map(|(file, _)| file)
    }
}

impl AvbArgs {
    /// Read the keys.
    pub fn keys(&self) -> anyhow::Result<Keys> {
        let resign = self.avb == Mode::Resign;
        match (&self.key, resign) {
            (None, true) => bail!("--avb resign needs a private key: --key PEM"),
            (Some(_), false) => bail!("--key is for --avb resign"),
            _ => {}
        }
        if !resign && (self.vbmeta_key.is_some() || self.vbmeta_flags.is_some()) {
            bail!(
                "--vbmeta-key and --vbmeta-flags require --avb resign: vbmeta.img is signed again"
            );
        }
        let read = |path: &PathBuf| {
            let file = Input::open(path)?;
            let key = keys::signing_key(&file, &self.passphrase)?;
            Ok((file, key))
        };
        let key = self.key.as_ref().map(read).transpose()?;
        let vbmeta: anyhow::Result<_> = self.vbmeta_key.as_ref().map(read).transpose();
        Ok(Keys { key, vbmeta: vbmeta? })
    }

    /// The options for the plan. `vbmeta_file` is the number of the file of --vbmeta in the set.
    pub fn options<'k>(
        &self,
        keys: &'k Keys,
        set: &BootSet<'_>,
        vbmeta_file: usize,
    ) -> anyhow::Result<AvbOptions<'k>> {
        let is_vbmeta = |image: &Image<'_>| image.kind() == ImageKind::Vbmeta;
        let vbmeta = set.images().iter().any(is_vbmeta);
        let own = set.image_of(vbmeta_file).map(|index| &set.images()[index]);
        if let (Some(path), false) = (&self.vbmeta, own.is_some_and(is_vbmeta)) {
            bail!("{}: is not a vbmeta image", path.display())
        }
        if !vbmeta && (self.vbmeta_key.is_some() || self.vbmeta_flags.is_some()) {
            bail!("--vbmeta-key and --vbmeta-flags need a vbmeta.img: give it with --vbmeta FILE");
        }
        let mode = match self.avb {
            Mode::Preserve => AvbMode::Preserve,
            Mode::Resign => {
                let (_, key) = keys.key.as_ref().context("--avb resign needs --key PEM")?;
                AvbMode::Resign(key)
            }
            Mode::Strip => AvbMode::Strip,
        };
        let vbmeta_key = keys.vbmeta.as_ref().map(|(_, key)| key);
        Ok(AvbOptions { mode, vbmeta_key, vbmeta_flags: self.vbmeta_flags })
    }
}
