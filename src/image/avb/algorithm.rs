//! The hashes of descriptors and the algorithms that vbmeta images are signed with.

use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::super::Output;

/// A hash algorithm of AVB descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashAlgorithm {
    /// `sha1`: avbtool writes it on request, libavb refuses it in a hash descriptor.
    Sha1,
    /// `sha256`.
    Sha256,
    /// `sha512`.
    Sha512,
}

impl HashAlgorithm {
    const ALL: &[HashAlgorithm] =
        &[HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha512];

    /// The hash of this name; None for one that libavb and avbtool do not use in hash
    /// descriptors.
    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|hash| hash.name().as_bytes() == name)
    }

    /// The name in descriptors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            HashAlgorithm::Sha1 => "sha1",
            HashAlgorithm::Sha256 => "sha256",
            HashAlgorithm::Sha512 => "sha512",
        }
    }

    /// Size of a digest in bytes.
    pub(crate) fn size(self) -> usize {
        match self {
            HashAlgorithm::Sha1 => 20,
            HashAlgorithm::Sha256 => 32,
            HashAlgorithm::Sha512 => 64,
        }
    }

    /// The digest of the concatenated `parts`.
    pub(crate) fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        self.digest_of(|update| parts.iter().for_each(|part| update(part)))
    }

    /// The digest of `salt` and the first `size` bytes of `output`: what a hash descriptor holds.
    pub(crate) fn digest_output(self, salt: &[u8], output: &Output<'_>, size: u64) -> Vec<u8> {
        self.digest_of(|update| {
            update(salt);
            output.each_of_first(size, update);
        })
    }

    fn digest_of(self, feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Vec<u8> {
        match self {
            HashAlgorithm::Sha1 => digest_with::<Sha1>(feed),
            HashAlgorithm::Sha256 => digest_with::<Sha256>(feed),
            HashAlgorithm::Sha512 => digest_with::<Sha512>(feed),
        }
    }
}

fn digest_with<D: Digest>(feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Vec<u8> {
    let mut hasher = D::new();
    feed(&mut |bytes| hasher.update(bytes));
    hasher.finalize().to_vec()
}

/// An RSA algorithm of AVB: PKCS#1 v1.5 over a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RsaAlgorithm {
    /// `algorithm_type` in the header.
    pub number: u32,
    /// AOSP's name.
    pub name: &'static str,
    /// The hash over header and auxiliary block.
    pub hash: HashAlgorithm,
    /// Size of the key, and of a signature, in bits.
    pub key_bits: usize,
}

/// `AvbAlgorithmType` of `avb_crypto.h`.
const RSA: &[RsaAlgorithm] = &[
    rsa(1, "SHA256_RSA2048", HashAlgorithm::Sha256, 2048),
    rsa(2, "SHA256_RSA4096", HashAlgorithm::Sha256, 4096),
    rsa(3, "SHA256_RSA8192", HashAlgorithm::Sha256, 8192),
    rsa(4, "SHA512_RSA2048", HashAlgorithm::Sha512, 2048),
    rsa(5, "SHA512_RSA4096", HashAlgorithm::Sha512, 4096),
    rsa(6, "SHA512_RSA8192", HashAlgorithm::Sha512, 8192),
];

const fn rsa(
    number: u32,
    name: &'static str,
    hash: HashAlgorithm,
    key_bits: usize,
) -> RsaAlgorithm {
    RsaAlgorithm { number, name, hash, key_bits }
}

/// What a vbmeta image is signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Unsigned.
    None,
    /// RSA.
    Rsa(RsaAlgorithm),
    /// An algorithm that is not supported here: the number in the header.
    Other(u32),
}

impl Algorithm {
    /// The algorithm of this `algorithm_type`.
    pub(crate) fn from_number(number: u32) -> Self {
        match RSA.iter().copied().find(|rsa| rsa.number == number) {
            Some(rsa) => Algorithm::Rsa(rsa),
            None if number == 0 => Algorithm::None,
            None => Algorithm::Other(number),
        }
    }

    /// The RSA algorithm with this hash and key; None for a key size that AVB does not support.
    pub(crate) fn rsa(hash: HashAlgorithm, key_bits: usize) -> Option<RsaAlgorithm> {
        RSA.iter().copied().find(|rsa| rsa.hash == hash && rsa.key_bits == key_bits)
    }

    /// AOSP's name.
    pub fn name(self) -> String {
        match self {
            Algorithm::None => "NONE".to_owned(),
            Algorithm::Rsa(rsa) => rsa.name.to_owned(),
            Algorithm::Other(7) => "MLDSA65".to_owned(),
            Algorithm::Other(8) => "MLDSA87".to_owned(),
            Algorithm::Other(number) => format!("unknown ({number})"),
        }
    }
}
