//! Keys and signatures: AVB's public key format (`AvbRSAPublicKeyHeader` of `avb_crypto.h`), PEM
//! files, signing and verifying.

use std::fmt;

use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rsa::BoxedUint;
use rsa::pkcs1::{DecodeRsaPrivateKey, DecodeRsaPublicKey};
use rsa::pkcs8::{DecodePrivateKey, DecodePublicKey};
use rsa::traits::PublicKeyParts;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::{Algorithm, HashAlgorithm, RsaAlgorithm};

/// The only public exponent that libavb supports.
const EXPONENT: u64 = 65537;

/// A key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Neither PEM nor AVB's format.
    #[error(
        "is not an RSA key: expected PEM (PKCS#1, PKCS#8 or a public key), or AVB's own public key format, as avbtool extract_public_key writes it"
    )]
    Format,
    /// A public key where a private one is needed.
    #[error("is a public key; signing needs the private key")]
    Public,
    /// An encrypted key without a passphrase.
    #[error("is encrypted")]
    PassphraseNeeded,
    /// An encrypted key that the passphrase does not decrypt.
    #[error("cannot be decrypted: the passphrase is wrong, or the encryption is not PBES2")]
    Passphrase(#[source] pkcs8::Error),
    /// An encrypted key whose parameters ask for far more work than any tool writes.
    #[error(
        "is encrypted with parameters that cost too much (more than {MAX_ITERATIONS} iterations of PBKDF2, or {MAX_SCRYPT} bytes for scrypt): encrypt it again with openssl pkcs8 -topk8"
    )]
    Cost,
    /// A key in OpenSSL's own, non-standard encryption.
    #[error(
        "is encrypted in OpenSSL's old format (Proc-Type: 4,ENCRYPTED), which is not supported: convert it with openssl pkcs8 -topk8 -in OLD -out NEW"
    )]
    LegacyEncryption,
    /// A damaged key, or a key that is not an RSA key.
    #[error("cannot be read as an RSA key")]
    Malformed(#[source] Malformed),
    /// A key size that AVB does not support.
    #[error("has {0} bits, AVB uses RSA keys of 2048, 4096 or 8192")]
    Size(usize),
    /// A public exponent that libavb does not support.
    #[error("has a public exponent other than 65537, the only one that AVB uses")]
    Exponent,
}

