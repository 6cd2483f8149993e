//! Keys through the library: sizes, fingerprints, and how much work an encrypted key may ask for.

use crate::common::{self, avb};

use std::fs;

use crate::built::{der, integer};
use vfioboot::image::avb::{KeyError, PublicKey, SigningKey};

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
const SCRYPT: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b];
const HMAC_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09];
const AES256_CBC: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a];

/// A SEQUENCE.
fn sequence(values: &[Vec<u8>]) -> Vec<u8> {
    der(0x30, &values.concat())
}

/// A key in PKCS#8 (RFC 5958, 8018) that is encrypted with a key derived in this way.
fn encrypted(kdf: &[u8], parameters: &[Vec<u8>]) -> String {
    let kdf = sequence(&[der(6, kdf), sequence(parameters)]);
    let cipher = sequence(&[der(6, AES256_CBC), der(4, &[0; 16])]);
    let algorithm = sequence(&[der(6, PBES2), sequence(&[kdf, cipher])]);
    let key = sequence(&[algorithm, der(4, &[0; 16])]);
    let text = common::pipe("openssl", &["base64"], &key);
    let text = String::from_utf8(text).unwrap();
    format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{text}-----END ENCRYPTED PRIVATE KEY-----\n")
}

fn pbkdf2(iterations: u64) -> String {
    let function = sequence(&[der(6, HMAC_SHA256), der(5, &[])]);
    encrypted(PBKDF2, &[der(4, b"saltsalt"), integer(iterations), function])
}

fn scrypt(n: u64, r: u64, p: u64) -> String {
    encrypted(SCRYPT, &[der(4, b"saltsalt"), integer(n), integer(r), integer(p)])
}

#[test]
fn the_work_for_a_passphrase_has_a_limit() {
    let cases = [
        (pbkdf2(1), true),
        (pbkdf2(5_000_000), true),
        (pbkdf2(5_000_001), false),
        (scrypt(1 << 14, 8, 1), true),
        // 128 MiB: 128 · N · r
        (scrypt(1 << 17, 8, 1), true),
        (scrypt(1 << 17, 9, 1), false),
        (scrypt(1 << 18, 8, 1), false),
        (scrypt(1 << 63, 8, 1), false),
        (scrypt(1 << 20, 1, 1), true),
        (scrypt(1 << 20, 2, 1), false),
        (scrypt(1 << 14, 8, 16), true),
        (scrypt(1 << 14, 8, 17), false),
        (scrypt(1 << 17, 9, 17), false),
    ];
    for (pem, fair) in cases {
        let expected = if fair { KeyError::PassphraseNeeded } else { KeyError::Cost };
        let error = SigningKey::from_pem(pem.as_bytes(), None).unwrap_err();
        assert_eq!(error, expected, "{pem}");
    }
}

#[test]
fn only_the_sizes_of_avb_are_read() {
    for bits in [1024, 2056] {
        let key = common::pipe("openssl", &["genrsa", &bits.to_string()], b"");
        assert_eq!(SigningKey::from_pem(&key, None).unwrap_err(), KeyError::Size(bits));
        for form in ["-pubout", "-RSAPublicKey_out"] {
            let public = common::pipe("openssl", &["rsa", form], &key);
            assert_eq!(PublicKey::from_file(&public), Err(KeyError::Size(bits)), "{form}");
        }
        let mut own = (bits as u32).to_be_bytes().to_vec();
        own.resize(8 + bits / 4, 0xff);
        assert_eq!(PublicKey::from_file(&own), Err(KeyError::Size(bits)), "AVB's format");
    }
}

#[test]
fn the_fingerprint_is_that_of_the_key_in_the_blob() {
    for bits in [2048, 4096, 8192] {
        let hash = if bits == 8192 { "SHA512" } else { "SHA256" };
        let image = avb::image(&format!("init_boot-{hash}_RSA{bits}"));
        let blob = avb::blob(&image);
        let start = 256 + avb::number(blob, 12) + avb::number(blob, 64);
        let embedded = &blob[start..start + avb::number(blob, 72)];
        let printed = common::pipe("openssl", &["dgst", "-sha1", "-r"], embedded);
        let printed = String::from_utf8(printed).unwrap();
        let key = PublicKey::from_file(&fs::read(avb::key(bits)).unwrap()).unwrap();
        assert_eq!(Some(&*key.fingerprint()), printed.split(' ').next(), "{bits}");
        assert_eq!(key, PublicKey::from_avb(embedded).unwrap(), "{bits}");
    }
}

#[test]
fn a_private_key_never_shows_its_numbers() {
    let key = SigningKey::from_pem(&fs::read(avb::key(4096)).unwrap(), None).unwrap();
    assert_eq!(format!("{key:?}"), "SigningKey(RSA-4096)");
}
