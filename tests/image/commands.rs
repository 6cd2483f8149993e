//! `vfioboot unpack`, `repack` and `cmdline` as programs.

use crate::common;
use crate::common::cli;

use std::fs;
use std::os::unix::fs::symlink;

use cli::{Scratch, error_of};
use common::{images, with_avb_footer, with_cmdline};

/// A directory with `boot.img`.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v2-gzip-dtbo");
    scratch
}

/// The same, unpacked into `dir`.
fn unpacked() -> Scratch {
    let scratch = scratch();
    scratch.ok("unpack boot.img -d dir");
    scratch
}

/// The error that `repack` ends with when `from` in image.toml is `to`.
fn repack_error(from: &str, to: &str) -> String {
    let scratch = unpacked();
    let manifest = String::from_utf8(scratch.read("dir/image.toml")).unwrap();
    assert!(manifest.contains(from), "{from} stands in {manifest}");
    scratch.file("dir/image.toml", manifest.replacen(from, to, 1).as_bytes());
    let error = scratch.error("repack dir -o out.img");
    assert!(!scratch.exists("out.img"), "{error}");
    error
}

// --- unpack and repack ------------------------------------------------------------------------

#[test]
fn unpack_and_repack_give_every_image_back() {
    let scratch = Scratch::new();
    for (name, bytes) in images() {
        scratch.file("in.img", &bytes);
        scratch.ok(&format!("unpack in.img -d {name}"));
        scratch.ok(&format!("repack {name} -o out.img"));
        assert!(scratch.read("out.img") == bytes, "{name}");
        assert!(scratch.read("in.img") == bytes, "{name}");
    }
}

#[test]
fn unpack_makes_a_file_a_section() {
    let expected = ["dtb", "header.bin", "image.toml", "kernel", "ramdisk", "recovery_dtbo"];
    let mut names = unpacked().names("dir");
    names.retain(|name| name != "header.bin");
    let expected: Vec<_> = expected.into_iter().filter(|name| *name != "header.bin").collect();
    assert_eq!(names, expected);
}

#[test]
fn unpack_reads_standard_input_and_repack_writes_standard_output() {
    let scratch = scratch();
    let bytes = scratch.read("boot.img");
    scratch.command("unpack - -d dir").write_stdin(bytes.clone()).assert().success();
    let run = scratch.run("repack dir -o -").success();
    assert!(run.get_output().stdout == bytes);
}

#[test]
fn unpack_refuses_a_directory_that_holds_an_image() {
    let scratch = unpacked();
    let error = scratch.error("unpack boot.img -d dir");
    assert_eq!(error, "vfioboot: dir/image.toml: exists already; name an empty directory\n");
}

#[test]
fn unpack_does_not_write_onto_its_input() {
    let scratch = Scratch::new();
    scratch.image("kernel", "boot-v3");
    let before = scratch.read("kernel");
    let error = scratch.error("unpack kernel -d .");
    assert!(error.contains("kernel: is an input file"), "{error}");
    assert!(scratch.read("kernel") == before);
}

#[test]
fn unpack_reports_a_wrong_header_field() {
    let scratch = scratch();
    let mut bytes = scratch.read("boot.img");
    bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    scratch.file("boot.img", &bytes);
    let run = scratch.run("unpack boot.img -d dir").success();
    let text = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(text.contains("warning: boot.img: kernel_size at offset 8: says"), "{text}");
    scratch.ok("repack dir -o out.img");
    assert!(scratch.read("out.img") == bytes);
}

#[test]
fn unpack_reports_files_that_are_not_images() {
    let scratch = Scratch::new();
    scratch.file("x.img", b"hello, world");
    let error = scratch.error("unpack x.img -d dir");
    assert_eq!(
        error,
        "vfioboot: x.img: is not a boot image: expected \"ANDROID!\" or \"VNDRBOOT\" at offset 0, found \"hello, w\"\n"
    );
    assert!(!scratch.exists("dir"));
}

