//! Vendor forms around images and sections: read, kept byte-exact, and correct after an edit.
//! `fixtures/make-vendor-images.py` made them and computed their checksums; `dumpimage` of U-Boot
//! checks them where it is installed.

use crate::common;

use std::process::Command;

use common::{AARCH64, elf, fixture, vendor_images};
use proptest::prelude::*;
use vfioboot::bootset::BootSet;
use vfioboot::image::{self, Chunk, DtTable, Image, ImageKind, SectionName, unpacked};
use vfioboot::patch::{self, Options, Runtimes};

/// Every form: the fixtures, and loaders too large to keep in a file.
fn all() -> Vec<(String, Vec<u8>)> {
    let mut all = vendor_images();
    let image = fixture("images/boot-v0-gzip.img");
    for (name, at, magic, size) in [
        ("nook", 64, &b"Green Loader"[..], 1 << 20),
        ("acclaim", 48, &b"BauwksBoot"[..], 256 << 10),
        ("lk2nd", 64, &b"lk2nd"[..], 512 << 10),
    ] {
        let mut bytes = b"ANDROID!".to_vec();
        bytes.resize(size, 0x5a);
        bytes[at..at + magic.len()].copy_from_slice(magic);
        bytes.extend_from_slice(&image);
        all.push((name.to_owned(), bytes));
    }
    let ramdisk = Image::parse(&image).unwrap().section(SectionName::Ramdisk).unwrap().to_vec();
    let initrd = with_bootconfig(&ramdisk, b"kernel.quiet\n\0\0\0");
    all.push(("bootconfig".to_owned(), with_ramdisk(&image, initrd.clone())));
    all.push(("bootconfig-ramdisk".to_owned(), initrd));
    all.push(("name20".to_owned(), with_name_of_20(&image)));
    all.push(("dhtb-block".to_owned(), with_dhtb_block(&image, 64 << 10)));
    all
}

/// An initrd as the kernel's `tools/bootconfig -a` leaves it.
pub fn with_bootconfig(ramdisk: &[u8], config: &[u8]) -> Vec<u8> {
    let mut bytes = ramdisk.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(config);
    let sum: u32 = config.iter().map(|byte| u32::from(*byte)).sum();
    bytes.extend_from_slice(&(config.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(b"#BOOTCONFIG\n");
    bytes
}

/// The same image with a name of 20 bytes, as Samsung has it.
fn with_name_of_20(image: &[u8]) -> Vec<u8> {
    let mut bytes = image.to_vec();
    bytes.copy_within(64..1632, 68);
    bytes[64..68].fill(0);
    bytes
}

/// The image in a partition of Unisoc's: size and SHA-256 are in a block at the end.
fn with_dhtb_block(image: &[u8], partition: usize) -> Vec<u8> {
    use sha2::Digest;
    let mut bytes = image.to_vec();
    bytes.resize(partition - 512, 0);
    bytes.extend_from_slice(b"DHTB\x01\0\0\0");
    bytes.extend_from_slice(&sha2::Sha256::digest(image));
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&(image.len() as u32).to_le_bytes());
    bytes.resize(partition, 0);
    bytes
}

fn vendor(name: &str) -> Vec<u8> {
    let all = all();
    all.into_iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("{name}")).1
}

/// The wrappers of an image: name, and whether each value that follows from the payload is right.
fn wrappers(image: &Image<'_>) -> Vec<(&'static str, Vec<bool>)> {
    let sections = [SectionName::Kernel, SectionName::Ramdisk];
    let sections = sections.into_iter().filter_map(|name| image.section_wrapper(name));
    let all = image.wrapper().cloned().into_iter().chain(sections);
    all.map(|w| (w.name(), w.fields().iter().map(|field| field.right).collect())).collect()
}

fn repack(image: &Image<'_>, edit: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<u8> {
    let unpacked = unpacked::unpack(image);
    unpacked::repack(&unpacked.manifest, |name| {
        let (_, bytes) = unpacked.files.iter().find(|(file, _)| file == name).unwrap();
        Ok(edit(name).unwrap_or_else(|| bytes.to_vec()))
    })
    .unwrap()
}

