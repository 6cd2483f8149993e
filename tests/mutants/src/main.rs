//! Puts all mutants of some files into a copy of them at once.
//!
//! `vfioboot-mutants SOURCE COPY DROPPED FILE...` reads each FILE under SOURCE and writes it under COPY so
//! that each changed condition and value is there beside the original, in text such as
//! `if crate::mutant::is(17) { a <= b } else { a < b }`. Those that the file DROPPED names, `FILE: NAME` on
//! a line, are left out: they do not compile. On standard output goes a line for each mutant: number, state, file, line, name.
//!
//! The changes and their names are those of cargo-mutants, so that the figures can be compared. What cannot
//! be switched while a program runs is counted, but not made: see [`State`].

#![allow(clippy::disallowed_macros, reason = "a program for developers may panic when it prints")]

mod find;
mod text;
mod values;

use std::collections::HashSet;
use std::error::Error;
use std::path::Path;
use std::{env, fs};

use find::State;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [source, copy, dropped, files @ ..] = &arguments[..] else {
        return Err("usage: vfioboot-mutants SOURCE COPY DROPPED FILE...".into());
    };
    let dropped = fs::read_to_string(dropped)?;
    let mut number = 1;
    for file in files {
        let code = fs::read_to_string(Path::new(source).join(file))?;
        let own = format!("{file}: ");
        let dropped: HashSet<&str> =
            dropped.lines().filter_map(|line| line.strip_prefix(&own)).collect();
        let found = find::mutants(&code, number, &dropped)
            .map_err(|error| format!("{file}:{}: {error}", error.span().start().line))?;
        number += found.mutants.len();
        for mutant in &found.mutants {
            let state = match mutant.state {
                State::Made => "made",
                State::Constant => "constant",
                State::Unfit => "unfit",
            };
            println!("{}\t{state}\t{file}\t{}\t{}", mutant.number, mutant.line, mutant.name);
        }
        write(&Path::new(copy).join(file), &found.code)?;
    }
    Ok(())
}

/// Writes what is new: a file that stays as it is is not compiled again.
fn write(path: &Path, code: &str) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == code.as_bytes()) {
        return Ok(());
    }
    fs::write(path, code)
}
