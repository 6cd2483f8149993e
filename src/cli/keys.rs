//! Keys from files. Private keys and passphrases are never printed.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use vfioboot::image::avb::{KeyError, PublicKey, SigningKey};
use zeroize::Zeroizing;

use super::input::Input;

/// The source of the passphrase of an encrypted key; without one, the terminal prompts for it.
#[derive(clap::Args)]
pub struct PassphraseSource {
    /// The file whose first line is the passphrase of an encrypted key
    #[arg(long, value_name = "FILE", conflicts_with = "key_pass_env")]
    key_pass_file: Option<PathBuf>,
    /// The environment variable that is the passphrase of an encrypted key
    #[arg(long, value_name = "NAME")]
    key_pass_env: Option<String>,
}

impl PassphraseSource {
    fn get(&self, key: &Path) -> anyhow::Result<Option<Zeroizing<String>>> {
        if let Some(file) = &self.key_pass_file {
            let text = Zeroizing::new(Input::text(file)?);
            let line = text.lines().next().unwrap_or_default().to_owned();
            return Ok(Some(Zeroizing::new(line)));
        }
        if let Some(name) = &self.key_pass_env {
            let Ok(text) = std::env::var(name) else {
                bail!("--key-pass-env {name}: there is no such environment variable (in UTF-8)");
            };
            return Ok(Some(Zeroizing::new(text)));
        }
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let prompt = format!("Passphrase of {}: ", key.display());
        Ok(Some(Zeroizing::new(rpassword::prompt_password(prompt)?)))
    }
}

/// The private key in a PEM file.
pub fn signing_key(file: &Input, passphrase: &PassphraseSource) -> anyhow::Result<SigningKey> {
    let key = match SigningKey::from_pem(file, None) {
        Err(KeyError::PassphraseNeeded) => match passphrase.get(&file.path)? {
            Some(text) => SigningKey::from_pem(file, Some(text.as_bytes())),
            None => {
                bail!(
                    "the key {}: {}: give its passphrase with --key-pass-file FILE or --key-pass-env NAME",
                    file.name(),
                    KeyError::PassphraseNeeded
                )
            }
        },
        key => key,
    };
    key.with_context(|| format!("the key {}", file.name()))
}

/// The public key in a file: PEM, public or private, or AVB's own format.
pub fn public_key(path: &Path, passphrase: &PassphraseSource) -> anyhow::Result<PublicKey> {
    let file = Input::open(path)?;
    match PublicKey::from_file(&file) {
        Err(KeyError::PassphraseNeeded) => Ok(signing_key(&file, passphrase)?.public()),
        key => key.with_context(|| format!("the key {}", file.name())),
    }
}
