//! The mark that a patch leaves in a ramdisk.

use serde::Deserialize;

/// The format of the undo record that this version writes; readers refuse any other.
pub(crate) const UNDO_FORMAT: u32 = 1;

/// The mark of a patch: the head of the undo record, JSON at `/vfioboot/undo` of the segment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PatchMark {
    format: u32,
    /// Name and version of the program that patched.
    pub tool: String,
}

impl PatchMark {
    /// Read the mark of an undo record; None for anything that this version does not write.
    pub(crate) fn parse(record: &[u8]) -> Option<Self> {
        let mark: PatchMark = serde_json::from_slice(record).ok()?;
        (mark.format == UNDO_FORMAT).then_some(mark)
    }
}
