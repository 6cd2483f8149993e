//! The rules of a profile, which reports name by their ids.

use serde::Serialize;

use crate::rules::{Profile, Rule};

/// The version of the JSON of reports.
pub(crate) const JSON_FORMAT: u32 = 2;

/// A rule in JSON.
#[derive(Serialize)]
pub(super) struct RuleEntry<'a> {
    id: &'a str,
    title: &'a str,
    level: &'static str,
    why: &'a str,
    effect: &'a str,
    fix: &'a str,
}

impl<'a> RuleEntry<'a> {
    pub(super) fn of(rule: &'a Rule) -> Self {
        RuleEntry {
            id: &rule.id,
            title: &rule.title,
            level: rule.level.name(),
            why: &rule.why,
            effect: &rule.effect,
            fix: &rule.fix,
        }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    version: &'static str,
    profile: &'a str,
    title: &'a str,
    rules: Vec<RuleEntry<'a>>,
}

/// The rules as one JSON document.
pub fn rules_json(profile: &Profile) -> serde_json::Value {
    let document = Document {
        format: JSON_FORMAT,
        version: env!("CARGO_PKG_VERSION"),
        profile: &profile.name,
        title: &profile.title,
        rules: profile.rules.iter().map(RuleEntry::of).collect(),
    };
    // Only strings and numbers: serialisation does not fail.
    serde_json::to_value(document).unwrap_or_default()
}

/// The rules for people.
pub fn rules_text(profile: &Profile) -> String {
    let rule = |rule: &Rule| {
        let (id, title, level) = (&rule.id, &rule.title, rule.level.name());
        let (why, effect, fix) = (&rule.why, &rule.effect, &rule.fix);
        format!("\n{id} {title} ({level})\n  {why}\n  Without it: {effect}\n  Fix: {fix}\n")
    };
    let head = format!("{}: {}\n", profile.name, profile.title);
    profile.rules.iter().fold(head, |out, own| out + &rule(own))
}