/// Bytes that are taken for a ramdisk.
fn ramdisk(size: usize) -> Vec<u8> {
    let mut bytes = b"070701".to_vec();
    bytes.resize(size, 7);
    bytes
}

fn with_ramdisk(bytes: &[u8], ramdisk: Vec<u8>) -> Vec<u8> {
    let image = Image::parse(bytes).unwrap();
    let Some(mut edit) = image.edit() else {
        return repack(&image, |name| name.starts_with("ramdisk").then(|| ramdisk.clone()));
    };
    edit.sections.push((SectionName::Ramdisk, vec![Chunk::owned(ramdisk)]));
    image.rebuild(edit).unwrap().output.to_vec()
}

/// The forms that have a ramdisk and can be changed.
fn changeable() -> Vec<(String, Vec<u8>)> {
    let mut all = all();
    all.retain(|(_, bytes)| {
        let image = Image::parse(bytes).unwrap();
        image.require_unsealed().is_ok() && image.section(SectionName::Ramdisk).is_some()
    });
    assert!(all.len() >= 15, "{}", all.len());
    all
}

#[test]
fn every_form_is_recognised_and_right() {
    let expected = [
        ("chromeos", vec![("ChromeOS kernel partition", 0)]),
        ("dhtb", vec![("DHTB header", 2)]),
        ("dhtb-partition", vec![("DHTB header", 2)]),
        ("krnl", vec![("Rockchip KRNL", 2)]),
        ("krnl-ramdisk", vec![("Rockchip KRNL", 2)]),
        ("mtk", vec![("MTK header", 1), ("MTK header", 1)]),
        ("mtk-recovery", vec![("MTK header", 1), ("MTK header", 1)]),
        ("mtk-ramdisk", vec![("MTK header", 1)]),
        ("tegra", vec![("NVIDIA Tegra blob", 1)]),
        ("uboot", vec![("U-Boot legacy image", 3), ("U-Boot legacy image", 3)]),
        ("uboot-kernel", vec![("U-Boot legacy image", 3)]),
        ("uboot-ramdisk", vec![("U-Boot legacy image", 3)]),
        ("nook", vec![("Nook HD loader", 0)]),
        ("acclaim", vec![("Acclaim loader", 0)]),
        ("lk2nd", vec![("lk2nd", 0)]),
        ("bootconfig", vec![("bootconfig trailer", 0)]),
        ("bootconfig-ramdisk", vec![("bootconfig trailer", 0)]),
        ("dhtb-block", vec![("DHTB block", 2)]),
        ("name20", vec![]),
        ("pxa", vec![]),
        ("amonet", vec![]),
        ("qcdt", vec![]),
        ("seandroid", vec![]),
        ("bump", vec![]),
        ("sony", vec![]),
    ];
    for (name, forms) in expected {
        let bytes = vendor(name);
        let image = Image::parse(&bytes).unwrap();
        let forms: Vec<_> =
            forms.into_iter().map(|(form, count)| (form, vec![true; count])).collect();
        assert_eq!(wrappers(&image), forms, "{name}");
        assert_eq!(image.problems(), [], "{name}");
        assert_ne!(image.id_is_right(), Some(false), "{name}");
    }
}

#[test]
fn vendors_headers_have_a_name() {
    let form = |name: &str| Image::parse(&vendor(name)).unwrap().header().unwrap().form();
    assert_eq!(form("pxa"), Some("PXA header"));
    assert_eq!(form("amonet"), Some("Amonet microloader before the header"));
    assert_eq!(form("sony"), Some("Sony ELF"));
    assert!(form("name20").unwrap().contains("20 bytes"));
    assert_eq!(form("qcdt"), None);
}

#[test]
fn what_is_inside_is_found() {
    let plain = fixture("images/boot-v0-gzip.img");
    let plain = Image::parse(&plain).unwrap();
    for (name, bytes) in all() {
        let image = Image::parse(&bytes).unwrap();
        for section in [SectionName::Kernel, SectionName::Ramdisk] {
            if let Some(found) = image.section(section) {
                // The bootconfig is at a multiple of 4.
                let expected = plain.section(section).unwrap();
                let (same, padding) = found.split_at(expected.len());
                assert!(same == expected && padding.len() < 4, "{name}: {section}");
            }
        }
    }
}

