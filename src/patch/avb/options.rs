//! What to do with AVB's metadata.

use crate::image::avb::SigningKey;

/// What to do with AVB's metadata.
#[derive(Clone, Copy, Debug, Default)]
pub struct AvbOptions<'k> {
    /// The mode for the images that change.
    pub mode: AvbMode<'k>,
    /// Signs a vbmeta.img of the set instead of the key of [`AvbMode::Resign`].
    pub vbmeta_key: Option<&'k SigningKey>,
    /// The new flags of a vbmeta.img; None keeps the old ones.
    pub vbmeta_flags: Option<u32>,
}

/// What to do with AVB's metadata in the images that change.
#[derive(Clone, Copy, Debug, Default)]
pub enum AvbMode<'k> {
    /// Signed blobs stay byte-identical, unsigned ones have their digest updated.
    #[default]
    Preserve,
    /// Every digest is updated and every signature made with this key, in a vbmeta.img too.
    Resign(&'k SigningKey),
    /// Footer and blob are removed.
    Strip,
}

impl<'k> AvbOptions<'k> {
    /// The key that signs vbmeta.img.
    pub(crate) fn vbmeta_signer(&self) -> Option<&'k SigningKey> {
        match self.mode {
            AvbMode::Resign(key) => Some(self.vbmeta_key.unwrap_or(key)),
            AvbMode::Preserve | AvbMode::Strip => None,
        }
    }
}
