//! A vbmeta image as text and as JSON, for `info` and `verify`.

use serde_json::{Value as Json, json};
use vfioboot::image::avb::{Descriptor, PublicKey, Vbmeta};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fingerprint(key: &[u8]) -> Option<String> {
    PublicKey::from_avb(key).ok().map(|key| key.fingerprint())
}

/// One line for the vbmeta image, one for each descriptor: label and text.
pub fn lines(vbmeta: &Vbmeta<'_>) -> Vec<(&'static str, String)> {
    let header = &vbmeta.header;
    let key = fingerprint(vbmeta.public_key());
    let key = key.map(|key| format!(" by the key sha1 {key}")).unwrap_or_default();
    let mut lines = vec![(
        "vbmeta",
        format!(
            "{}{key}, rollback index {} at location {}, flags {}, {}, needs libavb {}.{}",
            vbmeta.algorithm().name(),
            header.rollback_index,
            header.rollback_index_location,
            vbmeta.flags(),
            text(vbmeta.release_string()),
            header.required_libavb_version_major,
            header.required_libavb_version_minor
        ),
    )];
    lines.extend(vbmeta.descriptors.iter().map(|entry| {
        let descriptor = &entry.descriptor;
        (descriptor.kind(), describe(descriptor, entry.bytes.len()))
    }));
    lines
}

fn describe(descriptor: &Descriptor<'_>, size: usize) -> String {
    match descriptor {
        Descriptor::Property { key, value } => format!("{} = {}", text(key), text(value)),
        Descriptor::Hash(hash) => format!(
            "{}: {} of {} bytes, salt of {} bytes, {}",
            text(hash.partition_name),
            text(hash.hash_algorithm),
            hash.image_size,
            hash.salt.len(),
            match hash.digest {
                [] => "persistent digest".to_owned(),
                digest => hex::encode(digest),
            }
        ),
        Descriptor::Hashtree(tree) => format!(
            "{}: dm-verity {}, {} of {} bytes, tree of {} bytes at {}, root {}",
            text(tree.partition_name),
            tree.dm_verity_version,
            text(tree.hash_algorithm),
            tree.image_size,
            tree.tree_size,
            tree.tree_offset,
            hex::encode(tree.root_digest)
        ),
        Descriptor::KernelCmdline { flags, cmdline } => {
            let when = match flags {
                1 => " (unless hash trees are disabled)",
                2 => " (when hash trees are disabled)",
                _ => "",
            };
            format!("{}{when}", text(cmdline))
        }
        Descriptor::ChainPartition(chain) => format!(
            "{}: the key with sha1 {}, rollback index location {}",
            text(chain.partition_name),
            fingerprint(chain.public_key).unwrap_or_else(|| "(not readable)".to_owned()),
            chain.rollback_index_location
        ),
        Descriptor::Unknown { tag } => format!("tag {tag}, {size} bytes"),
    }
}

/// Everything in a vbmeta image.
pub fn json(vbmeta: &Vbmeta<'_>) -> Json {
    let header = &vbmeta.header;
    let descriptors: Vec<Json> = vbmeta
        .descriptors
        .iter()
        .map(|entry| {
            let mut json = descriptor_json(&entry.descriptor);
            json["kind"] = json!(entry.descriptor.kind());
            json["offset"] = json!(entry.offset);
            json["size"] = json!(entry.bytes.len());
            json
        })
        .collect();
    json!({
        "size": vbmeta.bytes().len(),
        "algorithm": vbmeta.algorithm().name(),
        "public_key_sha1": fingerprint(vbmeta.public_key()),
        "public_key_metadata_size": header.public_key_metadata_size,
        "rollback_index": header.rollback_index,
        "rollback_index_location": header.rollback_index_location,
        "flags": header.flags,
        "release_string": text(vbmeta.release_string()),
        "required_libavb_version": [
            header.required_libavb_version_major,
            header.required_libavb_version_minor,
        ],
        "descriptors": descriptors,
    })
}

fn descriptor_json(descriptor: &Descriptor<'_>) -> Json {
    match descriptor {
        Descriptor::Property { key, value } => json!({ "key": text(key), "value": text(value) }),
        Descriptor::Hash(hash) => json!({
            "partition_name": text(hash.partition_name),
            "image_size": hash.image_size,
            "hash_algorithm": text(hash.hash_algorithm),
            "salt": hex::encode(hash.salt),
            "digest": hex::encode(hash.digest),
            "flags": hash.flags,
        }),
        Descriptor::Hashtree(tree) => json!({
            "partition_name": text(tree.partition_name),
            "dm_verity_version": tree.dm_verity_version,
            "image_size": tree.image_size,
            "tree_offset": tree.tree_offset,
            "tree_size": tree.tree_size,
            "hash_algorithm": text(tree.hash_algorithm),
            "salt": hex::encode(tree.salt),
            "root_digest": hex::encode(tree.root_digest),
            "flags": tree.flags,
        }),
        Descriptor::KernelCmdline { flags, cmdline } => {
            json!({ "flags": flags, "cmdline": text(cmdline) })
        }
        Descriptor::ChainPartition(chain) => json!({
            "partition_name": text(chain.partition_name),
            "rollback_index_location": chain.rollback_index_location,
            "public_key_sha1": fingerprint(chain.public_key),
            "flags": chain.flags,
        }),
        Descriptor::Unknown { tag } => json!({ "tag": tag }),
    }
}
