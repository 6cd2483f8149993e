//! The changes in the AVB metadata of a rebuilt image.

use crate::image::avb::{PublicKey, Vbmeta};
use crate::image::{AvbChange, Image, Rebuilt};
use crate::patch::edit::{AvbEdit, Change};

/// The changes of footer and blob, for the plan.
pub(crate) fn of(image: &Image<'_>, rebuilt: &Rebuilt<'_>) -> Vec<Change> {
    let (Some(before), Some(change)) = (image.avb(), rebuilt.avb_change) else {
        return Vec::new();
    };
    let why = match change {
        AvbChange::Preserved => AvbEdit::Preserved,
        AvbChange::Rehashed => AvbEdit::Rehashed,
        AvbChange::Resigned { .. } => AvbEdit::Resigned,
        AvbChange::Stripped => AvbEdit::Stripped,
    };
    let mut changes = Vec::new();
    if rebuilt.avb.as_ref() != Some(before) {
        let (before, after) = (before.clone(), rebuilt.avb.clone());
        changes.push(Change::AvbFooter { why, before, after });
    }
    let old = image.vbmeta().and_then(Result::ok);
    if let (Some(after), Some(old)) = (&rebuilt.avb, old)
        && change != AvbChange::Preserved
    {
        let start = image.wrapper().map_or(0, |wrapper| wrapper.payload_range().start as u64);
        let blob = rebuilt.output.slice(start + after.vbmeta_offset, after.vbmeta_size);
        let after = Vbmeta::parse(&blob, 0).map(|new| digests(&new)).unwrap_or_default();
        changes.push(Change::Vbmeta { why, before: digests(&old), after });
    }
    changes
}

fn digests(vbmeta: &Vbmeta<'_>) -> String {
    let digests = vbmeta.hashes().map(|(_, hash)| {
        let name = hash.partition_name.escape_ascii();
        let algorithm = hash.hash_algorithm.escape_ascii();
        format!(", {algorithm} of {name} {}", base16ct::lower::encode_string(hash.digest))
    });
    signed_by(vbmeta) + &digests.collect::<String>()
}

/// Algorithm and key of a blob.
pub(crate) fn signed_by(vbmeta: &Vbmeta<'_>) -> String {
    let name = vbmeta.algorithm().name();
    match PublicKey::from_avb(vbmeta.public_key()) {
        Ok(key) => format!("{name} by the key sha1 {}", key.fingerprint()),
        Err(_) => name,
    }
}
