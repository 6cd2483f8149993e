//! A profile as it is written: the tables of the TOML file, checked one by one.
//!
//! The header of `kernel-configs/passthrough.toml` says what each key means.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{Condition, NoteRule, Rule, When, WordRule};
use crate::audit::Level;
use crate::audit::fragment::KconfigLine;
use crate::audit::words::Word;
use crate::kernel::Arch;
use crate::kernel::config::KernelVersion;
use crate::kernel::module::normalise;
use crate::rulefile::{Group, RawRule};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub title: String,
    #[serde(default)]
    pub arch: Option<Spanned<Vec<String>>>,
    pub extends: Option<Spanned<String>>,
    pub keep: Option<Spanned<Vec<String>>>,
    pub drop: Option<Spanned<Vec<String>>>,
    #[serde(default, rename = "override")]
    pub overrides: Vec<Spanned<RawOverride>>,
    #[serde(default)]
    pub modules: BTreeMap<String, String>,
    #[serde(default)]
    pub rule: Vec<Spanned<RawRule>>,
    #[serde(default)]
    pub word: Vec<Spanned<RawWord>>,
    #[serde(default)]
    pub note: Vec<Spanned<RawNote>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWord {
    word: String,
    level: Level,
    #[serde(default)]
    arch: Vec<String>,
    #[serde(default)]
    when: Vec<String>,
    why: String,
}

/// Changes to a rule that was taken over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOverride {
    id: String,
    level: Option<Level>,
    title: Option<String>,
    accept: Option<Vec<String>>,
    set: Option<Vec<String>>,
    why: Option<String>,
    effect: Option<String>,
    fix: Option<String>,
}

