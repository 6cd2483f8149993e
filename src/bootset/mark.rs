//! The mark that a patch leaves in a ramdisk.

use serde::Deserialize;

/// The format of the undo record that this version writes; readers refuse any other.
pub(crate) const UNDO_FORMAT: u32 = 1;

/// The mark of a patch: the head of the undo record, JSON at `/vfioboot/undo`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct PatchMark {
    format: u32,
    /// Name and version of the program that patched.
    pub tool: String,
    /// Whether the segment that the patch appended is still one: another tool may have made one archive
    /// of the whole ramdisk.
    #[serde(skip)]
    pub in_own_segment: bool,
}

impl PatchMark {
    /// Read the mark of an undo record; None for anything that this version does not write.
    pub(crate) fn parse(record: &[u8], in_own_segment: bool) -> Option<Self> {
        let mark: PatchMark = serde_json::from_slice(record).ok()?;
        (mark.format == UNDO_FORMAT).then_some(PatchMark { in_own_segment, ..mark })
    }
}
