//! Any bytes as an image: the regions tile it, repacking and patching with unpatching give it
//! back.
#![no_main]

#[path = "../../benches/kernel/generate/mod.rs"]
#[allow(dead_code)]
mod generate;
mod shape;

use generate::random::Random;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use vfioboot::bootset::BootSet;
use vfioboot::image::{Image, ImageKind, unpacked};
use vfioboot::patch::{self, Options, Runtimes};

fuzz_target!(|bytes: &[u8]| {
    let Ok(image) = Image::parse(bytes) else { return };
    let mut end = 0;
    for region in image.regions() {
        assert_eq!(region.offset, end);
        end += image.region_bytes(region).len();
    }
    assert_eq!(end, image.bytes().len());
    let mut end = 0;
    for region in image.file_regions() {
        assert_eq!(region.offset, end);
        end += region.size;
    }
    assert_eq!(end, bytes.len());
    let _ = image.id_is_right();
    let _ = image.fragments();

    let parts = unpacked::unpack(&image);
    let repacked = unpacked::repack(&parts.manifest, |name| {
        let found = parts.files.iter().find(|(file, _)| file == name);
        found.map(|(_, bytes)| bytes.to_vec()).ok_or(std::io::ErrorKind::NotFound.into())
    });
    assert!(repacked.unwrap() == bytes, "repack");

    if image.kind() != ImageKind::Kernel {
        patch_and_back(&image);
    }
});

fn patch_and_back(image: &Image<'_>) {
    let set = std::slice::from_ref(image);
    let set = &BootSet::from_images(set);
    if !patch::is_patched(set).is_ok_and(|patched| !patched) {
        let _ = patch::unpatch(set);
        return;
    }
    let runtime = elf();
    let options = Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(&runtime));
    let Ok(plan) = patch::plan(set, &options) else { return };
    let patched = plan.images[0].output.as_ref().unwrap().to_vec();
    let patched = Image::parse(&patched).unwrap();
    let original = patch::unpatch(&BootSet::from_images(&[patched])).unwrap().remove(0).unwrap();
    assert!(original.to_vec() == image.file(), "unpatch");
}

/// The smallest ELF executable for arm64.
fn elf() -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    elf[16] = 2;
    elf[18] = 183;
    elf[20] = 1;
    elf[52] = 64;
    elf
}

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(u64::from(seed));
    match seed % 4 {
        0 => shape::header(data, size, max_size, &mut random),
        _ => fuzzer_mutate(data, size, max_size),
    }
});
