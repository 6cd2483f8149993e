//! Version and config: found once, exactly, early and in little memory.

use crate::common::synthetic;

use std::fs;

use synthetic::*;
use vfioboot::compression::{Format, decode_all};
use vfioboot::kernel::Kernel;

#[test]
fn strings_that_look_like_a_config_are_skipped() {
    let raw = arm64_image(&body(None), 1 << 20);
    for bytes in [raw.clone(), pack(Format::Gzip, &raw)] {
        let scan = Kernel::parse(&bytes).unwrap().scan().unwrap();
        assert_eq!(scan.banner.as_deref(), Some(BANNER));
        assert_eq!(scan.version.as_deref(), Some(RELEASE));
        assert!(scan.ikconfig.is_none());
        assert_eq!((scan.scanned, scan.complete), (raw.len() as u64, true));
    }
    let none = arm64_image(b"\0Linux version %s (%s)\n\0Linux version 6 or so (old)\0", 1 << 20);
    let scan = Kernel::parse(&none).unwrap().scan().unwrap();
    assert_eq!((scan.version, scan.banner), (None, None));
}

#[test]
fn everything_is_found_across_every_border_of_the_window() {
    const WINDOW: usize = 128 * 1024;
    for shift in 0..40 {
        let mut body = noise(WINDOW - 64 - 20 + shift, 1);
        body.extend_from_slice(BANNER.as_bytes());
        body.extend_from_slice(b"\n\0");
        let filler = 2 * WINDOW - 64 - body.len() - 20 + shift;
        body.extend_from_slice(&noise(filler, 2));
        let offset = 64 + body.len() as u64;
        body.extend_from_slice(&ikconfig(CONFIG));
        body.extend_from_slice(&noise(3 * WINDOW, 3));
        let image = arm64_image(&body, 1 << 20);
        let packed = stored(&image);
        let scan = Kernel::parse(&packed).unwrap().scan().unwrap();
        assert_eq!(scan.banner.as_deref(), Some(BANNER), "shift {shift}");
        let ikconfig = scan.ikconfig.unwrap_or_else(|| panic!("shift {shift}: no config"));
        assert_eq!(ikconfig.offset, offset, "shift {shift}");
        assert_eq!(ikconfig.text, CONFIG.as_bytes(), "shift {shift}");
        assert!(!scan.complete && scan.scanned < image.len() as u64, "shift {shift}: no early end");
    }
}

#[test]
fn a_config_longer_than_the_window_is_read_whole() {
    let lines: String = noise(400_000, 4)
        .chunks(8)
        .map(|name| {
            format!("CONFIG_{}=y\n", name.iter().map(|b| format!("{b:02X}")).collect::<String>())
        })
        .collect();
    let packed = ikconfig(&lines);
    assert!(packed.len() > 200_000, "{} bytes are no test", packed.len());
    let image = arm64_image(&[noise(9000, 1), packed, noise(9000, 2)].concat(), 1 << 20);
    let scan = Kernel::parse(&pack(Format::Zstd, &image)).map(|kernel| kernel.scan().unwrap());
    assert!(scan.unwrap().ikconfig.unwrap().text == lines.as_bytes());
}

#[test]
fn a_config_before_the_banner_ends_the_search_of_a_stream_only() {
    let mut body = ikconfig(CONFIG);
    body.extend_from_slice(&noise(600_000, 1));
    body.extend_from_slice(BANNER.as_bytes());
    body.extend_from_slice(b"\n\0");
    let image = arm64_image(&body, 1 << 20);
    // Searching what lies there costs nothing.
    let scan = Kernel::parse(&image).unwrap().scan().unwrap();
    assert_eq!(scan.version.as_deref(), Some(RELEASE));
    // Unpacking does: the config's header has the version.
    let packed = pack(Format::Gzip, &image);
    let scan = Kernel::parse(&packed).unwrap().scan().unwrap();
    assert_eq!((scan.version.as_deref(), scan.banner), (Some("6.1.99"), None));
    assert!(scan.scanned < 300_000, "{} bytes unpacked", scan.scanned);
}

#[test]
fn damage_is_reported_only_before_the_config() {
    let image = arm64_image(&[body(Some(CONFIG)), noise(400_000, 1)].concat(), 1 << 20);
    let packed = stored(&image);
    let scan = Kernel::parse(&packed[..200_000]).unwrap().scan().unwrap();
    assert_eq!(scan.ikconfig.unwrap().text, CONFIG.as_bytes());
    assert!(scan.damage.is_none());

    let scan = Kernel::parse(&packed[..2300]).unwrap().scan().unwrap();
    assert_eq!(scan.version.as_deref(), Some(RELEASE), "found before the damage");
    assert!(scan.ikconfig.is_none() && !scan.complete);
    assert!(scan.damage.unwrap().to_string().contains("gzip stream"));
}

