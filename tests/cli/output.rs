//! What is printed: text from outside is made visible, and an output that takes nothing is an
//! error.

use std::borrow::Cow;
use std::fs::File;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use vfioboot::image::SectionName;
use vfioboot::text::{is_hidden, visible, visible_bytes, visible_json, without_command};

use crate::common::cli::Scratch;
use crate::common::{self, AARCH64, cpio, elf, fixture, flows, with_cmdline, with_section};

// --- text from outside ------------------------------------------------------------------------

#[test]
fn hidden_characters_are_escaped_and_others_kept() {
    for (text, shown) in [
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\r\n\tb\0", "a\\r\\n\\tb\\x00"),
        ("\x7f\u{85}\u{9b}31m", "\\x7f\\u{85}\\u{9b}31m"),
        ("\u{202e}gpj\u{202c} \u{2066}x\u{2069}", "\\u{202e}gpj\\u{202c} \\u{2066}x\\u{2069}"),
        ("a\u{200b}b\u{feff}c\u{ad}d\u{e0041}", "a\\u{200b}b\\u{feff}c\\u{ad}d\\u{e0041}"),
        ("\u{2028}\u{61c}\u{3164}", "\\u{2028}\\u{61c}\\u{3164}"),
    ] {
        assert_eq!(visible(text), shown);
    }
    for text in ["", "quiet a=\"b\\c\"", "Größe 日本語 עברית ☃️ 👍🏽 e\u{301}", "\u{a0}"]
    {
        assert!(matches!(visible(text), Cow::Borrowed(same) if same == text), "{text}");
    }
    assert_eq!(visible_bytes(b"a\xe9\x1bb\xc3\xa9\xff"), "a\\xe9\\x1bb\u{e9}\\xff");
}

#[test]
fn a_line_is_not_a_workflow_command() {
    for (line, shown) in [
        ("::error::x", "\\x3a:error::x"),
        (" \u{a0}::set-env name=a::b", " \u{a0}\\x3a:set-env name=a::b"),
        ("a ##[error]b", "a #\\x23[error]b"),
        ("a::b", "a::b"),
        (": :", ": :"),
        ("## [x]", "## [x]"),
    ] {
        assert_eq!(without_command(line), shown);
    }
}

proptest! {
    #[test]
    fn visible_text_hides_nothing(text in any::<String>()) {
        let shown = visible(&text);
        prop_assert!(!shown.chars().any(is_hidden));
        prop_assert!(!shown.chars().any(char::is_control));
        prop_assert_eq!(visible(&shown), shown.clone());
        let bytes = visible_bytes(text.as_bytes());
        prop_assert_eq!(bytes, shown);
    }

    #[test]
    fn visible_json_is_the_same_json(text in any::<String>()) {
        let json = serde_json::to_string(&text).unwrap();
        let shown = visible_json(&json);
        prop_assert!(!shown.chars().any(is_hidden));
        prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }
}

/// Text that acts on a terminal, on a reader, or on the runner of a CI job.
const FOREIGN: &str = "\x1b[31m\x07a\u{9b}2J\u{202e}b\u{200b}\x7f";

/// A boot image whose command line, name, files and modules have such text.
fn hostile() -> Scratch {
    let module = common::module(&format!("m{FOREIGN}"), "6.1.0", "");
    let files = [
        ("init", b"\x7fELF selinux_setup second_stage".as_slice()),
        (&format!("f\n::error::{FOREIGN}"), b"x"),
        (&format!("lib/modules/m{FOREIGN}.ko"), &module),
        ("lib/modules/modules.load", format!("m{FOREIGN}.ko\n").as_bytes()),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()));
    let files: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    let line = format!("::error::x a={FOREIGN}\n::warning::y\r");
    let image = with_section(&flows::two_stage(), SectionName::Ramdisk, cpio(&files));
    let mut image = with_cmdline(&image, &line);
    image[48..59].copy_from_slice("\x1b[7mn\u{9b}\r\n::".as_bytes());
    let scratch = Scratch::new();
    scratch.file("boot.img", &image);
    scratch.file(&format!("n\u{1b}[1m\n::error::{}.img", "\u{202e}"), &image);
    scratch.file(&format!("bad\u{1b}[1m\n::error::{}.img", "\u{202e}"), b"nothing");
    scratch.file("vfiorun", &elf(AARCH64));
    scratch
}

/// Nothing hides in what was printed, but the program's own line ends and, on a terminal, its
/// own styles.
fn assert_visible(output: &[u8], styles: bool, what: &str) {
    let mut text = String::from_utf8(output.to_vec()).unwrap();
    if styles {
        text = text.replace("\r\n", "\n");
        for code in ["0", "1", "2", "4", "31", "32", "33"] {
            text = text.replace(&format!("\x1b[{code}m"), "");
        }
    }
    let hidden = |c: char| is_hidden(c) && c != '\n';
    assert!(!text.contains(hidden), "{what}: {text:?}");
    for line in text.lines() {
        assert!(!line.trim_start().starts_with("::"), "{what}: {line:?}");
    }
}

