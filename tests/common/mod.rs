//! What the tests share: fixtures and the real images beside a checkout.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};

/// A file under `fixtures/`.
pub fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The bytes of a file under `fixtures/`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = fixture_path(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every image under `fixtures/images`, by name, in order.
pub fn images() -> Vec<(String, Vec<u8>)> {
    files_in(&fixture_path("images"))
}

/// Real images that may lie beside a checkout; says so when they do not.
pub fn real_images() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/images");
    if !dir.is_dir() {
        eprintln!("no real images beside the checkout: only the fixtures are tested");
        return Vec::new();
    }
    files_in(&dir)
}

fn files_in(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "img"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// The image with an AVB footer as avbtool leaves it: padded to `partition` bytes, a vbmeta blob
/// at the next 4096 bytes, the footer at the end.
pub fn with_avb_footer(image: &[u8], partition: usize) -> Vec<u8> {
    let mut blob = b"AVB0".to_vec();
    blob.extend((4..1600u32).map(|i| (i * 7) as u8));
    let at = image.len().next_multiple_of(4096);
    let mut bytes = image.to_vec();
    bytes.resize(at, 0);
    bytes.extend_from_slice(&blob);
    bytes.resize(partition - 64, 0);
    bytes.extend_from_slice(b"AVBf\0\0\0\x01\0\0\0\0");
    for number in [image.len(), at, blob.len()] {
        bytes.extend_from_slice(&(number as u64).to_be_bytes());
    }
    bytes.resize(partition, 0);
    bytes
}
