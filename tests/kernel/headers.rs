//! What the header of each container says: the architecture, the sizes and where they end.

use crate::common::synthetic;

use synthetic::*;
use vfioboot::compression::Format;
use vfioboot::kernel::{Arch, Error, Kernel, LayerKind};

/// `file` with the bytes from `at` on replaced.
fn with(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn arch(bytes: &[u8]) -> Option<Arch> {
    Kernel::parse(bytes).unwrap().arch()
}

/// Parse, and expect this problem; the rest could be read.
fn problem(bytes: &[u8]) -> (&'static str, &'static str, usize, String) {
    let kernel = Kernel::parse(bytes).unwrap();
    let [problem] = kernel.problems() else { panic!("{:?}", kernel.problems()) };
    (problem.layer, problem.field, problem.offset, problem.what.clone())
}

/// Parse, and expect a truncated header: the container, the bytes there are, the bytes it needs.
fn truncated(bytes: &[u8]) -> (&'static str, usize, usize) {
    match Kernel::parse(bytes) {
        Err(Error::Truncated { layer, have, need }) => (layer, have, need),
        other => panic!("{other:?}"),
    }
}

/// Parse, and expect a field that points outside: its name, its offset, its value, what there is.
fn outside(bytes: &[u8]) -> (&'static str, usize, u64, u64) {
    match Kernel::parse(bytes) {
        Err(Error::OutOfRange { field, offset, value, limit, .. }) => (field, offset, value, limit),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_machine_of_an_elf_file_has_its_architecture() {
    // `include/uapi/linux/elf-em.h` and each architecture's `asm/elf.h`.
    let machines = [
        (183, Arch::Arm64),
        (40, Arch::Arm),
        (62, Arch::X86_64),
        (3, Arch::X86),
        (243, Arch::Riscv64),
        (258, Arch::Loongarch64),
        (20, Arch::Powerpc),
        (21, Arch::Powerpc),
        (22, Arch::S390),
        (8, Arch::Mips),
        (10, Arch::Mips),
        (2, Arch::Sparc),
        (18, Arch::Sparc),
        (43, Arch::Sparc),
        (15, Arch::Parisc),
        (41, Arch::Alpha),
        (0x9026, Arch::Alpha),
        (50, Arch::Ia64),
        (4, Arch::M68k),
        (42, Arch::Sh),
        (94, Arch::Xtensa),
        (93, Arch::Arc),
        (195, Arch::Arc),
        (253, Arch::Arc),
        (255, Arch::Arc),
        (92, Arch::Openrisc),
        (113, Arch::Nios2),
        (164, Arch::Hexagon),
        (189, Arch::Microblaze),
        (0xbaab, Arch::Microblaze),
        (252, Arch::Csky),
    ];
    for (machine, expected) in machines {
        assert_eq!(arch(&elf(machine, ".text", b"code")), Some(expected), "{machine}");
    }
    // EM_BPF is no kernel's.
    assert_eq!(arch(&elf(247, ".text", b"code")), None);
    // The class decides where 32 and 64 bits share a number.
    for (machine, expected) in
        [(243, Arch::Riscv32), (258, Arch::Loongarch32), (183, Arch::Arm64), (8, Arch::Mips)]
    {
        let narrow = with(&elf(machine, ".text", b"code"), 4, &[1]);
        assert_eq!(arch(&narrow), Some(expected), "{machine}");
    }
    let (layer, have, need) = truncated(&elf(183, ".text", b"code")[..40]);
    assert_eq!((layer, have, need), ("ELF", 40, 64));
}

#[test]
fn every_machine_of_an_efi_image_has_its_architecture() {
    // `IMAGE_FILE_MACHINE_*` in `include/linux/pe.h`.
    let machines = [
        (0xaa64, Arch::Arm64),
        (0x01c0, Arch::Arm),
        (0x01c2, Arch::Arm),
        (0x01c4, Arch::Arm),
        (0x8664, Arch::X86_64),
        (0x014c, Arch::X86),
        (0x5032, Arch::Riscv32),
        (0x5064, Arch::Riscv64),
        (0x6232, Arch::Loongarch32),
        (0x6264, Arch::Loongarch64),
        (0x0200, Arch::Ia64),
    ];
    let raw = [noise(5000, 1), body(None)].concat();
    let zboot = zboot(&pack(Format::Gzip, &raw), "gzip", true);
    for (machine, expected) in machines {
        let file = with(&zboot, 68, &u16::to_le_bytes(machine));
        assert_eq!(arch(&file), Some(expected), "{machine:#x}");
        // An uncompressed image with the same header.
        let file = with(&efi(&raw), 68, &u16::to_le_bytes(machine));
        let kernel = Kernel::parse(&file).unwrap();
        assert_eq!(kernel.layers()[0].kind, LayerKind::Image(expected), "{machine:#x}");
        assert_eq!(kernel.arch(), Some(expected));
        assert_eq!(kernel.layers()[0].size, Some(file.len()));
    }
    assert_eq!(arch(&with(&zboot, 68, &[1, 0])), None);
    // An EFI image of an unknown machine is not a kernel; nor is one that is not an executable.
    for file in [with(&efi(&raw), 68, &[1, 0]), with(&efi(&raw), 0, b"XX")] {
        assert!(matches!(Kernel::parse(&file), Err(Error::Unrecognised { .. })));
    }
    // A PE header outside the file.
    let far = with(&efi(&raw), 60, &u32::MAX.to_le_bytes());
    assert!(matches!(Kernel::parse(&far), Err(Error::Unrecognised { .. })));
}

/// An image that is also an EFI executable, with LINUX_PE_MAGIC and no magic of its own.
fn efi(body: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 128];
    file[..2].copy_from_slice(b"MZ");
    file[56..60].copy_from_slice(&0x8182_23cd_u32.to_le_bytes());
    file[60] = 64;
    file[64..70].copy_from_slice(b"PE\0\0\x64\x62");
    [file, body.to_vec()].concat()
}

#[test]
fn an_image_of_riscv_and_one_of_s390() {
    // `Documentation/arch/riscv/boot-image-header.rst`: a magic at 48, and another one at 56.
    let plain = vec![0u8; 0x1_0100];
    for (at, magic) in [(48, b"RISCV".as_slice()), (56, b"RSC\x05")] {
        let file = with(&plain, at, magic);
        assert_eq!(Kernel::parse(&file).unwrap().describe(), "riscv64 Image");
        // The PE header tells the 32-bit one.
        let file = with(&with(&file, 60, &[0x80, 0]), 0x80, b"PE\0\0\x32\x50");
        assert_eq!(Kernel::parse(&file).unwrap().describe(), "riscv32 Image");
    }
    let s390 = with(&plain, 0x10008, b"S390EP");
    assert_eq!(Kernel::parse(&s390).unwrap().describe(), "s390 Image");
    assert!(matches!(Kernel::parse(&plain), Err(Error::Unrecognised { .. })));
    assert!(Kernel::parse(&with(&plain, 0x10009, b"S390EP")).is_err());
}

#[test]
fn the_header_of_an_arm64_image() {
    let image = with(&image(), 8, &0x8_0000_u64.to_le_bytes());
    for (start, efi_stub) in [(b"MZ", true), (b"\0\0", false)] {
        let file = with(&image, 0, start);
        let kernel = Kernel::parse(&file).unwrap();
        let kind = LayerKind::Arm64Image { text_offset: 0x8_0000, image_size: 1 << 20, efi_stub };
        assert_eq!(kernel.layers()[0].kind, kind);
        assert_eq!((kernel.layers()[0].offset, kernel.layers()[0].size), (0, Some(file.len())));
    }
    // What follows belongs to the kernel until `image_size`.
    let body = body(None);
    let appended = |size: u64| {
        let file = [arm64_image(&body, size), dtb(96)].concat();
        Kernel::parse(&file).unwrap().appended_dtbs().unwrap().len()
    };
    let end = 64 + body.len() as u64;
    assert_eq!([end, end + 1, end + 96].map(appended), [1, 0, 0]);
}

/// `mkimage`'s header before `payload`.
fn uimage(arch: u8, payload: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 64];
    file[..4].copy_from_slice(&[0x27, 0x05, 0x19, 0x56]);
    file[12..16].copy_from_slice(&(payload.len() as u32).to_be_bytes());
    file[28..32].copy_from_slice(&[5, arch, 2, 0]);
    file[32..43].copy_from_slice(b"Linux-6.1.0");
    [file, payload.to_vec()].concat()
}

#[test]
fn every_architecture_of_a_uimage() {
    // `enum` of `IH_ARCH_*` in U-Boot's `include/image.h`.
    let numbers = [
        (1, Some(Arch::Alpha)),
        (2, Some(Arch::Arm)),
        (3, Some(Arch::X86)),
        (4, Some(Arch::Ia64)),
        (5, Some(Arch::Mips)),
        (6, Some(Arch::Mips)),
        (7, Some(Arch::Powerpc)),
        (8, Some(Arch::S390)),
        (9, Some(Arch::Sh)),
        (10, Some(Arch::Sparc)),
        (11, Some(Arch::Sparc)),
        (12, Some(Arch::M68k)),
        (14, Some(Arch::Microblaze)),
        (15, Some(Arch::Nios2)),
        (21, Some(Arch::Openrisc)),
        (22, Some(Arch::Arm64)),
        (23, Some(Arch::Arc)),
        (24, Some(Arch::X86_64)),
        (25, Some(Arch::Xtensa)),
        (26, Some(Arch::Riscv64)),
        (0, None),
        // The sandbox.
        (19, None),
    ];
    let code = noise(3000, 5);
    for (number, expected) in numbers {
        let kernel = uimage(number, &code);
        let kernel = Kernel::parse(&kernel).unwrap();
        assert_eq!(kernel.arch(), expected, "{number}");
        // What cannot be followed is the kernel itself.
        assert_eq!(kernel.describe(), "uImage (Linux-6.1.0)");
    }
}

#[test]
fn the_payload_of_a_uimage_ends_where_its_header_says() {
    let packed = pack(Format::Gzip, &image());
    let file = uimage(22, &packed);
    let kernel = Kernel::parse(&file).unwrap();
    assert_eq!(kernel.describe(), "uImage (Linux-6.1.0) → gzip → arm64 Image");
    let layers: Vec<_> = kernel.layers().iter().map(|layer| (layer.offset, layer.size)).collect();
    assert_eq!(layers, [(0, Some(64)), (64, Some(packed.len())), (0, None)]);
    // Anything may follow.
    let longer = [file.clone(), noise(100, 1)].concat();
    assert_eq!(Kernel::parse(&longer).unwrap().layers()[1].size, Some(packed.len()));

    let size = packed.len() as u64;
    for (value, text) in [(0, 0u32), (size + 1, size as u32 + 1)] {
        let file = with(&file, 12, &text.to_be_bytes());
        assert_eq!(outside(&file), ("ih_size", 12, value, size));
    }
    assert_eq!(truncated(&file[..63]), ("uImage", 63, 64));
    assert_eq!(outside(&file[..64]), ("ih_size", 12, size, 0));
}

#[test]
fn the_size_in_an_mtk_header() {
    let packed = pack(Format::Gzip, &image());
    let file = mtk(&packed);
    let layers = |file: &[u8]| {
        let kernel = Kernel::parse(file).unwrap();
        let sizes: Vec<_> =
            kernel.layers().iter().map(|layer| (layer.offset, layer.size)).collect();
        assert_eq!(kernel.scan().unwrap().version.as_deref(), Some(RELEASE));
        (sizes, kernel.problems().len())
    };
    let sound = vec![(0, Some(512)), (512, Some(packed.len())), (0, None)];
    assert_eq!(layers(&file), (sound.clone(), 0));
    let longer = [file.clone(), vec![0; 7]].concat();
    assert_eq!(layers(&longer), (sound.clone(), 0));
    // Neither nothing nor more than there is: the rest of the file is read.
    assert_eq!(layers(&with(&file, 4, &0u32.to_le_bytes())), (sound.clone(), 1));
    assert_eq!(layers(&with(&file, 4, &(packed.len() as u32 + 1).to_le_bytes())), (sound, 1));
    let (layer, field, offset, what) = problem(&with(&file, 4, &0u32.to_le_bytes()));
    assert_eq!((layer, field, offset), ("MTK header", "size", 4));
    assert_eq!(
        what,
        format!("is 0x0, but {:#x} bytes follow the header: they are read", packed.len())
    );

    assert_eq!(truncated(&file[..512]), ("MTK header", 512, 513));
    assert_eq!(truncated(&file[..4]), ("MTK header", 4, 513));
    // One byte follows, and it is not a kernel.
    assert!(matches!(Kernel::parse(&file[..513]), Err(Error::Unrecognised { .. })));
}

#[test]
fn the_payload_of_a_zboot_is_within_the_file() {
    let packed = pack(Format::Gzip, &image());
    let file = zboot(&packed, "gzip", true);
    let len = file.len() as u64;
    let field = |at, value: u64| with(&file, at, &(value as u32).to_le_bytes());
    assert_eq!(outside(&field(8, len)), ("payload_offset", 8, len, len));
    assert_eq!(outside(&field(12, 0)), ("payload_size", 12, 0, len));
    assert_eq!(outside(&field(12, len - 511)), ("payload_size", 12, len - 511, len - 512));
    // It may reach the very end.
    assert_eq!(
        Kernel::parse(&field(12, len - 512)).unwrap().layers()[1].size,
        Some(len as usize - 512)
    );
    assert_eq!(truncated(&file[..63]), ("EFI zboot", 63, 64));
    // The header alone: no room for a payload at 512.
    assert_eq!(outside(&file[..64]), ("payload_offset", 8, 512, 64));
}

#[test]
fn a_zboot_ends_with_the_last_section_of_its_pe_file() {
    let packed = pack(Format::Gzip, &image());
    let file = zboot(&packed, "gzip", true);
    // Two sections, the second of which is where the payload is and goes on after it.
    let start = 64 + 24 + 16;
    let mut file = with(&file, 70, &2u16.to_le_bytes());
    file[84..86].copy_from_slice(&16u16.to_le_bytes());
    let end = file.len() as u32;
    let sections = |file: &[u8], sizes: [(u32, u32); 2]| {
        let mut file = file.to_vec();
        for (index, (size, offset)) in sizes.into_iter().enumerate() {
            let at = start + index * 40;
            file[at + 16..at + 20].copy_from_slice(&size.to_le_bytes());
            file[at + 20..at + 24].copy_from_slice(&offset.to_le_bytes());
        }
        let at = file.len();
        file.extend_from_slice(&dtb(96));
        let dtbs = Kernel::parse(&file).unwrap().appended_dtbs().unwrap();
        dtbs.iter().map(|dtb| dtb.offset - at).collect::<Vec<_>>()
    };
    assert_eq!(sections(&file, [(100, 412), (end - 512, 512)]), [0]);
    // The largest end counts, in any order.
    assert_eq!(sections(&file, [(end - 512, 512), (100, 412)]), [0]);
    // A DTB within a section is the file's own, for the section as well as for the bytes before its end.
    assert_eq!(sections(&file, [(end - 512 + 1, 512), (0, 0)]), [0usize; 0]);
    // Sections that end before the payload does, or after the file, say nothing.
    assert_eq!(sections(&file, [(100, 412), (10, 512)]), [0]);
    assert_eq!(sections(&file, [(u32::MAX, 512), (0, 0)]), [0usize; 0]);
    // Without a PE header the payload is the end.
    let bare = with(&file, 64, b"XX");
    assert_eq!(sections(&bare, [(end - 512 + 1, 512), (0, 0)]), [0]);
}

#[test]
fn the_length_of_a_zimage() {
    let packed = pack(Format::Gzip, &[noise(5000, 12), body(Some(CONFIG))].concat());
    let file = zimage(&packed);
    let size = file.len();
    let after = [file.clone(), dtb(96)].concat();
    let read = |start: u32, end: u32| {
        let file = with(&with(&after, 0x28, &start.to_le_bytes()), 0x2c, &end.to_le_bytes());
        let kernel = Kernel::parse(&file).unwrap();
        assert_eq!(kernel.layers()[1].offset, 3000, "the stream that can be decompressed");
        let dtbs = kernel.appended_dtbs().unwrap().len();
        (kernel.layers()[0].size.unwrap(), dtbs, kernel.problems().len())
    };
    let end = size as u32;
    assert_eq!(read(0, end), (size, 1, 0));
    // Link addresses, of which the difference counts.
    assert_eq!(read(0x8000, 0x8000 + end), (size, 1, 0));
    assert_eq!(read(0, end + 96), (size + 96, 0, 0));
    for (start, end) in [(0, end + 97), (end, 0), (0, 0x2f)] {
        assert_eq!(read(start, end), (size + 96, 0, 1), "{start:#x} {end:#x}");
    }
    let (layer, field, offset, what) = problem(&with(&file, 0x2c, &1u32.to_le_bytes()));
    assert_eq!((layer, field, offset), ("ARM zImage", "end", 0x2c));
    assert_eq!(what, format!("0x0 to 0x1 does not fit {size:#x} bytes: all are read"));

    assert_eq!(truncated(&file[..0x2f]), ("ARM zImage", 0x2f, 0x30));
    assert!(matches!(Kernel::parse(&file[..0x30]), Err(Error::NoPayload { layer: "ARM zImage" })));
}

#[test]
fn a_stream_in_a_zimage_is_one_that_can_be_decompressed() {
    // Every compression that `arch/arm/boot/compressed` knows, after a magic that begins nothing; what it
    // unpacks to is at least 512 bytes.
    for format in [Format::Gzip, Format::Lz4Legacy, Format::Xz, Format::Lzma, Format::Zstd] {
        let of = |len| Kernel::parse(&zimage(&pack(format, &noise(len, 3)))).map(|_| ());
        assert!(of(512).is_ok(), "{format}");
        assert!(matches!(of(511), Err(Error::NoPayload { .. })), "{format}");
    }
}

#[test]
fn the_header_of_a_bzimage() {
    let piece = pack(Format::Gzip, &elf(62, ".text", &body(None)));
    let file = bzimage(&piece, "6.5.4-pc (root@pc) #1 SMP");
    let protocol = |value: u16| with(&file, 0x206, &value.to_le_bytes());
    // XLF_KERNEL_64 is a flag of protocol 2.12, and one of several.
    let head = |file: &[u8]| Kernel::parse(&file[..file.len()]).unwrap().layers()[0].clone();
    let own_arch = |file: &[u8]| {
        // Without an ELF file inside, the header decides.
        let mut file = file.to_vec();
        let raw = pack(Format::Gzip, &noise(5000, 3));
        file.truncate(0xa00 + 200);
        file.extend_from_slice(&raw);
        file[0x24c..0x250].copy_from_slice(&(raw.len() as u32).to_le_bytes());
        Kernel::parse(&file).unwrap().arch().unwrap()
    };
    assert_eq!(own_arch(&file), Arch::X86_64);
    assert_eq!(own_arch(&protocol(0x20c)), Arch::X86_64);
    assert_eq!(own_arch(&protocol(0x20b)), Arch::X86);
    assert_eq!(own_arch(&with(&file, 0x236, &[0x7e])), Arch::X86);
    assert_eq!(own_arch(&with(&file, 0x236, &[0x7f])), Arch::X86_64);

    // The offset of the payload came with 2.8: an older kernel is code of which nothing is known.
    let old = protocol(0x207);
    let (layer, field, offset, what) = problem(&old);
    assert_eq!((layer, field, offset), ("x86 bzImage", "version", 0x206));
    assert_eq!(what, "is 0x0207: too old to have the offset of its payload");
    assert_eq!(Kernel::parse(&old).unwrap().layers().len(), 1);
    assert_eq!(Kernel::parse(&protocol(0x208)).unwrap().layers().len(), 3);

    // No number of sectors is four.
    assert_eq!(Kernel::parse(&with(&file, 0x1f1, &[0])).unwrap().layers()[1].offset, 0xa00 + 200);
    assert_eq!(Kernel::parse(&file).unwrap().layers()[1].offset, 0xa00 + 200);
    assert_eq!(head(&file).size, Some(file.len()));
    let short = &file[..0xa00];
    assert_eq!(outside(short), ("setup_sects", 0x1f1, 4, 0xa00));
    assert_eq!(truncated(&file[..0x24f]), ("x86 bzImage", 0x24f, 0x250));
    assert_eq!(outside(&file[..0x250]), ("setup_sects", 0x1f1, 4, 0x250));

    let room = (file.len() - 0xa00) as u32;
    let field = |at, value: u32| with(&file, at, &value.to_le_bytes());
    let u64s = |value: u32| u64::from(value);
    assert_eq!(outside(&field(0x248, room)), ("payload_offset", 0x248, u64s(room), u64s(room)));
    assert_eq!(outside(&field(0x24c, 0)), ("payload_length", 0x24c, 0, u64s(room)));
    let most = room - 200;
    assert_eq!(
        outside(&field(0x24c, most + 1)),
        ("payload_length", 0x24c, u64s(most + 1), u64s(most))
    );
    assert_eq!(Kernel::parse(&field(0x24c, most)).unwrap().layers()[1].size, Some(most as usize));
}

#[test]
fn the_version_that_a_bzimage_points_to() {
    let file = bzimage(&pack(Format::Gzip, &noise(5000, 13)), "6.5.4-pc (x)");
    let version = |file: &[u8]| {
        let kernel = Kernel::parse(file).unwrap();
        let LayerKind::BzImage { version, .. } = &kernel.layers()[0].kind else { panic!() };
        version.clone()
    };
    assert_eq!(version(&file).as_deref(), Some("6.5.4-pc (x)"));
    // No pointer, one to no text, and one outside the file.
    assert_eq!(version(&with(&file, 0x20e, &[0, 0])), None);
    assert_eq!(version(&with(&file, 0x600, b"words")), None);
    assert_eq!(version(&with(&file, 0x20e, &[0xff, 0xff])), None);
    // A text is at most 512 bytes long, with its NUL.
    let long =
        |len: usize| version(&with(&with(&file, 0x600, &vec![b'6'; len]), 0x600 + len, &[0]));
    assert_eq!(long(511).map(|text| text.len()), Some(511));
    assert_eq!(long(512), None);
}

#[test]
fn what_a_bzimage_may_have_inside() {
    let vmlinux = elf(62, ".text", &body(Some(CONFIG)));
    let file = bzimage(&vmlinux, "6.5.4 (x)");
    let kernel = Kernel::parse(&file).unwrap();
    assert_eq!(kernel.describe(), "x86 bzImage → x86_64 ELF");
    let lzo = bzimage(b"\x89LZO\0\r\n\x1a\n and more", "6.5.4 (x)");
    assert_eq!(Kernel::parse(&lzo).unwrap().describe(), "x86 bzImage → lzo (not supported)");
    let other = bzimage(b"neither of them", "6.5.4 (x)");
    assert!(matches!(Kernel::parse(&other), Err(Error::NoPayload { layer: "x86 bzImage" })));
}

#[test]
fn at_most_eight_containers() {
    let wrap = |count: usize| {
        let mut file = pack(Format::Gzip, &image());
        for _ in 0..count {
            file = mtk(&file);
        }
        Kernel::parse(&file).map(|kernel| kernel.layers().len())
    };
    // The stream is one of them; what is in it comes after.
    assert_eq!(wrap(7).unwrap(), 9);
    assert!(matches!(wrap(8), Err(Error::TooDeep)));
}
