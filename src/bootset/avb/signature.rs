//! The signature of a vbmeta image, its hash and its key.

use super::changed::{hash_message, place};
use super::report::{NotVerified, Report};
use crate::image::avb::{Algorithm, PublicKey, RsaAlgorithm, Vbmeta};

impl Report {
    /// Check hash, signature and key.
    pub(crate) fn signature(&mut self, vbmeta: &Vbmeta<'_>, trusted: Option<&PublicKey>) {
        let rsa = match vbmeta.algorithm() {
            Algorithm::Rsa(rsa) => rsa,
            Algorithm::None => {
                let reason = NotVerified::NotSigned;
                return self.fail("signature", reason, "algorithm NONE: it is not signed");
            }
            other @ Algorithm::Other(_) => {
                let message =
                    format!("signed with {}, which is not checked here, unlike RSA", other.name());
                return self.fail("signature", NotVerified::Signature, message);
            }
        };
        let (key, consistent) = self.embedded_key(vbmeta);
        let (signed, hash_right) = self.hash_and_signature(vbmeta, &rsa, key.as_ref());
        if let Some(key) = &key {
            self.compare_keys(key, trusted);
        }
        self.signed = signed && hash_right && consistent;
    }

    /// The key in the vbmeta image, and whether it is consistent. Even the signature of an
    /// inconsistent key shows what was changed.
    fn embedded_key(&mut self, vbmeta: &Vbmeta<'_>) -> (Option<PublicKey>, bool) {
        match PublicKey::from_avb(vbmeta.public_key()) {
            Ok(key) if key.to_avb() == vbmeta.public_key() => (Some(key), true),
            Ok(key) => {
                let offset = vbmeta.auxiliary_offset() as u64 + vbmeta.header.public_key_offset;
                let same_n0inv = key.to_avb()[4..8] == vbmeta.public_key()[4..8];
                let message = format!(
                    "the embedded key at {} is not consistent: {} does not follow from its modulus",
                    place(vbmeta, offset),
                    if same_n0inv { "rr" } else { "n0inv" },
                );
                self.fail("key", NotVerified::Signature, message);
                (Some(key), false)
            }
            Err(error) => {
                let message = format!("the embedded key {error}");
                self.fail("key", NotVerified::Signature, message);
                (None, true)
            }
        }
    }

    /// Whether the signature is right, and whether the hash is.
    fn hash_and_signature(
        &mut self,
        vbmeta: &Vbmeta<'_>,
        rsa: &RsaAlgorithm,
        key: Option<&PublicKey>,
    ) -> (bool, bool) {
        let digest = rsa.hash.digest(&vbmeta.signed_parts());
        let hash_right = digest == vbmeta.hash();
        let signs = |digest: &[u8]| {
            key.is_some_and(|key| key.verifies(rsa.hash, digest, vbmeta.signature()))
        };
        match hash_right {
            true => self.pass("hash", format!("{} of header and auxiliary block", rsa.hash.name())),
            false => {
                let message = hash_message(vbmeta, rsa.hash, &signs);
                self.fail("hash", NotVerified::Signature, message);
            }
        }
        // libavb compares the signature with the hash that it computed itself.
        let signed = signs(&digest);
        let what = match (hash_right, signs(vbmeta.hash())) {
            (false, true) => {
                "is right for the hash as it is stored: what it signs was changed".to_owned()
            }
            (true, _) | (false, false) => format!(
                "of {} bytes in the authentication block is not one of the embedded key: it was changed, or another key made it",
                vbmeta.signature().len()
            ),
        };
        match signed {
            true => self.pass("signature", rsa.name),
            false => {
                let message = format!("the {} signature {what}", rsa.name);
                self.fail("signature", NotVerified::Signature, message);
            }
        }
        (signed, hash_right)
    }

    fn compare_keys(&mut self, key: &PublicKey, trusted: Option<&PublicKey>) {
        let fingerprint = key.fingerprint();
        let Some(trusted) = trusted else {
            let message = format!("RSA-{}, sha1 {fingerprint}", key.bits());
            return self.note("key", message);
        };
        if trusted == key {
            let message = format!("the embedded key is the given one (sha1 {fingerprint})");
            return self.pass("key", message);
        }
        let message = format!(
            "the embedded key (sha1 {fingerprint}) is not the given one (sha1 {})",
            trusted.fingerprint()
        );
        self.fail("key", NotVerified::Key, message);
    }
}
