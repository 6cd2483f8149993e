//! Decides what is signed when certain images change.

use super::options::{AvbMode, AvbOptions};
use crate::bootset::Cover;
use crate::image::avb::{Algorithm, SigningKey, Vbmeta};
use crate::image::{AvbPolicy, Image};
use crate::patch::context::Context;
use crate::patch::error::Error;
use crate::patch::warning::Warning;

/// Bytes that avbtool's `add_hash_footer` keeps free after an image: `MAX_VBMETA_SIZE` and
/// `MAX_FOOTER_SIZE`.
const AVBTOOL_ROOM: u64 = (64 << 10) + 4096;

/// How the vbmeta.img of the set describes an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// With a digest or a key.
    Covered(Cover),
    /// It does not describe the image.
    Absent,
    /// No vbmeta.img was given.
    Unknown,
}

/// The decision, before anything is written.
pub(crate) struct Signing<'a> {
    /// The options.
    pub options: AvbOptions<'a>,
    /// The images that change, and how vbmeta.img describes each.
    pub changed: Vec<(usize, Relation)>,
    /// Index of the vbmeta.img, if it changes.
    pub vbmeta: Option<usize>,
    /// The vbmeta.img of the set.
    pub top: Option<Vbmeta<'a>>,
}

impl<'a> Signing<'a> {
    /// Decide what is signed when the images of these indices change.
    ///
    /// # Errors
    /// [`Error::NothingToSign`], [`Error::ChainedWithoutFooter`], [`Error::Vbmeta`].
    pub(crate) fn choose(
        set: &Context<'_, 'a>,
        changed: &[usize],
        options: &AvbOptions<'a>,
    ) -> Result<Self, Error> {
        let index = set.top_vbmeta();
        let top = index.and_then(|index| set.images[index].vbmeta()).transpose();
        let top = top.map_err(Error::Vbmeta)?;
        let relation = |i: &usize| {
            let relation = match &top {
                None => Relation::Unknown,
                Some(top) => set.cover(top, *i).map_or(Relation::Absent, Relation::Covered),
            };
            (*i, relation)
        };
        let changed = changed.iter().map(relation).collect();
        let mut signing = Signing { options: *options, changed, vbmeta: None, top };
        signing.vbmeta = match options.mode {
            AvbMode::Strip => None,
            AvbMode::Preserve => {
                let unsigned = signing.top.as_ref().map(Vbmeta::algorithm);
                let unsigned = unsigned == Some(Algorithm::None);
                index.filter(|_| {
                    unsigned && signing.any(|r| matches!(r, Relation::Covered(Cover::Digest(_))))
                })
            }
            AvbMode::Resign(_) => {
                let described = signing.require_signable(set.images)?;
                index.filter(|_| described || options.vbmeta_flags.is_some())
            }
        };
        Ok(signing)
    }

    /// Refuse to sign if nothing can be signed. Returns whether vbmeta.img describes one of the
    /// images.
    fn require_signable(&self, images: &[Image<'_>]) -> Result<bool, Error> {
        for (i, relation) in &self.changed {
            if matches!(relation, Relation::Covered(Cover::Chain(_))) && images[*i].avb().is_none()
            {
                return Err(Error::ChainedWithoutFooter(partition(&images[*i])));
            }
        }
        let described = self.any(|r| matches!(r, Relation::Covered(_)));
        let footer = self.changed.iter().any(|(i, _)| images[*i].avb().is_some());
        match footer || described {
            true => Ok(described),
            false => Err(Error::NothingToSign),
        }
    }

    fn any(&self, is: impl Fn(Relation) -> bool) -> bool {
        self.changed.iter().any(|(_, relation)| is(*relation))
    }

    /// The policy for an image that changes.
    pub(crate) fn policy(&self, image: &Image<'_>) -> AvbPolicy<'a> {
        match self.options.mode {
            AvbMode::Resign(key) if image.avb().is_some() => AvbPolicy::Resign(key),
            AvbMode::Strip => AvbPolicy::Strip,
            AvbMode::Resign(_) | AvbMode::Preserve => AvbPolicy::Preserve,
        }
    }

    /// Warnings that the outlook does not contain. `content_size` gives the bytes of the image
    /// proper for an index.
    pub(crate) fn warnings(
        &self,
        images: &[Image<'_>],
        content_size: impl Fn(usize) -> u64,
    ) -> Vec<Warning> {
        let AvbMode::Resign(key) = self.options.mode else { return Vec::new() };
        let changed = self.changed.iter().map(|(i, _)| (&images[*i], key));
        let top = self.vbmeta.map(|i| (&images[i], self.options.vbmeta_signer().unwrap_or(key)));
        let mut warnings: Vec<Warning> =
            changed.chain(top).filter_map(|(image, key)| algorithm_changes(image, key)).collect();
        for (i, relation) in &self.changed {
            let image = &images[*i];
            if *relation == Relation::Absent {
                warnings.push(Warning::NotInVbmeta { partition: partition(image) });
            }
            let (size, partition_size) = (content_size(*i), image.file().len() as u64);
            if image.avb().is_some() && size + AVBTOOL_ROOM > partition_size {
                warnings.push(Warning::LittleRoomForAvb {
                    partition: partition(image),
                    size,
                    partition_size,
                    reserved: AVBTOOL_ROOM,
                });
            }
        }
        warnings
    }
}

/// The key needs another algorithm than the image was signed with.
fn algorithm_changes(image: &Image<'_>, key: &SigningKey) -> Option<Warning> {
    let before = image.vbmeta()?.ok()?.algorithm();
    let after = key.algorithm(before).ok()?;
    (Algorithm::Rsa(after) != before).then(|| Warning::AlgorithmChanges {
        image: image.kind(),
        before: before.name(),
        after: after.name.to_owned(),
        key_bits: after.key_bits,
    })
}

/// The partition that an image is for.
pub(crate) fn partition(image: &Image<'_>) -> String {
    let name = image.partition_name();
    name.map_or_else(|| image.kind().to_string(), |name| name.escape_ascii().to_string())
}
