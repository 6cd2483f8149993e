//! Any bytes as the undo record in a patched image: the original that the record describes, or an
//! error.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vfioboot::bootset::BootSet;
use vfioboot::image::{Chunk, Image, SectionName};
use vfioboot::ramdisk::cpio::CpioWriter;

#[path = "../shared.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod shared;

static BASE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/images/boot-v2-raw.img");
    std::fs::read(path).unwrap()
});

fuzz_target!(|record: &[u8]| {
    let base = Image::parse(&BASE).unwrap();
    let mut cpio = CpioWriter::new(Vec::new());
    cpio.dir(b"vfioboot", 0o755).unwrap();
    cpio.file(b"vfioboot/undo", 0o600, record).unwrap();
    let ramdisk = Chunk::borrowed(base.section(SectionName::Ramdisk).unwrap());
    let segment = Chunk::owned(cpio.finish().unwrap());
    let mut edit = base.edit().unwrap();
    edit.sections.push((SectionName::Ramdisk, vec![ramdisk, segment]));
    let bytes = base.rebuild(edit).unwrap().output.to_vec();
    let patched = Image::parse(&bytes).unwrap();
    shared::undoes(&BootSet::from_images(&[patched]));
});
