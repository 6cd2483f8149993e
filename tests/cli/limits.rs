//! What a run may cost: bytes unpacked, bytes read, keys that say how much work they are.

use std::fs;
use std::process::{Command, Stdio};

use crate::common::archives::{archive, vendor_boot};
use crate::common::cli::Scratch;
use crate::common::{fixture, pipe};

use vfioboot::compression::{Budget, Decoder, Error, Format, decode_all, encode};
use vfioboot::image::avb::{KeyError, SigningKey};
use vfioboot::image::{Image, ImageKind, RegionKind, SectionName};

const FORMATS: [Format; 7] = [
    Format::Gzip,
    Format::Lz4Legacy,
    Format::Lz4Frame,
    Format::Xz,
    Format::Lzma,
    Format::Zstd,
    Format::Bzip2,
];

// --- the budget -------------------------------------------------------------------------------

#[test]
fn every_decoder_takes_from_the_budget_and_says_what_took_the_rest() {
    let bytes = vec![7; 1 << 20];
    for format in FORMATS {
        let packed = encode(format, &bytes, None).unwrap();
        let _scope = Budget::of(bytes.len() as u64 - 1).enter();
        let error = decode_all(format, &packed, u64::MAX).unwrap_err();
        let Error::Budget { format: named, source } = error else { panic!("{format}: {error}") };
        assert_eq!((named, source.budget), (format, Budget::of(bytes.len() as u64 - 1)));
    }
}

#[test]
fn a_budget_is_one_for_all_streams_of_a_scope_and_ends_with_it() {
    let packed = encode(Format::Gzip, &[7; 1000], None).unwrap();
    let unpack = || decode_all(Format::Gzip, &packed, u64::MAX);
    {
        let _scope = Budget::of(2500).enter();
        assert!(unpack().is_ok());
        assert!(unpack().is_ok());
        assert!(matches!(unpack(), Err(Error::Budget { .. })));
        {
            let _inner = Budget::of(1000).enter();
            assert!(unpack().is_ok());
        }
        // Nothing is left of the outer one.
        assert!(matches!(unpack(), Err(Error::Budget { .. })));
    }
    assert!(unpack().is_ok());
}

#[test]
fn inputs_add_to_the_default_budget_and_not_to_a_given_one() {
    let packed = encode(Format::Gzip, &[7; 1000], None).unwrap();
    let unpacks = || Decoder::new(Format::Gzip, &packed).unwrap().read_all(u64::MAX).is_ok();
    let default = Budget::for_input(0);
    let _scope = default.enter();
    assert!(Budget::take(default.bytes()).is_ok());
    assert!(!unpacks());
    Budget::grant(1000);
    assert!(unpacks());
    let _scope = Budget::of(10).enter();
    Budget::grant(1000);
    assert!(!unpacks());
}

#[test]
fn the_limit_of_a_run_is_an_option_of_every_command() {
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v0-gzip");
    scratch.ok("ramdisk boot.img ls");
    let error = scratch.error("--limit 100 ramdisk boot.img ls");
    assert!(error.contains("--limit"), "{error}");
    scratch.ok("ramdisk boot.img ls --limit 1g");
    assert!(scratch.error("info boot.img --limit lots").contains("expected bytes"));
}

// --- tables that name the same bytes many times -------------------------------------------------

/// A vendor_boot v4 whose table has `count` entries for all of one ramdisk of 1 MiB.
fn repeated(count: usize) -> Vec<u8> {
    let ramdisk = archive(&[("big", &vec![0x5a; 1 << 20])]);
    let mut fragments = vec![("", Vec::new()); count];
    fragments[0].1.clone_from(&ramdisk);
    let mut image = vendor_boot(&fragments);
    let table = RegionKind::Section(SectionName::VendorRamdiskTable);
    let regions = Image::parse(&image).unwrap().regions().to_vec();
    let table = regions.iter().find(|region| region.kind == table).unwrap();
    for entry in image[table.offset..][..table.size].chunks_exact_mut(table.size / count) {
        // ramdisk_size, ramdisk_offset
        entry[..4].copy_from_slice(&(ramdisk.len() as u32).to_le_bytes());
        entry[4..8].fill(0);
    }
    image
}

#[test]
fn bytes_that_many_table_entries_name_are_read_once() {
    let scratch = Scratch::new();
    scratch.file("vendor_boot.img", &repeated(2000));
    // Read again for every entry they would be 2 GB.
    let report = scratch.ok("info vendor_boot.img --json --limit 8M");
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let sections = report["images"][0]["sections"].as_array().unwrap();
    assert_eq!(sections.iter().filter(|own| own["sha256"].is_null()).count(), 0);
    assert!(sections.len() > 2000);
}

#[test]
fn a_table_of_more_entries_than_any_device_has_is_a_problem() {
    let image = repeated(5000);
    let image = Image::parse(&image).unwrap();
    assert_eq!((image.kind(), image.fragments().len()), (ImageKind::VendorBoot, 4096));
    let fields: Vec<_> = image.problems().iter().map(|problem| problem.field).collect();
    assert!(fields.contains(&"vendor_ramdisk_table_entry_num"), "{fields:?}");
}

// --- inputs without an end ----------------------------------------------------------------------

#[test]
fn texts_without_an_end_are_errors() {
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v0-gzip");
    for arguments in ["check boot.img --baseline /dev/zero", "check boot.img --profile /dev/zero"] {
        assert!(scratch.error(arguments).contains("has no end"), "{arguments}");
    }
}

