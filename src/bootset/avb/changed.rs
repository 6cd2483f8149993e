//! Changes to a vbmeta image since it was signed.

use crate::image::avb::{HashAlgorithm, Vbmeta, VbmetaHeader, printable};

/// The part of a vbmeta image at an offset.
pub(super) fn place(vbmeta: &Vbmeta<'_>, offset: u64) -> String {
    let at = offset as usize;
    if at < VbmetaHeader::SIZE {
        return format!("offset {at} (header)");
    }
    let entries = vbmeta.descriptors.iter().enumerate();
    let mut entries = entries.filter(|(_, e)| (e.offset..e.offset + e.bytes.len()).contains(&at));
    if let Some((i, entry)) = entries.next() {
        let kind = entry.descriptor.kind();
        return match entry.descriptor.partition() {
            Some(partition) => {
                format!("offset {at} (descriptor {i}, {kind} of {})", printable(partition))
            }
            None => format!("offset {at} (descriptor {i}, {kind})"),
        };
    }
    let key = vbmeta.auxiliary_offset() + vbmeta.header.public_key_offset as usize;
    match (key..key + vbmeta.public_key().len()).contains(&at) {
        true => format!("offset {at} (public key)"),
        false => format!("offset {at} (auxiliary block)"),
    }
}

/// Why the hash does not match. If the signature confirms the stored hash, a single changed byte can
/// be found.
pub(super) fn hash_message(
    vbmeta: &Vbmeta<'_>,
    hash: HashAlgorithm,
    signs: &dyn Fn(&[u8]) -> bool,
) -> String {
    let name = hash.name();
    if signs(&hash.digest(&vbmeta.signed_parts())) {
        return format!(
            "the {name} stored in the authentication block was changed: header and auxiliary block have the hash that was signed"
        );
    }
    let changed = format!("header or auxiliary block do not have the stored {name}");
    if !signs(vbmeta.hash()) {
        return changed;
    }
    match changed_byte(vbmeta, hash) {
        Some((offset, was)) => {
            let now = vbmeta.bytes()[offset];
            let place = place(vbmeta, offset as u64);
            format!(
                "{changed}: the byte at {place} of the vbmeta image is {now:#04x} and was {was:#04x} when it was signed"
            )
        }
        None => changed,
    }
}

/// The largest number of signed bytes that are searched: with 255 hashes for each byte, the search
/// takes seconds at most. A fuzzer does not search.
const SEARCH_LIMIT: usize = if cfg!(fuzzing) { 64 } else { 3072 };

/// The byte whose original value gives the stored hash: its offset and that value.
fn changed_byte(vbmeta: &Vbmeta<'_>, hash: HashAlgorithm) -> Option<(usize, u8)> {
    match hash {
        HashAlgorithm::Sha256 => search::<sha2::Sha256>(vbmeta),
        HashAlgorithm::Sha512 => search::<sha2::Sha512>(vbmeta),
        HashAlgorithm::Sha1 => None,
    }
}

fn search<D: sha2::Digest + Clone>(vbmeta: &Vbmeta<'_>) -> Option<(usize, u8)> {
    let mut signed = vbmeta.signed_parts().concat();
    if signed.len() > SEARCH_LIMIT {
        return None;
    }
    let mut before = D::new();
    for i in 0..signed.len() {
        let now = signed[i];
        for was in (0..=255).filter(|was| *was != now) {
            signed[i] = was;
            let mut hasher = before.clone();
            hasher.update(&signed[i..]);
            if hasher.finalize().as_slice() == vbmeta.hash() {
                let gap = vbmeta.auxiliary_offset() - VbmetaHeader::SIZE;
                return Some((if i < VbmetaHeader::SIZE { i } else { i + gap }, was));
            }
        }
        signed[i] = now;
        before.update([now]);
    }
    None
}