#[test]
fn regions_tile_the_file_with_its_wrapper() {
    for (name, bytes) in all() {
        let image = Image::parse(&bytes).unwrap();
        let mut end = 0;
        for region in image.file_regions() {
            assert_eq!(region.offset, end, "{name}");
            assert!(region.size > 0, "{name}");
            end += region.size;
        }
        assert_eq!(end, bytes.len(), "{name}");
    }
}

#[test]
fn unpack_then_repack_is_identity() {
    for (name, bytes) in all() {
        assert!(repack(&Image::parse(&bytes).unwrap(), |_| None) == bytes, "{name}: other bytes");
    }
}

#[test]
fn a_grown_ramdisk_leaves_every_value_right() {
    for (name, bytes) in changeable() {
        let before = Image::parse(&bytes).unwrap();
        let grown = with_ramdisk(&bytes, ramdisk(9000));
        let after = Image::parse(&grown).unwrap();
        assert_eq!(after.section(SectionName::Ramdisk).unwrap(), ramdisk(9000), "{name}");
        assert_eq!(
            after.section(SectionName::Kernel),
            before.section(SectionName::Kernel),
            "{name}"
        );
        assert_eq!(wrappers(&after), wrappers(&before), "{name}");
        assert_eq!(after.id_is_right(), before.id_is_right(), "{name}");
        assert_eq!(after.problems(), [], "{name}");
    }
}

#[test]
fn a_trailer_follows_the_end_of_the_image() {
    for (name, magic) in [("seandroid", &b"SEANDROIDENFORCE"[..]), ("bump", &[0x41, 0xa9, 0xe4])] {
        let grown = with_ramdisk(&vendor(name), vec![7; 9000]);
        assert_eq!(grown.len(), 2048 + 8192 + 10240 + 16, "{name}");
        assert!(grown[2048 + 8192 + 10240..].starts_with(magic), "{name}");
    }
}

#[test]
fn a_partition_with_a_dhtb_image_keeps_its_size() {
    let bytes = vendor("dhtb-partition");
    let grown = with_ramdisk(&bytes, ramdisk(9000));
    assert_eq!(grown.len(), bytes.len());
}

#[test]
fn the_checksum_of_dhtb_is_the_payloads_sha256() {
    use sha2::Digest;
    let grown = with_ramdisk(&vendor("dhtb"), vec![7; 9000]);
    let size = u32::from_le_bytes(grown[48..52].try_into().unwrap()) as usize;
    assert_eq!(size, grown.len() - 512);
    assert_eq!(grown[8..40], sha2::Sha256::digest(&grown[512..])[..]);
}

#[test]
fn the_block_at_the_end_stays_at_the_end() {
    use sha2::Digest;
    let bytes = vendor("dhtb-block");
    let grown = with_ramdisk(&bytes, ramdisk(9000));
    assert_eq!(grown.len(), bytes.len());
    let (image, block) = grown.split_at(grown.len() - 512);
    let size = u32::from_le_bytes(block[48..52].try_into().unwrap()) as usize;
    assert_eq!(block[..8], *b"DHTB\x01\0\0\0");
    assert_eq!(block[8..40], sha2::Sha256::digest(&image[..size])[..]);
    assert!(image[size..].iter().all(|byte| *byte == 0), "zeros up to the block");

    let full = with_dhtb_block(&fixture("images/boot-v0-gzip.img"), (12 << 10) + 512);
    let image = Image::parse(&full).unwrap();
    let mut edit = image.edit().unwrap();
    edit.sections.push((SectionName::Ramdisk, vec![Chunk::owned(ramdisk(9000))]));
    let error = image.rebuild(edit).unwrap_err();
    assert!(matches!(error, image::Error::PartitionTooSmall { .. }), "{error}");
}

