//! What an input is that is neither an image nor a kernel nor a config, in words that help.

use crate::kernel::config_file::is_text;

/// How much of a file is looked at, in bytes.
const SAMPLE: usize = 64 << 10;
/// Less says nothing about how bytes are distributed.
const MIN_SAMPLE: usize = 4096;
/// Bits of entropy in a byte; machine code has some 6, compressed or encrypted data nearly 8.
const ENCRYPTED: f64 = 7.9;
/// Containers of encrypted files, by how they begin.
const CONTAINERS: &[(&[u8], &str)] = &[
    (b"Salted__", "by openssl enc"),
    (b"LUKS\xba\xbe", "with LUKS"),
    (b"age-encryption.org/", "by age"),
    (b"-----BEGIN PGP MESSAGE-----", "with OpenPGP"),
];

/// Magics of Android images.
const IMAGES: &[&[u8]] = &[b"ANDROID!", b"VNDRBOOT"];

/// An input that is nothing to check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Foreign {
    /// No bytes.
    #[error("is empty, expected a boot image, a kernel or a kernel config")]
    Empty,
    /// A container of something encrypted.
    #[error("is encrypted {0}: decrypt it first")]
    Container(&'static str),
    /// Text that sets no symbol.
    #[error(
        "is text but not a kernel config: the first setting must be like CONFIG_KVM=y or \
         \"# CONFIG_KVM is not set\", line 1 is {first_line:?}"
    )]
    Text {
        /// The start of its first line.
        first_line: String,
    },
    /// Without any structure.
    #[error(
        "cannot be read: it is encrypted, or compressed in an unknown way; expected a boot image, \
         a kernel or a kernel config"
    )]
    Encrypted,
}

/// What `bytes` are; None for an image, whose own error says more, and where nothing better can
/// be said than that they are not known.
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

/// Every byte value occurs about as often as every other.
pub(super) fn looks_encrypted(bytes: &[u8]) -> bool {
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    let mut counts = [0usize; 256];
    sample.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let share = |count: &usize| *count as f64 / sample.len() as f64;
    let present = counts.iter().filter(|count| **count > 0).map(share);
    let entropy: f64 = present.map(|share| -share * share.log2()).sum();
    sample.len() >= MIN_SAMPLE && entropy > ENCRYPTED
}
