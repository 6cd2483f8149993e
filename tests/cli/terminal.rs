//! What a person at a terminal meets: wrapped lines, no binary output, and answers to usual mistakes.

use std::process::Command;

use crate::common::cli::Scratch;
use crate::common::{AARCH64, elf, fixture};

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("boot.img", &fixture("sample-boot.img"));
    scratch.file("rt", &elf(AARCH64));
    scratch
}

/// Run the program on a terminal of so many columns: the status, and everything that is printed.
fn on_terminal(scratch: &Scratch, columns: u32, arguments: &str) -> (i32, String) {
    let program = env!("CARGO_BIN_EXE_vfioboot");
    let line = format!("stty rows 24 cols {columns} && exec {program} {arguments}");
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(scratch.dir())
        .env("NO_COLOR", "1")
        .output()
        .expect("script is part of Debian's base system");
    let text = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    (output.status.code().unwrap(), text)
}

#[test]
fn lines_wrap_at_the_width_of_the_terminal_and_commands_do_not() {
    let scratch = scratch();
    let plan = "patch boot.img --runtime rt --device 0000:01:00.0 --anyway -o a-name-that-is-long-enough-for-two-lines.img";
    let (status, text) = on_terminal(&scratch, 60, plan);
    assert_eq!(status, 0, "{text}");
    let is_command = |line: &str| {
        ["  fastboot ", "  dd ", "  vfioboot "].iter().any(|start| line.starts_with(start))
    };
    let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 60).collect();
    assert!(!long.is_empty(), "{text}");
    for line in long {
        // a single word has no place to break
        assert!(is_command(line) || !line.trim().contains(' '), "{line}");
    }
    // the same words as on a pipe
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&text), words(&scratch.ok(plan)));
}

#[test]
fn an_image_is_not_printed_on_a_terminal() {
    let scratch = scratch();
    for arguments in [
        "patch boot.img --device 1b36:0010 --runtime rt -o -",
        "cmdline boot.img --add a=b -o -",
        "ramdisk boot.img rm init -o -",
        "module --runtime rt --without-vfioboot -o -",
    ] {
        let (status, text) = on_terminal(&scratch, 80, arguments);
        assert_eq!(status, 2, "{arguments}: {text}");
        assert!(text.contains("is a terminal"), "{arguments}: {text}");
        assert!(text.len() < 2000, "{arguments}");
    }
    // text is
    let (_, text) = on_terminal(&scratch, 80, "check boot.img --format json -o -");
    assert!(text.contains("\"format\""), "{text}");
}

#[test]
fn a_file_in_place_of_a_subcommand_is_for_info() {
    let scratch = scratch();
    let error = scratch.error("boot.img");
    assert!(error.contains("boot.img is a file: vfioboot info boot.img shows"), "{error}");
    assert!(!scratch.error("other.img").contains("is a file"));
}

#[test]
fn a_second_image_that_does_not_exist_is_taken_for_an_output() {
    let scratch = scratch();
    let error = scratch.error("patch boot.img new.img --device 1b36:0010");
    assert!(error.contains("new.img: no such file; a file to write goes after -o"), "{error}");
    let error = scratch.error("unpatch boot.img new.img");
    assert!(error.contains("a file to write goes after -o"), "{error}");
    assert!(!scratch.error("patch new.img --device 1b36:0010").contains("-o"));
}

#[test]
fn the_options_of_patch_stand_under_their_headings() {
    let help = Scratch::new().ok("patch -h");
    let (options, avb) = help.split_once("Android Verified Boot:").unwrap();
    for option in ["--dry-run", "--json", "--boot-test", "--runtime"] {
        assert!(options.contains(option) && !avb.contains(option), "{option}");
    }
    assert!(avb.contains("--key") && !options.contains("--key"), "{help}");
}