/// The kernel looks for it at the end of the initrd, and cuts it off before it unpacks the rest.
#[test]
fn a_bootconfig_stays_behind_what_is_appended_to_the_ramdisk() {
    let runtime = elf(AARCH64);
    for name in ["bootconfig", "bootconfig-ramdisk"] {
        let bytes = vendor(name);
        let set = BootSet::from_images(&[Image::parse(&bytes).unwrap()]);
        let plan = patch::plan(&set, &options(&runtime)).unwrap();
        let patched = plan.images[0].output.as_ref().unwrap().to_vec();
        let whole = |bytes: &[u8]| {
            let image = Image::parse(bytes).unwrap();
            let wrapper = image.section_wrapper(SectionName::Ramdisk);
            wrapper.as_ref().or(image.wrapper()).unwrap().whole().to_vec()
        };
        let (before, after) = (whole(&bytes), whole(&patched));
        let trailer = with_bootconfig(b"", b"kernel.quiet\n\0\0\0");
        assert!(before.ends_with(&trailer) && after.ends_with(&trailer), "{name}");
        assert!((after.len() - before.len()).is_multiple_of(4), "{name}");
    }
}

/// The kernel ignores such a bootconfig, and leaves it in the initrd.
#[test]
fn a_bootconfig_with_a_wrong_checksum_is_a_part_of_the_ramdisk() {
    let mut bytes = vendor("bootconfig-ramdisk");
    let checksum = bytes.len() - 16;
    bytes[checksum] ^= 1;
    assert!(Image::parse(&bytes).unwrap().wrapper().is_none());
}

#[test]
fn the_id_after_a_name_of_20_bytes_is_computed() {
    let bytes = vendor("name20");
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(image.id_is_right(), Some(true));
    let grown = with_ramdisk(&bytes, ramdisk(9000));
    let grown = Image::parse(&grown).unwrap();
    assert_eq!(grown.id_is_right(), Some(true));
    let id = grown.header().unwrap().fields().into_iter().find(|field| field.name == "id").unwrap();
    assert_eq!(id.offset, 580);
}

#[test]
fn a_wrapper_around_anything_else_is_no_image() {
    let mut bytes = vendor("mtk-ramdisk");
    bytes[8..40].fill(0);
    bytes[8..10].copy_from_slice(b"LK");
    assert!(Image::parse(&bytes).is_ok(), "a ramdisk by its bytes");
    bytes[512..520].fill(0x5a);
    let expected = image::Error::UnknownPayload { form: "MTK header", label: "LK".to_owned() };
    assert_eq!(Image::parse(&bytes).unwrap_err(), expected);
}

#[test]
fn an_image_of_amlogics_secure_boot_is_refused() {
    for at in [1024, 2048] {
        let mut bytes = fixture("images/boot-v0-gzip.img");
        bytes[at..at + 8].copy_from_slice(b"AMLSECU!");
        let image = Image::parse(&bytes).unwrap();
        assert!(repack(&image, |_| None) == bytes);
        let set = BootSet::from_images(std::slice::from_ref(&image));
        let runtime = elf(AARCH64);
        let error = patch::plan(&set, &options(&runtime)).unwrap_err();
        let sealed = |error: &image::Error| match error {
            image::Error::Sealed { form, .. } => form.contains("AMLSECU"),
            _ => false,
        };
        assert!(matches!(&error, patch::Error::Image(error) if sealed(error)), "{error}");
    }
}

/// A second bootloader is kept, and the plan says where the image is.
#[test]
fn a_patch_goes_into_the_image_after_lk2nd() {
    let bytes = vendor("lk2nd");
    let set = BootSet::from_images(&[Image::parse(&bytes).unwrap()]);
    let runtime = elf(AARCH64);
    let plan = patch::plan(&set, &options(&runtime)).unwrap();
    let expected =
        patch::Warning::AfterLoader { image: ImageKind::Boot, loader: "lk2nd", offset: 512 << 10 };
    assert!(plan.warnings.contains(&expected), "{:?}", plan.warnings);
    let patched = plan.images[0].output.as_ref().unwrap().to_vec();
    assert!(patched[..512 << 10] == bytes[..512 << 10]);
}

