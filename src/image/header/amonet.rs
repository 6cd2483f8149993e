//! Amonet, the bootloader unlock for Amazon's MediaTek devices, makes the bootloader read a
//! microloader from a "boot image". The real header follows it in the same page; offsets of sections
//! are relative to the start of the file (`AMONET_MICROLOADER_*` of magiskboot's bootimg).

use super::field::number_at;
use super::{head, legacy};

/// Size of the microloader in bytes.
pub(super) const MICROLOADER_SIZE: usize = 1024;
/// Size of a header up to `extra_cmdline`.
pub(super) const LEAST_HEADER: usize = legacy::EXTRA_CMDLINE_AT;
/// The largest header of v0 to v2.
pub(super) const MAX_HEADER: usize = legacy::V2::AT.end;

/// The header after a microloader.
pub(super) fn behind_microloader(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.get(MICROLOADER_SIZE..).filter(|rest| rest.len() >= LEAST_HEADER)?;
    let named = || memchr::memmem::find(&bytes[..MICROLOADER_SIZE], b"microloader").is_some();
    // The real header is v0 to v2, and does not start with a second microloader.
    let plain = |rest: &[u8]| {
        let version = number_at(rest, legacy::VERSION_AT);
        rest.starts_with(head::MAGIC)
            && version.is_some_and(|version| version < 3)
            && !rest.get(MICROLOADER_SIZE..).is_some_and(|rest| rest.starts_with(head::MAGIC))
    };
    (plain(rest) && named()).then_some(rest)
}