impl RawOverride {
    pub fn apply(self, rules: &mut [Rule]) -> Result<(), String> {
        let Some(rule) = rules.iter_mut().find(|rule| rule.id == self.id) else {
            return Err(format!("override: there is no rule {} to change", self.id));
        };
        if self.accept.is_some() && matches!(rule.condition, Condition::Parameter { .. }) {
            return Err(format!("override of {}: `accept` goes with symbols", self.id));
        }
        rule.level = self.level.unwrap_or(rule.level);
        let texts = [
            (self.title, &mut rule.title),
            (self.why, &mut rule.why),
            (self.effect, &mut rule.effect),
            (self.fix, &mut rule.fix),
        ];
        for (new, old) in texts {
            if let Some(new) = new {
                *old = new;
            }
        }
        if let Some(accept) = self.accept {
            rule.accept = accept;
            // What was to be set for other values.
            rule.set.clear();
        }
        if let Some(set) = self.set {
            rule.set =
                settings(&set).map_err(|message| format!("override of {}: {message}", self.id))?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNote {
    parameter: Option<String>,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    arch: Vec<String>,
    #[serde(default)]
    when: Vec<String>,
    text: String,
}

impl RawNote {
    pub fn check(self) -> Result<NoteRule, String> {
        let fail = |message: String| format!("note \"{}\": {message}", self.text);
        if self.parameter.is_none() && (self.when.is_empty() || !self.values.is_empty()) {
            return Err(fail(
                "expected `parameter` (with `values` where it matters) or `when`".into(),
            ));
        }
        Ok(NoteRule {
            arch: arches(&self.arch).map_err(fail)?,
            when: conditions(&self.when).map_err(fail)?,
            parameter: self.parameter,
            values: self.values,
            text: self.text,
        })
    }
}

impl RawRule {
    pub(super) fn check(self) -> Result<Rule, String> {
        let id = self.id;
        if id.is_empty() || id.contains(char::is_whitespace) {
            return Err(format!("\"{id}\" is no rule id, expected one like VB-KVM-001"));
        }
        let fail = |message: String| format!("rule {id}: {message}");
        let condition = match (self.symbol, self.any, self.all, self.parameter) {
            (Some(symbol), None, None, None) => Condition::Symbols(vec![vec![symbol]]),
            (None, Some(groups), None, None) => {
                let symbols = groups.into_iter().map(|group| match group {
                    Group::One(symbol) => vec![symbol],
                    Group::All(symbols) => symbols,
                });
                Condition::Symbols(symbols.collect())
            }
            (None, None, Some(symbols), None) => Condition::Symbols(vec![symbols]),
            (None, None, None, Some(name)) => {
                let reject = self.reject.clone().unwrap_or_default();
                if reject.is_empty() {
                    return Err(fail("`parameter` needs `reject`, the values that fail".into()));
                }
                Condition::Parameter { name, reject }
            }
            _ => {
                let message = "expected exactly one of `symbol`, `any`, `all`, `parameter`";
                return Err(fail(message.into()));
            }
        };
        if let Condition::Symbols(groups) = &condition {
            if groups.is_empty() || groups.iter().any(Vec::is_empty) {
                return Err(fail("an empty list of symbols".into()));
            }
            if let Some(symbol) = groups.iter().flatten().find(|symbol| !is_symbol(symbol)) {
                let message = format!("\"{symbol}\" is no symbol; write it without CONFIG_");
                return Err(fail(message));
            }
            if self.reject.is_some() {
                return Err(fail("`reject` goes with `parameter`; use `accept`".into()));
            }
        } else if self.accept.is_some() {
            return Err(fail("`accept` goes with symbols; use `reject`".into()));
        }
        let default = if self.level == Level::Forbidden { "n" } else { "y" };
        let accept = self.accept.unwrap_or_else(|| vec![default.to_owned()]);
        let version = |text: Option<String>| match text {
            None => Ok(None),
            Some(text) => match KernelVersion::parse(&text) {
                Some(version) => Ok(Some(version)),
                None => Err(fail(format!("\"{text}\" is no version, expected one like 6.6"))),
            },
        };
        Ok(Rule {
            set: settings(&self.set).map_err(fail)?,
            since: version(self.since)?,
            until: version(self.until)?,
            arch: arches(&self.arch).map_err(fail)?,
            when: conditions(&self.when).map_err(fail)?,
            title: self.title,
            level: self.level,
            condition,
            accept,
            vendor_module: self.vendor_module,
            modules: self.modules.iter().map(|name| normalise(name)).collect(),
            module_hints: self.module_hints,
            satisfied_by: self.satisfied_by,
            broken_by: self.broken_by,
            never_module: arches(&self.never_module).map_err(fail)?,
            why: self.why,
            effect: self.effect,
            fix: self.fix,
            id,
        })
    }
}

impl RawWord {
    pub fn check(self) -> Result<WordRule, String> {
        let fail = |message| format!("word {}: {message}", self.word);
        if self.word.is_empty() || self.word.contains(char::is_whitespace) {
            return Err(fail("expected one word without spaces".into()));
        }
        Ok(WordRule {
            arch: arches(&self.arch).map_err(fail)?,
            when: conditions(&self.when).map_err(fail)?,
            word: Word { word: self.word, level: self.level, why: self.why },
        })
    }
}

pub(super) fn arches(names: &[String]) -> Result<Vec<Arch>, String> {
    let arch = |name: &String| {
        Arch::from_name(name).ok_or_else(|| format!("\"{name}\" is no architecture like arm64"))
    };
    names.iter().map(arch).collect()
}

fn settings(lines: &[String]) -> Result<Vec<KconfigLine>, String> {
    lines.iter().map(|line| line.parse()).collect()
}

fn conditions(texts: &[String]) -> Result<Vec<When>, String> {
    let condition = |text: &String| {
        When::parse(text).ok_or_else(|| format!("\"{text}\" is no condition like ARM_SMMU=y"))
    };
    texts.iter().map(condition).collect()
}

pub(in crate::audit) fn is_symbol(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with("CONFIG_")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
