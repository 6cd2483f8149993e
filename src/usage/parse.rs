//! The words of a command line, taken by the table.

use std::ffi::{OsStr, OsString};
use std::str::FromStr;

use lexopt::{Arg, Parser};

use super::argument::{Argument, Kind, PROGRAM, Subcommand};
use super::help::{help, usage};
use super::table::{GLOBAL, SUBCOMMANDS};

/// What a command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// A subcommand to carry out.
    Run(&'static Subcommand, Matches),
    /// Help or the version.
    Text(String),
}

/// The arguments that were given.
#[derive(Debug, Default)]
pub struct Matches(Vec<(&'static str, OsString)>);

/// A command line that means nothing.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// There is no subcommand.
    #[error("no subcommand is given\n\n{}", help(None, group.as_deref()).trim_end())]
    Nothing {
        /// The group that it would be in.
        group: Option<String>,
    },
    /// No subcommand is called so.
    #[error("no subcommand is called \"{name}\"{}", hint(None))]
    Subcommand {
        /// The name.
        name: String,
    },
    /// The words cannot be taken.
    #[error("{error}{}", hint(*subcommand))]
    Words {
        /// The subcommand.
        subcommand: Option<&'static Subcommand>,
        /// What is wrong.
        error: String,
    },
    /// A value that is none.
    #[error("{name} {value}: {reason}")]
    Value {
        /// The argument.
        name: String,
        /// What was given.
        value: String,
        /// Why that is none.
        reason: String,
    },
}

fn hint(subcommand: Option<&Subcommand>) -> String {
    let name = subcommand.map(|subcommand| format!(" {}", subcommand.name)).unwrap_or_default();
    format!("\nUsage: {}\nMore: {PROGRAM}{name} --help", usage(subcommand))
}

/// Takes the words after the name of the program.
///
/// # Errors
/// See [`UsageError`].
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Parsed, UsageError> {
    let words: Vec<OsString> = words.into_iter().collect();
    let mut parser = Parser::from_args(words);
    let mut reading =
        Reading { subcommand: None, group: None, helps: false, given: Matches::default() };
    let mut operands = Vec::new();
    loop {
        let subcommand = reading.subcommand;
        let wrong = |error: String| UsageError::Words { subcommand, error };
        let argument = match parser.next().map_err(|error| wrong(error.to_string()))? {
            None => break,
            Some(Arg::Value(word)) if subcommand.is_some() => {
                operands.push(word);
                continue;
            }
            Some(Arg::Value(word)) => {
                reading.word(&word)?;
                continue;
            }
            Some(Arg::Short('h') | Arg::Long("help")) => {
                return Ok(Parsed::Text(help(subcommand, reading.group.as_deref())));
            }
            Some(Arg::Short('V') | Arg::Long("version")) => {
                return Ok(Parsed::Text(format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Some(Arg::Short(letter)) => find(subcommand, |argument| argument.short == Some(letter))
                .ok_or_else(|| wrong(format!("there is no option -{letter}")))?,
            Some(Arg::Long(name)) => {
                let named = |argument: &Argument| argument.name == name;
                let found = find(subcommand, named);
                found.ok_or_else(|| wrong(format!("there is no option --{name}")))?
            }
        };
        let value = match argument.kind {
            Kind::Flag | Kind::Operand => OsString::new(),
            Kind::Value(_) => parser.value().map_err(|error| wrong(error.to_string()))?,
        };
        if !argument.many && reading.given.has(argument.name) {
            return Err(wrong(format!("--{} is given twice", argument.name)));
        }
        reading.given.0.push((argument.name, value));
    }
    reading.finish(operands)
}

/// An option of a subcommand, or of all.
fn find(
    subcommand: Option<&'static Subcommand>,
    which: impl Fn(&Argument) -> bool,
) -> Option<&'static Argument> {
    let own = subcommand.map_or(&[][..], |subcommand| subcommand.arguments);
    own.iter()
        .chain(GLOBAL)
        .filter(|argument| argument.kind != Kind::Operand)
        .find(|argument| which(argument))
}

/// A command line so far.
struct Reading {
    subcommand: Option<&'static Subcommand>,
    /// The first word of a subcommand of two.
    group: Option<String>,
    /// Whether it begins with `help`.
    helps: bool,
    given: Matches,
}

impl Reading {
    /// A word of the subcommand's name.
    fn word(&mut self, word: &OsStr) -> Result<(), UsageError> {
        let word = word.to_string_lossy();
        let name = match &self.group {
            Some(group) => format!("{group} {word}"),
            None => word.into_owned(),
        };
        let begins = |one: &&Subcommand| {
            one.name.strip_prefix(&*name).is_some_and(|rest| rest.starts_with(' '))
        };
        match SUBCOMMANDS.iter().find(|one| one.name == name) {
            Some(found) => self.subcommand = Some(found),
            None if SUBCOMMANDS.iter().any(|one| begins(&one)) => self.group = Some(name),
            None if name == "help" => self.helps = true,
            None => return Err(UsageError::Subcommand { name }),
        }
        Ok(())
    }

    fn finish(self, operands: Vec<OsString>) -> Result<Parsed, UsageError> {
        let Self { subcommand, group, helps, mut given } = self;
        if helps {
            return Ok(Parsed::Text(help(subcommand, group.as_deref())));
        }
        let Some(subcommand) = subcommand else { return Err(UsageError::Nothing { group }) };
        let wrong = |error: String| UsageError::Words { subcommand: Some(subcommand), error };
        let places: Vec<&'static Argument> =
            subcommand.arguments.iter().filter(|one| one.kind == Kind::Operand).collect();
        for (number, word) in operands.into_iter().enumerate() {
            let last = places.last().filter(|last| last.many);
            let Some(place) = places.get(number).or(last) else {
                return Err(wrong(format!("\"{}\" is one word too many", word.display())));
            };
            given.0.push((place.name, word));
        }
        for argument in subcommand.arguments {
            if argument.required && !given.has(argument.name) {
                let dashes = if argument.kind == Kind::Operand { "" } else { "--" };
                return Err(wrong(format!("{dashes}{} is missing", argument.name)));
            }
            let other = argument.conflicts.iter().find(|other| given.has(other));
            if let Some(other) = other.filter(|_| given.has(argument.name)) {
                return Err(wrong(format!("--{} cannot be given with {other}", argument.name)));
            }
        }
        Ok(Parsed::Run(subcommand, given))
    }
}

impl Matches {
    /// Whether an argument was given.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(given, _)| *given == name)
    }

    /// The value of an argument that is given once.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_os_str())
    }

    /// The values of an argument, read.
    ///
    /// # Errors
    /// When one is none.
    pub fn parsed<T: FromStr<Err: ToString>>(&self, name: &str) -> Result<Vec<T>, UsageError> {
        let read = |value: &OsStr| {
            let text = value.to_string_lossy();
            text.parse().map_err(|error: T::Err| UsageError::Value {
                name: name.to_owned(),
                value: text.into_owned(),
                reason: error.to_string(),
            })
        };
        self.0.iter().filter(|(given, _)| *given == name).map(|(_, value)| read(value)).collect()
    }
}
