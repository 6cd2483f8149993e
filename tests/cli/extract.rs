//! `vfioboot extract`. `fixtures/make-ota.py` made the update files from the images beside them,
//! with an encoder of its own; what comes out must be those images.

use crate::common;
use crate::common::archives::zip;
use crate::common::avb;
use crate::common::cli;

use cli::Scratch;
use common::fixture;

/// A directory with an update file of `fixtures/ota`.
fn scratch(name: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.file(name, &fixture(&format!("ota/{name}")));
    scratch
}

/// An image in whole blocks, as a partition in a payload is.
fn blocks(name: &str) -> Vec<u8> {
    let mut bytes = fixture(&format!("images/{name}.img"));
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    bytes
}

/// The payload's bytes, once edited.
fn payload(edit: impl FnOnce(&mut Vec<u8>)) -> Scratch {
    let mut bytes = fixture("ota/payload.bin");
    edit(&mut bytes);
    let scratch = Scratch::new();
    scratch.file("payload.bin", &bytes);
    scratch
}

/// All that `out` should have of a full OTA.
fn whole(scratch: &Scratch) {
    assert_eq!(
        scratch.names("out"),
        ["boot.img", "init_boot.img", "vbmeta.img", "vendor_boot.img"],
        "nothing else, no temporary file either"
    );
    for name in ["boot", "init_boot", "vendor_boot"] {
        assert!(
            scratch.read(&format!("out/{name}.img")) == blocks(&format!("{name}-v4")),
            "{name}"
        );
    }
    assert!(scratch.read("out/vbmeta.img") == avb::image("vbmeta"));
}

// --- what comes out ---------------------------------------------------------------------------

#[test]
fn every_kind_of_operation_of_a_full_payload_gives_the_images() {
    let scratch = scratch("payload.bin");
    let text = scratch.ok("extract payload.bin -d out");
    assert!(text.contains("wrote out/boot.img\n"), "{text}");
    whole(&scratch);
    // They are what the other commands take.
    scratch.ok("info out/boot.img out/init_boot.img out/vendor_boot.img out/vbmeta.img");
}

#[test]
fn a_partition_by_name_with_discarded_blocks_and_data_that_ends_early() {
    let scratch = scratch("payload.bin");
    scratch.ok("extract payload.bin system -d out");
    assert_eq!(scratch.names("out"), ["system.img"]);
    let mut expected = b"system".to_vec();
    expected.resize(6 * 4096, 0);
    expected.extend_from_slice(b"end");
    expected.resize(7 * 4096, 0);
    assert!(scratch.read("out/system.img") == expected);
}

#[test]
fn an_ota_zip_is_a_payload_in_a_zip_stored_or_compressed() {
    let payload = fixture("ota/payload.bin");
    for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        let scratch = Scratch::new();
        let files =
            [("META-INF/com/android/metadata", &b"ota-type=AB\n"[..]), ("payload.bin", &payload)];
        scratch.file("ota.zip", &zip(&files, method));
        scratch.ok("extract ota.zip -d out");
        whole(&scratch);
    }
}

#[test]
fn a_factory_zip_has_the_images_in_another_zip() {
    for name in ["factory-stored.zip", "factory-deflated.zip"] {
        let scratch = scratch(name);
        scratch.ok(&format!("extract {name} -d out"));
        assert_eq!(scratch.names("out"), ["boot.img", "vbmeta.img"], "{name}");
        assert!(scratch.read("out/boot.img") == fixture("images/boot-v4.img"), "{name}");
        assert!(scratch.read("out/vbmeta.img") == avb::image("vbmeta"), "{name}");
    }
}

#[test]
fn a_zip_with_images_gives_them() {
    let scratch = Scratch::new();
    let image = fixture("images/boot-v4.img");
    let files = [("firmware/boot.img", &image[..]), ("readme.txt", b"text")];
    scratch.file("rom.zip", &zip(&files, zip::CompressionMethod::Deflated));
    scratch.ok("extract rom.zip -d out");
    assert!(scratch.read("out/boot.img") == image);
}

