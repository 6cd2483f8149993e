//! Any bytes as the undo record in a patched image: the original, or an error.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vfioboot::bootset::BootSet;
use vfioboot::image::{Chunk, Image, SectionName};
use vfioboot::patch;
use vfioboot::ramdisk::cpio::CpioWriter;

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
    if let Ok(originals) = patch::unpatch(&BootSet::from_images(&[patched])) {
        let _ = originals.into_iter().flatten().map(|original| original.to_vec()).count();
    }
});