/// What shows text of an image, on a pipe.
const SHOWN: &[&str] = &[
    "info boot.img",
    "info boot.img --json",
    "cmdline boot.img",
    "cmdline boot.img --effective",
    "cmdline boot.img --effective --json",
    "cmdline boot.img --set a=b -o out.img",
    "check boot.img",
    "check boot.img --format json",
    "check boot.img --format sarif",
    "check boot.img --format junit",
    "check boot.img --format html",
    "patch boot.img --device 1b36:0010 --anyway --runtime vfiorun --dry-run",
    "patch boot.img --device 1b36:0010 --anyway --runtime vfiorun -o out.img",
    "verify boot.img",
    "ramdisk boot.img ls",
    "ramdisk boot.img ls --json",
    "ramdisk boot.img cat no\u{1b}such",
    "ramdisk boot.img rm no\u{1b}such -o out.img",
    "extract boot.img --list",
    "unpack boot.img -d dir",
    "no\u{1b}such",
    "info --\u{1b}[1m",
];

#[test]
fn text_of_an_image_is_visible_on_a_pipe() {
    let scratch = hostile();
    for command in SHOWN {
        let output = scratch.command(command).output().unwrap();
        assert_visible(&output.stdout, false, command);
        assert_visible(&output.stderr, false, command);
    }
    let text = scratch.ok("info boot.img");
    assert!(text.contains("a=\\x1b[31m\\x07a\\u{9b}2J\\u{202e}b\\u{200b}\\x7f"), "{text}");
    let text = scratch.ok("cmdline boot.img");
    assert!(text.starts_with("\\x3a:error::x a=\\x1b[31m"), "{text}");
    assert_eq!(text.lines().count(), 1);
    let text = scratch.ok("ramdisk boot.img ls");
    assert!(text.contains("f\\n::error::\\x1b[31m\\x07a\\u{9b}"), "{text}");
}

#[test]
fn annotations_for_github_are_the_only_commands() {
    let output = hostile().command("check boot.img --format github").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(|c: char| is_hidden(c) && c != '\n'), "{text:?}");
    let own =
        |line: &str| ["::error ", "::warning ", "::notice "].iter().any(|c| line.starts_with(c));
    assert!(text.lines().count() > 1 && text.lines().all(own), "{text}");
}

#[test]
fn names_of_files_are_visible_in_every_message() {
    let scratch = hostile();
    for command in [
        "info",
        "verify",
        "cmdline",
        "check",
        "config",
        "unpatch -d o",
        "unpack -d o",
        "extract -d o",
    ] {
        for name in scratch.names(".").iter().filter(|name| name.contains('\u{1b}')) {
            let output = scratch.command(command).arg(name).output().unwrap();
            assert_visible(&output.stdout, false, command);
            assert_visible(&output.stderr, false, command);
        }
    }
}

#[test]
fn json_holds_the_exact_text() {
    let report: serde_json::Value =
        serde_json::from_str(&hostile().ok("info boot.img --json")).unwrap();
    let line = report["images"][0]["header"]["cmdline"].as_str().unwrap();
    assert_eq!(line, format!("::error::x a={FOREIGN}\n::warning::y\r"));
}

#[test]
fn on_a_terminal_only_our_own_styles_pass() {
    let scratch = hostile();
    for command in SHOWN {
        let command = command.replace('\u{1b}', "");
        let command = format!("{} {command}", env!("CARGO_BIN_EXE_vfioboot"));
        let output = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .current_dir(scratch.dir())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_visible(&output.stdout, true, &command);
    }
}

// --- outputs that take nothing ----------------------------------------------------------------

#[test]
fn a_full_disk_is_an_error_of_every_command_that_prints() {
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v2-raw");
    scratch.file("kernel", &common::kernel(""));
    scratch.file("payload.bin", &fixture("ota/payload.bin"));
    scratch.file("vfiorun", &elf(AARCH64));
    for command in [
        "info boot.img",
        "info boot.img --json",
        "check kernel",
        "check kernel --format github",
        "config kernel",
        "cmdline boot.img",
        "cmdline boot.img --effective",
        "cmdline boot.img --effective --json",
        "patch boot.img --device 1b36:0010 --anyway --runtime vfiorun --dry-run",
        "patch boot.img --device 1b36:0010 --anyway --runtime vfiorun --dry-run --json",
        "patch boot.img --device 1b36:0010 --anyway --runtime vfiorun -o -",
        "verify boot.img",
        "verify boot.img --json",
        "ramdisk boot.img ls",
        "ramdisk boot.img ls --json",
        "ramdisk boot.img cat init",
        "extract payload.bin --list",
        "extract payload.bin --list --json",
        "completions bash",
        "help",
        "help patch",
        "--help",
        "--version",
        "info --help",
    ] {
        let whole = scratch.command(command).output().unwrap();
        assert!(!whole.stdout.is_empty(), "{command} prints something");
        let mut full = Command::new(env!("CARGO_BIN_EXE_vfioboot"));
        full.current_dir(scratch.dir()).args(command.split(' '));
        full.stdout(File::options().write(true).open("/dev/full").unwrap());
        let output = full.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}: {text}");
        assert!(text.contains("No space left on device"), "{command}: {text}");
    }
}

#[test]
fn without_standard_error_the_status_is_still_right() {
    let scratch = Scratch::new();
    scratch.file("boot.img", b"nothing");
    for command in ["info boot.img", "check boot.img", "no-such-command"] {
        let mut full = Command::new(env!("CARGO_BIN_EXE_vfioboot"));
        full.current_dir(scratch.dir()).args(command.split(' '));
        full.stderr(File::options().write(true).open("/dev/full").unwrap());
        assert_eq!(full.output().unwrap().status.code(), Some(2), "{command}");
    }
}
