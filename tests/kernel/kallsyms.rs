//! The symbol table of a kernel: every layout, real kernels, inconsistent tables.

use crate::common::synthetic;

use std::path::Path;

use synthetic::{LAYOUTS, noise, real, symbol_table};
use vfioboot::audit::{Evidence, EvidenceState};
use vfioboot::compression::{Format, encode};
use vfioboot::kernel::{Arch, Kallsyms, Kernel, KernelVersion};

fn names() -> Vec<String> {
    let mut names: Vec<String> = (0..1000).map(|i| format!("tsome_function_{i}")).collect();
    names[300] = "Tvfio_pci_probe".into();
    names[301] = "Tvfio_register_group_dev.llvm.4711".into();
    names[302] = "Tload_module".into();
    names
}

#[test]
fn every_layout_from_4_9_to_6_12() {
    let mut all = names();
    for layout in LAYOUTS {
        if layout.long {
            all[500] = format!("t{}", "long".repeat(60));
        }
        let found = Kallsyms::find(&symbol_table(layout, &all)).unwrap();
        assert_eq!(found.count, 1000);
        assert!(found.has("vfio_pci_probe") && found.has("vfio_register_group_dev"));
        assert!(found.has("some_function_7") && !found.has("some_function_300"));
        assert_eq!(found.has(&"long".repeat(60)), layout.long);
        assert!(!found.has_data);
    }
    // The 3000 bytes before the tokens in 6.2's layout leave no padding, and no NUL.
    assert_eq!(3 * all.len() % LAYOUTS[3].align, 0);
}

#[test]
fn a_table_is_found_while_the_kernel_is_unpacked() {
    let mut header = [0; 64];
    header[56..60].copy_from_slice(b"ARM\x64");
    let few = names();
    // More than is held of a kernel that is being unpacked.
    let many: Vec<String> =
        (0..20_000).map(|i| format!("t{}{i}", "a_long_name_".repeat(20))).collect();
    for (names, before) in [(&few, 0), (&few, 13 << 20), (&few, (13 << 20) + 4), (&many, 13 << 20)]
    {
        let table = symbol_table(LAYOUTS[4], names);
        let image = [&header[..], &vec![b'x'; before], &table, &vec![b'x'; 1 << 20]].concat();
        let packed = encode(Format::Zstd, &image, None).unwrap();
        let texts = ["xxxARMd".to_owned(), "d\0\0\0\0xxx".to_owned()];
        let (scan, found) = Kernel::parse(&packed).unwrap().scan_or_kallsyms(&texts).unwrap();
        let found = found.unwrap();
        // The second is where the header ends.
        let has: Vec<bool> = texts.iter().map(|text| found.texts[text]).collect();
        assert_eq!(has, [false, before > 0]);
        assert_eq!((scan.scanned, scan.complete), (image.len() as u64, true));
        assert_eq!(found.count, names.len());
        let start = Kallsyms::find(&symbol_table(LAYOUTS[4], &few)).unwrap().offset;
        assert_eq!(found.offset - before - header.len(), start);
    }
}

#[test]
fn inconsistent_tables_are_rejected() {
    let good = symbol_table(LAYOUTS[1], &names());
    let found = Kallsyms::find(&good).unwrap();
    assert!(Kallsyms::find(&noise(1 << 20, 5)).is_none());
    let digits = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\0";
    assert!(Kallsyms::find(&digits.repeat(5000)).is_none());
    // Damage is noticed, or changes nothing but a name.
    for at in (found.offset - 8..good.len() - 5000).step_by(67) {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        if let Some(other) = Kallsyms::find(&bad) {
            assert!(other.count <= 1000);
        }
    }
    for cut in (0..good.len()).step_by(997) {
        assert!(Kallsyms::find(&good[..cut.min(good.len() - 5600)]).is_none());
    }
}

#[test]
fn evidence_of_texts() {
    let names: Vec<String> = [names(), vec!["tarm_smmu_global_fault".to_owned()]].concat();
    let bypass = |text: &str, texts: &[String]| {
        let mut header = [0; 64];
        header[56..60].copy_from_slice(b"ARM\x64");
        let table = symbol_table(LAYOUTS[2], &names);
        // Between two parts of the search.
        let before = vec![b'x'; (4 << 20) - 16];
        let text = format!("{text:64}");
        let image = [&header[..], &before, text.as_bytes(), &table].concat();
        let packed = encode(Format::Zstd, &image, None).unwrap();
        let (_, found) = Kernel::parse(&packed).unwrap().scan_or_kallsyms(texts).unwrap();
        let version = KernelVersion::parse("6.1.9");
        let found = Evidence::collect(&found.unwrap(), Some(Arch::Arm64), version, "Image");
        let about = found.about("ARM_SMMU_DISABLE_BYPASS_BY_DEFAULT").cloned();
        about.map(|about| (about.state, about.to_string()))
    };
    let message = "Blocked unknown Stream ID 0x%hx; boot with";
    let (state, reason) = bypass(message, &Evidence::texts()).unwrap();
    assert_eq!(state, EvidenceState::BuiltIn);
    assert_eq!(reason, "Blocked unknown Stream ID 0x is in the kernel");
    assert_eq!(bypass("", &Evidence::texts()).unwrap().0, EvidenceState::Off);
    assert_eq!(bypass(message, &[]), None, "not looked for");
}

#[test]
fn evidence_of_names() {
    let collect = |names: &[String]| {
        let found = Kallsyms::find(&symbol_table(LAYOUTS[2], names)).unwrap();
        let version = KernelVersion::parse("6.1.9");
        Evidence::collect(&found, Some(Arch::Arm64), version, "Image")
    };
    let all = names();
    let evidence = collect(&all);
    let state = |evidence: &Evidence, symbol| evidence.about(symbol).map(|about| about.state);
    assert_eq!(state(&evidence, "VFIO_PCI"), Some(EvidenceState::BuiltIn));
    assert_eq!(
        evidence.about("VFIO_PCI").unwrap().to_string(),
        "vfio_pci_probe is in the symbol table"
    );
    assert_eq!(
        state(&evidence, "VFIO_IOMMU_TYPE1"),
        Some(EvidenceState::NotBuiltIn),
        "it may be m"
    );
    assert_eq!(state(&evidence, "KVM"), Some(EvidenceState::Off), "arm64 has no KVM=m");
    assert_eq!(state(&evidence, "VIRTUALIZATION"), None);
    assert_eq!(state(&evidence, "VFIO_GROUP"), None, "not before 6.6");
    let without: Vec<String> =
        all.iter().map(|name| name.replace("load_module", "other")).collect();
    assert_eq!(
        state(&collect(&without), "VFIO_IOMMU_TYPE1"),
        Some(EvidenceState::Off),
        "no modules"
    );
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
        let names = kernel.kallsyms(&Evidence::texts()).unwrap().unwrap();
        let evidence = Evidence::collect(&names, kernel.arch(), config.version(), name);
        assert!(evidence.iter().count() > 40);
        for (symbol, sign) in evidence.iter() {
            let built_in = sign.state == EvidenceState::BuiltIn;
            assert_eq!(built_in, config.is_set(symbol), "{name}: {symbol}: {}", sign);
        }
    }
}
