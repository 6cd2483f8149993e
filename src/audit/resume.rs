//! What an earlier run wrote before it ended, so that the next one goes on after it.
//!
//! A line of `--format jsonl` is about an input by its key and the SHA-256 of its files. A file that has
//! changed since is checked again; its later line counts.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::render::{self, JSON_FORMAT};
use super::run::{Content, Input, Settings};
use super::{Given, Outcome};

/// The longest line that is read, in bytes; a path has at most 4,096.
const MAX_LINE: u64 = 1 << 20;

/// The inputs that an earlier run has checked.
#[derive(Debug, Default)]
pub struct Earlier {
    done: HashMap<[u8; 32], Option<Outcome>>,
    length: u64,
}

/// Errors of reading what an earlier run wrote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line that `--format jsonl` did not write.
    #[error("line {line} is not one of --format jsonl: choose another file")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A line has no end.
    #[error("line {line} has no end after {MAX_LINE} bytes: choose another file")]
    Long {
        /// Its number, from 1.
        line: usize,
    },
    /// A run with other options wrote it.
    #[error(
        "line {line} is of another run, with {what} {found}; this one has {own}: choose another file"
    )]
    Other {
        /// Its number, from 1.
        line: usize,
        /// What differs.
        what: String,
        /// In the file.
        found: String,
        /// In this run.
        own: String,
    },
}

/// A line, as far as it says what was checked.
#[derive(Deserialize)]
struct Line {
    format: u32,
    version: String,
    profile: String,
    fail_on: String,
    #[serde(default)]
    given: Given,
    key: String,
    verdict: LineVerdict,
    sha256: Option<String>,
    #[serde(default)]
    beside: Vec<Beside>,
}

#[derive(Deserialize)]
struct Beside {
    key: String,
    sha256: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum LineVerdict {
    Pass,
    Fail,
    Inconclusive,
    Error,
}

impl Earlier {
    /// Read what a run with these settings wrote. A last line without an end is left out: that run was
    /// ended while it wrote it.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub fn read(file: &mut impl BufRead, settings: &Settings) -> Result<Self, ResumeError> {
        let mut earlier = Earlier::default();
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            let count = file.by_ref().take(MAX_LINE).read_until(b'\n', &mut text)? as u64;
            if count == MAX_LINE && !text.ends_with(b"\n") {
                return Err(ResumeError::Long { line });
            }
            if !text.ends_with(b"\n") {
                break;
            }
            let found: Line = serde_json::from_slice(&text)
                .map_err(|source| ResumeError::Line { line, source })?;
            found.require(line, settings)?;
            earlier.length += count;
            let (identity, outcome) = found.identity();
            earlier.done.insert(identity, outcome);
        }
        Ok(earlier)
    }

    /// Bytes of the whole lines: what follows them is cut off before more is written.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The outcome of an input that has its line, None in it if it could not be checked.
    pub fn outcome(&self, input: &Input) -> Option<Option<Outcome>> {
        let hex = |content: &Content| render::hex(&content.sha256);
        let sha256 = input.content.as_ref().map(hex);
        let beside: Vec<(&str, String)> =
            input.beside.iter().map(|(key, content)| (key.as_str(), hex(content))).collect();
        let beside = beside.iter().map(|(key, sha256)| (*key, sha256.as_str()));
        self.done.get(&identity(&input.key, sha256.as_deref(), beside)).copied()
    }
}

impl Line {
    fn require(&self, line: usize, settings: &Settings) -> Result<(), ResumeError> {
        let (format, own_format) = (self.format.to_string(), JSON_FORMAT.to_string());
        let same = [
            ("format", format.as_str(), own_format.as_str()),
            ("vfioboot", &self.version, env!("CARGO_PKG_VERSION")),
            ("--profile", &self.profile, &settings.profile),
            ("--fail-on", &self.fail_on, settings.fail_on.name()),
        ];
        let other = |what: &str, found: &str, own: &str| ResumeError::Other {
            line,
            what: what.to_owned(),
            found: found.to_owned(),
            own: own.to_owned(),
        };
        if let Some((what, found, own)) = same.into_iter().find(|(_, found, own)| found != own) {
            return Err(other(what, found, own));
        }
        match self.given.differs(&settings.given) {
            None => Ok(()),
            Some((option, found, own)) => {
                let value = |value: Option<&str>| value.map_or("none".to_owned(), str::to_owned);
                Err(other(&format!("--{option}"), &value(found), &value(own)))
            }
        }
    }

    fn identity(&self) -> ([u8; 32], Option<Outcome>) {
        let beside = self.beside.iter().map(|own| (own.key.as_str(), own.sha256.as_str()));
        let outcome = match self.verdict {
            LineVerdict::Pass => Some(Outcome::Pass),
            LineVerdict::Fail => Some(Outcome::Fail),
            LineVerdict::Inconclusive => Some(Outcome::Inconclusive),
            LineVerdict::Error => None,
        };
        (identity(&self.key, self.sha256.as_deref(), beside), outcome)
    }
}

/// One value for an input with its files: many of them take little memory.
fn identity<'a>(
    key: &str,
    sha256: Option<&str>,
    beside: impl Iterator<Item = (&'a str, &'a str)>,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add(key);
    add(sha256.unwrap_or_default());
    for (key, sha256) in beside {
        add(key);
        add(sha256);
    }
    hash.finalize().into()
}
