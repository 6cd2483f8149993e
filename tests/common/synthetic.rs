//! Kernels, DTBs and modules made from nothing, small enough to mutate by the thousand.

use std::io::Write;
use std::path::PathBuf;

use vfioboot::compression::{Format, encode};

/// The banner of a kernel that never was, as `init/version-timestamp.c` makes it.
pub const BANNER: &str =
    "Linux version 6.1.99-android14-11-gabcdef (ci@ci) (gcc 12.2.0, GNU ld 2.40) #1 SMP PREEMPT";
/// Its release.
pub const RELEASE: &str = "6.1.99-android14-11-gabcdef";
/// A config with everything that an arm64 kernel is required to have.
pub const CONFIG: &str = "#\n# Automatically generated file; DO NOT EDIT.\n\
    # Linux/arm64 6.1.99 Kernel Configuration\n#\n\
    CONFIG_IKCONFIG=y\nCONFIG_INIT_ENV_ARG_LIMIT=32\nCONFIG_PANIC_TIMEOUT=0\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_EVENTFD=y\nCONFIG_VIRTUALIZATION=y\n\
    CONFIG_KVM=y\nCONFIG_PCI=y\nCONFIG_PCI_MSI=y\nCONFIG_PCI_HOST_GENERIC=y\n\
    CONFIG_VFIO=y\nCONFIG_VFIO_IOMMU_TYPE1=y\nCONFIG_VFIO_PCI=y\nCONFIG_IOMMU_SUPPORT=y\n\
    CONFIG_ARM_SMMU=y\nCONFIG_ARM_SMMU_V3=y\nCONFIG_CMDLINE=\"\"\n\
    # CONFIG_CMDLINE_FORCE is not set\n";

/// `len` bytes that look like machine code to a search: the same ones for the same seed.
pub fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// The config as `kernel/configs.c` embeds it.
pub fn ikconfig(text: &str) -> Vec<u8> {
    let packed = encode(Format::Gzip, text.as_bytes(), None).unwrap();
    [b"IKCFG_ST", packed.as_slice(), b"IKCFG_ED"].concat()
}

/// A header as `arch/arm64/kernel/head.S` has it, before `body`.
pub fn arm64_image(body: &[u8], image_size: u64) -> Vec<u8> {
    let mut image = vec![0; 64];
    image[..4].copy_from_slice(&[0x4d, 0x5a, 0x40, 0xfa]);
    image[16..24].copy_from_slice(&image_size.to_le_bytes());
    image[24] = 0x0a;
    image[56..60].copy_from_slice(b"ARM\x64");
    image[60..64].copy_from_slice(&64u32.to_le_bytes());
    image.extend_from_slice(body);
    image
}

/// A body with what a search must not fall for, then the banner, then the config.
pub fn body(config: Option<&str>) -> Vec<u8> {
    let mut body = noise(900, 1);
    body.extend_from_slice(b"\0Linux version %s (%s)\0IKCFG_ST\0\0\0Linux version 2.6 is old\0");
    body.extend_from_slice(&noise(700, 2));
    body.extend_from_slice(BANNER.as_bytes());
    body.extend_from_slice(b"\n\0");
    body.extend_from_slice(&noise(500, 3));
    // A start that a gzip magic follows by chance.
    body.extend_from_slice(b"IKCFG_ST\x1f\x8b\x08\0garbage that does not unpack");
    body.extend_from_slice(&noise(300, 4));
    if let Some(config) = config {
        body.extend_from_slice(&ikconfig(config));
    }
    body.extend_from_slice(&noise(600, 5));
    body
}

/// An arm64 Image with banner and config.
pub fn image() -> Vec<u8> {
    arm64_image(&body(Some(CONFIG)), 1 << 20)
}

