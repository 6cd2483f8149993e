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

/// The table of these names in the layout of 6.1, which may have long ones.
fn table(names: &[String]) -> Option<Kallsyms> {
    Kallsyms::find(&symbol_table(LAYOUTS[2], names))
}

#[test]
fn a_table_has_at_least_200_names() {
    for layout in LAYOUTS {
        let of = |count| {
            Kallsyms::find(&symbol_table(layout, &names()[..count])).map(|found| found.count)
        };
        assert_eq!(
            [199, 200, 256, 257, 512, 513].map(of),
            [None, Some(200), Some(256), Some(257), Some(512), Some(513)]
        );
    }
}

#[test]
fn a_name_has_a_type_and_a_length() {
    let with = |name: &str| {
        let mut all = names();
        all[400] = name.to_owned();
        table(&all)
    };
    for kind in ["t", "T", "w", "W", "?", "A", "z", "Z"] {
        assert!(with(&format!("{kind}own")).unwrap().has("own"), "{kind}");
    }
    for kind in ["0", "_", "/", "@", "[", "~"] {
        assert!(with(&format!("{kind}own")).is_none(), "{kind}");
    }
    // One character after the type at least, and 1,024 bytes with it at most.
    assert!(with("t").is_none());
    assert!(with("tx").unwrap().has("x"));
    assert!(with(&format!("t{}", "x".repeat(1023))).unwrap().has(&"x".repeat(1023)));
    assert!(with(&format!("t{}", "x".repeat(1024))).is_none());
    // A token is longer than the byte that stands for it.
    let functions = "function".repeat(127);
    assert!(with(&format!("t{functions}")).unwrap().has(&functions));
    assert!(with(&format!("t{functions}function")).is_none());
}

#[test]
fn suffixes_of_compilers_are_not_part_of_a_name() {
    let mut all = names();
    let suffixed =
        ["Tone.llvm.4711", "tone_two.isra.0", "Trusty$h1234", "t.hidden", "t$own", "tone.cold"];
    for (place, name) in suffixed.into_iter().enumerate() {
        all[place] = name.to_owned();
    }
    let found = table(&all).unwrap();
    for name in ["one", "one_two", "rusty", ".hidden", "$own"] {
        assert!(found.has(name), "{name}");
    }
    for name in ["one.llvm.4711", "one.cold", "rusty$h1234", "hidden", "", "on"] {
        assert!(!found.has(name), "{name}");
    }
    assert_eq!(found.count, 1000);
}

#[test]
fn a_table_with_variables_has_more_than_a_twentieth_of_them() {
    let with = |kind: &str, count: usize| {
        let mut all = names();
        for (number, name) in all.iter_mut().take(count).enumerate() {
            *name = format!("{kind}variable_{number}");
        }
        table(&all).unwrap().has_data
    };
    for kind in ["d", "D", "b", "B", "r", "R"] {
        assert_eq!([50, 51].map(|count| with(kind, count)), [false, true], "{kind}");
    }
    assert!(!with("t", 1000) && !with("a", 1000));
}

#[test]
fn the_first_table_that_is_one_is_taken() {
    let whole = symbol_table(LAYOUTS[4], &names());
    let mut other = names();
    other[5] = "tthe_second".to_owned();
    let both = [whole.clone(), symbol_table(LAYOUTS[4], &other)].concat();
    let found = Kallsyms::find(&both).unwrap();
    assert_eq!(found.offset, Kallsyms::find(&whole).unwrap().offset);
    assert!(!found.has("the_second"));
    // After digits that begin no tokens it is found all the same, but not after any number of them.
    let digits = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\0";
    let after =
        |count: usize| Kallsyms::find(&[digits.repeat(count), whole.clone()].concat()).is_some();
    assert!(after(255));
    assert!(!after(256));
}
