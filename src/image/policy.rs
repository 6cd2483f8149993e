//! How an edit treats values that depend on other bytes.

use super::avb::{Algorithm, SigningKey};

/// How an edit treats an AVB footer and its vbmeta blob. Descriptors are changed only when the image
/// is signed again or is not signed.
#[derive(Clone, Copy, Debug)]
pub enum AvbPolicy<'k> {
    /// A signed blob stays byte-identical, so its digest no longer matches; the footer is updated to
    /// its new offset. The digest of an unsigned blob (algorithm NONE) is recomputed.
    Preserve,
    /// The digest is recomputed and the blob is signed with this key.
    Resign(&'k SigningKey),
    /// Blob and footer are overwritten with zeros. The file keeps its size, so that flashing it
    /// also overwrites the footer that is on the device (`avbtool erase_footer` cuts the file).
    Strip,
}

/// How an edit changed an AVB footer and its vbmeta blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AvbChange {
    /// The blob is byte-identical.
    Preserved,
    /// The blob is not signed; its digest was recomputed.
    Rehashed,
    /// The digest was recomputed and the blob was signed.
    Resigned {
        /// The algorithm before.
        before: Algorithm,
        /// The algorithm now.
        after: Algorithm,
    },
    /// Both were overwritten with zeros.
    Stripped,
}

/// How an edit treats a value that depends on other bytes: the `id` of v0–v2, or a size or checksum
/// in a vendor wrapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DerivedPolicy {
    /// Recompute the value if it was correct before, otherwise keep it.
    KeepRight,
    /// Recompute the value.
    Recompute,
    /// Keep the value.
    Keep,
}
