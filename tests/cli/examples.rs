//! The examples for people who link the library.

#[allow(dead_code, reason = "its main is for `cargo run --example`")]
#[path = "../../examples/audit_image.rs"]
mod audit_image;
#[allow(dead_code, reason = "as above")]
#[path = "../../examples/list_ramdisk.rs"]
mod list_ramdisk;
#[allow(dead_code, reason = "as above")]
#[path = "../../examples/patch_and_undo.rs"]
mod patch_and_undo;

use crate::common::{AARCH64, elf, fixture_path};

/// What `example` writes.
fn written(
    example: impl FnOnce(&mut dyn std::io::Write) -> Result<(), Box<dyn std::error::Error>>,
) -> String {
    let mut out = Vec::new();
    example(&mut out).unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8(out).unwrap()
}

#[test]
fn an_image_is_audited() {
    let image = [fixture_path("sample-boot.img")];
    let text = written(|out| audit_image::audit_image(&image, out));
    assert!(text.starts_with("Linux 6.1.192-vfioboot-sample"), "{text}");
    assert!(["pass\n", "fail\n", "inconclusive\n"].iter().any(|end| text.ends_with(end)), "{text}");
}

#[test]
fn a_ramdisk_is_listed() {
    let image = fixture_path("images/init_boot-v4.img");
    let text = written(|out| list_ramdisk::list_ramdisk(&image, out));
    assert!(text.lines().any(|line| line == "  0 100755        26 init"), "{text}");
    assert!(text.lines().any(|line| line.ends_with("040755         0 system/etc")), "{text}");
}

#[test]
fn a_set_is_patched_and_the_originals_are_restored() {
    let directory = tempfile::tempdir().unwrap();
    let vfiorun = directory.path().join("vfiorun");
    std::fs::write(&vfiorun, elf(AARCH64)).unwrap();
    let images = ["boot-v4.img", "vendor_boot-v4.img", "init_boot-v4.img"];
    let images = images.map(|name| fixture_path("images").join(name));
    let text = written(|out| patch_and_undo::patch_and_undo(&vfiorun, "1b36:0010", &images, out));
    let changed: Vec<&str> = text.lines().filter(|line| line.ends_with(" bytes")).collect();
    assert!(!changed.is_empty() && changed.iter().all(|line| !line.contains("/boot-v4")), "{text}");
    assert!(text.ends_with("unpatch restores the originals\n"), "{text}");
}
