//! What init understands, as `language.toml` has it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

/// The file beside this one.
const TEXT: &str = include_str!("language.toml");

/// A command or an option.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Word {
    /// The fewest arguments.
    pub min: usize,
    /// The most.
    pub max: Option<usize>,
    /// The first Android version that has it.
    pub since: Option<u32>,
    /// The last one.
    pub until: Option<u32>,
}

/// The events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Triggers {
    names: Vec<String>,
    /// What people write, and what they mean.
    pub mistakes: BTreeMap<String, String>,
}

impl Triggers {
    /// Whether AOSP has it.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => known == name,
        })
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It may not do what it should.
    Warning,
    /// It cannot work.
    Error,
}

/// Files that init may not write.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteRule {
    path: String,
    /// How bad it is.
    pub level: Level,
    /// The Android version whose policy forbids it.
    pub since: Option<u32>,
    /// Why it fails.
    pub why: String,
    /// What to do instead.
    pub fix: String,
}

/// Programs by what domain init runs them in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramRule {
    path: String,
    /// Why there is none; left out where the file's label usually leads to one.
    why: Option<String>,
}

/// A domain that exists only somewhere.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainRule {
    label: String,
    /// Why elsewhere it may not be there.
    pub why: String,
    /// What to do.
    pub fix: String,
}

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// By name.
    pub commands: BTreeMap<String, Word>,
    /// Options of services by name.
    pub options: BTreeMap<String, Word>,
    /// Events.
    pub triggers: Triggers,
    writes: Vec<WriteRule>,
    untransitioned: Vec<ProgramRule>,
    domains: Vec<DomainRule>,
}

impl Language {
    /// The one that is built in; None if its file were broken, which a test rules out.
    pub fn built_in() -> Option<&'static Self> {
        static LANGUAGE: OnceLock<Option<Language>> = OnceLock::new();
        LANGUAGE.get_or_init(|| toml::from_str(TEXT).ok()).as_ref()
    }

    /// The rule against writing `path`.
    pub fn write_rule(&self, path: &str) -> Option<&WriteRule> {
        self.writes.iter().find(|rule| path.starts_with(&rule.path))
    }

    /// Why init cannot run the program at `path` without a seclabel.
    pub fn no_domain(&self, path: &str) -> Option<&str> {
        let rule = self.untransitioned.iter().find(|rule| {
            // A program's name or the start of a directory.
            path.strip_prefix(&rule.path).is_some_and(|r| r.is_empty() || rule.path.ends_with('/'))
        })?;
        rule.why.as_deref()
    }

    /// What is to be known about a label.
    pub fn domain_rule(&self, label: &str) -> Option<&DomainRule> {
        self.domains.iter().find(|rule| label.starts_with(&rule.label))
    }
}
