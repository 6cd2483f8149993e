//! The containers of a kernel, its end, and inconsistent headers.

use crate::common::synthetic;

use synthetic::*;
use vfioboot::compression::Format;
use vfioboot::kernel::{Arch, Error, Kernel, LayerKind};

/// Parse, and expect this description, arm64, the release and the config inside.
fn expect(bytes: &[u8], description: &str) {
    let kernel = Kernel::parse(bytes).unwrap();
    assert_eq!(kernel.describe(), description);
    assert_eq!(kernel.arch(), Some(Arch::Arm64), "{description}");
    let scan = kernel.scan().unwrap();
    assert_eq!(scan.version.as_deref(), Some(RELEASE), "{description}");
    let ikconfig = scan.ikconfig.unwrap_or_else(|| panic!("{description}: no config"));
    assert_eq!(ikconfig.text, CONFIG.as_bytes(), "{description}");
    let offset = ikconfig.offset as usize;
    let place = &image()[offset..];
    assert!(place.starts_with(&ikconfig_start()), "{description}: wrong offset {offset:#x}");
}

fn ikconfig_start() -> Vec<u8> {
    ikconfig(CONFIG)[..24].to_vec()
}

#[test]
fn images_in_every_compression() {
    expect(&image(), "arm64 Image");
    for format in Format::all() {
        expect(&pack(format, &image()), &format!("{format} → arm64 Image"));
    }
}

#[test]
fn efi_zboot_of_old_and_new_kernels() {
    let names = [
        ("gzip", Format::Gzip),
        ("lz4", Format::Lz4Legacy),
        ("lzma", Format::Lzma),
        ("xzkern", Format::Xz),
        ("zstd22", Format::Zstd),
        ("zstd", Format::Zstd),
    ];
    for (name, format) in names {
        for new in [false, true] {
            let file = zboot(&pack(format, &image()), name, new);
            expect(&file, &format!("arm64 EFI zboot → {format} → arm64 Image"));
            assert!(Kernel::parse(&file).unwrap().problems().is_empty(), "{name}");
        }
    }
}

#[test]
fn a_zboot_that_names_another_compression_is_read_by_its_magic() {
    let file = zboot(&pack(Format::Zstd, &image()), "gzip", true);
    let kernel = Kernel::parse(&file).unwrap();
    assert_eq!(kernel.scan().unwrap().version.as_deref(), Some(RELEASE));
    let problem = kernel.problems()[0].to_string();
    assert!(problem.contains("comp_type at offset 0x18") && problem.contains("zstd"), "{problem}");
}

#[test]
fn containers_within_containers() {
    let gzip = pack(Format::Gzip, &image());
    expect(&mtk(&gzip), "MTK header (KERNEL) → gzip → arm64 Image");
    let zboot = zboot(&pack(Format::Zstd, &image()), "zstd22", true);
    expect(&mtk(&zboot), "MTK header (KERNEL) → arm64 EFI zboot → zstd → arm64 Image");
    // The inner zboot is recognised by its head; its payload is searched all the same.
    expect(&pack(Format::Xz, &zboot), "xz → arm64 EFI zboot");
}

#[test]
fn appended_dtbs_are_reported_with_their_offsets() {
    let gzip = pack(Format::Gzip, &image());
    let file = [gzip.clone(), dtb(100), vec![0; 12], dtb(200)].concat();
    let kernel = Kernel::parse(&file).unwrap();
    assert_eq!(kernel.describe(), "gzip → arm64 Image + 2 appended DTBs");
    let places: Vec<_> =
        kernel.appended_dtbs().unwrap().iter().map(|dtb| (dtb.offset, dtb.size)).collect();
    assert_eq!(places, [(gzip.len(), 100), (gzip.len() + 112, 200)]);

    let wrapped = mtk(&[gzip.clone(), dtb(100)].concat());
    let kernel = Kernel::parse(&wrapped).unwrap();
    assert_eq!(kernel.describe(), "MTK header (KERNEL) → gzip → arm64 Image + 1 appended DTB");
    assert_eq!(kernel.appended_dtbs().unwrap()[0].offset, 512 + gzip.len());
}