/// The error of a key decoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A private key in PKCS#8.
    #[error(transparent)]
    Pkcs8(#[from] pkcs8::Error),
    /// A public key in X.509's form.
    #[error(transparent)]
    Spki(#[from] pkcs8::spki::Error),
    /// A key in PKCS#1.
    #[error(transparent)]
    Pkcs1(#[from] rsa::pkcs1::Error),
    /// The numbers of a key.
    #[error(transparent)]
    Numbers(#[from] rsa::Error),
    /// PEM is text.
    #[error(transparent)]
    Text(#[from] std::str::Utf8Error),
}

/// An RSA public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(rsa::PublicKey);

impl PublicKey {
    /// Read the key in a file: PEM (public, or private and not encrypted), or AVB's format.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_file(bytes: &[u8]) -> Result<Self, KeyError> {
        let Some(pem) = pem_text(bytes)? else { return Self::from_avb(bytes) };
        if pem.starts_with("-----BEGIN PUBLIC KEY-----") {
            return checked(rsa::PublicKey::from_public_key_pem(pem).map_err(malformed)?);
        }
        if pem.starts_with("-----BEGIN RSA PUBLIC KEY-----") {
            return checked(rsa::PublicKey::from_pkcs1_pem(pem).map_err(malformed)?);
        }
        Ok(SigningKey::from_pem(bytes, None)?.public())
    }

    /// Read a key in AVB's format: `key_num_bits` and `n0inv` (32 bits each), modulus, `rr`.
    ///
    /// # Errors
    /// [`KeyError::Format`], [`KeyError::Size`], [`KeyError::Malformed`].
    pub fn from_avb(bytes: &[u8]) -> Result<Self, KeyError> {
        let bits = bytes.first_chunk().map(|bits| u32::from_be_bytes(*bits) as usize);
        let bits = bits.ok_or(KeyError::Format)?;
        if bytes.len() != 8 + bits / 4 {
            return Err(KeyError::Format);
        }
        require_size(bits)?;
        let modulus = BoxedUint::from_be_slice(&bytes[8..8 + bits / 8], bits as u32);
        let modulus = modulus.map_err(|_| KeyError::Format)?;
        checked(rsa::PublicKey::new(modulus, BoxedUint::from(EXPONENT)).map_err(malformed)?)
    }

    /// Size of the modulus in bits.
    pub(crate) fn bits(&self) -> usize {
        self.0.size() * 8
    }

    /// The key in AVB's format.
    pub(crate) fn to_avb(&self) -> Vec<u8> {
        let size = self.0.size();
        let modulus = self.0.n().to_be_bytes();
        let modulus = &modulus[modulus.len() - size..];
        let low = modulus.last_chunk().map_or(1, |low| u32::from_be_bytes(*low));
        let mut bytes = (self.bits() as u32).to_be_bytes().to_vec();
        bytes.extend(inverse(low).wrapping_neg().to_be_bytes());
        bytes.extend_from_slice(modulus);
        bytes.extend(montgomery_rr(modulus));
        bytes
    }

    /// SHA-1 of the key in AVB's format, in hex: what avbtool prints and bootloaders show.
    pub fn fingerprint(&self) -> String {
        base16ct::lower::encode_string(&Sha1::digest(self.to_avb()))
    }

    /// Whether `signature` is a valid signature of `digest` by this key.
    pub(crate) fn verifies(&self, hash: HashAlgorithm, digest: &[u8], signature: &[u8]) -> bool {
        let verified = match hash {
            HashAlgorithm::Sha256 => self.0.pkcs1v15_verify_prehash::<Sha256>(digest, signature),
            HashAlgorithm::Sha512 => self.0.pkcs1v15_verify_prehash::<Sha512>(digest, signature),
            HashAlgorithm::Sha1 => return false,
        };
        verified.is_ok()
    }
}

/// An RSA private key. Its numbers are never printed, and are cleared from memory when dropped.
#[derive(Clone)]
pub struct SigningKey(rsa::PrivateKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(RSA-{})", self.public().bits())
    }
}

impl SigningKey {
    /// Read the key in a PEM file: PKCS#1, PKCS#8, or PKCS#8 encrypted with PBES2.
    ///
    /// # Errors
    /// [`KeyError`]; [`KeyError::PassphraseNeeded`] for an encrypted key without a passphrase.
    pub fn from_pem(bytes: &[u8], passphrase: Option<&[u8]>) -> Result<Self, KeyError> {
        let pem = pem_text(bytes)?.ok_or(KeyError::Format)?;
        let begins = |label: &str| pem.starts_with(&format!("-----BEGIN {label}-----"));
        let key = if begins("ENCRYPTED PRIVATE KEY") {
            require_fair_cost(pem)?;
            let passphrase = passphrase.ok_or(KeyError::PassphraseNeeded)?;
            rsa::PrivateKey::from_pkcs8_encrypted_pem(pem, passphrase)
                .map_err(KeyError::Passphrase)?
        } else if begins("PRIVATE KEY") {
            rsa::PrivateKey::from_pkcs8_pem(pem).map_err(malformed)?
        } else if begins("RSA PRIVATE KEY") {
            if pem.contains("Proc-Type: 4,ENCRYPTED") {
                return Err(KeyError::LegacyEncryption);
            }
            rsa::PrivateKey::from_pkcs1_pem(pem).map_err(malformed)?
        } else if begins("PUBLIC KEY") || begins("RSA PUBLIC KEY") {
            return Err(KeyError::Public);
        } else {
            return Err(KeyError::Format);
        };
        checked(key.to_public_key())?;
        Ok(SigningKey(key))
    }

    /// The public key of the pair.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.to_public_key())
    }

    /// The RSA algorithm for this key with the hash of `before`, or SHA-256 if `before` has none.
    ///
    /// # Errors
    /// [`KeyError::Size`].
    pub(crate) fn algorithm(&self, before: Algorithm) -> Result<RsaAlgorithm, KeyError> {
        let hash = match before {
            Algorithm::Rsa(rsa) => rsa.hash,
            Algorithm::None | Algorithm::Other(_) => HashAlgorithm::Sha256,
        };
        let bits = self.public().bits();
        Algorithm::rsa(hash, bits).ok_or(KeyError::Size(bits))
    }

    /// Sign `digest` with PKCS#1 v1.5, which is deterministic.
    pub(super) fn sign(&self, hash: HashAlgorithm, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = match hash {
            HashAlgorithm::Sha1 => self.0.pkcs1v15_sign_prehash::<Sha1>(digest),
            HashAlgorithm::Sha256 => self.0.pkcs1v15_sign_prehash::<Sha256>(digest),
            HashAlgorithm::Sha512 => self.0.pkcs1v15_sign_prehash::<Sha512>(digest),
        };
        signature.map_err(malformed)
    }
}

fn malformed(error: impl Into<Malformed>) -> KeyError {
    KeyError::Malformed(error.into())
}

/// The PEM block in `bytes`, without any text before it, which openssl may write; None if there is
/// no block.
fn pem_text(bytes: &[u8]) -> Result<Option<&str>, KeyError> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let start = bytes.windows(BEGIN.len()).position(|window| window == BEGIN);
    let Some(start) = start else { return Ok(None) };
    std::str::from_utf8(&bytes[start..]).map(Some).map_err(malformed)
}

