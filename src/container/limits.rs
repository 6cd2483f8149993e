//! How much is unpacked.

use crate::compression::Budget;

/// Maximum number of forms around each other.
pub(super) const MAX_DEPTH: usize = 6;
/// The first bytes of a file, which decide what it is.
pub(super) const HEAD: u64 = 64 << 10;
/// Maximum size of an image that a command takes out of a container, in bytes.
pub(super) const MAX_IMAGE: u64 = 256 << 20;
/// Maximum size of a container in another one, larger than any partition.
const MAX_UNPACKED: u64 = 16 << 30;
/// The bytes that a file of this size may unpack to when it is searched for images.
pub(super) fn budget(size: usize) -> u64 {
    Budget::for_input(size as u64).bytes().min(MAX_UNPACKED)
}
