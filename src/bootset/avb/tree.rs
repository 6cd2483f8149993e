//! The vbmeta images of a set as a tree, and which digest covers which image.

use super::partition::{Names, is_of_an_image, stem};
use crate::bootset::members::Members;
use crate::image::avb::{ChainPartition, Descriptor, Vbmeta};
use crate::image::{Image, ImageKind};

/// How a vbmeta image covers an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// By a digest, in the descriptor of this index.
    Digest(usize),
    /// By the key of the image's own vbmeta blob, in the chain descriptor of this index.
    Chain(usize),
}

/// How `vbmeta` covers an image for one of these partitions; None if no descriptor names it.
pub(in crate::bootset) fn cover(vbmeta: &Vbmeta<'_>, names: &Names) -> Option<Cover> {
    let of = |name: &str| {
        let mut entries = vbmeta.descriptors.iter().enumerate();
        entries.find_map(|(index, entry)| match &entry.descriptor {
            Descriptor::Hash(hash) if hash.partition_name == name.as_bytes() => {
                Some(Cover::Digest(index))
            }
            Descriptor::ChainPartition(chain) if chain.partition_name == name.as_bytes() => {
                Some(Cover::Chain(index))
            }
            Descriptor::Hash(_)
            | Descriptor::ChainPartition(_)
            | Descriptor::Property { .. }
            | Descriptor::Hashtree(_)
            | Descriptor::KernelCmdline { .. }
            | Descriptor::Unknown { .. } => None,
        })
    };
    names.iter().find_map(of)
}

/// The chain descriptors of a vbmeta image, with their indices.
pub(in crate::bootset) fn chains<'v, 'a>(
    vbmeta: &'v Vbmeta<'a>,
) -> impl Iterator<Item = (usize, &'v ChainPartition<'a>)> {
    vbmeta.descriptors.iter().enumerate().filter_map(|(index, entry)| match &entry.descriptor {
        Descriptor::ChainPartition(chain) => Some((index, chain)),
        Descriptor::Property { .. }
        | Descriptor::Hashtree(_)
        | Descriptor::Hash(_)
        | Descriptor::KernelCmdline { .. }
        | Descriptor::Unknown { .. } => None,
    })
}

/// The chain descriptor of `above` for the chained vbmeta image in this file: that of its name, or one
/// with its key that is not for a boot image.
pub(in crate::bootset) fn chain_to(
    above: &Vbmeta<'_>,
    file: &str,
    image: &Image<'_>,
) -> Option<usize> {
    let candidates = || chains(above).filter(|(_, chain)| !is_of_an_image(chain.partition_name));
    let named =
        |(_, chain): &(usize, &ChainPartition<'_>)| chain.partition_name == stem(file).as_bytes();
    let own = image.vbmeta().and_then(Result::ok);
    let own = own.as_ref().map(Vbmeta::public_key).filter(|key| !key.is_empty());
    let keyed = |(_, chain): &(usize, &ChainPartition<'_>)| own == Some(chain.public_key);
    let found = candidates().find(named).or_else(|| candidates().find(keyed));
    found.map(|(index, _)| index)
}

/// Whether the chain descriptor is for this image, as far as the image alone tells.
pub(in crate::bootset) fn leads_to(
    chain: &ChainPartition<'_>,
    file: &str,
    image: &Image<'_>,
) -> bool {
    if image.kind() != ImageKind::Vbmeta {
        return image.is_for(chain.partition_name);
    }
    if is_of_an_image(chain.partition_name) {
        return false;
    }
    let own = image.vbmeta().and_then(Result::ok);
    let same_key = own.is_some_and(|own| own.public_key() == chain.public_key);
    chain.partition_name == stem(file).as_bytes() || same_key && !chain.public_key.is_empty()
}

/// Whether this vbmeta image is not the top-level one: another one chains to it, or it has the name of one
/// below vbmeta (`vbmeta_system`) and another one has not.
pub(in crate::bootset) fn is_chained(set: &Members<'_>, index: usize) -> bool {
    let is_below = |index: usize| stem(set.name(index)).starts_with("vbmeta_");
    let others = || {
        let vbmetas = set.images.iter().enumerate();
        vbmetas.filter(|(other, image)| *other != index && image.kind() == ImageKind::Vbmeta)
    };
    let (file, image) = (set.name(index), &set.images[index]);
    let chained = others().any(|(_, other)| {
        let other = other.vbmeta().and_then(Result::ok);
        other.is_some_and(|other| chain_to(&other, file, image).is_some())
    });
    chained || is_below(index) && others().any(|(other, _)| !is_below(other))
}