#[test]
fn a_dtb_inside_the_kernel_is_not_appended() {
    let body = [body(Some(CONFIG)), dtb(100), noise(500, 11)].concat();
    // In a raw Image, before `image_size` and with the BSS far past the file's end.
    expect(&arm64_image(&body, 1 << 20), "arm64 Image");
    // In a stream that only stores: the blob is visible in it.
    expect(&stored(&arm64_image(&body, 1 << 20)), "gzip → arm64 Image");
    let zboot = zboot(&stored(&arm64_image(&body, 1 << 20)), "gzip", true);
    expect(&zboot, "arm64 EFI zboot → gzip → arm64 Image");
}

#[test]
fn dtbs_after_a_raw_image_are_searched_after_image_size() {
    let size = 64 + body(Some(CONFIG)).len() as u64;
    let image = arm64_image(&body(Some(CONFIG)), size);
    let file = [image.clone(), dtb(100)].concat();
    assert_eq!(Kernel::parse(&file).unwrap().describe(), "arm64 Image + 1 appended DTB");
    // A kernel before 3.17 does not say where it ends.
    let old = [arm64_image(&body(None), 0), dtb(100)].concat();
    assert_eq!(Kernel::parse(&old).unwrap().describe(), "arm64 Image");
    // The magic alone is not a DTB, nor is a DTB that is longer than the file.
    let cut = [image, dtb(100)[..60].to_vec()].concat();
    assert_eq!(Kernel::parse(&cut).unwrap().describe(), "arm64 Image");
}

#[test]
fn arm_zimage() {
    for format in [Format::Gzip, Format::Lz4Legacy, Format::Xz, Format::Lzma] {
        // Inside is an ARM Image, which has no magic.
        let inner = [noise(5000, 12), body(Some(CONFIG))].concat();
        let file = [zimage(&pack(format, &inner)), dtb(96)].concat();
        let kernel = Kernel::parse(&file).unwrap_or_else(|error| panic!("{format}: {error}"));
        let expected = format!("ARM zImage → {format} → raw code + 1 appended DTB");
        assert_eq!(kernel.describe(), expected);
        assert_eq!(kernel.arch(), Some(Arch::Arm));
        let scan = kernel.scan().unwrap();
        assert_eq!(scan.version.as_deref(), Some(RELEASE), "{format}");
        assert_eq!(scan.ikconfig.unwrap().text, CONFIG.as_bytes(), "{format}");
    }
}

#[test]
fn x86_bzimage() {
    let vmlinux = elf(62, ".text", &body(Some(CONFIG)));
    let file = bzimage(&pack(Format::Zstd, &vmlinux), "6.5.4-pc (root@pc) #1 SMP");
    let kernel = Kernel::parse(&file).unwrap();
    assert_eq!(kernel.describe(), "x86 bzImage → zstd → x86_64 ELF");
    assert_eq!(kernel.arch(), Some(Arch::X86_64));
    let LayerKind::BzImage { protocol, version } = &kernel.layers()[0].kind else { panic!() };
    assert_eq!((*protocol, version.as_deref()), (0x20f, Some("6.5.4-pc (root@pc) #1 SMP")));
    assert_eq!(kernel.scan().unwrap().ikconfig.unwrap().text, CONFIG.as_bytes());
    // Without a banner inside, the header's version is what there is.
    let plain = bzimage(&pack(Format::Gzip, &elf(62, ".text", &noise(5000, 13))), "6.5.4-pc (x)");
    let scan = Kernel::parse(&plain).unwrap().scan().unwrap();
    assert_eq!(scan.version.as_deref(), Some("6.5.4-pc"));
}

#[test]
fn elf_vmlinux() {
    let file = elf(183, ".text", &body(Some(CONFIG)));
    let kernel = Kernel::parse(&file).unwrap();
    assert_eq!(kernel.describe(), "arm64 ELF");
    assert_eq!(kernel.scan().unwrap().version.as_deref(), Some(RELEASE));
}

