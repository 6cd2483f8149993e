//! The commands that `patch` ends with: what flashes the results, what tries them, what undoes them.

use crate::common;
use crate::common::cli::Scratch;
use crate::common::synthetic::CONFIG;

use common::{AARCH64, cpio, elf, fixture, kernel, with_section};
use serde_json::{Value, json};
use vfioboot::image::SectionName;

const PATCH: &str = "patch --runtime rt --device 1b36:0010";

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("rt", &elf(AARCH64));
    scratch
}

fn fit(name: &str) -> Vec<u8> {
    with_section(&fixture(&format!("images/{name}.img")), SectionName::Kernel, kernel(CONFIG))
}

/// The plan's data and the commands.
fn next(scratch: &Scratch, arguments: &str) -> (Value, Value) {
    let json: Value =
        serde_json::from_str(&scratch.ok(&format!("{PATCH} --json {arguments}"))).unwrap();
    (json["plan"]["next"].clone(), json["commands"].clone())
}

#[test]
fn one_image_is_tried_flashed_and_undone() {
    let scratch = scratch();
    scratch.file("boot.img", &fit("boot-v2-gzip-dtbo"));
    let (next, commands) = next(&scratch, "boot.img -o p.img");
    let flash = json!([{ "image": 0, "tool": "fastboot", "partition": "boot" }]);
    assert_eq!(next, json!({ "flash": flash, "trial": 0 }));
    let slot = "$(getprop ro.boot.slot_suffix)";
    let expected = json!({
        "trial": "fastboot boot p.img",
        "flash": ["fastboot flash boot p.img"],
        "on_device": [format!("dd if=p.img of=/dev/block/by-name/boot{slot} && sync")],
        "undo": ["vfioboot unpatch p.img -o p.original.img", "fastboot flash boot p.original.img"],
    });
    assert_eq!(commands, expected);
    let undo = commands["undo"][0].as_str().unwrap();
    scratch.ok(undo.strip_prefix("vfioboot ").unwrap());
    assert!(scratch.read("p.original.img") == scratch.read("boot.img"));
}

#[test]
fn the_commands_are_the_last_lines() {
    let scratch = scratch();
    scratch.file("boot.img", &fit("boot-v2-gzip-dtbo"));
    let text = scratch.ok(&format!("{PATCH} boot.img -o p.img"));
    let last: Vec<&str> = text.lines().rev().take(2).map(str::trim).collect();
    let undo = ["fastboot flash boot p.original.img", "vfioboot unpatch p.img -o p.original.img"];
    assert_eq!(last, undo);
}

/// Two images change: in which order they are flashed, and that nothing can be tried before.
#[test]
fn a_set_is_flashed_in_the_proven_order_and_undone_in_reverse() {
    let scratch = scratch();
    for (name, fixture) in
        [("vendor_boot.img", "vendor_boot-v4"), ("init_boot.img", "init_boot-v4")]
    {
        scratch.image(name, fixture);
    }
    let two = "vendor_boot.img init_boot.img --hook init --add-word a=1 -d out";
    let (next, commands) = next(&scratch, two);
    assert_eq!(next["trial"], Value::Null);
    assert_eq!(commands["trial"], Value::Null);
    let flash: Vec<&str> =
        commands["flash"].as_array().unwrap().iter().map(|own| own.as_str().unwrap()).collect();
    let mut expected = vec![
        "fastboot flash init_boot out/init_boot.img",
        "fastboot flash vendor_boot out/vendor_boot.img",
    ];
    assert_eq!(flash, expected);
    let undo: Vec<&str> =
        commands["undo"].as_array().unwrap().iter().map(|own| own.as_str().unwrap()).collect();
    let unpatch = "vfioboot unpatch out/init_boot.img out/vendor_boot.img -d out/original";
    expected = vec![
        unpatch,
        "fastboot flash vendor_boot out/original/vendor_boot.img",
        "fastboot flash init_boot out/original/init_boot.img",
    ];
    assert_eq!(undo, expected);
    scratch.ok(unpatch.strip_prefix("vfioboot ").unwrap());
    assert_eq!(scratch.names("out/original"), ["init_boot.img", "vendor_boot.img"]);
}

#[test]
fn a_samsung_image_is_flashed_by_heimdall_and_never_tried() {
    let scratch = scratch();
    let image = fixture("images/boot-v2-gzip-dtbo.img");
    scratch.file("boot.img", &[&image[..], b"SEANDROIDENFORCE"].concat());
    let (next, commands) = next(&scratch, "boot.img --anyway -o p.img");
    let flash = json!([{ "image": 0, "tool": "heimdall", "partition": "boot" }]);
    assert_eq!(next, json!({ "flash": flash, "trial": null }));
    assert_eq!(commands["flash"], json!(["heimdall flash --BOOT p.img"]));
}

#[test]
fn a_bare_ramdisk_is_copied_by_its_owner() {
    let scratch = scratch();
    scratch.file("initrd.img", &cpio(&[("init", b"#!/bin/sh\n")]));
    let (next, commands) = next(&scratch, "initrd.img -o p.img");
    assert_eq!(next, json!({ "flash": [{ "image": 0, "tool": "copy" }], "trial": null }));
    assert_eq!(commands["flash"], json!([]));
    assert_eq!(commands["undo"], json!(["vfioboot unpatch p.img -o p.original.img"]));
}

#[test]
fn file_names_are_words_of_a_shell() {
    let scratch = scratch();
    scratch.file("boot.img", &fit("boot-v2-gzip-dtbo"));
    let mut command = scratch.command(&format!("{PATCH} --json boot.img -o"));
    let output = command.arg("it's mine.img").output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["commands"]["flash"], json!([r"fastboot flash boot 'it'\''s mine.img'"]));
}