#[test]
fn u_boot_accepts_a_changed_image() {
    if Command::new("dumpimage").arg("-V").output().is_err() {
        eprintln!("dumpimage (Debian: u-boot-tools) is not installed: not asked");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("uramdisk");
    let verdict = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let output = Command::new("dumpimage").arg("-l").arg(&path).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let mut grown = with_ramdisk(&vendor("uboot-ramdisk"), vec![7; 9000]);
    let text = verdict(&grown);
    assert!(text.contains("fixture ramdisk") && text.contains("9000 Bytes"), "{text}");
    grown[100] ^= 1;
    assert!(!verdict(&grown).contains("fixture ramdisk"), "it would take anything");
}

/// Where a checksum was wrong, the size of a file that grows still follows: it bounds what is loaded.
#[test]
fn a_right_size_follows_beside_a_wrong_checksum() {
    let mut bytes = vendor("dhtb");
    bytes[9] ^= 1;
    let image = Image::parse(&bytes).unwrap();
    let out = repack(&image, |file| (file == "ramdisk").then(|| ramdisk(9000)));
    assert_eq!(wrappers(&Image::parse(&out).unwrap()), [("DHTB header", vec![true, false])]);
}

#[test]
fn a_value_that_was_wrong_stays() {
    for (name, at) in [("dhtb", 9), ("uboot-ramdisk", 24), ("krnl-ramdisk", 217)] {
        let mut bytes = vendor(name);
        bytes[at] ^= 1;
        let wrong = |bytes: &[u8]| {
            let found = wrappers(&Image::parse(bytes).unwrap());
            found[0].1.iter().filter(|right| !**right).count()
        };
        // The CRC of U-Boot's header is over the one of the data.
        let count = if name == "uboot-ramdisk" { 2 } else { 1 };
        assert_eq!(wrong(&bytes), count, "{name}");
        let image = Image::parse(&bytes).unwrap();
        assert!(repack(&image, |_| None) == bytes, "{name}");
        assert_eq!(wrong(&with_ramdisk(&bytes, ramdisk(9000))), count, "{name}");
    }
}

#[test]
fn a_file_of_the_same_size_is_repacked_with_its_checksum() {
    for name in ["dhtb", "uboot", "uboot-ramdisk", "krnl", "krnl-ramdisk", "mtk", "tegra"] {
        let bytes = vendor(name);
        let image = Image::parse(&bytes).unwrap();
        let size = image.section(SectionName::Ramdisk).unwrap().len();
        let out = repack(&image, |file| (file == "ramdisk").then(|| ramdisk(size)));
        let out = Image::parse(&out).unwrap();
        assert_eq!(out.section(SectionName::Ramdisk).unwrap(), ramdisk(size), "{name}");
        assert_eq!(wrappers(&out), wrappers(&image), "{name}");
        assert_ne!(out.id_is_right(), Some(false), "{name}");
    }
}

fn options(runtime: &[u8]) -> Options<'_> {
    Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(runtime))
}