#[test]
fn sizes_beyond_the_end_of_the_file_are_reported_with_the_field() {
    let sound = zboot(&pack(Format::Gzip, &image()), "gzip", true);
    let mut file = sound.clone();
    file[12..16].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let Err(Error::OutOfRange { field, offset, value, .. }) = Kernel::parse(&file) else {
        panic!()
    };
    assert_eq!((field, offset, value), ("payload_size", 12, 0x7fff_ffff));
    let mut file = sound;
    file[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let Err(Error::OutOfRange { field, offset, .. }) = Kernel::parse(&file) else { panic!() };
    assert_eq!((field, offset), ("payload_offset", 8));

    let mut file = bzimage(&pack(Format::Gzip, &image()), "6.1.0");
    file[0x24c..0x250].copy_from_slice(&u32::MAX.to_le_bytes());
    let Err(Error::OutOfRange { field, offset, .. }) = Kernel::parse(&file) else { panic!() };
    assert_eq!((field, offset), ("payload_length", 0x24c));
}

#[test]
fn sizes_that_can_be_worked_around_are_recorded() {
    let mut file = mtk(&pack(Format::Gzip, &image()));
    file[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    expect(&file, "MTK header (KERNEL) → gzip → arm64 Image");
    let kernel = Kernel::parse(&file).unwrap();
    assert_eq!((kernel.problems()[0].field, kernel.problems()[0].offset), ("size", 4));

    let mut file = zimage(&pack(Format::Gzip, &body(Some(CONFIG))));
    file[0x2c..0x30].copy_from_slice(&u32::MAX.to_le_bytes());
    let kernel = Kernel::parse(&file).unwrap();
    assert_eq!(kernel.problems()[0].field, "end");
    assert_eq!(kernel.scan().unwrap().version.as_deref(), Some(RELEASE));
}

#[test]
fn other_files_are_not_kernels() {
    assert!(matches!(Kernel::parse(b""), Err(Error::Empty)));
    let error = Kernel::parse(b"just some words").unwrap_err().to_string();
    assert!(error.contains("6a75737420736f6d"), "{error}");
    let lzo = zboot(b"\x89LZO\0\r\n\x1a\n and more", "lzo", true);
    let error = Kernel::parse(&lzo).unwrap().scan().unwrap_err();
    assert!(matches!(&error, Error::UnsupportedCompression(name) if name == "lzo"), "{error}");
    // An MTK header around an MTK header, and so on.
    let mut file = b"end".to_vec();
    for _ in 0..20 {
        file = mtk(&file);
    }
    assert!(matches!(Kernel::parse(&file), Err(Error::TooDeep)));
}

#[test]
fn damage_of_any_kind_is_an_error_and_not_a_panic() {
    let small = arm64_image(&body(Some(CONFIG)), 5000);
    let files = [
        small.clone(),
        [stored(&small), dtb(80)].concat(),
        mtk(&pack(Format::Gzip, &small)),
        zboot(&pack(Format::Zstd, &small), "zstd22", true),
        zboot(&pack(Format::Xz, &small), "xzkern", false),
        zimage(&pack(Format::Lzma, &body(Some(CONFIG)))),
        bzimage(&pack(Format::Bzip2, &elf(62, ".text", &body(None))), "6.1.0 (x)"),
        pack(Format::Gzip, &zboot(&pack(Format::Gzip, &small), "gzip", true)),
    ];
    let mut random = noise(1 << 16, 14).into_iter().cycle();
    let mut number = |below: usize| {
        let bytes = [(); 4].map(|()| random.next().unwrap());
        u32::from_le_bytes(bytes) as usize % below
    };
    for file in &files {
        for round in 0..240 {
            let mut bytes = file.clone();
            match round % 3 {
                0 => bytes.truncate(number(file.len())),
                1 => bytes[number(file.len())] ^= 1 << number(8),
                // The headers are at the front.
                _ => bytes[number(0x260.min(file.len()))] = number(256) as u8,
            }
            if let Ok(kernel) = Kernel::parse(&bytes) {
                let _ = (kernel.describe(), kernel.scan());
            }
        }
    }
}