#[test]
fn an_edited_command_line_and_ramdisk_are_repacked() {
    let scratch = unpacked();
    let manifest = String::from_utf8(scratch.read("dir/image.toml")).unwrap();
    scratch.file("dir/image.toml", manifest.replace("buildvariant=user", "x=1").as_bytes());
    scratch.file("dir/ramdisk", &vec![9; 100_000]);
    scratch.ok("repack dir -o out.img");
    assert!(scratch.ok("cmdline out.img").contains("x=1"));
    scratch.ok("unpack out.img -d again");
    assert!(scratch.read("again/ramdisk") == vec![9; 100_000]);
    assert!(scratch.read("again/kernel") == scratch.read("dir/kernel"));
}

#[test]
fn repack_does_not_write_onto_what_it_reads() {
    for output in ["dir/kernel", "dir/image.toml"] {
        let scratch = unpacked();
        let error = scratch.error(&format!("repack dir -o {output}"));
        assert!(error.contains(&format!("{output}: is an input file")), "{error}");
    }
}

#[test]
fn repack_names_a_missing_manifest() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("dir")).unwrap();
    let error = scratch.error("repack dir -o out.img");
    assert!(error.starts_with("vfioboot: dir/image.toml: No such file"), "{error}");
}

#[test]
fn repack_names_a_missing_file() {
    let scratch = unpacked();
    fs::remove_file(scratch.path("dir/dtb")).unwrap();
    let error = scratch.error("repack dir -o out.img");
    assert!(error.starts_with("vfioboot: dir: dtb: No such file"), "{error}");
}

#[test]
fn repack_names_a_file_that_cannot_change_its_size() {
    let scratch = unpacked();
    scratch.file("dir/header.bin", b"short");
    let error = scratch.error("repack dir -o out.img");
    assert!(error.contains("header.bin has 5 bytes, expected 1660"), "{error}");
}

#[test]
fn repack_keeps_avb_true_or_says_why_not() {
    let scratch = Scratch::new();
    let mut image = common::fixture("images/boot-v2-gzip-dtbo.img");
    image.extend_from_slice(b"SEANDROIDENFORCE");
    scratch.file("boot.img", &with_avb_footer(&image, 128 << 10));
    scratch.ok("unpack boot.img -d dir");
    let trailing = scratch.names("dir").into_iter().find(|name| name.starts_with("trailing"));
    scratch.file(&format!("dir/{}", trailing.unwrap()), &[1; 9000]);
    let error = scratch.error("repack dir -o out.img");
    assert!(error.contains("has 9000 bytes, expected 16"), "{error}");
}

#[test]
fn a_broken_manifest_is_reported_with_line_and_key() {
    let error = repack_error("format = 1", "format = ");
    assert!(error.contains("image.toml: TOML parse error at line 2"), "{error}");
    let error = repack_error("format = 1", "format = 7");
    assert!(error.contains("image.toml: format is 7, expected 1"), "{error}");
    let error = repack_error("format = 1", "formt = 1");
    assert!(error.contains("line 2") && error.contains("unknown field `formt`"), "{error}");
    let error = repack_error("kind = \"boot\"\n", "");
    assert!(error.contains("missing field `kind`"), "{error}");
}