#[test]
fn a_patch_goes_into_the_inner_ramdisk_and_is_undone_exactly() {
    let runtime = elf(AARCH64);
    for (name, bytes) in changeable() {
        let image = Image::parse(&bytes).unwrap();
        let set = BootSet::from_images(std::slice::from_ref(&image));
        let plan = patch::plan(&set, &options(&runtime)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let patched = plan.images[0].output.as_ref().unwrap().to_vec();
        let patched = Image::parse(&patched).unwrap();
        assert_eq!(wrappers(&patched), wrappers(&image), "{name}");
        assert_ne!(patched.id_is_right(), Some(false), "{name}");
        let (old, new) = (SectionName::Ramdisk, SectionName::Ramdisk);
        let (old, new) = (image.section(old).unwrap(), patched.section(new).unwrap());
        assert!(new.starts_with(old) && new.len() > old.len(), "{name}");
        let original = patch::unpatch(&BootSet::from_images(&[patched]))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(original[0].as_ref().unwrap().to_vec() == bytes, "{name}: other bytes");
    }
}

#[test]
fn signed_wrappers_are_refused_with_a_remedy() {
    let runtime = elf(AARCH64);
    let bytes = vendor("chromeos");
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(image.kind(), ImageKind::Boot);
    let error =
        patch::plan(&BootSet::from_images(&[image]), &options(&runtime)).unwrap_err().to_string();
    assert!(error.starts_with("ChromeOS kernel partition: its payload cannot be"), "{error}");
    assert!(error.contains("futility vbutil_kernel --repack"), "{error}");

    let mut bytes = vendor("tegra");
    // The size of the signature.
    bytes[25] = 1;
    let error =
        patch::plan(&BootSet::from_images(&[Image::parse(&bytes).unwrap()]), &options(&runtime))
            .unwrap_err();
    assert!(error.to_string().contains("only the vendor can sign the blob"), "{error}");
}

#[test]
fn a_microloader_leaves_the_command_line_what_its_page_has() {
    // With pages of 2048 the header ends 1024 bytes early.
    let image = fixture("images/boot-v0-gzip.img");
    let mut bytes = b"ANDROID!microloader".to_vec();
    bytes.resize(1024, 0xcc);
    bytes.extend_from_slice(&image[..1024]);
    bytes.extend_from_slice(&image[2048..]);
    let parsed = Image::parse(&bytes).unwrap();
    assert_eq!(
        parsed.section(SectionName::Ramdisk),
        Image::parse(&image).unwrap().section(SectionName::Ramdisk)
    );
    let mut edit = parsed.edit().unwrap();
    let capacity = edit.header.cmdline_capacity();
    assert_eq!(capacity, 511 + 415);
    let line = "x".repeat(capacity);
    edit.header.set_cmdline(line.as_bytes()).unwrap();
    let text = edit.header.set_cmdline(format!("{line}y").as_bytes()).unwrap_err().to_string();
    assert!(text.contains("(1 too many)"), "{text}");
    let out = parsed.rebuild(edit).unwrap().output.to_vec();
    assert_eq!(out.len(), bytes.len());
    assert_eq!(Image::parse(&out).unwrap().header().unwrap().cmdline(), line.as_bytes());
    assert_eq!(out[..1024], bytes[..1024]);
}

#[test]
fn tables_of_device_trees_are_read() {
    let dt = |name: &str, section| {
        let bytes = vendor(name);
        DtTable::parse(Image::parse(&bytes).unwrap().section(section).unwrap()).unwrap()
    };
    for table in [dt("qcdt", SectionName::Dt), dt("pxa", SectionName::Extra)] {
        assert_eq!((table.form, table.version, table.count), ("QCDT", 2, 2));
        assert_eq!((table.entries[1].offset, table.entries[1].size), (4096, 2048));
        assert_eq!(table.entries[1].ids[..2], [("platform_id", 206), ("variant_id", 9)]);
    }
    let table = DtTable::parse(&vendor("dtbo")).unwrap();
    assert_eq!((table.form, table.count), ("dtbo", 2));
    assert_eq!(table.entries[1].ids[..2], [("id", 101), ("rev", 1)]);
}

#[test]
fn a_dtbo_image_is_unpacked_tree_by_tree() {
    let bytes = vendor("dtbo");
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(image.kind(), ImageKind::Dtbo);
    let files = unpacked::unpack(&image).files;
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["header.bin", "dt_entries00.dtb", "dt_entries01.dtb"]);
    assert!(files[1].1.starts_with(&[0xd0, 0x0d, 0xfe, 0xed]));
    let edited = repack(&image, |name| (name == "dt_entries01.dtb").then(|| vec![9; 72]));
    assert_eq!(edited.len(), bytes.len());
    assert_eq!(edited[96 + 72..96 + 144], [9; 72]);

    let unpacked = unpacked::unpack(&image);
    let error = unpacked::repack(&unpacked.manifest, |_| Ok(vec![0; 100])).unwrap_err();
    assert!(error.to_string().contains("expected 96"), "the table is fixed: {error}");
    let error = unpacked::repack(&unpacked.manifest, |name| {
        let (_, bytes) = unpacked.files.iter().find(|(file, _)| file == name).unwrap();
        Ok(if name.ends_with("dtb") { vec![9; 80] } else { bytes.to_vec() })
    });
    let error = error.unwrap_err().to_string();
    assert!(error.contains("build the image with mkdtboimg"), "{error}");
}

