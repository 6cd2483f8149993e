//! The program as a whole: help, version, completions, manual pages, exit statuses.

use crate::common;
use crate::common::cli;

use cli::Scratch;

const SUBCOMMANDS: [&str; 12] = [
    "info",
    "unpack",
    "repack",
    "config",
    "check",
    "cmdline",
    "patch",
    "unpatch",
    "ramdisk",
    "completions",
    "man",
    "extract",
];

#[test]
fn help_lists_every_subcommand() {
    let text = Scratch::new().ok("--help");
    for name in SUBCOMMANDS {
        assert!(text.contains(&format!("\n  {name} ")), "{name}: {text}");
    }
}

#[test]
fn every_subcommand_has_help() {
    for name in SUBCOMMANDS {
        let text = Scratch::new().ok(&format!("{name} --help"));
        assert!(text.contains(&format!("Usage: vfioboot {name}")), "{text}");
    }
}

#[test]
fn the_version_is_printed() {
    let expected = format!("vfioboot {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(Scratch::new().ok("--version"), expected);
}

#[test]
fn a_bad_command_line_ends_in_2() {
    for arguments in ["", "nonsense", "patch", "unpack --nonsense", "repack dir"] {
        Scratch::new().error(arguments);
    }
}

#[test]
fn a_misspelled_argument_is_answered_with_a_suggestion() {
    let error = Scratch::new().error("unptch x");
    assert!(error.contains("unpatch"), "{error}");
}

#[test]
fn manual_pages_are_made_for_every_subcommand() {
    let scratch = Scratch::new();
    scratch.ok("man new/man");
    let names = scratch.names("new/man");
    let pages = SUBCOMMANDS.iter().map(|name| format!("vfioboot-{name}.1"));
    let runtime = vfioboot::usage::SUBCOMMANDS
        .iter()
        .map(|one| format!("vfiorun-{}.1", one.name.replace(' ', "-")));
    for page in pages.chain(runtime).chain(["vfioboot.1", "vfiorun.1"].map(str::to_owned)) {
        assert!(names.contains(&page), "{page}: {names:?}");
    }
}

#[test]
fn manual_pages_have_their_sections() {
    let scratch = Scratch::new();
    scratch.ok("man man");
    let text = String::from_utf8(scratch.read("man/vfioboot-patch.1")).unwrap();
    for section in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS"] {
        assert!(text.contains(section), "{section}");
    }
}

#[test]
fn a_directory_for_manual_pages_that_cannot_be_made_is_named() {
    let scratch = Scratch::new();
    scratch.file("file", b"");
    let error = scratch.error("man file/man");
    assert!(error.starts_with("vfioboot: file/man: "), "{error}");
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = Scratch::new().ok(&format!("completions {shell}"));
        assert!(text.contains("unpatch"), "{shell}");
        let text = Scratch::new().ok(&format!("completions {shell} vfiorun"));
        assert!(text.contains("autostart") && text.contains("at-boot"), "{shell}");
    }
}

#[test]
fn completions_for_bash_can_be_sourced() {
    for program in ["vfioboot", "vfiorun"] {
        let script = Scratch::new().ok(&format!("completions bash {program}"));
        common::pipe("bash", &["-n"], script.as_bytes());
    }
}

#[test]
fn a_shell_that_is_none_is_answered_with_those_there_are() {
    let error = Scratch::new().error("completions tcsh");
    assert!(error.contains("possible values: bash, "), "{error}");
}
