//! Any bytes as a vbmeta image, bare and after a boot image: nothing outside is read, a verdict is
//! found, and the digest of an unsigned one is updated.
#![no_main]

#[path = "../../benches/kernel/generate/mod.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod generate;
mod shape;

use std::sync::LazyLock;

use generate::random::Random;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use vfioboot::image::Image;
use vfioboot::bootset::BootSet;
use vfioboot::bootset::avb::verify;
use vfioboot::image::avb::{Vbmeta, VbmetaEdit};

#[path = "../shared.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod shared;

static BASE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/images/init_boot-v4.img");
    std::fs::read(path).unwrap()
});

/// The base with `blob` as its vbmeta blob.
fn behind_a_footer(blob: &[u8]) -> Vec<u8> {
    let mut image = BASE.clone();
    image.extend_from_slice(blob);
    image.resize((image.len() + 64).next_multiple_of(4096) + 4096 - 64, 0);
    image.extend_from_slice(b"AVBf\0\0\0\x01\0\0\0\0");
    for number in [BASE.len(), BASE.len(), blob.len()] {
        image.extend_from_slice(&(number as u64).to_be_bytes());
    }
    image.resize(image.len() + 28, 0);
    image
}

fuzz_target!(|blob: &[u8]| {
    if let Ok(vbmeta) = Vbmeta::parse(blob, 0) {
        let described: usize = vbmeta.descriptors.iter().map(|entry| entry.bytes.len()).sum();
        assert_eq!(described as u64, vbmeta.header.descriptors_size);
        let bytes = vbmeta.bytes().to_vec();
        if let Some(written) = VbmetaEdit::new(vbmeta).write_unsigned() {
            assert_eq!(written, bytes);
        }
    }
    if let Ok(image) = Image::parse(blob) {
        verify(&BootSet::from_images(&[image]), None);
    }
    let file = behind_a_footer(blob);
    let Ok(image) = Image::parse(&file) else { return };
    verify(&BootSet::from_images(std::slice::from_ref(&image)), None);
    let Some(mut edit) = image.edit() else { return };
    if edit.header.set_cmdline(b"fuzz").is_err() {
        return;
    }
    if let Ok(rebuilt) = image.rebuild(edit) {
        let bytes = rebuilt.output.to_vec();
        let again = Image::parse(&bytes).unwrap();
        assert_ne!(again.unsigned_digest_is_right(), Some(false));
        shared::repacks(&again);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(u64::from(seed));
    match seed % 4 {
        0 => shape::vbmeta(data, size, max_size, &mut random),
        _ => fuzzer_mutate(data, size, max_size),
    }
});
