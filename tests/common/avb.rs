//! AVB images for the tests, and an independent view of their bytes: offsets are those of AOSP's
//! `avb_footer.h` and `avb_vbmeta_image.h`, written down here a second time.

use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};

/// An image of `fixtures/avb`.
pub fn image(name: &str) -> Vec<u8> {
    let packed = super::fixture(&format!("avb/{name}.img.gz"));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

/// A test key of `fixtures/avb`.
pub fn key(bits: u32) -> PathBuf {
    super::fixture_path(&format!("avb/testkey_rsa{bits}.pem"))
}

pub fn number(bytes: &[u8], at: usize) -> usize {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}

/// original_image_size, vbmeta_offset and vbmeta_size of the footer.
pub fn footer(image: &[u8]) -> [usize; 3] {
    let footer = &image[image.len() - 64..];
    assert_eq!(&footer[..4], b"AVBf");
    [number(footer, 12), number(footer, 20), number(footer, 28)]
}

/// The vbmeta blob that the footer points to.
pub fn blob(image: &[u8]) -> &[u8] {
    let [_, offset, size] = footer(image);
    &image[offset..offset + size]
}

/// The bytes that are signed, and the signature.
pub fn signed(blob: &[u8]) -> (Vec<u8>, &[u8]) {
    let auxiliary = 256 + number(blob, 12);
    let message = [&blob[..256], &blob[auxiliary..auxiliary + number(blob, 20)]].concat();
    let start = 256 + number(blob, 48);
    (message, &blob[start..start + number(blob, 56)])
}

/// The descriptors: tag and bytes behind tag and size.
pub fn descriptors(blob: &[u8]) -> Vec<(usize, &[u8])> {
    let start = 256 + number(blob, 12) + number(blob, 96);
    let mut rest = &blob[start..start + number(blob, 104)];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (tag, size) = (number(rest, 0), number(rest, 8));
        found.push((tag, &rest[16..16 + size]));
        rest = &rest[16 + size..];
    }
    found
}

/// Whether the first hash descriptor (which must be SHA-256) has the digest of `content`.
pub fn digest_is_right(blob: &[u8], content: &[u8]) -> bool {
    let descriptors = descriptors(blob);
    let (_, hash) = descriptors.iter().find(|(tag, _)| *tag == 2).unwrap();
    let size = |at: usize| u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) as usize;
    assert_eq!(&hash[8..15], b"sha256\0");
    let salt = 116 + size(40);
    let digest = salt + size(44);
    let right = Sha256::new().chain_update(&hash[salt..digest]).chain_update(content).finalize();
    number(hash, 0) == content.len() && hash[digest..digest + 32] == *right
}

/// What openssl says of the signature of a vbmeta blob by the pair of this private key.
pub fn openssl_verifies(blob: &[u8], hash: &str, key: &std::path::Path) -> bool {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let public = Command::new("openssl")
        .args(["rsa", "-pubout", "-in"])
        .arg(key)
        .arg("-out")
        .arg(path("public.pem"))
        .output()
        .unwrap();
    assert!(public.status.success(), "{}", String::from_utf8_lossy(&public.stderr));
    let (message, signature) = signed(blob);
    std::fs::write(path("message"), message).unwrap();
    std::fs::write(path("signature"), signature).unwrap();
    let output = Command::new("openssl")
        .args(["dgst", &format!("-{hash}"), "-verify"])
        .arg(path("public.pem"))
        .arg("-signature")
        .arg(path("signature"))
        .arg(path("message"))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).contains("Verified OK")
}
