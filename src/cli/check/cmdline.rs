//! The effective command line in the reports: every word with its origin.

use std::fmt::Write;

use serde::Serialize;
use vfioboot::audit::{EffectiveCmdline, Origin};

use crate::cli::style::{DIM, HEAD};

/// For people; nothing when nothing is known.
pub fn text(out: &mut String, line: Option<&EffectiveCmdline>) -> std::fmt::Result {
    let Some(line) = line.filter(|line| !line.words.is_empty()) else { return Ok(()) };
    writeln!(out, "\n{HEAD}THE COMMAND LINE{HEAD:#}")?;
    for word in &line.words {
        let ignored = if word.counts { "" } else { ", ignored" };
        writeln!(out, "  {}  {DIM}{}{ignored}{DIM:#}", word.word, word.origin)?;
    }
    match line.mode.explain() {
        Some(explained) => writeln!(out, "      {explained}"),
        None => Ok(()),
    }
}

/// For programs.
#[derive(Serialize)]
pub struct Line<'a> {
    /// What becomes of `CONFIG_CMDLINE`: `none`, `unknown`, `from_bootloader`, `extend`, `front`,
    /// `force`.
    mode: &'static str,
    words: Vec<Word<'a>>,
}

#[derive(Serialize)]
struct Word<'a> {
    word: &'a str,
    /// `boot`, `vendor_boot`, `given`, `config`.
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    /// The kernel sees it.
    counts: bool,
}

/// The line for programs.
pub fn json(line: &EffectiveCmdline) -> Line<'_> {
    let words = line.words.iter().map(|word| Word {
        word: &word.word,
        origin: word.origin.name(),
        file: match &word.origin {
            Origin::Boot(file) | Origin::VendorBoot(file) => Some(file),
            Origin::Given | Origin::Config => None,
        },
        counts: word.counts,
    });
    Line { mode: line.mode.name(), words: words.collect() }
}
