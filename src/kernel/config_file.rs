//! Kernel config files: a `.config`, or a compressed one such as `/proc/config.gz`.

use std::borrow::Cow;
use std::io::Read;

use super::config::{BYTE_ORDER_MARK, ConfigError, KernelConfig};
use crate::compression::{self, Decoder, Format};

/// Number of bytes of a file that show whether it is a config.
const HEAD: usize = 4096;
/// Maximum size of a config in bytes, decompressed.
const MAX_CONFIG: u64 = 16 << 20;

/// Errors of reading a config file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileError {
    /// The file is damaged or too large.
    #[error(transparent)]
    Damaged(#[from] compression::Error),
    /// More than any config has.
    #[error("is no kernel config: it has {size} bytes, and the limit is {MAX_CONFIG}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Text that starts like a config, but is not one.
    #[error(transparent)]
    Invalid(#[from] ConfigError),
}

/// Whether a file is a config, plain or compressed. The first bytes decide, so a kernel is not
/// decompressed for this.
pub(crate) fn is_config(file: &[u8]) -> bool {
    let Some(format) = Format::detect(file) else { return is_plain_config(file) };
    let mut head = Vec::new();
    let Ok(decoder) = Decoder::new(format, file) else { return false };
    // The reader of the rest reports the damage.
    let _ = decoder.take(HEAD as u64).read_to_end(&mut head);
    is_plain_config(&head)
}

/// Whether a file is an uncompressed config: text whose first line other than a comment sets a
/// symbol.
pub(crate) fn is_plain_config(file: &[u8]) -> bool {
    let file = file.strip_prefix(BYTE_ORDER_MARK).unwrap_or(file);
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
    Ok(KernelConfig::parse(&text(file)?)?)
}

/// The text of a config, plain or compressed.
pub(crate) fn text(file: &[u8]) -> Result<Cow<'_, [u8]>, ConfigFileError> {
    Ok(match Format::detect(file) {
        Some(format) => Cow::Owned(Decoder::new(format, file)?.read_all(MAX_CONFIG)?),
        None if file.len() as u64 > MAX_CONFIG => {
            return Err(ConfigFileError::TooLarge { size: file.len() });
        }
        None => Cow::Borrowed(file),
    })
}

/// Whether all bytes are printable, line ends or tabs.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| !matches!(b, 0..9 | 11 | 12 | 14..32))
}
