//! vbmeta images that no tool would make, from their parts: offsets are those of AOSP's
//! `avb_vbmeta_image.h` and `avb_hash_descriptor.h`.

use sha2::{Digest, Sha256};

/// An unsigned vbmeta image.
#[derive(Default)]
pub struct Built {
    /// Bytes of the authentication block.
    pub authentication: usize,
    /// Bytes of the auxiliary block before the descriptors.
    pub gap: usize,
    /// The descriptors.
    pub descriptors: Vec<Vec<u8>>,
    /// The metadata of a public key, after the descriptors.
    pub metadata: Vec<u8>,
}

impl Built {
    /// With these descriptors only.
    pub fn of(descriptors: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Built { descriptors: descriptors.into_iter().collect(), ..Built::default() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let descriptors = self.descriptors.concat();
        let metadata = self.gap + descriptors.len();
        let mut auxiliary = [&vec![0; self.gap], &descriptors[..], &self.metadata].concat();
        auxiliary.resize(auxiliary.len().next_multiple_of(64), 0);
        let mut header = b"AVB0\0\0\0\x01\0\0\0\0".to_vec();
        let numbers = [
            (12, self.authentication),
            (20, auxiliary.len()),
            (80, metadata),
            (88, self.metadata.len()),
            (96, self.gap),
            (104, descriptors.len()),
        ];
        for (at, value) in numbers {
            header.resize(at, 0);
            header.extend((value as u64).to_be_bytes());
        }
        header.resize(256 + self.authentication, 0);
        [header, auxiliary].concat()
    }
}

/// A descriptor.
pub fn descriptor(tag: u64, contents: &[u8]) -> Vec<u8> {
    let size = contents.len().next_multiple_of(8);
    let mut bytes = [tag.to_be_bytes(), (size as u64).to_be_bytes()].concat();
    bytes.extend(contents);
    bytes.resize(16 + size, 0);
    bytes
}

/// A hash descriptor without a salt: the SHA-256 of these bytes, for an image of `size`.
pub fn hash(partition: &str, size: usize, hashed: &[u8]) -> Vec<u8> {
    let mut bytes = (size as u64).to_be_bytes().to_vec();
    bytes.extend(b"sha256");
    bytes.resize(40, 0);
    for length in [partition.len(), 0, 32, 0] {
        bytes.extend((length as u32).to_be_bytes());
    }
    bytes.resize(116, 0);
    bytes.extend(partition.as_bytes());
    bytes.extend(Sha256::digest(hashed));
    descriptor(2, &bytes)
}

/// A descriptor of a kernel command line.
pub fn cmdline(line: &str) -> Vec<u8> {
    let length = (line.len() as u32).to_be_bytes();
    descriptor(3, &[&[0; 4], &length[..], line.as_bytes()].concat())
}

/// `image` in a partition of this size, with this vbmeta blob.
pub fn partition(image: &[u8], blob: &[u8], size: usize) -> Vec<u8> {
    let at = image.len().next_multiple_of(4096);
    let mut bytes = image.to_vec();
    bytes.resize(at, 0);
    bytes.extend(blob);
    bytes.resize(size - 64, 0);
    bytes.extend(b"AVBf\0\0\0\x01\0\0\0\0");
    for number in [image.len(), at, blob.len()] {
        bytes.extend((number as u64).to_be_bytes());
    }
    bytes.resize(size, 0);
    bytes
}

/// A DER value.
pub fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let size = contents.len();
    let length = match size {
        0..128 => vec![size as u8],
        _ => vec![0x82, (size >> 8) as u8, size as u8],
    };
    [&[tag], &length[..], contents].concat()
}

/// A DER integer.
pub fn integer(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(7);
    let sign: &[u8] = if bytes[start] & 0x80 == 0 { &[] } else { &[0] };
    der(2, &[sign, &bytes[start..]].concat())
}