/// MTK's size is 0 or all ones in images that boot: the payload goes on to the end of its section. Any
/// other wrong size bounds what is loaded.
#[test]
fn an_unused_mtk_size_stays_as_it_is_and_a_wrong_one_refuses_the_patch() {
    let (_, original) = vendor_images().into_iter().find(|(name, _)| name == "mtk").unwrap();
    // Magic, size, name.
    let at = original.windows(6).position(|window| window == b"ROOTFS").unwrap() - 8;
    let runtime = elf(AARCH64);
    for size in [0, u32::MAX] {
        let mut bytes = original.clone();
        bytes[at + 4..at + 8].copy_from_slice(&size.to_le_bytes());
        let image = Image::parse(&bytes).unwrap();
        let set = BootSet::from_images(std::slice::from_ref(&image));
        let plan = patch::plan(&set, &options(&runtime)).unwrap();
        let patched = plan.images[0].output.as_ref().unwrap().to_vec();
        assert_eq!(patched[at + 4..at + 8], size.to_le_bytes());
        let image = Image::parse(&patched).unwrap();
        let set = BootSet::from_images(std::slice::from_ref(&image));
        assert!(patch::unpatch(&set).unwrap()[0].as_ref().unwrap().to_vec() == bytes);
    }
    let mut bytes = original;
    let size = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
    bytes[at + 4..at + 8].copy_from_slice(&size.next_multiple_of(512).to_le_bytes());
    let image = Image::parse(&bytes).unwrap();
    let set = BootSet::from_images(std::slice::from_ref(&image));
    let error = patch::plan(&set, &options(&runtime)).unwrap_err();
    let refused = matches!(error, patch::Error::Image(image::Error::WrapperSize { .. }));
    assert!(refused, "{error}");
}

/// The trailer is found by the size: what is appended after a wrong one would not be there.
#[test]
fn a_wrong_size_before_a_trailer_refuses_a_patch() {
    let (_, mut bytes) =
        vendor_images().into_iter().find(|(name, _)| name == "krnl-ramdisk").unwrap();
    bytes[5] ^= 2;
    let image = Image::parse(&bytes).unwrap();
    let runtime = elf(AARCH64);
    let set = BootSet::from_images(std::slice::from_ref(&image));
    let error = patch::plan(&set, &options(&runtime)).unwrap_err();
    let expected = image::Error::WrapperSize { form: "Rockchip KRNL", field: "size" };
    assert!(matches!(&error, patch::Error::Image(error) if *error == expected), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn any_payload_goes_through_every_form(
        payload in proptest::collection::vec(any::<u8>(), 1..5000),
    ) {
        // Not one that would be another image by itself.
        let payload = [b"070701".to_vec(), payload].concat();
        for (name, bytes) in changeable() {
            if bytes.len() > 1 << 17 {
                continue;
            }
            let changed = with_ramdisk(&bytes, payload.clone());
            let image = Image::parse(&changed).unwrap();
            prop_assert!(image.section(SectionName::Ramdisk) == Some(&payload[..]), "{}", name);
            prop_assert!(repack(&image, |_| None) == changed, "{}", name);
            let all_right = wrappers(&image).iter().all(|(_, right)| right.iter().all(|r| *r));
            prop_assert!(all_right, "{}", name);
        }
    }

    #[test]
    fn a_damaged_byte_never_panics_and_keeps_identity(at in 0usize..2048, bit in 0u8..8) {
        for (name, mut bytes) in vendor_images() {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let Ok(image) = Image::parse(&bytes) else { continue };
            prop_assert!(repack(&image, |_| None) == bytes, "{} at {}", name, at);
            let runtime = elf(AARCH64);
            let set = BootSet::from_images(std::slice::from_ref(&image));
            let Ok(plan) = patch::plan(&set, &options(&runtime)) else {
                continue;
            };
            let patched = plan.images[0].output.as_ref().unwrap().to_vec();
            let original = patch::unpatch(&BootSet::from_images(&[Image::parse(&patched).unwrap()])).unwrap();
            prop_assert!(original[0].as_ref().unwrap().to_vec() == bytes, "{} at {}", name, at);
        }
    }
}

// --- within each other ------------------------------------------------------------------------

fn mtk(name: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x88, 0x16, 0x88, 0x58];
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(name);
    bytes.resize(40, 0);
    bytes.resize(512, 0xff);
    bytes.extend_from_slice(payload);
    bytes
}

