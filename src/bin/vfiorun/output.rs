//! Where the words go.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

/// Writes text to standard output.
///
/// # Errors
/// When standard output is closed or full.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a JSON document to standard output.
///
/// # Errors
/// When standard output is closed or full.
pub fn print_json(document: &Value) -> io::Result<()> {
    print(&format!("{document:#}\n"))
}

/// A message on standard error. There is nobody to tell that it failed.
pub fn complain(message: &str) {
    _ = writeln!(io::stderr(), "vfiorun: {message}");
}

/// What begins a colour and what ends it; empty where none is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Palette {
    pub good: &'static str,
    pub note: &'static str,
    pub bad: &'static str,
    pub head: &'static str,
    pub dim: &'static str,
    pub end: &'static str,
}

/// Colours on a terminal, unless `NO_COLOR` says otherwise (<https://no-color.org>).
pub fn palette() -> Palette {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if unwanted || dumb || !io::stdout().is_terminal() {
        return Palette::default();
    }
    Palette {
        good: "\x1b[32m",
        note: "\x1b[33m",
        bad: "\x1b[1;31m",
        head: "\x1b[1m",
        dim: "\x1b[2m",
        end: "\x1b[0m",
    }
}
