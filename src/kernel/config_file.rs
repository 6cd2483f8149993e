//! Files with a kernel config: a `.config`, or one that is compressed such as `/proc/config.gz`.

use std::io::Read;

use super::config::{ConfigError, KernelConfig};
use crate::compression::{self, Decoder, Format};

/// How much of a file shows whether it is a config, in bytes.
const HEAD: usize = 4096;
/// The most that a config takes, unpacked, in bytes.
const MAX_CONFIG: u64 = 16 << 20;

/// Why a config file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileError {
    /// It is damaged, or too large.
    #[error(transparent)]
    Damaged(#[from] compression::Error),
    /// Text that begins as a config and is not one.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
}

/// Whether a file is a config, plain or compressed. Its first bytes decide, so that no kernel is
/// unpacked for it.
pub fn is_config(file: &[u8]) -> bool {
    let Some(format) = Format::detect(file) else { return is_plain_config(file) };
    let mut head = Vec::new();
    let Ok(decoder) = Decoder::new(format, file) else { return false };
    // Whatever reads the rest reports the damage.
    let _ = decoder.take(HEAD as u64).read_to_end(&mut head);
    is_plain_config(&head)
}

/// Whether a file is a config that is not compressed: text whose first line that is not a comment
/// sets a symbol.
pub fn is_plain_config(file: &[u8]) -> bool {
    let head = &file[..file.len().min(HEAD)];
    let mut lines = head.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    is_text(head)
        && lines
            .find(|line| !line.starts_with(b"#") || line.starts_with(b"# CONFIG_"))
            .is_some_and(|line| line.starts_with(b"CONFIG_") || line.starts_with(b"# CONFIG_"))
}

/// Read a config, plain or compressed.
///
/// # Errors
/// [`ConfigFileError`].
pub fn read(file: &[u8]) -> Result<KernelConfig, ConfigFileError> {
    Ok(match Format::detect(file) {
        Some(format) => KernelConfig::parse(&Decoder::new(format, file)?.read_all(MAX_CONFIG)?)?,
        None => KernelConfig::parse(file)?,
    })
}

/// All of it is printable, with line ends and tabs.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| !matches!(b, 0..9 | 11 | 12 | 14..32))
}
