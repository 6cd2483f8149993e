//! Amonet, the bootloader unlock of Amazon's MediaTek devices, has the bootloader read a loader
//! from a "boot image" whose real header stands behind it in the same page; sections count from
//! the start of the file (`AMONET_MICROLOADER_*` of magiskboot's bootimg).

use super::field::number_at;
use super::{head, legacy};

/// Bytes of the loader.
pub(super) const MICROLOADER_SIZE: usize = 1024;
/// All of a header but `extra_cmdline` and what follows.
pub(super) const LEAST_HEADER: usize = legacy::EXTRA_CMDLINE_AT;
/// The largest header of v0 to v2.
pub(super) const MAX_HEADER: usize = legacy::V2::AT.end;

/// The header behind a microloader.
pub(super) fn behind_microloader(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.get(MICROLOADER_SIZE..).filter(|rest| rest.len() >= LEAST_HEADER)?;
    let named = || memchr::memmem::find(&bytes[..MICROLOADER_SIZE], b"microloader").is_some();
    // Its own header is one of v0 to v2, and has no second loader in front.
    let plain = |rest: &[u8]| {
        let version = number_at(rest, legacy::VERSION_AT);
        rest.starts_with(head::MAGIC)
            && version.is_some_and(|version| version < 3)
            && !rest.get(MICROLOADER_SIZE..).is_some_and(|rest| rest.starts_with(head::MAGIC))
    };
    (plain(rest) && named()).then_some(rest)
}
