//! What a patch promises: it can be undone exactly, it changes nothing that it does not name, the
//! kernel can read what it adds, and what cannot work is refused with the reason.

use crate::common;

use std::borrow::Cow;
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use common::{
    AARCH64, RELEASE, X86_64, cpio, dynamic_elf, edited, elf, fixture, images, kernel, module,
    pipe, real_images, with_avb_footer, with_cmdline, with_config, with_section,
};
use proptest::prelude::*;
use vfioboot::bootfile::{BootFile, BootModule, DeviceSpec};
use vfioboot::bootset::BootSet;
use vfioboot::cmdline::Cmdline;
use vfioboot::compression::{self, Format};
use vfioboot::image::{Image, ImageKind, RegionKind, SectionName};
use vfioboot::patch::{self, Error, HookChoice, HookKind, Options, Plan, Runtimes, Warning};
use vfioboot::ramdisk::{self, Entries, Limits};

fn image(name: &str) -> Vec<u8> {
    fixture(&format!("images/{name}.img"))
}

fn devices(names: &[&str]) -> Vec<DeviceSpec> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn options(runtime: &[u8]) -> Options<'_> {
    Options::new(devices(&["1b36:0010", "0000:00:02.0"]), Runtimes::given(runtime))
}

fn parse(set: &[Vec<u8>]) -> Vec<Image<'_>> {
    set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect()
}

