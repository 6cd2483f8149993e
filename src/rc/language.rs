//! The init language, read from `language.toml`.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Deserialize;

/// The table.
const TEXT: &str = include_str!("language.toml");

/// The arguments and versions of a command or an option.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyword {
    /// Minimum number of arguments.
    pub min: usize,
    /// Maximum number of arguments; None for any number.
    pub max: Option<usize>,
    /// First Android version that has it.
    pub since: Option<u32>,
    /// Last Android version that has it.
    pub until: Option<u32>,
}

/// The events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Triggers {
    names: Vec<String>,
    /// Common mistakes, each with the correct trigger.
    pub mistakes: BTreeMap<String, String>,
}

impl Triggers {
    /// Whether init or AOSP's init.rc triggers the event.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => known == name,
        })
    }
}

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It may not do what was intended.
    Warning,
    /// It cannot work.
    Error,
}

/// Files that init may not write.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteRule {
    path: String,
    /// Severity.
    pub level: Level,
    /// The Android version whose policy forbids it.
    pub since: Option<u32>,
    /// Why it fails.
    pub why: String,
    /// What to do instead.
    pub fix: String,
}

/// Programs for which the policy has no domain transition from init.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramRule {
    path: String,
    /// Why there is none; left out where the file's label usually leads to one.
    why: Option<String>,
}

/// A domain that exists only on some systems.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DomainRule {
    label: String,
    /// Why the domain may be missing elsewhere.
    pub why: String,
    /// What to do.
    pub fix: String,
}

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// By name.
    pub commands: BTreeMap<String, Keyword>,
    /// Options of services by name.
    pub options: BTreeMap<String, Keyword>,
    /// Events.
    pub triggers: Triggers,
    writes: Vec<WriteRule>,
    untransitioned: Vec<ProgramRule>,
    domains: Vec<DomainRule>,
}

impl Language {
    /// The built-in table; None if `language.toml` were broken, which a test rules out.
    pub fn built_in() -> Option<&'static Self> {
        static LANGUAGE: OnceLock<Option<Language>> = OnceLock::new();
        LANGUAGE.get_or_init(|| toml::from_str(TEXT).ok()).as_ref()
    }

    /// The rule that forbids writing `path`.
    pub(crate) fn write_rule(&self, path: &str) -> Option<&WriteRule> {
        self.writes.iter().find(|rule| path.starts_with(&rule.path))
    }

    /// Why init cannot run the program at `path` without a seclabel.
    pub(crate) fn missing_transition(&self, path: &str) -> Option<&str> {
        let rule = self.untransitioned.iter().find(|rule| {
            // The name of a program, or the start of a directory.
            path.strip_prefix(&rule.path).is_some_and(|r| r.is_empty() || rule.path.ends_with('/'))
        })?;
        rule.why.as_deref()
    }

    /// The rule for the domain of a label.
    pub(crate) fn domain_rule(&self, label: &str) -> Option<&DomainRule> {
        self.domains.iter().find(|rule| label.starts_with(&rule.label))
    }
}