#[test]
fn header_fields_are_checked() {
    for (from, to, expected) in [
        ("kernel_addr = 0x", "kernel_adr = 0x", "header field kernel_adr: is not a number"),
        (
            "kernel_addr = 0x10008000",
            "kernel_addr = \"x\"",
            "header.kernel_addr: expected a number",
        ),
        ("kernel_addr = 0x10008000", "kernel_addr = -1", "header.kernel_addr: expected a number"),
        (
            "kernel_addr = 0x10008000",
            "kernel_addr = 0x100000000",
            "header field kernel_addr: does not fit in 32 bits",
        ),
        ("cmdline = \"", "cmdline = 5 # \"", "header.cmdline: expected a string"),
        ("cmdline = \"", "cmdline_hex = \"0g", "header.cmdline_hex: expected bytes in hex"),
        ("cmdline = \"", "cmdline = \"\\u0000", "cmdline: must not contain a NUL byte"),
        ("name = \"", "name = \"seventeen letters", "name holds at most 16 bytes"),
    ] {
        let error = repack_error(from, to);
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn a_command_line_that_is_too_long_says_by_how_much() {
    let error = repack_error("cmdline = \"", &format!("cmdline = \"{}", "x".repeat(1535)));
    assert!(error.contains("cmdline with extra_cmdline holds 1534"), "{error}");
}

#[test]
fn a_region_cannot_name_a_file_elsewhere() {
    let error = repack_error("file = \"kernel\"", "file = \"../boot.img\"");
    assert!(error.contains("file \"../boot.img\" is not a plain file name"), "{error}");
}

#[test]
fn wrong_sizes_in_the_manifest_are_refused() {
    for size in ["9223372036854775807", "5000000000"] {
        let error = repack_error(
            "kind = \"ramdisk\"\nsize = ",
            &format!("kind = \"ramdisk\"\nsize = {size}#"),
        );
        assert!(error.contains("exceeds the limit of 4294967296 bytes"), "{error}");
    }
    let error = repack_error("kind = \"ramdisk\"\nsize = ", "kind = \"ramdisk\"\nsize = 1");
    assert!(error.contains("the regions do not match the header"), "{error}");
    let error = repack_error("size = ", "size = -");
    assert!(error.contains("image.toml: TOML parse error"), "{error}");
}

#[test]
fn a_region_twice_or_of_no_known_kind_is_refused() {
    let error = repack_error("kind = \"dtb\"", "kind = \"recovery_dtbo\"");
    assert!(error.contains("the regions do not match the header"), "{error}");
    let error = repack_error("kind = \"dtb\"", "kind = \"dtbx\"");
    assert!(error.contains("the regions do not match the header"), "{error}");
}

// --- cmdline ----------------------------------------------------------------------------------

/// The line of `boot.img` after an edit.
fn edited(line: &str, arguments: &str) -> String {
    let scratch = scratch();
    scratch.file("boot.img", &with_cmdline(&scratch.read("boot.img"), line));
    scratch.ok(&format!("cmdline boot.img {arguments} -o out.img"));
    scratch.ok("cmdline out.img").trim_end_matches('\n').to_owned()
}

#[test]
fn cmdline_prints_one_line_an_image() {
    let scratch = scratch();
    scratch.image("vendor_boot.img", "vendor_boot-v4");
    let expected = "console=ttyAMA0 androidboot.hardware=fixture buildvariant=user\n\
                    console=ttyAMA0 bootconfig\n";
    assert_eq!(scratch.ok("cmdline boot.img vendor_boot.img"), expected);
}

#[test]
fn cmdline_shows_bytes_that_are_not_utf8_as_escapes() {
    let scratch = scratch();
    let mut bytes = scratch.read("boot.img");
    bytes[64..67].copy_from_slice(b"\xff\xfe\0");
    scratch.file("boot.img", &bytes);
    let run = scratch.run("cmdline boot.img").success();
    assert_eq!(run.get_output().stdout, b"\\xff\\xfe\n");
}

#[test]
fn cmdline_edits_in_the_order_remove_set_add() {
    assert_eq!(edited("a k=1 b", "--add c --set k=2 --remove k"), "a b k=2 c");
}

#[test]
fn cmdline_says_what_it_wrote() {
    let text = scratch().ok("cmdline boot.img --set a=1 -o out.img");
    assert!(text.ends_with(" a=1\nwrote out.img\n"), "{text}");
}

#[test]
fn cmdline_edits_change_the_line_only() {
    let scratch = scratch();
    scratch.ok("cmdline boot.img --set a=1 -o out.img");
    let (before, after) = (scratch.read("boot.img"), scratch.read("out.img"));
    assert!(before[..64] == after[..64] && before[576..] == after[576..]);
    scratch.ok("cmdline out.img --remove a -o back.img");
    assert!(scratch.read("back.img") == before);
}

#[test]
fn cmdline_shows_the_origin_of_each_parameter() {
    let scratch = scratch();
    scratch.image("vendor_boot.img", "vendor_boot-v4");
    scratch.file("boot.img", &with_cmdline(&scratch.read("boot.img"), "quiet"));
    let expected = "console=ttyAMA0  vendor_boot.img\n\
                    bootconfig  vendor_boot.img\n\
                    quiet  boot.img\n\
                    32 of 2047 bytes, and what the bootloader adds\n";
    let text = scratch.ok("cmdline --effective boot.img vendor_boot.img");
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn cmdline_refuses_what_it_cannot_do() {
    for (arguments, expected) in [
        ("boot.img --add a", "an edit needs -o FILE"),
        ("boot.img -o out.img", "nothing to edit: give --set, --add, --remove"),
        ("boot.img vendor_boot.img --add a -o out.img", "an edit takes one image, 2 were given"),
        ("boot.img --set a -o out.img", "--set a: expected KEY=VALUE"),
        ("boot.img --remove nope -o out.img", "boot.img: the command line has no parameter nope"),
        ("boot.img --add a -o boot.img", "boot.img: is an input file"),
        ("boot.img --add a=\" -o out.img", "a quote that is not closed"),
        ("boot.img --effective --add a", "cannot be used with"),
        ("none.img", "none.img: No such file"),
    ] {
        let scratch = scratch();
        scratch.image("vendor_boot.img", "vendor_boot-v4");
        let error = scratch.error(&format!("cmdline {arguments}"));
        assert!(error.contains(expected), "{arguments}: {error}");
    }
}

#[test]
fn a_file_given_twice_is_one_file() {
    let scratch = scratch();
    scratch.ok("cmdline boot.img ./boot.img --add a -o out.img");
    assert!(scratch.ok("cmdline out.img").trim_end().ends_with(" a"));
}

#[test]
fn cmdline_says_by_how_much_a_line_is_too_long() {
    let word = "x".repeat(1535);
    let error = scratch().error(&format!("cmdline boot.img --add {word} -o out.img"));
    assert!(error.contains("boot.img: the command line would take 1598 bytes"), "{error}");
    assert!(error.contains("holds 1534 (64 too many)"), "{error}");
}

#[test]
fn a_bare_ramdisk_has_no_command_line() {
    let scratch = unpacked();
    let error = scratch.error("cmdline dir/ramdisk");
    assert!(error.contains("dir/ramdisk: a bare ramdisk has no command line field"), "{error}");
}

#[test]
fn an_edit_goes_through_pipes() {
    let scratch = scratch();
    let mut command = scratch.command("cmdline - --add a -o -");
    let run = command.write_stdin(scratch.read("boot.img")).assert().success();
    scratch.file("out.img", &run.get_output().stdout);
    assert!(scratch.ok("cmdline out.img").ends_with(" a\n"));
}

#[test]
fn an_edit_does_not_follow_a_link_to_its_input() {
    let scratch = scratch();
    symlink("boot.img", scratch.path("link.img")).unwrap();
    let error = error_of(scratch.run("cmdline boot.img --add a -o link.img"));
    assert!(error.contains("link.img: is an input file"), "{error}");
}

/// Some tools fill `cmdline` of v0 to v2 to its last byte and go on in `extra_cmdline`.
#[test]
fn a_word_added_to_a_field_without_a_nul_is_removed_exactly() {
    for name in ["boot-v0-gzip", "boot-v1-dtbo", "boot-v2-raw"] {
        for tail in [&b""[..], b" more=1", b"x more=1"] {
            let scratch = Scratch::new();
            let mut bytes = scratch.image("boot.img", name);
            let words = "androidboot.filler=01 ".repeat(30);
            bytes[64..576].copy_from_slice(&words.as_bytes()[..512]);
            bytes[608..608 + tail.len()].copy_from_slice(tail);
            scratch.file("boot.img", &bytes);
            let line = |file: &str| scratch.ok(&format!("cmdline {file}"));
            let before = line("boot.img");
            scratch.ok("cmdline boot.img --add zz.q=1 -o added.img");
            assert_eq!(line("added.img"), format!("{} zz.q=1\n", before.trim_end()), "{name}");
            let first = &scratch.read("added.img")[64..576];
            assert!(first == &bytes[64..576], "{name}: the full field stays");
            scratch.ok("cmdline added.img --remove zz.q -o removed.img");
            assert!(scratch.read("removed.img")[64..576] == bytes[64..576], "{name}");
            assert!(scratch.read("removed.img")[608..1632] == bytes[608..1632], "{name}");
            assert!(scratch.read("removed.img") == bytes, "{name}, {}", tail.len());
        }
    }
}