/// Plan with `change`d options and look at the plan.
fn planned<T>(
    set: &[Vec<u8>],
    change: impl FnOnce(&mut Options<'_>),
    look: impl FnOnce(Result<Plan<'_>, Error>) -> T,
) -> T {
    let runtime = elf(AARCH64);
    let mut options = options(&runtime);
    change(&mut options);
    look(patch::plan(&BootSet::from_images(&parse(set)), &options))
}

/// The set after a patch; images that stay are given back as they were.
fn patched_with(set: &[Vec<u8>], change: impl FnOnce(&mut Options<'_>)) -> Vec<Vec<u8>> {
    planned(set, change, |plan| {
        let plan = plan.unwrap_or_else(|error| panic!("{error}"));
        let bytes = |(i, bytes): (usize, &Vec<u8>)| {
            let output = plan.images[i].output.as_ref();
            output.map_or_else(|| bytes.clone(), |output| output.to_vec())
        };
        set.iter().enumerate().map(bytes).collect()
    })
}

fn patched(set: &[Vec<u8>]) -> Vec<Vec<u8>> {
    patched_with(set, |_| {})
}

fn patched_one(bytes: &[u8]) -> Vec<u8> {
    patched(&[bytes.to_vec()]).remove(0)
}

fn unpatched(set: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
    let originals = patch::unpatch(&BootSet::from_images(&parse(set)))?;
    let bytes = |(bytes, original): (&Vec<u8>, Option<vfioboot::image::Output<'_>>)| {
        original.map_or_else(|| bytes.clone(), |output| output.to_vec())
    };
    Ok(std::iter::zip(set, originals).map(bytes).collect())
}

/// Why there is no original.
fn refusal(set: &[Vec<u8>]) -> Error {
    match unpatched(set) {
        Ok(_) => panic!("expected a refusal"),
        Err(error) => error,
    }
}

fn assert_round_trip(name: &str, set: &[Vec<u8>]) {
    let changed = patched(set);
    assert!(changed != set, "{name}: nothing was patched");
    assert!(unpatched(&changed).unwrap() == set, "{name}: unpatch gives other bytes");
}

/// Sets that are patched in different places: each with its name.
fn sets() -> &'static [(String, Vec<Vec<u8>>)] {
    static SETS: LazyLock<Vec<(String, Vec<Vec<u8>>)>> = LazyLock::new(all_sets);
    &SETS
}

fn all_sets() -> Vec<(String, Vec<Vec<u8>>)> {
    let mut sets: Vec<_> = images()
        .into_iter()
        .filter(|(name, bytes)| {
            let image = Image::parse(bytes).unwrap();
            let alone = image.kind() == ImageKind::Boot && name != "boot-v4";
            alone || image.kind() == ImageKind::VendorBoot
        })
        .map(|(name, bytes)| (name, vec![bytes]))
        .collect();
    for names in [
        &["boot-v4", "vendor_boot-v4", "init_boot-v4"][..],
        &["init_boot-v4", "boot-v4"],
        &["boot-v4", "vendor_boot-v4-fragments"],
        &["vendor_boot-v3", "boot-v3"],
    ] {
        sets.push((names.join("+"), names.iter().map(|name| image(name)).collect()));
    }
    sets
}

fn message(set: &[Vec<u8>], change: impl FnOnce(&mut Options<'_>)) -> String {
    planned(set, change, |plan| match plan {
        Ok(_) => panic!("expected a refusal"),
        Err(error) => common::message(&error),
    })
}

fn cmdline(bytes: &[u8]) -> String {
    let image = Image::parse(bytes).unwrap();
    String::from_utf8_lossy(&image.header().unwrap().cmdline()).into_owned()
}

fn words(bytes: &[u8]) -> Vec<String> {
    cmdline(bytes).split_whitespace().map(str::to_owned).collect()
}

fn ramdisk_of(bytes: &[u8]) -> Vec<u8> {
    let image = Image::parse(bytes).unwrap();
    let name = match image.kind() {
        ImageKind::VendorBoot => SectionName::VendorRamdisk,
        _ => SectionName::Ramdisk,
    };
    image.section(name).unwrap().to_vec()
}

/// What the kernel finds under `vfioboot/`: path, mode, data.
fn ours(ramdisk: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut entries = Entries::new(ramdisk, Limits::default());
    while let Some(entry) = entries.next_entry().unwrap() {
        let path = String::from_utf8_lossy(entry.path()).into_owned();
        let mut data = Vec::new();
        entries.copy_data(&mut data).unwrap();
        if path.starts_with("vfioboot") {
            found.push((path, entry.header.mode, data));
        }
    }
    found
}

fn file_of<'f>(files: &'f [(String, u32, Vec<u8>)], path: &str) -> &'f [u8] {
    &files.iter().find(|(name, ..)| name == path).unwrap().2
}

fn boot_file(bytes: &[u8]) -> BootFile {
    let files = ours(&ramdisk_of(bytes));
    let text = String::from_utf8(file_of(&files, "vfioboot/boot.toml").to_vec()).unwrap();
    toml::from_str(&text).unwrap()
}

// --- it can be undone -------------------------------------------------------------------------

#[test]
fn unpatch_gives_back_every_original_byte_for_byte() {
    for (name, set) in sets() {
        assert_round_trip(name, set);
    }
}

#[test]
fn real_images_come_back_byte_for_byte() {
    for (name, bytes) in real_images() {
        let set = [bytes];
        // Some have no ramdisk: those are refused, and that is all right too.
        let plannable = planned(&set, |_| {}, |plan| plan.is_ok());
        if plannable {
            assert_round_trip(&name, &set);
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for (name, set) in sets() {
        assert!(patched(set) == patched(set), "{name}");
    }
}

#[test]
fn the_order_of_the_images_does_not_matter() {
    let set = [image("boot-v4"), image("vendor_boot-v4"), image("init_boot-v4")];
    let mut backwards = set.to_vec();
    backwards.reverse();
    let mut out = patched(&backwards);
    out.reverse();
    assert!(out == patched(&set));
}

#[test]
fn a_dump_with_an_avb_footer_comes_back() {
    for name in ["boot-v2-gzip-dtbo", "boot-v4-ramdisk", "vendor_boot-v4-fragments"] {
        assert_round_trip(name, &[with_avb_footer(&image(name), 512 << 10)]);
    }
}

#[test]
fn a_dump_with_zeros_at_its_end_comes_back() {
    for name in ["boot-v0-gzip", "boot-v3", "vendor_boot-v4"] {
        let mut bytes = image(name);
        bytes.resize(256 << 10, 0);
        assert_round_trip(name, &[bytes]);
    }
}

#[test]
fn an_image_that_ends_after_its_last_section_is_restored() {
    for name in ["boot-v2-xz", "boot-v3", "vendor_boot-v4"] {
        let mut bytes = image(name);
        let image = Image::parse(&bytes).unwrap();
        let last = image.regions().iter().rfind(|r| matches!(r.kind, RegionKind::Section(_)));
        let end = last.map(|region| region.offset + region.size).unwrap();
        bytes.truncate(end);
        assert_round_trip(name, &[bytes]);
    }
}

#[test]
fn a_vendor_trailer_comes_back() {
    for (trailer, zeros) in [("SEANDROIDENFORCE", 0), ("SEANDROIDENFORCE", 70_000)] {
        let mut bytes = image("boot-v2-lz4_legacy");
        bytes.extend_from_slice(trailer.as_bytes());
        bytes.resize(bytes.len() + zeros, 0);
        assert_round_trip(trailer, &[bytes]);
    }
}

#[test]
fn padding_that_is_not_zero_comes_back() {
    for (name, set) in sets() {
        let stained = set.iter().map(|bytes| {
            let mut stained = bytes.clone();
            for region in Image::parse(bytes).unwrap().regions() {
                if region.kind == RegionKind::Padding {
                    stained[region.offset..region.offset + region.size].fill(0xa5);
                }
            }
            stained
        });
        assert_round_trip(name, &stained.collect::<Vec<_>>());
    }
}

#[test]
fn a_wrong_id_comes_back_and_stays_as_it_is() {
    let mut bytes = image("boot-v2-raw");
    bytes[576] ^= 1;
    let changed = patched_one(&bytes);
    assert_eq!(changed[576..608], bytes[576..608]);
    assert_round_trip("id", &[bytes]);
}

#[test]
fn a_qcdt_in_a_v0_header_comes_back() {
    let mut bytes = image("boot-v0-gzip");
    bytes[40..44].copy_from_slice(&5000u32.to_le_bytes());
    bytes.extend_from_slice(&[0xab; 5000]);
    bytes.resize(bytes.len().next_multiple_of(2048), 0);
    let changed = patched_one(&bytes);
    let parsed = Image::parse(&changed).unwrap();
    assert_eq!(parsed.section(SectionName::Dt).unwrap(), [0xab; 5000]);
    assert_round_trip("qcdt", &[bytes]);
}

#[test]
fn an_unterminated_command_line_is_mended_and_comes_back() {
    let mut bytes = image("boot-v2-raw");
    bytes[64..64 + 512].fill(b'x');
    let changed = patched_one(&bytes);
    assert_eq!(changed[64 + 511], 0, "terminated now");
    assert_eq!(Image::parse(&changed).unwrap().problems(), []);
    assert_round_trip("unterminated", &[bytes]);
}

#[test]
fn bytes_after_the_nul_of_a_command_line_are_restored() {
    let mut bytes = image("boot-v3");
    bytes[44 + 1000..44 + 1100].fill(b'z');
    assert_round_trip("behind the NUL", &[bytes]);
}

#[test]
fn a_command_line_that_is_not_utf8_is_restored() {
    let mut bytes = image("boot-v2-raw");
    bytes[64..70].copy_from_slice(b"\xff\xfe=\xe9 a");
    let changed = patched_one(&bytes);
    let line = Image::parse(&changed).unwrap().header().unwrap().cmdline();
    assert!(line.windows(4).any(|window| window == b"\xff\xfe=\xe9"));
    assert_round_trip("no UTF-8", &[bytes]);
}

#[test]
fn a_bare_ramdisk_comes_back() {
    for name in ["gzip-dtbo", "lz4_legacy", "raw", "xz", "zstd", "bzip2", "lzma"] {
        let ramdisk = ramdisk_of(&image(&format!("boot-v2-{name}")));
        assert_round_trip(name, &[ramdisk]);
    }
}

#[test]
fn padding_after_an_lz4_ramdisk_is_restored() {
    let bytes = image("boot-v2-lz4_legacy");
    let mut ramdisk = ramdisk_of(&bytes);
    ramdisk.resize(ramdisk.len() + 333, 0);
    let bytes = with_section(&bytes, SectionName::Ramdisk, ramdisk);
    assert_round_trip("padded", &[bytes]);
}

#[test]
fn a_raw_ramdisk_without_a_trailer_comes_back() {
    let bytes = image("boot-v2-raw");
    let mut ramdisk = cpio(&[("init", b"#!/bin/sh\n")]);
    let trailer = ramdisk.windows(10).position(|name| name == b"TRAILER!!!").unwrap() - 110;
    ramdisk.truncate(trailer);
    for zeros in [0, 2, 512] {
        ramdisk.resize(trailer + zeros, 0);
        let bytes = with_section(&bytes, SectionName::Ramdisk, ramdisk.clone());
        assert_round_trip("without a TRAILER", &[bytes]);
    }
}

// --- it changes nothing that it does not name -------------------------------------------------

#[test]
fn only_the_ramdisk_its_table_the_line_and_the_id_change() {
    for (name, set) in sets() {
        for (before, after) in std::iter::zip(set, &patched(set)) {
            let (old, new) = (Image::parse(before).unwrap(), Image::parse(after).unwrap());
            assert_eq!(new.problems(), [], "{name}");
            for field in old.header().unwrap().sections() {
                let carries = matches!(
                    field.section,
                    SectionName::Ramdisk
                        | SectionName::VendorRamdisk
                        | SectionName::VendorRamdiskTable
                );
                let (was, is) = (old.section(field.section), new.section(field.section));
                assert!(carries || was == is, "{name}: {} changed", field.section);
            }
            let kept = |image: &Image<'_>| {
                let fields = image.header().unwrap().fields().into_iter();
                let fields = fields.filter(|field| {
                    !["id", "recovery_dtbo_offset"].contains(&field.name)
                        && !field.name.ends_with("cmdline")
                        && !field.name.ends_with("_size")
                });
                fields.map(|field| format!("{field:?}")).collect::<Vec<_>>()
            };
            assert_eq!(kept(&old), kept(&new), "{name}");
        }
    }
}

#[test]
fn the_original_ramdisk_is_a_prefix() {
    for (name, set) in sets() {
        for (before, after) in std::iter::zip(set, &patched(set)) {
            let (old, new) = (Image::parse(before).unwrap(), Image::parse(after).unwrap());
            if let Some(ramdisk) = old.section(SectionName::Ramdisk) {
                assert!(new.section(SectionName::Ramdisk).unwrap().starts_with(ramdisk), "{name}");
            }
            for (old, new) in std::iter::zip(old.fragments(), new.fragments()) {
                assert!(new.bytes.starts_with(old.bytes), "{name}: a fragment");
                assert_eq!((old.name, old.kind), (new.name, new.kind), "{name}");
            }
        }
    }
}

#[test]
fn the_id_is_what_mkbootimg_computes() {
    use sha1::{Digest, Sha1};
    for name in ["boot-v0-second-4096", "boot-v1-dtbo", "boot-v2-gzip-dtbo"] {
        let bytes = patched_one(&image(name));
        let parsed = Image::parse(&bytes).unwrap();
        let mut expected = Sha1::new();
        // write_header in mkbootimg.py: kernel, ramdisk, second, then by version.
        let order = [
            (SectionName::Kernel, 0),
            (SectionName::Ramdisk, 0),
            (SectionName::Second, 0),
            (SectionName::RecoveryDtbo, 1),
            (SectionName::Dtb, 2),
        ];
        for (section, _) in order.iter().filter(|(_, since)| bytes[40] >= *since) {
            let payload = parsed.section(*section).unwrap_or_default();
            expected.update(payload);
            expected.update((payload.len() as u32).to_le_bytes());
        }
        assert_eq!(bytes[576..596], expected.finalize()[..], "{name}");
    }
}

#[test]
fn the_avb_blob_moves_unchanged_and_the_partition_keeps_its_size() {
    let bytes = with_avb_footer(&image("boot-v2-raw"), 512 << 10);
    let changed = patched_one(&bytes);
    assert_eq!(changed.len(), bytes.len());
    let (old, new) = (Image::parse(&bytes).unwrap(), Image::parse(&changed).unwrap());
    let (old_footer, new_footer) = (old.avb().unwrap(), new.avb().unwrap());
    assert_eq!(changed[new_footer.vbmeta_range()], bytes[old_footer.vbmeta_range()]);
    assert!(new_footer.vbmeta_offset > old_footer.vbmeta_offset);
    assert!(new_footer.original_image_size > old_footer.original_image_size);
    assert_eq!(new_footer.vbmeta_offset, new_footer.original_image_size.next_multiple_of(4096));
}

#[test]
fn a_partition_that_is_too_small_is_refused_with_the_missing_bytes() {
    let original = image("boot-v2-raw");
    let grown = patched_one(&original).len();
    // A blob of 1600 bytes at the next 4096, the footer; one byte less than that takes.
    let needed = grown.next_multiple_of(4096) + 1600 + 64;
    let fits = with_avb_footer(&original, needed.next_multiple_of(4096));
    assert_round_trip("fits", &[fits]);
    let set = [with_avb_footer(&original, needed - 1)];
    let text = message(&set, |_| {});
    assert!(text.contains("1 bytes are missing"), "{text}");
}

#[test]
fn zeros_at_the_end_of_a_dump_give_way() {
    let mut bytes = image("boot-v3");
    bytes.resize(256 << 10, 0);
    assert_eq!(patched_one(&bytes).len(), bytes.len());
}

#[test]
fn a_vendor_trailer_moves_with_the_image() {
    let mut bytes = image("boot-v2-lz4_legacy");
    bytes.extend_from_slice(b"SEANDROIDENFORCE");
    assert!(patched_one(&bytes).ends_with(b"SEANDROIDENFORCE"));
}

/// AOSP's unpack_bootimg, which `make lab` puts into the cache.
fn unpack_bootimg() -> Option<PathBuf> {
    let cache = env::var_os("VFIOBOOT_CACHE").map(PathBuf::from).or_else(|| {
        let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
        let base = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?;
        Some(base.join("vfioboot"))
    })?;
    let versions = std::fs::read_dir(cache.join("lab-tools")).ok()?;
    let programs = versions.filter_map(|dir| Some(dir.ok()?.path().join("unpack_bootimg")));
    programs.into_iter().find(|program| program.is_file())
}

#[test]
fn aosps_unpack_bootimg_reads_the_same_from_a_patched_image() {
    let Some(program) = unpack_bootimg() else {
        eprintln!("no unpack_bootimg in the cache (make lab): not compared with AOSP's reading");
        return;
    };
    // One of each layout: Python takes its time to start.
    let layouts = [
        "boot-v0-second-4096",
        "boot-v1-dtbo",
        "boot-v2-xz",
        "boot-v3",
        "vendor_boot-v4-fragments",
    ];
    for (name, set) in sets().iter().filter(|(name, _)| layouts.contains(&&name[..])) {
        for bytes in patched(set) {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("image");
            std::fs::write(&file, &bytes).unwrap();
            let out = dir.path().join("out");
            let arguments = ["--boot_img".as_ref(), file.as_os_str(), "--out".as_ref()];
            let run = Command::new(&program).args(arguments).arg(&out).output().unwrap();
            assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
            let parsed = Image::parse(&bytes).unwrap();
            let read = |file: &str| std::fs::read(out.join(file)).unwrap_or_default();
            for (section, file) in [
                (SectionName::Kernel, "kernel"),
                (SectionName::Ramdisk, "ramdisk"),
                (SectionName::Second, "second"),
                (SectionName::RecoveryDtbo, "recovery_dtbo"),
                (SectionName::Dtb, "dtb"),
                (SectionName::Bootconfig, "bootconfig"),
            ] {
                let ours = parsed.section(section).unwrap_or_default();
                assert!(ours == read(file), "{name}: {section}");
            }
            for (i, fragment) in parsed.fragments().iter().enumerate() {
                let table = parsed.section(SectionName::VendorRamdiskTable).is_some();
                let file =
                    if table { format!("vendor_ramdisk{i:02}") } else { "vendor_ramdisk".into() };
                assert!(fragment.bytes == read(&file), "{name}: {file}");
            }
            let text = String::from_utf8_lossy(&run.stdout).into_owned();
            let word = "rdinit=/vfioboot/init";
            assert_eq!(text.contains(word), cmdline(&bytes).contains(word), "{name}: {text}");
        }
    }
}

// --- the kernel can read what it adds ---------------------------------------------------------

#[test]
fn the_segment_is_in_the_ramdisks_own_compression() {
    let tools: [(&str, &str, &[&str]); 6] = [
        ("boot-v2-gzip-dtbo", "gzip", &["-dc"]),
        ("boot-v2-lz4_legacy", "lz4", &["-dc"]),
        ("boot-v2-xz", "xz", &["-dc", "--single-stream"]),
        ("boot-v2-zstd", "zstd", &["-dcq"]),
        ("boot-v2-bzip2", "bzip2", &["-dc"]),
        ("boot-v2-lzma", "lzma", &["-dc"]),
    ];
    for (name, tool, arguments) in tools {
        let bytes = image(name);
        let before = ramdisk_of(&bytes);
        let mut ramdisk = ramdisk_of(&patched_one(&bytes));
        let archive = match tool {
            // One stream.
            "lz4" => {
                let length = pipe(tool, arguments, &before).len();
                pipe(tool, arguments, &ramdisk).split_off(length)
            }
            _ => pipe(tool, arguments, &ramdisk.split_off(before.len())),
        };
        let listing = pipe("cpio", &["-t", "--quiet"], &archive);
        let expected = "vfioboot\nvfioboot/init\nvfioboot/boot.toml\nvfioboot/undo\n";
        assert_eq!(String::from_utf8(listing).unwrap(), expected, "{name}");
    }
}

#[test]
fn a_raw_segment_starts_at_a_multiple_of_4() {
    let bytes = image("boot-v2-raw");
    let mut ramdisk = ramdisk_of(&bytes);
    let cut = ramdisk.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    ramdisk.truncate(cut + 1 + usize::from((cut + 1) % 4 == 0));
    let bytes = with_section(&bytes, SectionName::Ramdisk, ramdisk.clone());
    let grown = ramdisk_of(&patched_one(&bytes));
    let start = grown[ramdisk.len()..].iter().position(|byte| *byte != 0).unwrap() + ramdisk.len();
    assert_eq!(start % 4, 0);
    let listing = pipe("cpio", &["-t", "--quiet"], &grown[start..]);
    assert!(listing.starts_with(b"vfioboot\n"));
}

#[test]
fn the_kernel_reaches_the_segment_after_lz4_of_any_length() {
    // Unpacked lengths of all remainders, because headers must be at multiples of 4.
    for extra in 0..4 {
        let mut archive = cpio(&[("init", b"#!/bin/sh\n")]);
        archive.resize(archive.len() + extra, 0);
        let ramdisk = compression::encode(Format::Lz4Legacy, &archive, None).unwrap();
        let bytes = with_section(&image("boot-v2-lz4_legacy"), SectionName::Ramdisk, ramdisk);
        let ramdisk = ramdisk_of(&patched_one(&bytes));
        // lz4 joins streams as the kernel does.
        let whole = pipe("lz4", &["-dc"], &ramdisk);
        let at = whole.windows(14).position(|name| name == b"vfioboot/init\0").unwrap() - 110;
        assert_eq!((&whole[at..at + 6], at % 4), (&b"070701"[..], 0), "{extra}");
    }
}

#[test]
fn the_ramdisk_holds_runtime_boot_file_and_undo_record_with_their_modes() {
    for (name, set) in sets() {
        let changed = patched_with(set, |options| options.hook = HookChoice::Rdinit);
        let carrier =
            patch::record_of(&BootSet::from_images(&parse(&changed))).unwrap().unwrap().images[0]
                .kind;
        let carrier = parse(&changed).iter().position(|image| image.kind() == carrier).unwrap();
        let files = ours(&ramdisk_of(&changed[carrier]));
        let seen: Vec<_> = files.iter().map(|(name, mode, _)| (name.as_str(), *mode)).collect();
        let expected = [
            ("vfioboot", 0o040_755),
            ("vfioboot/init", 0o100_755),
            ("vfioboot/boot.toml", 0o100_644),
            ("vfioboot/undo", 0o100_600),
        ];
        assert_eq!(seen, expected, "{name}");
        assert_eq!(file_of(&files, "vfioboot/init"), elf(AARCH64), "{name}");
    }
}

#[test]
fn all_that_was_in_the_ramdisk_is_still_there_for_cpio() {
    let bytes = image("boot-v2-gzip-dtbo");
    let before = pipe("gzip", &["-dc"], &ramdisk_of(&bytes));
    let after = pipe("gzip", &["-dc"], &ramdisk_of(&patched_one(&bytes)));
    assert!(after.starts_with(&before));
}

#[test]
fn the_boot_file_lists_the_devices_in_order() {
    let boot = boot_file(&patched_one(&image("boot-v2-raw")));
    let expected = BootFile {
        version: 1,
        init: "/init".to_owned(),
        deadline_ms: 5000,
        wait_ms: 1000,
        devices: vec!["1b36:0010".to_owned(), "0000:00:02.0".to_owned()],
        modules: Vec::new(),
        shadows: Vec::new(),
        runtime_names: Vec::new(),
    };
    assert_eq!(boot, expected);
}

#[test]
fn the_boot_file_carries_the_deadline() {
    let set = [image("boot-v2-raw")];
    let changed = patched_with(&set, |options| options.deadline_ms = 1234);
    assert_eq!(boot_file(&changed[0]).deadline_ms, 1234);
}

#[test]
fn modules_go_in_and_are_listed_in_load_order() {
    let set = [with_config(&image("boot-v2-raw"), "CONFIG_VFIO=m\nCONFIG_VFIO_PCI=m\n")];
    let given = [
        ("vfio-pci.ko".to_owned(), module("vfio_pci", RELEASE, "vfio,vfio-pci-core")),
        ("vfio-pci-core.ko".to_owned(), module("vfio_pci_core", RELEASE, "vfio")),
        ("vfio.ko".to_owned(), module("vfio", RELEASE, "")),
    ];
    let changed = patched_with(&set, |options| {
        options.modules.files =
            given.iter().map(|(n, b)| (n.clone(), Cow::Owned(b.clone()))).collect();
    });
    let path = |name: &str| BootModule {
        path: format!("/vfioboot/modules/{name}"),
        params: String::new(),
    };
    let expected = ["vfio.ko", "vfio-pci-core.ko", "vfio-pci.ko"].map(path);
    assert_eq!(boot_file(&changed[0]).modules, expected);
    let files = ours(&ramdisk_of(&changed[0]));
    for (name, bytes) in &given {
        assert_eq!(file_of(&files, &format!("vfioboot/modules/{name}")), bytes);
    }
    assert!(unpatched(&changed).unwrap() == set);
}

// --- the command line -------------------------------------------------------------------------

/// The parameters of boot-v2-raw with the command line `line` after a patch.
fn patched_parameters(line: &str) -> Vec<String> {
    words(&patched_one(&with_cmdline(&image("boot-v2-raw"), line)))
}

#[test]
fn rdinit_is_first_and_the_other_parameters_stay_in_order() {
    let words = patched_parameters("console=ttyS0 root=/dev/sda init=/sbin/foo quiet");
    let expected =
        ["rdinit=/vfioboot/init", "console=ttyS0", "root=/dev/sda", "init=/sbin/foo", "quiet"];
    assert_eq!(words[..5], expected);
}

#[test]
fn an_empty_line_has_only_the_new_parameters() {
    assert_eq!(patched_parameters("")[0], "rdinit=/vfioboot/init");
}

#[test]
fn an_existing_rdinit_is_replaced_in_place_and_executed_later() {
    let ramdisk = cpio(&[("bin/", b""), ("bin/start", b"#!/bin/sh\n")]);
    let bytes = with_section(&image("boot-v2-raw"), SectionName::Ramdisk, ramdisk);
    let bytes = with_cmdline(&bytes, "a rdinit=/nowhere b rdinit=/bin/start c");
    let changed = patched_one(&bytes);
    let expected = ["a", "rdinit=/nowhere", "b", "rdinit=/vfioboot/init", "c"];
    assert_eq!(words(&changed)[..5], expected);
    assert_eq!(boot_file(&changed).init, "/bin/start");
    assert_round_trip("rdinit", &[bytes]);
}

#[test]
fn an_rdinit_in_boot_is_replaced_there_even_if_vendor_boot_has_the_parameters() {
    let boot = with_cmdline(&image("boot-v4"), "rdinit=/init quiet");
    let set = [boot, image("vendor_boot-v4"), image("init_boot-v4")];
    let changed = patched_with(&set, |options| options.hook = HookChoice::Rdinit);
    assert_eq!(words(&changed[0])[..2], ["rdinit=/vfioboot/init", "quiet"]);
    assert!(changed[1] == set[1], "vendor_boot stays");
    assert!(unpatched(&changed).unwrap() == set);
    // Without a ramdisk in that image, the runtime takes the path that the word names.
    let changed = patched(&set);
    assert!(changed[..2] == set[..2], "init_boot changes alone");
    assert!(unpatched(&changed).unwrap() == set);
}

#[test]
fn words_go_before_the_double_dash() {
    let bytes = with_cmdline(&image("boot-v2-raw"), "quiet -- rdinit=/for/init x");
    let set = [with_config(&bytes, "CONFIG_VFIO_PCI=y\n")];
    let changed = patched_with(&set, |options| options.parameters = vec!["extra=1".to_owned()]);
    let words = words(&changed[0]);
    let dashes = words.iter().position(|word| word == "--").unwrap();
    assert_eq!(words[dashes + 1..], ["rdinit=/for/init", "x"]);
    for word in ["rdinit=/vfioboot/init", "vfio-pci.ids=1b36:0010", "extra=1"] {
        assert!(words[..dashes].iter().any(|other| other == word), "{word}: {words:?}");
    }
    assert_eq!(boot_file(&changed[0]).init, "/init", "what is behind -- is not the kernel's");
}

#[test]
fn an_existing_parameter_is_not_added_again() {
    let set = [with_cmdline(&image("boot-v2-raw"), "extra=1 quiet")];
    let changed = patched_with(&set, |options| options.parameters = vec!["extra=1".to_owned()]);
    assert_eq!(words(&changed[0]).iter().filter(|word| *word == "extra=1").count(), 1);
}

fn ids_with(config: &str, line: &str, names: &[&str]) -> Option<String> {
    let set = [with_config(&with_cmdline(&image("boot-v2-raw"), line), config)];
    let changed = patched_with(&set, |options| options.devices = devices(names));
    let line = Cmdline::new(cmdline(&changed[0]).into_bytes());
    line.value("vfio-pci.ids").map(|ids| String::from_utf8_lossy(ids).into_owned())
}

#[test]
fn ids_go_on_the_line_when_vfio_pci_is_built_in() {
    let ids = ids_with("CONFIG_VFIO_PCI=y\n", "quiet", &["1b36:0010", "8086:10d3"]);
    assert_eq!(ids.as_deref(), Some("1b36:0010,8086:10d3"));
}

#[test]
fn ids_do_not_go_on_the_line_when_vfio_pci_is_a_module() {
    assert_eq!(ids_with("CONFIG_VFIO_PCI=m\n", "quiet", &["1b36:0010"]), None);
}

#[test]
fn ids_are_merged_with_those_on_the_line() {
    let line = "vfio_pci.ids=10de:1234,1b36:0010 quiet";
    let ids = ids_with("CONFIG_VFIO_PCI=y\n", line, &["1b36:0010", "8086:10d3"]);
    assert_eq!(ids.as_deref(), Some("10de:1234,1b36:0010,8086:10d3"));
}

#[test]
fn a_device_named_by_its_address_needs_no_id() {
    assert_eq!(ids_with("CONFIG_VFIO_PCI=y\n", "quiet", &["0000:01:00.0"]), None);
}

#[test]
fn a_bare_ramdisk_leaves_the_parameters_to_the_bootloader() {
    let set = [ramdisk_of(&image("boot-v2-gzip-dtbo"))];
    let words = planned(&set, |_| {}, |plan| plan.unwrap().parameters_for_bootloader);
    assert_eq!(words, ["rdinit=/vfioboot/init"]);
}

// --- sets -------------------------------------------------------------------------------------

/// Which images of the set change.
fn changed_of(set: &[Vec<u8>]) -> Vec<bool> {
    planned(
        set,
        |_| {},
        |plan| plan.unwrap().images.iter().map(|image| image.output.is_some()).collect(),
    )
}

#[test]
fn word_and_runtime_are_in_one_image_of_a_set() {
    let set = [image("boot-v4"), image("vendor_boot-v4"), image("init_boot-v4")];
    assert_eq!(changed_of(&set), [false, true, false]);
    let changed = patched(&set);
    assert_eq!(words(&changed[1])[0], "rdinit=/vfioboot/init");
    assert!(ramdisk_of(&changed[1]).starts_with(&ramdisk_of(&set[1])));
    assert!(ramdisk::find_ours(&ramdisk_of(&changed[1])).is_some());
}

#[test]
fn where_word_and_runtime_cannot_be_in_one_image_no_word_names_the_runtime() {
    let set = [image("init_boot-v4"), image("boot-v4")];
    assert_eq!(changed_of(&set), [true, false]);
    planned(&set, |_| {}, |plan| assert_eq!(plan.unwrap().hook.kind, HookKind::Init));
}

#[test]
fn a_boot_image_with_a_ramdisk_changes_alone() {
    assert_eq!(changed_of(&[image("vendor_boot-v4"), image("boot-v4-ramdisk")]), [false, true]);
}

#[test]
fn the_last_platform_fragment_of_vendor_boot_carries_the_segment() {
    let changed = patched_one(&image("vendor_boot-v4-fragments"));
    let parsed = Image::parse(&changed).unwrap();
    let has_ours: Vec<bool> =
        parsed.fragments().iter().map(|f| ramdisk::find_ours(f.bytes).is_some()).collect();
    assert_eq!(has_ours, [false, true, false]);
}

#[test]
fn two_images_of_a_kind_are_refused() {
    let set = [image("boot-v3"), image("boot-v2-raw")];
    assert_eq!(message(&set, |_| {}), "two boot images in one set: give one of each kind");
}

#[test]
fn a_missing_sibling_is_named_on_unpatch() {
    let set = [image("init_boot-v4"), image("boot-v4")];
    let changed = patched_with(&set, |options| options.hook = HookChoice::Rdinit);
    let error = refusal(&changed[..1]);
    assert!(matches!(error, Error::SiblingMissing(ImageKind::Boot)), "{error}");
}

#[test]
fn a_missing_carrier_is_named_on_unpatch() {
    let set = [image("init_boot-v4"), image("boot-v4")];
    let changed = patched_with(&set, |options| options.hook = HookChoice::Rdinit);
    let error = refusal(&changed[1..]);
    assert!(matches!(error, Error::CarrierMissing(ImageKind::Boot)), "{error}");
}

#[test]
fn an_image_of_the_set_that_was_not_changed_need_not_be_given_to_unpatch() {
    let set = [image("boot-v4"), image("vendor_boot-v4"), image("init_boot-v4")];
    let changed = patched(&set);
    assert!(unpatched(&changed[1..]).unwrap() == set[1..]);
}

#[test]
fn patched_images_say_so() {
    for (name, set) in sets() {
        assert!(!patch::is_patched(&BootSet::from_images(&parse(set))).unwrap(), "{name}");
        assert!(patch::is_patched(&BootSet::from_images(&parse(&patched(set)))).unwrap(), "{name}");
    }
}

// --- refusals ---------------------------------------------------------------------------------

#[test]
fn a_set_without_a_ramdisk_is_refused() {
    let text = message(&[image("boot-v4")], |_| {});
    assert!(text.starts_with("no ramdisk to put the runtime into"), "{text}");
}

#[test]
fn rdinit_with_init_boot_alone_is_refused() {
    let text = message(&[image("init_boot-v4")], |options| options.hook = HookChoice::Rdinit);
    assert!(text.contains("give boot.img or vendor_boot.img as well"), "{text}");
}

#[test]
fn skip_initramfs_is_refused() {
    let set = [with_cmdline(&image("boot-v2-raw"), "quiet skip_initramfs")];
    let text = message(&set, |_| {});
    assert!(text.starts_with("skip_initramfs on the command line"), "{text}");
}

#[test]
fn a_ramdisk_without_init_is_refused() {
    let ramdisk = cpio(&[("etc/", b""), ("etc/motd", b"x")]);
    let set = [with_section(&image("boot-v2-raw"), SectionName::Ramdisk, ramdisk)];
    let text = message(&set, |_| {});
    assert!(text.starts_with("the ramdisk has no /init: "), "{text}");
}

#[test]
fn a_vendor_ramdisk_without_init_is_a_warning() {
    let set = [image("vendor_boot-v4")];
    let warnings = planned(&set, |_| {}, |plan| plan.unwrap().warnings);
    let init = "/init".to_owned();
    assert!(warnings.contains(&Warning::NoInit { init }));
}

#[test]
fn what_the_kernels_config_forbids_is_refused() {
    let cases = [
        (
            "boot-v2-raw",
            "# CONFIG_BLK_DEV_INITRD is not set\n",
            "CONFIG_BLK_DEV_INITRD unset: it does not unpack a ramdisk",
        ),
        ("boot-v2-gzip-dtbo", "# CONFIG_RD_GZIP is not set\n", "CONFIG_RD_GZIP unset"),
        ("boot-v2-lz4_legacy", "# CONFIG_RD_LZ4 is not set\n", "CONFIG_RD_LZ4 unset"),
        ("boot-v2-xz", "# CONFIG_RD_XZ is not set\n", "CONFIG_RD_XZ unset"),
        ("boot-v2-zstd", "# CONFIG_RD_ZSTD is not set\n", "CONFIG_RD_ZSTD unset"),
        ("boot-v2-bzip2", "# CONFIG_RD_BZIP2 is not set\n", "CONFIG_RD_BZIP2 unset"),
        ("boot-v2-lzma", "# CONFIG_RD_LZMA is not set\n", "CONFIG_RD_LZMA unset"),
    ];
    for (name, config, expected) in cases {
        let text = message(&[with_config(&image(name), config)], |_| {});
        assert!(text.starts_with(&format!("the kernel has {expected}")), "{text}");
    }
}

#[test]
fn rdinit_for_a_kernel_that_ignores_it_is_refused_with_the_way_out() {
    let set = [with_config(&image("boot-v2-raw"), "CONFIG_CMDLINE_FORCE=y\n")];
    let error = planned(
        &set,
        |options| options.hook = HookChoice::Rdinit,
        |plan| plan.map(drop).unwrap_err(),
    );
    assert!(matches!(error, Error::CmdlineForced), "{error}");
}

#[test]
fn a_format_that_the_ramdisk_does_not_use_may_be_unset() {
    let set = [with_config(&image("boot-v2-raw"), "# CONFIG_RD_GZIP is not set\n")];
    assert_round_trip("raw", &set);
}

#[test]
fn an_lz4_frame_is_refused() {
    let ramdisk = compression::encode(Format::Lz4Frame, &cpio(&[("init", b"x")]), None).unwrap();
    let text =
        message(&[with_section(&image("boot-v2-raw"), SectionName::Ramdisk, ramdisk)], |_| {});
    assert!(text.contains("an LZ4 frame"), "{text}");
}

#[test]
fn a_damaged_ramdisk_is_refused_with_its_place() {
    let bytes = image("boot-v2-raw");
    let mut ramdisk = ramdisk_of(&bytes);
    ramdisk[112] = 0;
    ramdisk[0] = b'X';
    let text = message(&[with_section(&bytes, SectionName::Ramdisk, ramdisk)], |_| {});
    assert!(text.contains("neither a cpio header nor a compression format"), "{text}");
}

#[test]
fn a_command_line_that_would_be_too_long_is_refused_with_its_size() {
    // 22 bytes are added, for "rdinit=/vfioboot/init ".
    for (name, line) in [("boot-v3", 1535 - 21), ("vendor_boot-v4", 2047 - 21)] {
        let text = message(&[with_cmdline(&image(name), &"x".repeat(line))], |_| {});
        assert!(text.ends_with("(1 too many)"), "{name}: {text}");
        let fits = [with_cmdline(&image(name), &"x".repeat(line - 1))];
        assert_round_trip(name, &fits);
    }
}

#[test]
fn an_inconsistent_image_is_refused() {
    let mut bytes = image("boot-v2-raw");
    let too_large = (bytes.len() as u32).to_le_bytes();
    bytes[1648..1652].copy_from_slice(&too_large);
    let text = message(&[bytes], |_| {});
    assert!(text.starts_with("dtb_size at offset 1648: says"), "{text}");
}

#[test]
fn a_runtime_that_cannot_run_is_refused() {
    let set = [image("boot-v2-raw")];
    let cases = [
        (b"#!/bin/sh\n".to_vec(), "the runtime is not an ELF executable"),
        (elf(X86_64), "the runtime is built for X86_64, the kernel is aarch64"),
        (dynamic_elf(AARCH64), "the runtime is dynamically linked"),
    ];
    for (runtime, expected) in cases {
        let text = match patch::plan(&BootSet::from_images(&parse(&set)), &options(&runtime)) {
            Err(error) => common::message(&error),
            Ok(_) => panic!("{expected}: accepted"),
        };
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn a_patch_without_a_runtime_for_the_architecture_is_refused() {
    let set = [image("boot-v2-raw")];
    let error = planned(
        &set,
        |options| options.runtimes = Runtimes::default(),
        |plan| plan.map(drop).unwrap_err(),
    );
    assert!(matches!(error, Error::NoRuntime("aarch64")), "{error}");
}

#[test]
fn modules_that_cannot_be_loaded_are_refused() {
    let set = [with_config(&image("boot-v2-raw"), "CONFIG_VFIO=m\n")];
    let ko = |release, depends| Cow::Owned(module("vfio_pci", release, depends));
    let cases = [
        (vec![("vfio-pci.ko", ko("5.10.0", ""))], "module vfio_pci: was built for 5.10.0 SMP"),
        (
            vec![("vfio-pci.ko", ko(RELEASE, "vfio"))],
            "module vfio_pci needs vfio, which is missing",
        ),
        (vec![("a.ko", ko(RELEASE, "")), ("a.ko", ko(RELEASE, ""))], "module a.ko: is given twice"),
        (vec![("a.ko", Cow::Borrowed(&b"text"[..]))], "module a.ko: is not a kernel module"),
    ];
    for (modules, expected) in cases {
        let text = message(&set, |options| {
            options.modules.files = modules.into_iter().map(|(n, b)| (n.to_owned(), b)).collect();
        });
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn an_unpatched_image_is_not_patched() {
    let error = refusal(&[image("boot-v2-raw")]);
    assert!(matches!(error, Error::NotPatched), "{error}");
}

#[test]
fn what_was_changed_after_the_patch_is_not_passed_off_as_the_original() {
    let changed = patched_one(&image("boot-v2-raw"));
    let edits: [(&str, Vec<u8>); 3] = [
        ("kernel", with_section(&changed, SectionName::Kernel, kernel(""))),
        ("dtb", with_section(&changed, SectionName::Dtb, vec![1; 100])),
        ("ramdisk", {
            let mut ramdisk = ramdisk_of(&changed);
            ramdisk[6] ^= 1;
            with_section(&changed, SectionName::Ramdisk, ramdisk)
        }),
    ];
    for (what, bytes) in edits {
        let error = refusal(&[bytes]);
        assert!(matches!(error, Error::Undo { kind: ImageKind::Boot }), "{what}: {error}");
    }
}

#[test]
fn data_appended_after_the_segment_is_removed_with_it() {
    let original = image("boot-v2-raw");
    let changed = patched_one(&original);
    let mut ramdisk = ramdisk_of(&changed);
    ramdisk.extend(cpio(&[("more", b"x")]));
    let changed = with_section(&changed, SectionName::Ramdisk, ramdisk);
    assert!(unpatched(&[changed]).unwrap()[0] == original);
}

#[test]
fn a_command_line_edited_after_the_patch_does_not_hide_the_original() {
    let original = image("boot-v2-raw");
    let changed = edited(&patched_one(&original), |edit| {
        edit.header.set_cmdline(b"something else").unwrap();
    });
    assert!(unpatched(&[changed]).unwrap()[0] == original, "the record has the header");
}

/// The raw image with `change` made to the undo record within its ramdisk.
fn with_record(change: impl Fn(&str) -> String) -> Vec<u8> {
    let bytes = patched_one(&image("boot-v2-raw"));
    let files = ours(&ramdisk_of(&bytes));
    let text = String::from_utf8(file_of(&files, "vfioboot/undo").to_vec()).unwrap();
    let mut ramdisk = ramdisk_of(&image("boot-v2-raw"));
    let record = change(&text);
    let segment = [
        ("vfioboot/", &b""[..]),
        ("vfioboot/init", file_of(&files, "vfioboot/init")),
        ("vfioboot/undo", record.as_bytes()),
    ];
    ramdisk.extend(cpio(&segment));
    with_section(&bytes, SectionName::Ramdisk, ramdisk)
}

#[test]
fn a_damaged_undo_record_is_refused() {
    type Damage<'a> = &'a dyn Fn(&str) -> String;
    let cases: [(Damage<'_>, &str); 4] = [
        (&|_| String::new(), "undo record: EOF"),
        (&|text| text[..100].to_owned(), "undo record: EOF"),
        (&|text| text.replace("\"format\":1", "\"format\":9"), "undo record: its format is 9"),
        (&|text| text.replace("\"sha256\":\"", "\"sha256\":\"z"), "undo record: "),
    ];
    for (change, expected) in cases {
        let text = common::message(&refusal(&[with_record(change)]));
        assert!(text.starts_with(expected), "{text}");
    }
}

/// The raw image whose undo record has this size and this tail.
fn with_size_and_tail(size: u64, tail: &str) -> Vec<u8> {
    with_record(|text| {
        let (head, rest) = text.split_once("\"size\":").unwrap();
        let (_, rest) = rest.split_once(',').unwrap();
        let text = format!("{head}\"size\":{size},{rest}");
        let (head, _) = text.split_once("\"tail\":").unwrap();
        format!("{head}\"tail\":{tail}}}]}}\n")
    })
}

#[test]
fn zeros_in_an_undo_record_do_not_overflow() {
    let zeros = format!("{{\"zeros\":{}}}", u64::MAX / 2);
    let tail = format!("[{zeros},{zeros},{zeros}]");
    let size = image("boot-v2-raw").len() as u64;
    let error = refusal(&[with_size_and_tail(size, &tail)]);
    assert!(matches!(error, Error::Undo { .. }), "{error}");
}

#[test]
fn an_undo_record_cannot_have_more_written_than_the_patched_image_has() {
    // What it asks for adds up, so only its size tells; hashing that much takes a minute.
    let size: u64 = 64 << 30;
    let zeros = size - image("boot-v2-raw").len() as u64;
    let bytes = with_size_and_tail(size, &format!("[{{\"zeros\":{zeros}}}]"));
    let start = std::time::Instant::now();
    let error = refusal(&[bytes]);
    assert!(matches!(error, Error::Undo { .. }), "{error}");
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

// --- anything -------------------------------------------------------------------------------

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_command_line_comes_back(line in "[ -~]{0,400}") {
        let bytes = with_cmdline(&image("boot-v2-raw"), &line);
        let set = [bytes];
        if planned(&set, |_| {}, |plan| plan.is_ok()) {
            let changed = patched(&set);
            prop_assert!(unpatched(&changed).unwrap() == set);
            let line = Cmdline::new(cmdline(&changed[0]).into_bytes());
            prop_assert_eq!(line.value("rdinit"), Some(&b"/vfioboot/init"[..]));
        }
    }

    #[test]
    fn any_bytes_after_the_sections_are_restored(
        pick in any::<prop::sample::Index>(),
        tail in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..300),
        zeros in 0usize..9000,
        more in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let (name, mut set) = sets()[pick.index(sets().len())].clone();
        for bytes in &mut set {
            bytes.extend_from_slice(&tail);
            bytes.resize(bytes.len() + zeros, 0);
            bytes.extend_from_slice(&more);
        }
        let changed = patched(&set);
        prop_assert!(unpatched(&changed).unwrap() == set, "{}", name);
    }

    #[test]
    fn any_padding_comes_back(
        pick in any::<prop::sample::Index>(),
        stains in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let (name, mut set) = sets()[pick.index(sets().len())].clone();
        for bytes in &mut set {
            let image = Image::parse(bytes).unwrap();
            let paddings = image.regions().iter().filter(|r| r.kind == RegionKind::Padding);
            let places: Vec<usize> = paddings.flat_map(|r| r.offset..r.offset + r.size).collect();
            for (at, byte) in &stains {
                bytes[places[at.index(places.len())]] = *byte;
            }
        }
        let changed = patched(&set);
        prop_assert!(unpatched(&changed).unwrap() == set, "{}", name);
    }
}

// --- what a review found ----------------------------------------------------------------------

#[test]
fn bytes_between_the_vbmeta_blob_and_its_footer_come_back() {
    let mut bytes = with_avb_footer(&image("boot-v2-raw"), 1 << 20);
    let at = bytes.len() - 64 - 100;
    bytes[at..at + 12].copy_from_slice(b"left-over...");
    assert_round_trip("left over", &[bytes]);
}

#[test]
fn a_vbmeta_blob_inside_the_padding_is_not_overwritten() {
    // 16 KiB pages, and an AVB footer that takes the image for one of 4 KiB pages.
    let mut bytes = with_avb_footer(&image("boot-v1-dtbo"), 256 << 10);
    let footer = bytes.len() - 64;
    let early = 52 << 10;
    bytes.copy_within((64 << 10)..(68 << 10), early);
    bytes[footer + 12..footer + 20].copy_from_slice(&(early as u64).to_be_bytes());
    bytes[footer + 20..footer + 28].copy_from_slice(&(early as u64).to_be_bytes());
    let text = message(&[bytes], |_| {});
    assert!(text.starts_with("avb_footer.vbmeta_offset"), "{text}");
}

#[test]
fn junk_after_a_gzip_ramdisk_is_refused() {
    let original = image("boot-v2-gzip-dtbo");
    let mut ramdisk = ramdisk_of(&original);
    ramdisk.extend_from_slice(b"JUNKJUNKJUNK");
    let text = message(&[with_section(&original, SectionName::Ramdisk, ramdisk)], |_| {});
    assert!(text.starts_with("ramdisk offset 0x"), "{text}");
}

#[test]
fn two_generic_ramdisks_get_a_warning() {
    let warns = |set: &[Vec<u8>]| {
        let warnings = planned(set, |_| {}, |plan| plan.unwrap().warnings);
        warnings.contains(&Warning::TwoGenericRamdisks)
    };
    let set = [image("init_boot-v4"), image("boot-v4-ramdisk"), image("vendor_boot-v4")];
    assert!(warns(&set[..2]));
    // Every device loads the vendor ramdisk.
    assert!(!warns(&set));
}

#[test]
fn words_that_defeat_the_patch_are_refused() {
    for (word, reason) in [
        ("rdinit=/foo", "the last one wins"),
        ("vfio-pci.ids=1:2", "follow from the devices"),
        ("vfio_pci.ids=1:2", "follow from the devices"),
        ("vfioboot.disable", "disables the patch"),
    ] {
        let words = vec![word.to_owned()];
        let text = message(&[image("boot-v2-raw")], |options| options.parameters = words);
        assert!(text.contains(word) && text.contains(reason), "{text}");
    }
}

#[test]
fn words_of_half_characters_are_added_as_they_are() {
    let words = vec!["androidboot.x=voilà1".to_owned()];
    let bytes = patched_with(&[image("boot-v2-raw")], |options| options.parameters = words);
    assert!(cmdline(&bytes[0]).contains("voil"));
}

#[test]
fn a_relative_former_rdinit_is_taken_from_the_root() {
    let bytes = patched_one(&with_cmdline(&image("boot-v2-raw"), "rdinit=init quiet"));
    assert_eq!(boot_file(&bytes).init, "/init");
}

#[test]
fn an_edit_after_the_patch_is_reported() {
    for (name, bytes) in images().into_iter().filter(|(name, _)| name.starts_with("boot-v2")) {
        let original = ramdisk_of(&bytes);
        let bytes = patched_one(&bytes);
        let changed = |bytes: &[u8]| {
            patch::changed_since(&BootSet::from_images(&[Image::parse(bytes).unwrap()]))
                .unwrap()
                .is_some()
        };
        assert!(!changed(&bytes), "{name}: as it was patched");
        let line = format!("{} quiet", cmdline(&bytes));
        assert!(changed(&with_cmdline(&bytes, &line)), "{name}: another word");
        let image = Image::parse(&bytes).unwrap();
        let ramdisk = image.section(SectionName::Ramdisk).unwrap();
        let more = [ramdisk, &original[..]].concat();
        assert!(changed(&with_section(&bytes, SectionName::Ramdisk, more)), "{name}: more ramdisk");
    }
}

#[test]
fn a_shared_library_is_not_a_runtime() {
    let mut library = elf(AARCH64);
    // e_entry: a library has none.
    library[24..32].fill(0);
    let runtimes = Runtimes::given(&library);
    let runtime = elf(AARCH64);
    let mut options = options(&runtime);
    options.runtimes = runtimes;
    let set = [image("boot-v2-raw")];
    let text = patch::plan(&BootSet::from_images(&parse(&set)), &options).unwrap_err().to_string();
    assert!(text.starts_with("the runtime is not a program"), "{text}");
}
