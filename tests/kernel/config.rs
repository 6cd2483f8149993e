//! `.config` files.

use crate::common::synthetic;

use proptest::prelude::*;
use synthetic::real;
use vfioboot::kernel::config::{ConfigError, KernelConfig, Value};
use vfioboot::kernel::config_file::{self, ConfigFileError};
use vfioboot::kernel::{Arch, Kernel, KernelVersion};

#[test]
fn every_kind_of_value() {
    let text = "# Linux/x86 6.12.3 Kernel Configuration\r\nCONFIG_64BIT=y\r\nCONFIG_A=m\n\
        # CONFIG_B is not set\nCONFIG_C=n\nCONFIG_D=\"say \\\"no\\\" \\\\ 'x'=1\"\nCONFIG_E=-48\n\
        CONFIG_F=0xffff800000000000\nCONFIG_G=\"\"\n# CONFIG_H is not really set\n#CONFIG_I=y\n\n";
    let config = KernelConfig::parse(text.as_bytes()).unwrap();
    let text = |value: &str| Value::Text(value.to_owned());
    let number = |value: &str| Value::Number(value.to_owned());
    let expected = [
        ("64BIT", Value::Yes),
        ("A", Value::Module),
        ("B", Value::No),
        ("C", Value::No),
        ("D", text("say \"no\" \\ 'x'=1")),
        ("E", number("-48")),
        ("F", number("0xffff800000000000")),
        ("G", text("")),
    ];
    let found: Vec<_> = config.iter().map(|(name, value)| (name, value.clone())).collect();
    assert_eq!(found, expected);
    assert_eq!(config.get("H"), None);
    assert_eq!(config.release(), Some("6.12.3"));
    assert_eq!(config.version(), Some(KernelVersion { major: 6, minor: 12, patch: 3 }));
    assert_eq!(config.arch(), Some(Arch::X86_64));
}

#[test]
fn the_last_of_several_settings_counts_and_is_reported() {
    let config = KernelConfig::parse(b"CONFIG_A=y\nCONFIG_B=y\n# CONFIG_A is not set\n").unwrap();
    assert_eq!(config.get("A"), Some(&Value::No));
    let (duplicate, count) = config.duplicates().unwrap();
    assert_eq!((duplicate.symbol.as_str(), duplicate.line), ("A", 3));
    assert_eq!(duplicate.before, Value::Yes);
    assert_eq!(count, 1);
}

#[test]
fn other_files_are_not_configs() {
    assert_eq!(KernelConfig::parse(b""), Err(ConfigError::NoSymbols));
    assert_eq!(KernelConfig::parse(b"# only\n# words\n"), Err(ConfigError::NoSymbols));
    let script = b"#!/bin/sh\nset -e\nCONFIG_A=y\nmake\n";
    let error = KernelConfig::parse(script).unwrap_err();
    assert_eq!(error, ConfigError::Foreign { line: 2, others: 1 });
    // The kernel ignores one bad line among good ones; it is reported.
    let config = KernelConfig::parse(b"CONFIG_A=y\nCONFIG_B=?\nCONFIG_C=\"open\n").unwrap_err();
    assert_eq!(config, ConfigError::Foreign { line: 2, others: 1 });
    let config = KernelConfig::parse(b"CONFIG_A=y\nCONFIG_B=?\nCONFIG_C=y\n").unwrap();
    assert_eq!(config.strange_lines(), [2]);
}

#[test]
fn values_are_read_as_kconfig_reads_them() {
    // conf_set_sym_val of scripts/kconfig/confdata.c
    let value = |text: &str| {
        let config = KernelConfig::parse(format!("CONFIG_OTHER=y\n{text}\n").as_bytes()).unwrap();
        config.get("A").cloned()
    };
    for (text, expected) in [("yes", Value::Yes), ("m # module", Value::Module), ("no", Value::No)]
    {
        assert_eq!(value(&format!("CONFIG_A={text}")), Some(expected), "{text}");
    }
    assert_eq!(value("CONFIG_A= y"), None);
    assert_eq!(value("CONFIG_A=Y"), None);
    assert_eq!(value("# CONFIG_A is not set, or is it"), Some(Value::No));
    assert_eq!(value("# CONFIG_A  is not set"), None);
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    assert_eq!(value("CONFIG_A=\"a\" # b"), text("a"));
    assert_eq!(value("CONFIG_A=\"a\\\"b\"c\""), text("a\"b"));
    assert_eq!(value("CONFIG_A=\"open\\\""), None);
}

