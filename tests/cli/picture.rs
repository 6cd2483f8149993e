//! `info --svg`: the picture of where the bytes are.

use crate::common::cli::Scratch;
use crate::common::{AARCH64, elf};

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("rt", &elf(AARCH64));
    for name in ["boot", "vendor_boot", "init_boot"] {
        scratch.image(&format!("{name}.img"), &format!("{name}-v4"));
    }
    scratch
}

/// Python's parser takes it as XML.
fn well_formed(svg: &str) {
    let parse = "import sys, xml.etree.ElementTree as e; e.fromstring(sys.stdin.read())";
    let mut python = assert_cmd::Command::new("python3");
    python.args(["-c", parse]).write_stdin(svg).assert().success();
}

/// The names of the parts in a picture, in order.
fn parts(svg: &str) -> Vec<String> {
    let titles = svg.split("<title>").skip(1).filter_map(|rest| rest.split("</title>").next());
    titles.map(str::to_owned).collect()
}

#[test]
fn the_picture_has_every_region_and_what_was_added() {
    let scratch = scratch();
    scratch.ok("patch --runtime rt --device 1b36:0010 --anyway boot.img vendor_boot.img init_boot.img -d out");
    let images = scratch.names("out");
    assert_eq!(images, ["vendor_boot.img"], "one image changes");
    let text = scratch.ok("info out/vendor_boot.img boot.img --svg where.svg");
    assert!(text.contains("out/vendor_boot.img"), "the text comes, too");
    let svg = String::from_utf8(scratch.read("where.svg")).unwrap();
    well_formed(&svg);
    let parts = parts(&svg);
    let ours = parts.iter().filter(|part| part.contains("what vfioboot added"));
    assert_eq!(ours.count(), 1, "{parts:?}");
    for part in ["header", "kernel", "vendor ramdisk, platform", "bootconfig", "padding"] {
        assert!(parts.iter().any(|own| own.starts_with(part)), "{part}: {parts:?}");
    }
    // the picture of the original has no such part
    let svg = scratch.ok("info vendor_boot.img --svg -");
    assert!(svg.starts_with("<svg ") && !svg.contains("vfioboot added"), "{svg}");
}

#[test]
fn names_from_an_image_are_text_in_it() {
    let scratch = scratch();
    let mut bytes = scratch.image("vendor_boot.img", "vendor_boot-v4-fragments");
    // the ramdisk_name of a fragment in the table
    let at = bytes.windows(7).rposition(|own| own == b"second\0").unwrap();
    let hostile = b"<script>&\"\x1b[31m";
    bytes[at..at + hostile.len()].copy_from_slice(hostile);
    scratch.file("hostile.img", &bytes);
    let svg = scratch.ok("info hostile.img --svg -");
    well_formed(&svg);
    assert!(
        svg.contains("&lt;script&gt;&amp;&quot;\\x1b[31m") && !svg.contains("<script"),
        "{svg}"
    );
}

#[test]
fn an_input_is_not_the_picture() {
    let scratch = scratch();
    let error = scratch.error("info boot.img --svg boot.img");
    assert!(error.contains("is an input file"), "{error}");
}