#[test]
fn many_false_starts_do_not_make_it_slow() {
    let bait = b"IKCFG_ST\x1f\x8b\x08\0".repeat(200_000);
    let image = arm64_image(&bait, 1 << 20);
    for bytes in [image.clone(), pack(Format::Zstd, &image)] {
        let started = std::time::Instant::now();
        assert!(Kernel::parse(&bytes).unwrap().scan().unwrap().ikconfig.is_none());
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }
}

#[test]
fn real_kernels_give_the_config_of_their_build() {
    let kernels = [
        ("good-Image.gz", "good.config", "gzip → arm64 Image"),
        ("good-zboot-gzip.efi", "good.config", "arm64 EFI zboot → gzip → arm64 Image"),
        ("good-zboot-zstd.efi", "zboot-zstd.config", "arm64 EFI zboot → zstd → arm64 Image"),
        ("vfio-m-Image.gz", "vfio-m.config", "gzip → arm64 Image"),
    ];
    for (name, config, description) in kernels {
        let (Some(path), Some(config)) = (real(name), real(config)) else { return };
        let bytes = fs::read(path).unwrap();
        let kernel = Kernel::parse(&bytes).unwrap();
        assert_eq!(kernel.describe(), description, "{name}");
        assert_eq!(kernel.problems(), [], "{name}");
        let scan = kernel.scan().unwrap();
        assert_eq!(scan.version.as_deref(), Some("6.1.192-qemu-android"), "{name}");
        assert!(scan.ikconfig.unwrap().text == fs::read(config).unwrap(), "{name}: another config");
        assert!(scan.scanned < 6_000_000, "{name}: {} bytes unpacked", scan.scanned);
    }
}

#[test]
fn a_real_kernel_without_config_and_raw() {
    let Some(path) = real("bad-Image.gz") else { return };
    let bytes = fs::read(path).unwrap();
    let scan = Kernel::parse(&bytes).unwrap().scan().unwrap();
    assert!(scan.ikconfig.is_none() && scan.complete && scan.version.is_some());
    let (raw, _) = decode_all(Format::Gzip, &bytes, 1 << 30).unwrap();
    let kernel = Kernel::parse(&raw).unwrap();
    assert_eq!(kernel.describe(), "arm64 Image");
    assert_eq!(kernel.scan().unwrap().scanned, raw.len() as u64);
}

/// Parse and search an uncompressed Image and the same one compressed, which must agree.
fn scanned(body: &[u8]) -> vfioboot::kernel::Scan {
    let image = arm64_image(body, 1 << 24);
    let plain = Kernel::parse(&image).unwrap().scan().unwrap();
    let packed =
        Kernel::parse(&pack(Format::Zstd, &image)).map(|kernel| kernel.scan().unwrap()).unwrap();
    assert_eq!((&plain.version, &plain.banner), (&packed.version, &packed.banner));
    assert_eq!(plain.ikconfig, packed.ikconfig);
    plain
}

#[test]
fn a_banner_has_a_release_and_its_builder() {
    let banner =
        |text: &str| scanned(&[&noise(500, 1)[..], text.as_bytes(), b"\n\0"].concat()).banner;
    let long = format!("6.1.{}", "9".repeat(3));
    let release = |length: usize| format!("{long}-{}", "x".repeat(length - long.len() - 1));
    for text in [
        "Linux version 6.1.99 (ci@ci) #1".to_owned(),
        "Linux version 6.12.0-rc3+ (a) b".to_owned(),
        format!("Linux version {} (ci@ci)", release(64)),
        "Linux version 6.1.99 (".to_owned(),
    ] {
        assert_eq!(banner(&text).as_deref(), Some(&*text), "{text}");
    }
    for text in [
        "Linux version 6 (ci@ci)".to_owned(),
        "Linux version 6.1.99".to_owned(),
        "Linux version 6.1.99 and later".to_owned(),
        "Linux version %s (%s)".to_owned(),
        "Linux version  6.1.99 (ci@ci)".to_owned(),
        format!("Linux version {} (ci@ci)", release(65)),
    ] {
        assert_eq!(banner(&text), None, "{text}");
    }
    // The line ends at what is not printable, and after 512 bytes.
    assert_eq!(
        banner("Linux version 6.1.99 (a)  \tb").as_deref(),
        Some("Linux version 6.1.99 (a)")
    );
    let endless = format!("Linux version 6.1.99 ({}", "y".repeat(1000));
    assert_eq!(banner(&endless).as_deref(), Some(&endless[..512]));
    // The first one that is one counts.
    let two = "Linux version 6 is old\0Linux version 6.1.1 (a)\0Linux version 6.1.2 (b)";
    assert_eq!(banner(two).as_deref(), Some("Linux version 6.1.1 (a)"));
    // At the very end there is nothing after it.
    let last = scanned(b"Linux version 6.1.99 (ci");
    assert_eq!(last.banner.as_deref(), Some("Linux version 6.1.99 (ci"));
}

