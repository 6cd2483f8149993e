//! How much is unpacked.

/// Maximum number of forms around each other.
pub(super) const MAX_DEPTH: usize = 6;
/// The first bytes of a file, which decide what it is.
pub(super) const HEAD: u64 = 64 << 10;
/// Maximum size of an image that a command takes out of a container, in bytes.
pub(super) const MAX_IMAGE: u64 = 256 << 20;
/// Maximum size of a container in another one, larger than any partition.
const MAX_UNPACKED: u64 = 16 << 30;
/// What a small file may unpack to in any case: an image of zeros.
const SMALL: u64 = MAX_IMAGE;
/// How many times its size a larger file may unpack to.
const RATIO: u64 = 256;

/// The bytes that a file of this size may unpack to when it is searched for images.
pub(super) fn budget(size: usize) -> u64 {
    (size as u64).saturating_mul(RATIO).saturating_add(SMALL).min(MAX_UNPACKED)
}