/// The most iterations of PBKDF2: about eight times what is recommended today.
const MAX_ITERATIONS: u32 = 5_000_000;
/// The most memory for scrypt, in bytes, and the most passes over it; openssl takes 16 MiB and one.
const MAX_SCRYPT: u64 = 128 << 20;
const MAX_SCRYPT_PASSES: u16 = 16;

/// Refuse an encrypted key that says itself how much work it is, and says too much.
fn require_fair_cost(pem: &str) -> Result<(), KeyError> {
    let malformed = |error| KeyError::Passphrase(pkcs8::Error::from(error));
    let (_, document) = SecretDocument::from_pem(pem).map_err(malformed)?;
    let key: EncryptedPrivateKeyInfoRef<'_> = document.decode_msg().map_err(malformed)?;
    let EncryptionScheme::Pbes2(parameters) = &key.encryption_algorithm else { return Ok(()) };
    let fair = match &parameters.kdf {
        Kdf::Pbkdf2(own) => own.iteration_count <= MAX_ITERATIONS,
        Kdf::Scrypt(own) => {
            let memory = own.cost_parameter.saturating_mul(128 * u64::from(own.block_size));
            memory <= MAX_SCRYPT && own.parallelization <= MAX_SCRYPT_PASSES
        }
        _ => true,
    };
    if fair { Ok(()) } else { Err(KeyError::Cost) }
}

fn require_size(bits: usize) -> Result<(), KeyError> {
    match Algorithm::rsa(HashAlgorithm::Sha256, bits) {
        Some(_) => Ok(()),
        None => Err(KeyError::Size(bits)),
    }
}

fn checked(key: rsa::PublicKey) -> Result<PublicKey, KeyError> {
    let bits = key.n().bit_width() as usize;
    require_size(bits)?;
    if *key.e() != BoxedUint::from(EXPONENT) {
        return Err(KeyError::Exponent);
    }
    Ok(PublicKey(key))
}

/// The inverse of an odd number modulo 2^32, by Newton's iteration: each step doubles the number of
/// correct bits, starting with three.
fn inverse(odd: u32) -> u32 {
    (0..4)
        .fold(odd, |inverse, _| inverse.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(inverse))))
}

/// 2^(2 · bits) modulo the big-endian modulus, whose highest bit is set: `rr` of AVB's format.
fn montgomery_rr(modulus: &[u8]) -> Vec<u8> {
    let limbs = |bytes: &[u8]| -> Vec<u64> {
        let chunk = |chunk: &[u8]| chunk.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
        bytes.rchunks(8).map(chunk).collect()
    };
    let modulus = limbs(modulus);
    let bits = modulus.len() * 64;
    // 2^bits modulo a number with its highest bit set is their difference.
    let mut value = vec![0; modulus.len()];
    subtract(&mut value, &modulus);
    for _ in 0..bits {
        let overflow = double(&mut value);
        if overflow || !less(&value, &modulus) {
            subtract(&mut value, &modulus);
        }
    }
    value.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
}

/// Limbs from low to high, modulo their size.
fn subtract(value: &mut [u64], other: &[u64]) {
    let mut borrow = false;
    for (limb, other) in value.iter_mut().zip(other) {
        let (once, first) = limb.overflowing_sub(*other);
        let (twice, second) = once.overflowing_sub(u64::from(borrow));
        *limb = twice;
        borrow = first || second;
    }
}

fn double(value: &mut [u64]) -> bool {
    value.iter_mut().fold(false, |carry, limb| {
        let out = *limb >> 63 != 0;
        *limb = *limb << 1 | u64::from(carry);
        out
    })
}

fn less(value: &[u64], other: &[u64]) -> bool {
    value.iter().rev().lt(other.iter().rev())
}