#[test]
fn a_config_is_at_most_a_mebibyte_and_has_symbols() {
    let start = [b"IKCFG_ST", &pack(Format::Gzip, CONFIG.as_bytes())[..]].concat();
    let found =
        |packed: &[u8]| scanned(&[&noise(300, 1)[..], packed, &noise(300, 2)].concat()).ikconfig;
    assert!(found(&[&start[..], b"IKCFG_ED"].concat()).is_some());
    // Without an end, without gzip, and without a symbol in it.
    assert!(found(&start).is_none());
    assert!(found(b"IKCFG_STIKCFG_ED").is_none());
    assert!(found(&ikconfig("# words\n")).is_none());
    // Up to the end there may be padding.
    let padded = |size: usize| {
        let mut bytes = start.clone();
        bytes.resize(8 + size, 0);
        bytes.extend_from_slice(b"IKCFG_ED");
        found(&bytes).is_some()
    };
    assert!(padded(1 << 20));
    assert!(!padded((1 << 20) + 1));
    // And unpacked at most 8 MiB.
    let unpacked = |size: usize| {
        let mut text = CONFIG.to_owned();
        text.extend(std::iter::repeat_n('#', size - CONFIG.len()));
        found(&ikconfig(&text)).map(|config| config.text.len())
    };
    assert_eq!(unpacked(8 << 20), Some(8 << 20));
    assert_eq!(unpacked((8 << 20) + 1), None);
}

#[test]
fn at_most_64_false_starts_are_tried() {
    let bait = |count: usize| {
        let false_start = b"IKCFG_ST\x1f\x8b\x08\0no stream IKCFG_ED ";
        scanned(&[&false_start.repeat(count)[..], &ikconfig(CONFIG)].concat()).ikconfig.is_some()
    };
    assert!(bait(63));
    assert!(!bait(64));
    // A text of the same letters is none of them.
    let words = [&b"IKCFG_ST is a text IKCFG_ED ".repeat(100)[..], &ikconfig(CONFIG)].concat();
    assert!(scanned(&words).ikconfig.is_some());
}

#[test]
fn the_search_says_how_much_it_has_seen() {
    let config = ikconfig(CONFIG);
    let banner = [BANNER.as_bytes(), b"\n\0"].concat();
    let scan = |parts: &[&[u8]]| {
        let image = arm64_image(&parts.concat(), 1 << 24);
        let scan = Kernel::parse(&image).unwrap().scan().unwrap();
        (scan.scanned, image.len() as u64, scan.complete)
    };
    let noise = noise(1000, 7);
    let before = (64 + banner.len() + config.len()) as u64;
    // With both, the search ends after the config, wherever more comes.
    assert_eq!(scan(&[&banner, &config, &noise]), (before, before + 1000, false));
    assert_eq!(scan(&[&banner, &config]), (before, before, true));
    // Without a banner before it, the rest is searched for one.
    assert_eq!(scan(&[&config, &noise, &banner]), (before + 1000, before + 1000, true));
    assert_eq!(scan(&[&banner, &noise]).0, (64 + banner.len() + 1000) as u64);
}

#[test]
fn a_version_comes_from_the_header_where_the_kernel_has_no_banner() {
    let config = ikconfig(CONFIG);
    let scan = scanned(&[&noise(100, 1)[..], &config].concat());
    assert_eq!((scan.version.as_deref(), scan.banner), (Some("6.1.99"), None));
    let none = CONFIG.replace("# Linux/arm64 6.1.99 Kernel Configuration", "# words");
    let scan = scanned(&[&noise(100, 1)[..], &ikconfig(&none)].concat());
    assert_eq!(scan.version, None);
}