fn dhtb(payload: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    let mut bytes = b"DHTB\x01\0\0\0".to_vec();
    bytes.extend_from_slice(&sha2::Sha256::digest(payload));
    bytes.resize(48, 0);
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.resize(512, 0);
    bytes.extend_from_slice(payload);
    bytes
}

/// Wrappers within each other, with the names of all, in order.
fn nested() -> Vec<(Vec<u8>, Vec<&'static str>)> {
    let (mtk_form, dhtb_form, trailer) = ("MTK header", "DHTB header", "bootconfig trailer");
    let image = fixture("images/boot-v2-raw.img");
    let ramdisk = common::cpio(&[("init", b"#!init")]);
    let initrd = with_bootconfig(&ramdisk, b"kernel.quiet\n\0\0\0");
    let in_section = with_ramdisk(&image, mtk(b"ROOTFS", &initrd));
    let mut padded = dhtb(&mtk(b"RECOVERY", &ramdisk));
    padded.resize(padded.len() + 4096, 0);
    vec![
        (mtk(b"ROOTFS", &initrd), vec![mtk_form, trailer]),
        (dhtb(&mtk(b"ROOTFS", &initrd)), vec![dhtb_form, mtk_form, trailer]),
        (padded, vec![dhtb_form, mtk_form]),
        (dhtb(&in_section), vec![dhtb_form, mtk_form, trailer]),
        (in_section, vec![mtk_form, trailer]),
        (mtk(b"BOOT", &dhtb(&image)), vec![mtk_form, dhtb_form]),
    ]
}

/// All wrappers of an image: name, and whether each value that follows from the payload is right.
fn layers(image: &Image<'_>) -> Vec<(&'static str, Vec<bool>)> {
    let section = image.section_wrapper(SectionName::Ramdisk);
    let all = image.wrapper().cloned().into_iter().chain(section);
    let all = all.flat_map(|own| own.layers());
    all.map(|own| (own.name(), own.fields().iter().map(|field| field.right).collect())).collect()
}

#[test]
fn wrappers_within_each_other_are_all_read_and_all_made_right() {
    let runtime = elf(AARCH64);
    for (number, (bytes, names)) in nested().into_iter().enumerate() {
        let image = Image::parse(&bytes).unwrap();
        let found = layers(&image);
        assert_eq!(found.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names, "{number}");
        assert!(found.iter().all(|(_, right)| right.iter().all(|own| *own)), "{number}: {found:?}");
        assert!(repack(&image, |_| None) == bytes, "{number}");

        let set = BootSet::from_images(&[image]);
        let plan = patch::plan(&set, &options(&runtime)).unwrap();
        patch::prove_again(&set, &plan).unwrap();
        let patched = plan.images[0].output.as_ref().unwrap().to_vec();
        let patched = Image::parse(&patched).unwrap();
        let after = layers(&patched);
        assert_eq!(after, found, "{number}: the same wrappers, and right");
        let back = patch::unpatch(&BootSet::from_images(&[patched])).unwrap().remove(0).unwrap();
        assert!(back.to_vec() == bytes, "{number}");
    }
}

/// A size in the outer one that was wrong before bounds what a loader reads.
#[test]
fn a_wrong_size_around_a_right_one_refuses_a_patch() {
    let runtime = elf(AARCH64);
    let (mut bytes, _) = nested().swap_remove(1);
    let size = bytes.len() as u32 - 512 - 4;
    bytes[48..52].copy_from_slice(&size.to_le_bytes());
    let Ok(image) = Image::parse(&bytes) else { return };
    assert!(patch::plan(&BootSet::from_images(&[image]), &options(&runtime)).is_err());
}
