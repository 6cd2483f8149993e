//! Decides what is signed when certain images change.

use super::options::{AvbMode, AvbOptions};
use crate::bootset::Cover;
use crate::image::avb::{Algorithm, SigningKey, Vbmeta};
use crate::image::{AvbPolicy, Image, ImageKind};
use crate::patch::context::Context;
use crate::patch::error::Error;
use crate::patch::warning::Warning;

/// Bytes that avbtool's `add_hash_footer` keeps free after an image: `MAX_VBMETA_SIZE` and
/// `MAX_FOOTER_SIZE`.
const AVBTOOL_ROOM: u64 = (64 << 10) + 4096;

/// How the vbmeta images of the set describe an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// With a digest or a key, in the vbmeta image of this index.
    Covered(usize, Cover),
    /// They do not describe the image.
    Absent,
    /// No vbmeta.img was given.
    Unknown,
}

/// A vbmeta image that changes.
pub(crate) struct Resigned<'a> {
    /// Its index in the set.
    pub index: usize,
    /// What it is now.
    pub vbmeta: Vbmeta<'a>,
    /// The chain descriptor of the top-level one that leads to it; None for that one itself.
    pub chain: Option<usize>,
}

/// The decision, before anything is written.
pub(crate) struct Signing<'a> {
    /// The options.
    pub options: AvbOptions<'a>,
    /// The images that change, and how the vbmeta images describe each.
    pub changed: Vec<(usize, Relation)>,
    /// The vbmeta images that change, the top-level one last: it has the keys of the others.
    pub vbmetas: Vec<Resigned<'a>>,
    /// The top-level vbmeta image of the set.
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
        let tree = tree(set)?;
        let top = tree.last().map(|top| top.vbmeta.clone());
        let relation = |i: &usize| {
            let own = |node: &Resigned<'a>| Some((node.index, set.cover(&node.vbmeta, *i)?));
            // libavb reads the top-level one first.
            let covered = tree.iter().rev().find_map(own);
            let absent = if top.is_some() { Relation::Absent } else { Relation::Unknown };
            (*i, covered.map_or(absent, |(index, cover)| Relation::Covered(index, cover)))
        };
        let changed = changed.iter().map(relation).collect();
        let mut signing = Signing { options: *options, changed, vbmetas: Vec::new(), top };
        let described = match options.mode {
            AvbMode::Resign(_) => signing.require_signable(set.images)?,
            AvbMode::Preserve | AvbMode::Strip => false,
        };
        let has = |node: &Resigned<'_>, is: fn(Cover) -> bool| {
            signing.any(|r| matches!(r, Relation::Covered(by, own) if by == node.index && is(own)))
        };
        let changes = |node: &Resigned<'_>| match (options.mode, node.chain) {
            (AvbMode::Strip, _) => false,
            (AvbMode::Preserve, _) => {
                let unsigned = node.vbmeta.algorithm() == Algorithm::None;
                unsigned && has(node, |own| matches!(own, Cover::Digest(_)))
            }
            // The top-level one has the keys of the others.
            (AvbMode::Resign(_), None) => described || options.vbmeta_flags.is_some(),
            (AvbMode::Resign(_), Some(_)) => has(node, |_| true),
        };
        let vbmetas = tree.into_iter().filter(changes).collect();
        signing.vbmetas = vbmetas;
        Ok(signing)
    }

    /// Whether vbmeta.img changes.
    pub(crate) fn changes_top(&self) -> bool {
        self.vbmetas.iter().any(|node| node.chain.is_none())
    }

    /// The key that signs a vbmeta image that changes: a chained one has that of the images.
    pub(crate) fn signer(&self, node: &Resigned<'_>) -> Option<&'a SigningKey> {
        match (self.options.mode, node.chain) {
            (AvbMode::Resign(key), Some(_)) => Some(key),
            (_, None) => self.options.vbmeta_signer(),
            (AvbMode::Preserve | AvbMode::Strip, Some(_)) => None,
        }
    }

    /// Refuse to sign if nothing can be signed. Returns whether a vbmeta image describes one of the
    /// images.
    fn require_signable(&self, images: &[Image<'_>]) -> Result<bool, Error> {
        for (i, relation) in &self.changed {
            if matches!(relation, Relation::Covered(_, Cover::Chain(_)))
                && images[*i].avb().is_none()
            {
                return Err(Error::ChainedWithoutFooter(partition(&images[*i])));
            }
        }
        let described = self.any(|r| matches!(r, Relation::Covered(..)));
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
        let vbmetas = self.vbmetas.iter();
        let vbmetas = vbmetas.map(|own| (&images[own.index], self.signer(own).unwrap_or(key)));
        let mut warnings: Vec<Warning> = changed
            .chain(vbmetas)
            .filter_map(|(image, key)| algorithm_changes(image, key))
            .collect();
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

/// The vbmeta images of the set: those that the top-level one chains to, and that one last.
fn tree<'a>(set: &Context<'_, 'a>) -> Result<Vec<Resigned<'a>>, Error> {
    let Some(index) = set.top_vbmeta() else { return Ok(Vec::new()) };
    let Some(top) = set.images[index].vbmeta().transpose().map_err(Error::Vbmeta)? else {
        return Ok(Vec::new());
    };
    let vbmetas = set
        .images
        .iter()
        .enumerate()
        .filter(|(other, image)| *other != index && image.kind() == ImageKind::Vbmeta);
    let mut tree: Vec<Resigned<'a>> = vbmetas
        .filter_map(|(other, image)| {
            let Some(Cover::Chain(chain)) = set.cover(&top, other) else { return None };
            // One that libavb does not read describes nothing.
            Some(Resigned { index: other, vbmeta: image.vbmeta()?.ok()?, chain: Some(chain) })
        })
        .collect();
    tree.push(Resigned { index, vbmeta: top, chain: None });
    Ok(tree)
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