#[test]
fn a_name_of_two_word_sizes_is_decided_by_symbols() {
    let narrow = "# CONFIG_64BIT is not set\n";
    for (name, symbols, expected) in [
        ("x86", "CONFIG_64BIT=y\n", Arch::X86_64),
        ("x86", "", Arch::X86_64),
        ("x86", narrow, Arch::X86),
        ("x86", "CONFIG_X86_32=y\n", Arch::X86),
        ("x86_64", "CONFIG_64BIT=y\n", Arch::X86_64),
        ("x86_64", narrow, Arch::X86),
        ("x86_64", "CONFIG_X86_32=y\n", Arch::X86),
        ("riscv", "CONFIG_64BIT=y\n", Arch::Riscv64),
        ("riscv", narrow, Arch::Riscv32),
        ("riscv", "CONFIG_32BIT=y\n", Arch::Riscv32),
        ("loongarch", "CONFIG_64BIT=y\n", Arch::Loongarch64),
        ("loongarch", narrow, Arch::Loongarch32),
        ("loongarch", "CONFIG_32BIT=y\n", Arch::Loongarch32),
        ("arm64", narrow, Arch::Arm64),
        ("mips", "CONFIG_32BIT=y\n", Arch::Mips),
    ] {
        let text = format!("# Linux/{name} 6.1.9 Kernel Configuration\nCONFIG_A=y\n{symbols}");
        let config = KernelConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.arch(), Some(expected), "{name} {symbols}");
    }
}

#[test]
fn names_of_symbols_are_letters_digits_and_underscores() {
    let config = |line: &str| {
        let config = KernelConfig::parse(format!("CONFIG_OTHER=y\n{line}\n").as_bytes()).unwrap();
        (config.iter().count() - 1, config.strange_lines().len())
    };
    for (line, set, strange) in [
        ("CONFIG_a_1=y", 1, 0),
        ("CONFIG_A-B=y", 0, 1),
        ("CONFIG_A B=y", 0, 1),
        ("CONFIG_=y", 0, 1),
        ("CONFIG_\u{e9}=y", 0, 1),
        ("# CONFIG_a_1 is not set", 1, 0),
        ("# CONFIG_A-B is not set", 0, 0),
        ("# CONFIG_ is not set", 0, 0),
    ] {
        assert_eq!(config(line), (set, strange), "{line}");
    }
}

#[test]
fn versions_compare_as_numbers() {
    let version = |text| KernelVersion::parse(text).unwrap();
    assert!(version("6.6") > version("6.1.192-android14-11"));
    assert!(version("6.12-rc3") > version("6.6.99"));
    assert_eq!(version("5.10.0"), version("5.10"));
    assert_eq!(version("4.19.300+").patch, 300);
    for text in ["", "6", "six.one", "6.", ".1", "6.1.99999999999"] {
        assert_eq!(KernelVersion::parse(text), None, "{text}");
    }
}

#[test]
fn real_configs_are_read_whole() {
    for name in ["good.config", "debian-6.1-cloud-arm64.config"] {
        let Some(path) = real(name) else { return };
        let text = std::fs::read_to_string(path).unwrap();
        let config = KernelConfig::parse(text.as_bytes()).unwrap();
        let settings = |line: &&str| line.starts_with("CONFIG_") || line.ends_with(" is not set");
        assert_eq!(config.iter().count(), text.lines().filter(settings).count(), "{name}");
        assert!(config.strange_lines().is_empty() && config.duplicates().is_none(), "{name}");
        assert_eq!(config.release(), Some("6.1.192"), "{name}");
        assert_eq!(config.arch(), Some(Arch::Arm64), "{name}");
    }
}

#[test]
fn a_config_file_has_at_most_16_mebibytes() {
    let of = |size: usize| {
        let mut text = b"CONFIG_A=y\n".to_vec();
        text.resize(size - 1, b'#');
        text.push(b'\n');
        config_file::read(&text).map(|config| config.iter().count())
    };
    assert_eq!(of(16 << 20).unwrap(), 1);
    let limit = 16 << 20;
    assert!(matches!(of(limit + 1), Err(ConfigFileError::TooLarge { size }) if size == limit + 1));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = KernelConfig::parse(&bytes);
        let _ = Kernel::parse(&bytes).map(|kernel| kernel.scan().map(|scan| scan.scanned));
    }

    #[test]
    fn any_lines_are_read_or_refused(
        lines in proptest::collection::vec("(# )?(CONFIG_)?[A-Z_0-9é]{0,4}(=| is not set)?[ymn\"\\\\x0-9\r]{0,5}", 0..20),
    ) {
        if let Ok(config) = KernelConfig::parse(lines.join("\n").as_bytes()) {
            prop_assert!(config.iter().count() > 0);
            prop_assert!(config.iter().all(|(symbol, _)| !symbol.starts_with("CONFIG_CONFIG_")));
        }
    }
}
