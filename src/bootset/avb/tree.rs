//! The vbmeta images of a set as a tree, and which digest covers which image.

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

/// How `vbmeta` covers an image; None if no descriptor names it.
pub(in crate::bootset) fn cover(vbmeta: &Vbmeta<'_>, image: &Image<'_>) -> Option<Cover> {
    vbmeta.descriptors.iter().enumerate().find_map(|(index, entry)| match &entry.descriptor {
        Descriptor::Hash(hash) => image.is_for(hash.partition_name).then_some(Cover::Digest(index)),
        Descriptor::ChainPartition(chain) => leads_to(chain, image).then_some(Cover::Chain(index)),
        Descriptor::Property { .. }
        | Descriptor::Hashtree(_)
        | Descriptor::KernelCmdline { .. }
        | Descriptor::Unknown { .. } => None,
    })
}

/// Whether the chain descriptor is for this image. It is for a vbmeta image if the keys are the same
/// and the partition is not that of a boot image.
pub(in crate::bootset) fn leads_to(chain: &ChainPartition<'_>, image: &Image<'_>) -> bool {
    if image.kind() != ImageKind::Vbmeta {
        return image.is_for(chain.partition_name);
    }
    let own = image.vbmeta().and_then(Result::ok);
    let same_key = own.is_some_and(|own| own.public_key() == chain.public_key);
    same_key && !chain.public_key.is_empty() && !names_an_image(chain.partition_name)
}

fn names_an_image(partition: &[u8]) -> bool {
    const PARTITIONS: &[&str] =
        &["boot", "init_boot", "vendor_boot", "vendor_kernel_boot", "recovery", "dtbo"];
    PARTITIONS.iter().any(|name| name.as_bytes() == partition)
}

/// Whether another vbmeta image of the set chains to this one.
pub(in crate::bootset) fn is_chained(images: &[Image<'_>], index: usize) -> bool {
    let others = images
        .iter()
        .enumerate()
        .filter(|(other, image)| *other != index && image.kind() == ImageKind::Vbmeta);
    let chains = |vbmeta: Vbmeta<'_>| {
        vbmeta.descriptors.iter().any(|entry| match &entry.descriptor {
            Descriptor::ChainPartition(chain) => leads_to(chain, &images[index]),
            Descriptor::Property { .. }
            | Descriptor::Hashtree(_)
            | Descriptor::Hash(_)
            | Descriptor::KernelCmdline { .. }
            | Descriptor::Unknown { .. } => false,
        })
    };
    others.filter_map(|(_, image)| image.vbmeta()?.ok()).any(chains)
}
