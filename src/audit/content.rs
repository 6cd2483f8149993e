//! Identifies inputs that are neither an image nor a kernel nor a config, for helpful messages.

use crate::kernel::config_file::is_text;

/// Number of bytes of a file to examine.
const SAMPLE: usize = 64 << 10;
/// Minimum number of bytes for a meaningful distribution.
const MIN_SAMPLE: usize = 4096;
/// Bits of entropy per byte; machine code has about 6, compressed or encrypted data nearly 8.
const ENCRYPTED: f64 = 7.9;
/// Containers of encrypted files: magic and description.
const CONTAINERS: &[(&[u8], &str)] = &[
    (b"Salted__", "by openssl enc"),
    (b"LUKS\xba\xbe", "with LUKS"),
    (b"age-encryption.org/", "by age"),
    (b"-----BEGIN PGP MESSAGE-----", "with OpenPGP"),
];

/// Magics of Android images.
const IMAGES: &[&[u8]] = &[b"ANDROID!", b"VNDRBOOT"];

/// An input that cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Foreign {
    /// An empty file.
    #[error("is empty, expected a boot image, a kernel or a kernel config")]
    Empty,
    /// A container of encrypted data.
    #[error("is encrypted {0}: decrypt it first")]
    Container(&'static str),
    /// Text that does not set a symbol.
    #[error(
        "is text but not a kernel config: the first setting must be like CONFIG_KVM=y or \
         \"# CONFIG_KVM is not set\", line 1 is {first_line:?}"
    )]
    Text {
        /// The start of its first line.
        first_line: String,
    },
    /// Data without any structure.
    #[error(
        "cannot be read: it is encrypted, or compressed in an unknown way; expected a boot image, \
         a kernel or a kernel config"
    )]
    Encrypted,
}

/// Identify `bytes`; None for an image, whose own error is more specific, and for unknown data.
pub(super) fn identify(bytes: &[u8]) -> Option<Foreign> {
    if IMAGES.iter().any(|magic| bytes.starts_with(magic)) {
        return None;
    }
    if bytes.is_empty() {
        return Some(Foreign::Empty);
    }
    if let Some((_, how)) = CONTAINERS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(Foreign::Container(how));
    }
    if is_text(&bytes[..bytes.len().min(SAMPLE)]) {
        let line = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
        let first_line = line.lines().next().unwrap_or_default().to_owned();
        return Some(Foreign::Text { first_line });
    }
    looks_encrypted(bytes).then_some(Foreign::Encrypted)
}

/// Whether all byte values occur about equally often.
pub(super) fn looks_encrypted(bytes: &[u8]) -> bool {
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    let mut counts = [0usize; 256];
    sample.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let share = |count: &usize| *count as f64 / sample.len() as f64;
    let present = counts.iter().filter(|count| **count > 0).map(share);
    let entropy: f64 = present.map(|share| -share * share.log2()).sum();
    sample.len() >= MIN_SAMPLE && entropy > ENCRYPTED
}
