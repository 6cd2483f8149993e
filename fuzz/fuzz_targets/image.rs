//! Any bytes as an image: the regions tile it, repacking gives it back, and a patch keeps its
//! promises.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfioboot::image::{Image, ImageKind};

#[path = "../shared.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod shared;

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
