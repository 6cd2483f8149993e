//! One run of the audit over several inputs, the input of every report.

use sha2::{Digest, Sha256};

use super::check::Options;
use super::error::CheckError;
use super::report::Report;
use super::{Finding, Given, Level, Outcome, Rule};
use crate::rules::List;

/// What the inputs of a run have in common.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the profile.
    pub profile: String,
    /// Its title.
    pub title: String,
    /// Its rules.
    pub rules: List<Rule>,
    /// Rules of at least this level affect the outcome.
    pub fail_on: Level,
    /// What else was given, where a report says it; reading it takes time.
    pub given: Given,
}

/// Several inputs with their results, in the given order.
#[derive(Debug)]
pub struct Run {
    /// What they have in common.
    pub settings: Settings,
    /// The inputs.
    pub inputs: Vec<Input>,
}

/// One input.
#[derive(Debug)]
pub struct Input {
    /// The name given by the user.
    pub name: String,
    /// A name that is the same on every machine: the path relative to the working directory, with
    /// `/`. Used in baselines, fingerprints and locations.
    pub key: String,
    /// What the file holds; None where it could not be read, or nothing needs it.
    pub content: Option<Content>,
    /// The files that were checked together with it: their keys, and what they hold.
    pub beside: Vec<(String, Content)>,
    /// Its audit, or why it could not be checked.
    pub result: Result<Report, CheckError>,
}

/// The identity of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// How many there are.
    pub size: u64,
}

/// How many inputs ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Every deciding rule passed.
    pub pass: usize,
    /// A deciding rule failed.
    pub fail: usize,
    /// None failed, but some could not be decided.
    pub inconclusive: usize,
    /// They could not be checked.
    pub errors: usize,
}

impl Settings {
    /// Those of checks with these options.
    pub fn of(options: &Options<'_>) -> Self {
        Settings {
            profile: options.profile.name.to_string(),
            title: options.profile.title.to_string(),
            rules: options.profile.rules.clone(),
            fail_on: options.fail_on,
            given: Given::default(),
        }
    }
}

impl Settings {
    /// The fix of a finding, where it is for its kernel and not that of the rule.
    pub(crate) fn own_fix<'f>(&self, finding: &'f Finding) -> Option<&'f str> {
        let rule = self.rules.iter().find(|rule| rule.id == finding.rule.id);
        let fix = &finding.rule.fix;
        rule.is_none_or(|rule| rule.fix != *fix).then_some(fix.as_ref())
    }
}

impl Input {
    /// The result of checking something with this name.
    pub fn new(name: impl Into<String>, result: Result<Report, CheckError>) -> Self {
        let name = name.into();
        Input { key: name.clone(), name, content: None, beside: Vec::new(), result }
    }

    /// The outcome; None if it could not be checked.
    pub fn outcome(&self) -> Option<Outcome> {
        self.result.as_ref().ok().map(Report::outcome)
    }
}

impl Content {
    /// That of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Content::in_parts(bytes, &mut || {})
    }

    /// The same; after each part, which are a few megabytes, `done` is called.
    pub(crate) fn in_parts(bytes: &[u8], done: &mut dyn FnMut()) -> Self {
        const PART: usize = 4 << 20;
        let mut hash = Sha256::new();
        for part in bytes.chunks(PART) {
            hash.update(part);
            if part.len() == PART {
                done();
            }
        }
        Content { sha256: hash.finalize().into(), size: bytes.len() as u64 }
    }
}

impl Totals {
    /// Count an input with this outcome; None if it could not be checked.
    pub fn add(&mut self, outcome: Option<Outcome>) {
        *match outcome {
            Some(Outcome::Pass) => &mut self.pass,
            Some(Outcome::Fail) => &mut self.fail,
            Some(Outcome::Inconclusive) => &mut self.inconclusive,
            None => &mut self.errors,
        } += 1;
    }

    /// How many inputs there are.
    pub fn inputs(&self) -> usize {
        self.pass + self.fail + self.inconclusive + self.errors
    }

    /// The outcome of all inputs that could be checked; None if there is none.
    pub fn outcome(&self) -> Option<Outcome> {
        let counts = [
            (self.fail, Outcome::Fail),
            (self.inconclusive, Outcome::Inconclusive),
            (self.pass, Outcome::Pass),
        ];
        counts.into_iter().find(|(count, _)| *count > 0).map(|(_, outcome)| outcome)
    }
}

impl Run {
    /// The inputs that could be checked, with their names.
    pub(crate) fn reports(&self) -> impl Iterator<Item = (&str, &Report)> {
        self.inputs
            .iter()
            .filter_map(|input| Some((input.name.as_str(), input.result.as_ref().ok()?)))
    }

    /// How many inputs ended how.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.inputs.iter().for_each(|input| totals.add(input.outcome()));
        totals
    }

    /// Whether any input could not be checked.
    pub fn has_errors(&self) -> bool {
        self.totals().errors > 0
    }

    /// The outcome of all inputs; None if any could not be checked.
    pub(crate) fn verdict(&self) -> Option<Outcome> {
        let totals = self.totals();
        totals.outcome().filter(|_| totals.errors == 0)
    }
}
