//! The symbol table of a kernel: every layout, real kernels, lies.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod synthetic;

use std::path::Path;

use synthetic::{noise, real};
use vfioboot::audit::evidence::{Evidence, State};
use vfioboot::kernel::{Arch, Kallsyms, Kernel, KernelVersion};

/// How `scripts/kallsyms.c` laid its tables out.
#[derive(Clone, Copy)]
struct Layout {
    /// Alignment of each part, in bytes.
    align: usize,
    /// Of the count and the markers, in bytes.
    word: usize,
    /// Names longer than 127 tokens take a second length byte.
    long: bool,
    /// `kallsyms_seqs_of_names` stands before the tokens.
    seqs: bool,
    /// Addresses stand in front.
    addresses_first: bool,
}

const LAYOUTS: [Layout; 5] = [
    // 4.9 on arm64, 4.20, 6.1, 6.2, 6.4.
    Layout { align: 256, word: 8, long: false, seqs: false, addresses_first: true },
    Layout { align: 8, word: 4, long: false, seqs: false, addresses_first: true },
    Layout { align: 8, word: 4, long: true, seqs: false, addresses_first: true },
    Layout { align: 8, word: 4, long: true, seqs: true, addresses_first: true },
    Layout { align: 8, word: 4, long: true, seqs: false, addresses_first: false },
];

fn names() -> Vec<String> {
    let mut names: Vec<String> = (0..1000).map(|i| format!("tsome_function_{i}")).collect();
    names[300] = "Tvfio_pci_probe".into();
    names[301] = "Tvfio_register_group_dev.llvm.4711".into();
    names[302] = "Tload_module".into();
    names
}

/// A kernel with a symbol table in this layout.
fn kernel(layout: Layout, names: &[String]) -> Vec<u8> {
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

#[test]
fn every_layout_from_4_9_to_6_12() {
    let mut all = names();
    for layout in LAYOUTS {
        if layout.long {
            all[500] = format!("t{}", "long".repeat(60));
        }
        let found = Kallsyms::find(&kernel(layout, &all)).unwrap();
        assert_eq!(found.count, 1000);
        assert!(found.has("vfio_pci_probe") && found.has("vfio_register_group_dev"));
        assert!(found.has("some_function_7") && !found.has("some_function_300"));
        assert_eq!(found.has(&"long".repeat(60)), layout.long);
        assert!(!found.has_data);
    }
    // The 3000 bytes in front of the tokens in 6.2's layout leave no padding, and no NUL.
    assert_eq!(3 * all.len() % LAYOUTS[3].align, 0);
}

#[test]
fn lies_are_no_table() {
    let good = kernel(LAYOUTS[1], &names());
    let found = Kallsyms::find(&good).unwrap();
    assert_eq!(Kallsyms::find(&noise(1 << 20, 5)), None);
    assert_eq!(
        Kallsyms::find(&b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\0".repeat(5000)),
        None
    );
    // Damage is noticed, or changes nothing but a name.
    for at in (found.offset - 8..good.len() - 5000).step_by(67) {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        if let Some(other) = Kallsyms::find(&bad) {
            assert!(other.count <= 1000);
        }
    }
    for cut in (0..good.len()).step_by(997) {
        assert_eq!(Kallsyms::find(&good[..cut.min(good.len() - 5600)]), None);
    }
}

#[test]
fn evidence_of_names() {
    let collect = |names: &[String]| {
        let found = Kallsyms::find(&kernel(LAYOUTS[2], names)).unwrap();
        let version = KernelVersion::parse("6.1.9");
        Evidence::collect(&found, Some(Arch::Arm64), version, "Image")
    };
    let all = names();
    let evidence = collect(&all);
    let state = |evidence: &Evidence, symbol| evidence.sign(symbol).map(|sign| sign.state);
    assert_eq!(state(&evidence, "VFIO_PCI"), Some(State::BuiltIn));
    assert_eq!(
        evidence.sign("VFIO_PCI").unwrap().because(),
        "vfio_pci_probe is in the symbol table"
    );
    assert_eq!(state(&evidence, "VFIO_IOMMU_TYPE1"), Some(State::NotBuiltIn), "it may be m");
    assert_eq!(state(&evidence, "KVM"), Some(State::Off), "arm64 has no KVM=m");
    assert_eq!(state(&evidence, "VIRTUALIZATION"), None);
    assert_eq!(state(&evidence, "VFIO_GROUP"), None, "not before 6.6");
    let without: Vec<String> =
        all.iter().map(|name| name.replace("load_module", "other")).collect();
    assert_eq!(state(&collect(&without), "VFIO_IOMMU_TYPE1"), Some(State::Off), "no modules");
}

/// The evidence of real kernels never contradicts their config.
#[test]
fn real_kernels() {
    for name in ["good", "vfio-m", "bad"] {
        let Some(image) = real(&format!("{name}-Image.gz")) else { return };
        let config = image.with_file_name(format!("{name}.config"));
        let config = std::fs::read(Path::new(&config)).unwrap();
        let config = vfioboot::kernel::KernelConfig::parse(&config).unwrap();
        let bytes = std::fs::read(image).unwrap();
        let kernel = Kernel::parse(&bytes).unwrap();
        let names = kernel.kallsyms().unwrap().unwrap();
        let evidence = Evidence::collect(&names, kernel.arch(), config.version(), name);
        assert!(evidence.iter().count() > 40);
        for (symbol, sign) in evidence.iter() {
            let built_in = sign.state == State::BuiltIn;
            assert_eq!(built_in, config.is_set(symbol), "{name}: {symbol}: {}", sign.because());
        }
    }
}