/// An EFI zboot image. Newer kernels have LINUX_PE_MAGIC at 56, older ones 0.
pub fn zboot(payload: &[u8], name: &str, new: bool) -> Vec<u8> {
    let mut file = vec![0; 512];
    file[..8].copy_from_slice(b"MZ\0\0zimg");
    file[8..12].copy_from_slice(&512u32.to_le_bytes());
    file[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    file[24..24 + name.len()].copy_from_slice(name.as_bytes());
    if new {
        file[56..60].copy_from_slice(&0x8182_23cd_u32.to_le_bytes());
    }
    file[60..64].copy_from_slice(&64u32.to_le_bytes());
    file[64..70].copy_from_slice(b"PE\0\0\x64\xaa");
    file.extend_from_slice(payload);
    file.extend_from_slice(&noise(100, 6));
    file
}

/// MediaTek's header before `payload`.
pub fn mtk(payload: &[u8]) -> Vec<u8> {
    let mut file = vec![0xff; 512];
    file[..4].copy_from_slice(&0x5888_1688_u32.to_le_bytes());
    file[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    file[8..40].fill(0);
    file[8..14].copy_from_slice(b"KERNEL");
    file.extend_from_slice(payload);
    file
}

/// A 32-bit ARM zImage around a compressed kernel.
pub fn zimage(piece: &[u8]) -> Vec<u8> {
    let mut file = noise(3000, 7);
    // A gzip magic in the unpacking code that begins no stream.
    file[900..904].copy_from_slice(b"\x1f\x8b\x08\0");
    file.extend_from_slice(piece);
    file.extend_from_slice(&noise(40, 8));
    file[0x24..0x28].copy_from_slice(&0x016f_2818_u32.to_le_bytes());
    file[0x28..0x2c].copy_from_slice(&0u32.to_le_bytes());
    let end = file.len() as u32;
    file[0x2c..0x30].copy_from_slice(&end.to_le_bytes());
    file
}

/// An x86 bzImage, 64-bit, protocol 2.15.
pub fn bzimage(piece: &[u8], version: &str) -> Vec<u8> {
    let mut file = vec![0; 5 * 512];
    // It is an EFI executable, too, with LINUX_PE_MAGIC.
    file[..2].copy_from_slice(b"MZ");
    file[56..60].copy_from_slice(&0x8182_23cd_u32.to_le_bytes());
    file[60] = 0x40;
    file[0x40..0x46].copy_from_slice(b"PE\0\0\x64\x86");
    file[0x1f1] = 4;
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    file[0x20e..0x210].copy_from_slice(&0x400u16.to_le_bytes());
    file[0x236] = 1;
    file[0x600..0x600 + version.len()].copy_from_slice(version.as_bytes());
    file[0x248..0x24c].copy_from_slice(&200u32.to_le_bytes());
    file[0x24c..0x250].copy_from_slice(&(piece.len() as u32).to_le_bytes());
    file.extend_from_slice(&noise(200, 9));
    file.extend_from_slice(piece);
    file.extend_from_slice(&noise(300, 10));
    file
}

/// A device tree blob of `size` bytes, as far as its header goes.
pub fn dtb(size: u32) -> Vec<u8> {
    let fields = [0xd00d_feed, size, 56, 72, 40, 17, 16, 0, 4, 16];
    let mut blob: Vec<u8> = fields.iter().flat_map(|field: &u32| field.to_be_bytes()).collect();
    blob.resize(size as usize, 0);
    blob
}

/// A 64-bit little-endian ELF file with one named section.
pub fn elf(machine: u16, section: &str, contents: &[u8]) -> Vec<u8> {
    let names = format!("\0{section}\0.shstrtab\0");
    let names_at = 64 + contents.len();
    let table = (names_at + names.len()).next_multiple_of(8);
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    for half in [1u16, machine] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(&1u32.to_le_bytes());
    for word in [0u64, 0, table as u64] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&0u32.to_le_bytes());
    for half in [64u16, 0, 0, 64, 3, 2] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(contents);
    file.extend_from_slice(names.as_bytes());
    file.resize(table + 64, 0);
    let named = |name: u32, kind: u32, offset: usize, size: usize| {
        let mut header = [name, kind].map(u32::to_le_bytes).concat();
        header.extend_from_slice(&[0; 16]);
        header.extend_from_slice(&[offset as u64, size as u64].map(u64::to_le_bytes).concat());
        header.resize(64, 0);
        header
    };
    file.extend_from_slice(&named(1, 1, 64, contents.len()));
    file.extend_from_slice(&named(2 + section.len() as u32, 3, names_at, names.len()));
    file
}

/// A kernel module with these `.modinfo` entries.
pub fn module(entries: &[&str]) -> Vec<u8> {
    elf(
        183,
        ".modinfo",
        entries.iter().flat_map(|e| [e.as_bytes(), b"\0"].concat()).collect::<Vec<u8>>().as_slice(),
    )
}

/// Compress as the kernel's build does.
pub fn pack(format: Format, bytes: &[u8]) -> Vec<u8> {
    encode(format, bytes, None).unwrap()
}

/// A gzip stream that stores `bytes` without compressing them.
pub fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A file among the real kernels that may lie beside a checkout; says so when it does not.
pub fn real(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/kernels").join(name);
    if !path.is_file() {
        eprintln!("no {name} beside the checkout: not tested against it");
        return None;
    }
    Some(path)
}

/// How `scripts/kallsyms.c` laid its tables out.
#[derive(Clone, Copy)]
pub struct Layout {
    /// Alignment of each part, in bytes.
    pub align: usize,
    /// Of the count and the markers, in bytes.
    pub word: usize,
    /// Names longer than 127 tokens take a second length byte.
    pub long: bool,
    /// `kallsyms_seqs_of_names` is before the tokens.
    pub seqs: bool,
    /// Addresses come first.
    pub addresses_first: bool,
}

/// Those from 4.9 to 6.12.
pub const LAYOUTS: [Layout; 5] = [
    // 4.9 on arm64, 4.20, 6.1, 6.2, 6.4.
    Layout { align: 256, word: 8, long: false, seqs: false, addresses_first: true },
    Layout { align: 8, word: 4, long: false, seqs: false, addresses_first: true },
    Layout { align: 8, word: 4, long: true, seqs: false, addresses_first: true },
    Layout { align: 8, word: 4, long: true, seqs: true, addresses_first: true },
    Layout { align: 8, word: 4, long: true, seqs: false, addresses_first: false },
];

/// Noise with a symbol table in this layout in it; each name begins with its type.
pub fn symbol_table(layout: Layout, names: &[String]) -> Vec<u8> {
    // Characters stand for themselves, `_` and `function` for what saves bytes.
    let token = |code: usize| match code {
        1 => "function".to_owned(),
        2 => "some_".to_owned(),
        33..=126 => char::from(code as u8).to_string(),
        _ => String::new(),
    };
    let mut image = noise(10_000, 3);
    let align = |image: &mut Vec<u8>| image.resize(image.len().next_multiple_of(layout.align), 0);
    align(&mut image);
    if layout.addresses_first {
        (0..names.len() as u32).for_each(|i| image.extend_from_slice(&(i * 64).to_le_bytes()));
        align(&mut image);
        image.extend_from_slice(&0xffff_ffc0_0800_0000_u64.to_le_bytes());
        align(&mut image);
    }
    image.extend_from_slice(&(names.len() as u64).to_le_bytes()[..layout.word]);
    align(&mut image);
    let start = image.len();
    let mut markers = Vec::new();
    for (i, name) in names.iter().enumerate() {
        if i % 256 == 0 {
            markers.push(image.len() - start);
        }
        let text = name.replace("function", "\x01").replace("some_", "\x02");
        match text.len() {
            short @ ..128 => image.push(short as u8),
            long => image.extend([long as u8 & 0x7f | 0x80, (long >> 7) as u8]),
        }
        image.extend_from_slice(text.as_bytes());
    }
    align(&mut image);
    for marker in markers {
        image.extend_from_slice(&(marker as u64).to_le_bytes()[..layout.word]);
    }
    align(&mut image);
    if layout.seqs {
        (0..names.len()).for_each(|_| image.extend_from_slice(&[1, 2, 3]));
        align(&mut image);
    }
    let mut index = Vec::new();
    let tokens = image.len();
    for code in 0..256 {
        index.extend_from_slice(&((image.len() - tokens) as u16).to_le_bytes());
        image.extend_from_slice(token(code).as_bytes());
        image.push(0);
    }
    align(&mut image);
    image.extend_from_slice(&index);
    image.extend_from_slice(&noise(5000, 4));
    image
}
