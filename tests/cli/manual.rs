//! The examples in the help and the manual pages, which run as they are written.

use assert_cmd::Command;

use crate::common::cli::Scratch;
use crate::common::{AARCH64, elf, fixture};

const MODULE: &str = "module --runtime rt --without-vfioboot";

/// The subcommands, those of `ramdisk` too.
const PAGES: [&str; 20] = [
    "vfioboot",
    "vfioboot-info",
    "vfioboot-unpack",
    "vfioboot-repack",
    "vfioboot-config",
    "vfioboot-check",
    "vfioboot-cmdline",
    "vfioboot-patch",
    "vfioboot-unpatch",
    "vfioboot-module",
    "vfioboot-verify",
    "vfioboot-extract",
    "vfioboot-ramdisk",
    "vfioboot-ramdisk-ls",
    "vfioboot-ramdisk-cat",
    "vfioboot-ramdisk-extract",
    "vfioboot-ramdisk-add",
    "vfioboot-ramdisk-rm",
    "vfioboot-completions",
    "vfioboot-man",
];

/// The examples in a manual page, in order.
fn examples(page: &str) -> Vec<String> {
    let (_, after) = page.split_once(".SH EXAMPLES").expect("has examples");
    let section = after.split(".SH ").next().unwrap();
    let lines = section.lines().filter_map(|line| line.strip_prefix("\\fI"));
    let plain = |line: &str| line.trim_end_matches("\\fR").replace("\\-", "-").replace("\\.", ".");
    lines.map(plain).collect()
}

fn pages() -> Scratch {
    let scratch = Scratch::new();
    scratch.ok("man man");
    scratch
}

#[test]
fn every_page_has_examples_and_exit_statuses() {
    let scratch = pages();
    for name in scratch.names("man") {
        let text = String::from_utf8(scratch.read(&format!("man/{name}"))).unwrap();
        for section in [".SH NAME", ".SH \"EXIT STATUS\"", ".SH EXAMPLES"] {
            assert!(text.contains(section), "{name}: {section}");
        }
        assert!(!examples(&text).is_empty(), "{name}");
    }
}

#[test]
fn the_examples_run() {
    let manual = pages();
    // what the examples work with
    let scratch = Scratch::new();
    scratch.file("boot.img", &fixture("sample-boot.img"));
    scratch.file("issue", b"hello\n");
    scratch.file("rt", &elf(AARCH64));
    scratch.file("ota.zip", &fixture("ota/factory-stored.zip"));
    for name in PAGES {
        let text = String::from_utf8(manual.read(&format!("man/{name}.1"))).unwrap();
        for example in examples(&text) {
            // a set of images, and what needs QEMU, have tests of their own
            if example.contains("vendor_boot.img")
                || example.contains("vbmeta.img")
                || example.contains("boot-test")
            {
                continue;
            }
            let words = example.strip_prefix("vfioboot ").expect("begins with the program");
            // a program that cargo builds for tests has no runtime inside
            let words =
                words.replace("patch boot", "patch --runtime rt boot").replace("module", MODULE);
            let run = scratch.run(&words);
            let status = run.get_output().status.code();
            // a verdict is not a failure
            let verdict = words.starts_with("check") || words.starts_with("verify");
            assert!(
                status == Some(0) || (verdict && matches!(status, Some(1 | 3))),
                "{example}: {run}"
            );
        }
    }
    assert!(scratch.read("original.img") == scratch.read("boot.img"));
}

#[test]
fn the_long_help_has_them_and_the_short_one_has_not() {
    let scratch = Scratch::new();
    let long = scratch.ok("patch --help");
    assert!(long.contains("\nExamples:\n  vfioboot patch boot.img --device"), "{long}");
    assert!(long.contains("\nExit status:\n  0 done\n  1 "), "{long}");
    assert!(!scratch.ok("patch -h").contains("Examples:"));
}

#[test]
fn man_reads_them() {
    let scratch = pages();
    let Ok(man) = Command::new("man").arg("--version").output() else { return };
    if !man.status.success() {
        return;
    }
    let page = scratch.path("man/vfioboot-patch.1");
    let run = Command::new("man")
        .args(["--warnings", "-l"])
        .arg(page)
        .env("MANWIDTH", "100")
        .assert()
        .success();
    let text = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    assert!(text.contains("EXIT STATUS\n       0"), "{text}");
    assert!(String::from_utf8_lossy(&run.get_output().stderr).is_empty(), "{run}");
}
