//! The names by which the segment that a patch appends is known.

use super::components;
use crate::bootfile::UNDO_FILE;

/// This is the undo record, whose segment is ours.
pub(super) fn is_undo(path: &[u8]) -> bool {
    components(path).eq(components(UNDO_FILE.as_bytes()))
}

/// This is the directory of the undo record, the first entry of our segment.
pub(super) fn is_directory(path: &[u8]) -> bool {
    components(path).eq(components(UNDO_FILE.as_bytes()).take(1))
}
