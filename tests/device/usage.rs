//! The command line of vfiorun: the table, and what is read by it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::Command;

use vfioboot::usage::{GROUPS, Kind, Parsed, SUBCOMMANDS, help, parse};

fn error(line: &str) -> String {
    match parse(line.split_whitespace().map(OsString::from)) {
        Err(error) => error.to_string().lines().next().unwrap().to_owned(),
        Ok(parsed) => panic!("{line}: {parsed:?}"),
    }
}

#[test]
fn arguments_come_in_any_order_and_form() {
    for line in [
        "bind 1b36:0010 0000:00:02.0 --force 1b36:0010 --timeout 7 --json --state /s",
        "--state /s bind --timeout=7 --json 1b36:0010 --force=1b36:0010 0000:00:02.0",
        "--state=/s bind --json --timeout 7 --force 1b36:0010 -- 1b36:0010 0000:00:02.0",
    ] {
        let parsed = parse(line.split_whitespace().map(OsString::from));
        let Ok(Parsed::Run(subcommand, given)) = parsed else { panic!("{line}: {parsed:?}") };
        assert_eq!(subcommand.name, "bind");
        assert_eq!(given.parsed::<String>("DEV").unwrap(), ["1b36:0010", "0000:00:02.0"]);
        assert_eq!(given.parsed::<u32>("timeout").unwrap(), [7]);
        assert_eq!(given.value("state").unwrap(), "/s");
        assert!(given.has("json") && !given.has("dry-run"));
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    for (line, wanted) in [
        ("", "no subcommand is given"),
        ("--json", "there is no option --json"),
        ("nothing", "no subcommand is called \"nothing\""),
        ("bind", "DEV is missing"),
        ("bind x --nothing", "there is no option --nothing"),
        ("run g -x", "there is no option -x"),
        ("run a b", "\"b\" is one word too many"),
        ("status --json --json", "--json is given twice"),
        ("run g --libvirt --dry-run", "--libvirt cannot be given with dry-run"),
        ("doctor 1b36:0010 --bundle f", "--bundle cannot be given with DEV"),
    ] {
        assert_eq!(error(line), wanted, "{line}");
    }
    assert!(error("stop --timeout").contains("--timeout"), "a value is missing");
    let parsed = parse(["stop", "--timeout", "soon"].map(OsString::from));
    let Ok(Parsed::Run(_, given)) = parsed else { panic!("{parsed:?}") };
    let error = given.parsed::<u32>("timeout").unwrap_err().to_string();
    assert!(error.starts_with("timeout soon: "), "{error}");
}

#[test]
fn help_has_every_argument_and_no_long_line() {
    for subcommand in SUBCOMMANDS {
        let text = help(Some(subcommand), None);
        for argument in subcommand.arguments {
            let name = match argument.kind {
                Kind::Operand => argument.name.to_owned(),
                Kind::Flag | Kind::Value(_) => format!("--{}", argument.name),
            };
            assert!(text.contains(&name), "{name}: {text}");
        }
        let long = text.lines().find(|line| line.len() > 100 && !line.starts_with("Usage:"));
        assert_eq!(long, None);
        assert!(help(None, None).contains(subcommand.name.split(' ').next().unwrap()));
    }
}

#[test]
fn a_subcommand_of_two_words_is_in_a_group_that_has_a_help() {
    for one in SUBCOMMANDS.iter().filter_map(|one| one.name.split_once(' ')) {
        assert!(GROUPS.iter().any(|(group, _)| *group == one.0), "{}", one.0);
        assert!(help(None, Some(one.0)).contains(&format!("\n  {}", one.1)));
    }
    // Who gives none sees which there are.
    for (line, commands) in [("", &["doctor", "run"][..]), ("service", &["install", "remove"])] {
        let text = parse(line.split_whitespace().map(OsString::from)).unwrap_err().to_string();
        assert!(text.starts_with("no subcommand is given\n"), "{text}");
        assert!(commands.iter().all(|name| text.contains(&format!("\n  {name} "))), "{text}");
    }
}

/// The table promises nothing that the program does not do, and an argument has one name.
#[test]
fn the_program_carries_out_every_subcommand() {
    let names: BTreeSet<&str> = SUBCOMMANDS.iter().map(|one| one.name).collect();
    assert_eq!(names.len(), SUBCOMMANDS.len());
    for subcommand in SUBCOMMANDS {
        let names: BTreeSet<&str> = subcommand.arguments.iter().map(|one| one.name).collect();
        assert_eq!(names.len(), subcommand.arguments.len(), "{}", subcommand.name);
        let mut command = Command::new(env!("CARGO_BIN_EXE_vfiorun"));
        command.args(["--sysroot", "/nowhere", "--state", "/nowhere/state"]);
        command.args(subcommand.name.split(' '));
        let required = subcommand.arguments.iter().filter(|one| one.required);
        command.args(required.map(|_| "/nowhere/x"));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("not carried out by this program"), "{said}");
    }
}