#[test]
fn what_is_in_it_is_listed() {
    let text = scratch("payload.bin").ok("extract payload.bin --list");
    let sizes: Vec<_> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(sizes.len(), 5, "{text}");
    assert_eq!(sizes[4], ["28672", "system"]);
    let json = scratch("factory-deflated.zip").ok("extract factory-deflated.zip --list --json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["format"], 1);
    assert_eq!(json["partitions"][0]["name"], "boot");
    assert_eq!(json["partitions"][0]["size"], fixture("images/boot-v4.img").len());
}

// --- what is refused --------------------------------------------------------------------------

#[test]
fn an_incremental_ota_is_refused_with_the_reason() {
    for name in ["incremental.bin", "ota-incremental.zip"] {
        let scratch = scratch(name);
        let error = scratch.error(&format!("extract {name} boot -d out"));
        assert!(
            error.contains(
                "operation 0 of boot is SOURCE_COPY, which needs the partition on the device: this is \
                 an incremental OTA; use the full OTA"
            ),
            "{error}"
        );
        assert!(scratch.names("out").is_empty(), "{name}");
        // A partition that is whole in it can be had.
        scratch.ok(&format!("extract {name} vbmeta -d out"));
        assert!(scratch.read("out/vbmeta.img") == avb::image("vbmeta"), "{name}");
    }
}

#[test]
fn a_partition_that_is_not_there_is_refused_with_those_that_are() {
    let error = scratch("payload.bin").error("extract payload.bin odm -d out");
    assert!(
        error.contains(
            "there is no partition odm; the file has boot, init_boot, vendor_boot, vbmeta"
        ),
        "{error}"
    );
    let error = scratch("factory-stored.zip").error("extract factory-stored.zip odm -d out");
    assert!(error.contains("the file has boot, vbmeta"), "{error}");
    let scratch = Scratch::new();
    scratch.file("rom.zip", &zip(&[("system.img", b"x")], zip::CompressionMethod::Stored));
    let error = scratch.error("extract rom.zip -d out");
    assert!(error.contains("the file has system"), "{error}");
}

#[test]
fn a_damaged_payload_writes_nothing_and_says_what_is_wrong() {
    let bytes = fixture("ota/payload.bin");
    let manifest = u64::from_be_bytes(bytes[12..20].try_into().unwrap()) as usize;
    let data = 24 + manifest + 4;
    let cut = |size: usize| payload(move |bytes| bytes.truncate(size));
    let set = |at: usize, value: u8| payload(move |bytes| bytes[at] = value);
    let name = bytes.windows(4).position(|bytes| bytes == b"boot").unwrap();
    // The hash of boot follows its size directly.
    let hash = name + 4 + 2 + 3 + 3;
    let cases = [
        (cut(10), "the header takes 24 bytes from offset 0, but the file ends at 10"),
        (cut(24 + manifest / 2), "the manifest takes"),
        (cut(data - 1), "the manifest's signature takes 4 bytes"),
        (cut(data + 100), "the data of operation 0 of boot takes 4096 bytes"),
        (set(11, 1), "file_format_version at offset 4 is 1, expected 2"),
        (set(13, 1), "manifest_size at offset 12 is"),
        (set(24, 0xff), "the manifest at offset 24 is damaged"),
        (
            set(data + 50, 0xff),
            "operation 0 of boot: the SHA-256 of its 4096 bytes of data at offset",
        ),
        (set(hash, bytes[hash] ^ 1), "boot has the SHA-256"),
    ];
    for (scratch, expected) in cases {
        let error = scratch.error("extract payload.bin boot -d out");
        assert!(error.starts_with("vfioboot: payload.bin: "), "{error}");
        assert!(error.contains(expected), "{expected}: {error}");
        let written = scratch.exists("out") && !scratch.names("out").is_empty();
        assert!(!written, "{expected}");
    }
}

#[test]
fn files_that_are_no_container_are_refused() {
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v4");
    scratch.file("empty", b"");
    scratch.file("text.zip", &zip(&[("a.txt", b"text")], zip::CompressionMethod::Stored));
    let mut cut = fixture("ota/ota-incremental.zip");
    cut.truncate(cut.len() - 30);
    scratch.file("cut.zip", &cut);
    let cases = [
        (
            "boot.img",
            "is not a container of images: expected an OTA payload.bin, a zip file, a tar archive",
        ),
        ("empty", "found an empty file"),
        ("text.zip", "the zip file contains neither an image"),
        ("cut.zip", "the zip file: "),
    ];
    for (name, expected) in cases {
        let error = scratch.error(&format!("extract {name} -d out"));
        assert!(error.contains(expected), "{name}: {error}");
    }
    assert!(!scratch.exists("out"));
}

#[test]
fn a_damaged_image_in_a_zip_is_refused() {
    let image = fixture("images/boot-v4.img");
    let scratch = Scratch::new();
    let mut bytes = zip(&[("boot.img", &image)], zip::CompressionMethod::Stored);
    bytes[5000] ^= 1;
    scratch.file("rom.zip", &bytes);
    let error = scratch.error("extract rom.zip -d out");
    assert!(error.contains("out/boot.img: ") && error.contains("checksum"), "{error}");
    assert!(scratch.names("out").is_empty());
}

#[test]
fn a_name_does_not_leave_the_directory() {
    let error = scratch("payload.bin").error("extract payload.bin ../boot -d out");
    assert!(error.contains("\"../boot\" is not the name of a partition"), "{error}");
}

#[test]
fn the_update_file_is_not_an_output() {
    let scratch = Scratch::new();
    let image = fixture("images/boot-v4.img");
    scratch.file("boot.img", &zip(&[("boot.img", &image)], zip::CompressionMethod::Stored));
    let error = scratch.error("extract boot.img -d .");
    assert!(error.contains("boot.img: is an input file"), "{error}");
}

#[test]
fn where_to_write_must_be_said() {
    let error = scratch("payload.bin").error("extract payload.bin");
    assert!(error.contains("--dir <DIR>"), "{error}");
}
