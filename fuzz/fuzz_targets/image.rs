//! Any bytes as an image: the regions tile it, repacking gives it back, and a patch keeps its
//! promises.
#![no_main]

#[path = "../../benches/kernel/generate/mod.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod generate;
mod shape;
#[path = "../shared.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod shared;

use generate::random::Random;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use vfioboot::image::{Image, ImageKind};

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

    shared::repacks(&image);
    if image.kind() != ImageKind::Kernel {
        shared::patches(std::slice::from_ref(&image), 0);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(u64::from(seed));
    match seed % 4 {
        0 => shape::header(data, size, max_size, &mut random),
        _ => fuzzer_mutate(data, size, max_size),
    }
});