#[test]
fn zeros_that_only_the_manifest_asks_for_are_bounded() {
    let scratch = Scratch::new();
    let size = 1u64 << 31;
    let manifest =
        format!("format = 1\nkind = \"boot\"\n[[region]]\nkind = \"padding\"\nsize = {size}\n");
    scratch.file("dir/image.toml", manifest.as_bytes());
    assert!(scratch.error("repack dir -o out.img").contains("exceeds the limit"));
    assert!(!scratch.exists("out.img"));
}

// --- keys ---------------------------------------------------------------------------------------

/// A test key, encrypted by openssl with these options.
fn encrypted(options: &[&str]) -> String {
    let key = fixture("avb/testkey_rsa2048.pem");
    let mut arguments = vec!["pkcs8", "-topk8", "-passout", "pass:test"];
    arguments.extend(options);
    String::from_utf8(pipe("openssl", &arguments, &key)).unwrap()
}

/// The PEM block with `old` replaced by `new` in its bytes.
fn with_bytes(pem: &str, old: &[u8], new: &[u8]) -> Vec<u8> {
    let der = pipe("openssl", &["base64", "-d"], body(pem).as_bytes());
    let at = der.windows(old.len()).position(|window| window == old).expect("the parameter");
    let mut der = der;
    der.splice(at..at + old.len(), new.iter().copied());
    let text = String::from_utf8(pipe("openssl", &["base64"], &der)).unwrap();
    format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{text}-----END ENCRYPTED PRIVATE KEY-----\n")
        .into_bytes()
}

fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with('-')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_key_that_asks_for_too_much_work_is_refused_before_it_is_done() {
    // Parameters as openssl writes them, and more of the same length: iterations of PBKDF2; N, r
    // and p of scrypt.
    let cases: [(&[&str], &[u8], &[u8]); 2] = [
        (&["-iter", "65537"], &[2, 3, 1, 0, 1], &[2, 3, 0x7f, 0xff, 0xff]),
        (&["-scrypt"], &[2, 2, 0x40, 0, 2, 1, 8, 2, 1, 1], &[2, 2, 0x40, 0, 2, 1, 0x7f, 2, 1, 1]),
    ];
    for (options, usual, costly) in cases {
        let key = encrypted(options);
        assert!(SigningKey::from_pem(key.as_bytes(), Some(b"test")).is_ok(), "{options:?}");
        let key = with_bytes(&key, usual, costly);
        let error = SigningKey::from_pem(&key, Some(b"test")).unwrap_err();
        assert_eq!(error, KeyError::Cost, "{options:?}");
    }
}

// --- files --------------------------------------------------------------------------------------

#[test]
fn an_output_that_is_a_link_to_nothing_is_refused_and_stays() {
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v0-gzip");
    scratch.ok("unpack boot.img -d dir");
    std::os::unix::fs::symlink("nothing", scratch.path("out.img")).unwrap();
    assert!(scratch.error("repack dir -o out.img").contains("symbolic link"));
    assert!(fs::symlink_metadata(scratch.path("out.img")).unwrap().is_symlink());
    assert!(!scratch.exists("nothing"));
}

#[test]
fn a_replaced_file_keeps_its_permissions_without_set_id_bits() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v0-gzip");
    scratch.ok("unpack boot.img -d dir");
    for (before, after) in [(0o4750, 0o750), (0o2711, 0o711), (0o600, 0o600)] {
        scratch.file("out.img", b"old");
        let path = scratch.path("out.img");
        fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
        scratch.ok("repack dir -o out.img");
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, after, "{before:o}");
    }
}

#[test]
fn unpack_writes_through_no_link() {
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v0-gzip");
    scratch.file("victim", b"mine");
    fs::create_dir(scratch.path("dir")).unwrap();
    std::os::unix::fs::symlink("../victim", scratch.path("dir/kernel")).unwrap();
    assert!(scratch.error("unpack boot.img -d dir").contains("symbolic link"));
    assert_eq!(scratch.read("victim"), b"mine");
    assert_eq!(scratch.names("dir"), ["kernel"]);
}

#[test]
fn of_a_set_that_cannot_be_written_whole_nothing_is_written() {
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v0-gzip");
    scratch.image("second.img", "boot-v0-gzip");
    scratch.ok("unpack boot.img -d dir");
    let names = scratch.names("dir");
    let blocked = names.iter().find(|name| *name != "image.toml" && *name > &names[0]).unwrap();
    fs::create_dir_all(scratch.path(&format!("other/{blocked}"))).unwrap();
    assert!(scratch.error("unpack second.img -d other").contains("is a directory"));
    assert_eq!(scratch.names("other"), std::slice::from_ref(blocked));
}

#[test]
fn an_input_that_becomes_shorter_while_it_is_read_is_an_error() {
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v0-gzip");
    pipe("mkfifo", &[scratch.path("second").to_str().unwrap()], b"");
    let program = Command::new(env!("CARGO_BIN_EXE_vfioboot"))
        .args(["info", "boot.img", "second"])
        .current_dir(scratch.dir())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program opens the second input after it has mapped the first.
    let second = fs::OpenOptions::new().write(true).open(scratch.path("second")).unwrap();
    fs::OpenOptions::new().write(true).open(scratch.path("boot.img")).unwrap().set_len(0).unwrap();
    drop(second);
    let output = program.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", output.status);
    assert!(!output.stderr.is_empty());
}
