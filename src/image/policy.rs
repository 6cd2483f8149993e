//! What an edit does with values that follow from other bytes.

use super::avb::{Algorithm, SigningKey};

/// What an edit does with an AVB footer and its vbmeta blob. Never half: descriptors are only
/// changed where the image is signed again or is not signed.
#[derive(Clone, Copy, Debug)]
pub enum AvbPolicy<'k> {
    /// A signed blob stays byte-identical and the footer moves with it; its digest is wrong then.
    /// One that is not signed (algorithm NONE) gets the right digest.
    Preserve,
    /// The blob gets the right digest and is signed with this key.
    Resign(&'k SigningKey),
    /// Blob and footer are overwritten with zeros. The file keeps its size, so that flashing it
    /// also overwrites the footer that is on the device (`avbtool erase_footer` cuts the file).
    Strip,
}

/// What an edit did with an AVB footer and its vbmeta blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvbChange {
    /// The blob is byte-identical.
    Preserved,
    /// The blob was not signed and got the right digest.
    Rehashed,
    /// The blob got the right digest and was signed.
    Resigned {
        /// What it was signed with.
        before: Algorithm,
        /// What it is signed with now.
        after: Algorithm,
    },
    /// Both are gone.
    Stripped,
}

/// What an edit does with a value that follows from other bytes: the `id` of v0–v2, or a size or
/// checksum in a vendor's wrapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DerivedPolicy {
    /// Recomputed when it was right before, otherwise left as it is.
    KeepRight,
    /// Recomputed.
    Recompute,
    /// Left as it is.
    Keep,
}
