//! What is signed when certain images change.

use super::options::{AvbMode, AvbOptions};
use crate::image::avb::{Algorithm, Descriptor, SigningKey, Vbmeta};
use crate::image::{AvbPolicy, Image, ImageKind};
use crate::patch::error::Error;
use crate::patch::warning::Warning;

/// Bytes that avbtool's `add_hash_footer` keeps free after an image: `MAX_VBMETA_SIZE` and
/// `MAX_FOOTER_SIZE`.
const AVBTOOL_ROOM: u64 = (64 << 10) + 4096;

/// How the vbmeta.img of the set describes an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// With the digest, in the descriptor of this index.
    Hash(usize),
    /// With the key of its vbmeta blob, in the descriptor of this index.
    Chain(usize),
    /// Not at all.
    Absent,
    /// No vbmeta.img was given.
    Unknown,
}

/// The decision, before anything is written.
pub struct Signing<'a> {
    /// What was asked for.
    pub options: AvbOptions<'a>,
    /// The images that change, and how vbmeta.img describes each.
    pub changed: Vec<(usize, Relation)>,
    /// Index of the vbmeta.img, when it changes.
    pub vbmeta: Option<usize>,
    /// The vbmeta.img of the set.
    pub top: Option<Vbmeta<'a>>,
}

impl<'a> Signing<'a> {
    /// Decide what is signed when the images of these indices change.
    ///
    /// # Errors
    /// [`Error::NothingToSign`], [`Error::ChainedWithoutFooter`], [`Error::Vbmeta`].
    pub fn choose(
        images: &[Image<'a>],
        changed: &[usize],
        options: &AvbOptions<'a>,
    ) -> Result<Self, Error> {
        let index = images.iter().position(|image| image.kind() == ImageKind::Vbmeta);
        let top = index.and_then(|index| images[index].vbmeta()).transpose();
        let top = top.map_err(Error::Vbmeta)?;
        let relation = |i: &usize| {
            let relation = top.as_ref().map(|top| relation(top, &images[*i]));
            (*i, relation.unwrap_or(Relation::Unknown))
        };
        let changed = changed.iter().map(relation).collect();
        let mut signing = Signing { options: *options, changed, vbmeta: None, top };
        signing.vbmeta = match options.mode {
            AvbMode::Strip => None,
            AvbMode::Preserve => {
                let unsigned = signing.top.as_ref().map(Vbmeta::algorithm);
                let unsigned = unsigned == Some(Algorithm::None);
                index.filter(|_| unsigned && signing.any(|r| matches!(r, Relation::Hash(_))))
            }
            AvbMode::Resign(_) => {
                let described = signing.require_signable(images)?;
                index.filter(|_| described || options.vbmeta_flags.is_some())
            }
        };
        Ok(signing)
    }

    /// Refuse to sign where nothing could be signed. Tells whether vbmeta.img describes one of the
    /// images.
    fn require_signable(&self, images: &[Image<'_>]) -> Result<bool, Error> {
        for (i, relation) in &self.changed {
            if matches!(relation, Relation::Chain(_)) && images[*i].avb().is_none() {
                return Err(Error::ChainedWithoutFooter(partition(&images[*i])));
            }
        }
        let described = self.any(|r| matches!(r, Relation::Hash(_) | Relation::Chain(_)));
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
    pub fn policy(&self, image: &Image<'_>) -> AvbPolicy<'a> {
        match self.options.mode {
            AvbMode::Resign(key) if image.avb().is_some() => AvbPolicy::Resign(key),
            AvbMode::Strip => AvbPolicy::Strip,
            AvbMode::Resign(_) | AvbMode::Preserve => AvbPolicy::Preserve,
        }
    }

    /// What people should know besides the outlook. `content_size` gives the bytes of the image
    /// proper for an index.
    pub fn warnings(
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

fn relation(top: &Vbmeta<'_>, image: &Image<'_>) -> Relation {
    let partition = partition(image);
    let about = top.descriptors.iter().enumerate().filter(|(_, entry)| {
        entry.descriptor.partition().is_some_and(|name| name == partition.as_bytes())
    });
    let mut relations = about.filter_map(|(i, entry)| match entry.descriptor {
        Descriptor::Hash(_) => Some(Relation::Hash(i)),
        Descriptor::ChainPartition(_) => Some(Relation::Chain(i)),
        _ => None,
    });
    relations.next().unwrap_or(Relation::Absent)
}

/// The partition that an image is for.
pub fn partition(image: &Image<'_>) -> String {
    let name = image.partition_name();
    name.map_or_else(|| image.kind().to_string(), |name| name.escape_ascii().to_string())
}
