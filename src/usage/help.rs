//! The text of `--help`.

use super::argument::{Argument, Kind, PROGRAM, Subcommand};
use super::table::{ABOUT, GLOBAL, GROUPS, MORE, SUBCOMMANDS};

/// The width of the text.
const WIDTH: usize = 100;
/// Where the help of an argument begins.
const COLUMN: usize = 28;

const HELP: (&str, &str) = ("  -h, --help", "Print help");

/// The help of a subcommand, of the program when `None`. `group` is the first word of the subcommands to list.
pub fn help(subcommand: Option<&Subcommand>, group: Option<&str>) -> String {
    let mut text = String::new();
    let Some(Subcommand { about, more, arguments, .. }) = subcommand else {
        let about = GROUPS.iter().find(|(name, _)| Some(*name) == group);
        match about {
            Some((_, about)) => paragraphs(&mut text, about),
            None => paragraphs(&mut text, &format!("{ABOUT}\n\n{MORE}")),
        }
        let of = group.map(|group| format!(" {group}")).unwrap_or_default();
        text += &format!("Usage: {PROGRAM}{of} [OPTIONS] <COMMAND>\n\nCommands:\n");
        let prefix = group.map(|group| format!("{group} ")).unwrap_or_default();
        for (name, about) in SUBCOMMANDS
            .iter()
            .filter_map(|one| Some((one.name.strip_prefix(&*prefix)?, one.about)))
            .filter(|(name, _)| !name.contains(' '))
            .chain(GROUPS.iter().copied().filter(|_| group.is_none()))
        {
            item(&mut text, &format!("  {name}"), about);
        }
        options(&mut text, &[]);
        if group.is_none() {
            item(&mut text, "  -V, --version", "Print version");
        }
        return text;
    };
    paragraphs(&mut text, &format!("{about}\n\n{more}"));
    text += &format!("Usage: {}\n", usage(subcommand));
    let operands = arguments.iter().filter(|argument| argument.kind == Kind::Operand);
    for (number, operand) in operands.enumerate() {
        if number == 0 {
            text += "\nArguments:\n";
        }
        item(&mut text, &format!("  {}", placeholder(operand)), operand.help);
    }
    options(&mut text, arguments);
    text
}

/// How a subcommand is called.
pub(super) fn usage(subcommand: Option<&Subcommand>) -> String {
    let Some(Subcommand { name, arguments, .. }) = subcommand else {
        return format!("{PROGRAM} [OPTIONS] <COMMAND>");
    };
    let mut text = format!("{PROGRAM} {name} [OPTIONS]");
    for operand in arguments.iter().filter(|argument| argument.kind == Kind::Operand) {
        text += &format!(" {}", placeholder(operand));
    }
    text
}

/// `<DEV>...`, `[NAME]`.
fn placeholder(operand: &Argument) -> String {
    let Argument { name, required, many, .. } = operand;
    let more = if *many { "..." } else { "" };
    if *required { format!("<{name}>{more}") } else { format!("[{name}]{more}") }
}

fn options(text: &mut String, arguments: &[Argument]) {
    *text += "\nOptions:\n";
    for Argument { name, short, kind, help, .. } in arguments.iter().chain(GLOBAL) {
        let value = match kind {
            Kind::Operand => continue,
            Kind::Flag => String::new(),
            Kind::Value(value) => format!(" <{value}>"),
        };
        let short = short.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        item(text, &format!("  {short}--{name}{value}"), help);
    }
    item(text, HELP.0, HELP.1);
}

/// A line with its explanation in a column of its own.
fn item(text: &mut String, head: &str, help: &str) {
    *text += head;
    let mut at = head.len();
    if at + 2 > COLUMN {
        *text += "\n";
        at = 0;
    }
    for (number, line) in wrapped(help, WIDTH - COLUMN).into_iter().enumerate() {
        let indent = if number == 0 { COLUMN - at } else { COLUMN };
        *text += &format!("{:indent$}{line}\n", "");
    }
}

fn paragraphs(text: &mut String, all: &str) {
    for paragraph in all.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
        for line in wrapped(paragraph, WIDTH) {
            *text += &format!("{line}\n");
        }
        *text += "\n";
    }
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
