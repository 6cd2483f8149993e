//! A profile as it is written: the tables of the TOML file, checked one by one.
//!
//! The header of `kernel-configs/passthrough.toml` explains each key.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;
use toml::Spanned;

use super::language::is_symbol;
use super::{
    Arch, Condition, KernelVersion, Level, List, Note, RecommendedParameter, Rule, Scope, Soc,
    SocPart, Switch, Text, module_name,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub title: Text,
    #[serde(default)]
    pub arch: Option<Spanned<Vec<String>>>,
    pub extends: Option<Spanned<String>>,
    pub keep: Option<Spanned<Vec<String>>>,
    pub drop: Option<Spanned<Vec<String>>>,
    #[serde(default, rename = "override")]
    pub overrides: Vec<Spanned<RawOverride>>,
    #[serde(default)]
    pub modules: BTreeMap<Text, Names>,
    #[serde(default)]
    pub part_of: BTreeMap<Text, Names>,
    #[serde(default)]
    pub initcalls: BTreeMap<Text, Names>,
    #[serde(default)]
    pub rule: Vec<Spanned<RawRule>>,
    #[serde(default)]
    pub soc: Vec<Spanned<RawSoc>>,
    #[serde(default)]
    pub word: Vec<Spanned<RawParameter>>,
    #[serde(default)]
    pub note: Vec<Spanned<RawNote>>,
}

/// One name, or several.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Names {
    One(Text),
    Any(Vec<Text>),
}

impl Names {
    pub(crate) fn list(self) -> List<Text> {
        match self {
            Names::One(name) => vec![name].into(),
            Names::Any(names) => names.into(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    id: Text,
    title: Text,
    level: Level,
    symbol: Option<Text>,
    any: Option<Vec<Group>>,
    all: Option<Vec<Text>>,
    parameter: Option<Text>,
    accept: Option<Vec<Text>>,
    reject: Option<Vec<Text>>,
    restore: Option<Vec<Text>>,
    #[serde(default)]
    off_when: Vec<String>,
    alternative: Option<Text>,
    by_soc: Option<SocPart>,
    since: Option<String>,
    until: Option<String>,
    #[serde(default)]
    arch: Vec<String>,
    #[serde(default)]
    when: Vec<String>,
    #[serde(default)]
    vendor_module: bool,
    #[serde(default)]
    modules: Vec<String>,
    #[serde(default)]
    module_hints: Vec<Text>,
    #[serde(default)]
    never_module: Vec<String>,
    #[serde(default)]
    satisfied_by: Vec<String>,
    #[serde(default)]
    broken_by: Vec<String>,
    #[serde(default)]
    set: Vec<String>,
    why: Text,
    effect: Text,
    fix: Text,
}

/// One of `any`: a symbol, or several that count only together.
#[derive(Deserialize)]
#[serde(untagged)]
enum Group {
    One(Text),
    All(Vec<Text>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawParameter {
    word: Text,
    level: Level,
    #[serde(default)]
    arch: Vec<String>,
    #[serde(default)]
    when: Vec<String>,
    why: Text,
}

/// Changes to a rule of the base profile.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOverride {
    id: String,
    level: Option<Level>,
    title: Option<Text>,
    accept: Option<Vec<Text>>,
    set: Option<Vec<String>>,
    why: Option<Text>,
    effect: Option<Text>,
    fix: Option<Text>,
}

impl RawOverride {
    pub(crate) fn apply(self, rules: &mut [Rule]) -> Result<(), String> {
        let Some(rule) = rules.iter_mut().find(|rule| rule.id == self.id) else {
            return Err(format!("override: there is no rule {} to change", self.id));
        };
        if self.accept.is_some() && matches!(rule.condition, Condition::Parameter(_)) {
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
            rule.accept = accept.into();
            // The old settings are for other values.
            rule.set = Cow::Borrowed(&[]);
        }
        if let Some(set) = self.set {
            let at = |message| format!("override of {}: {message}", self.id);
            rule.set = each(&set).map_err(at)?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNote {
    parameter: Option<Text>,
    #[serde(default)]
    values: Vec<Text>,
    #[serde(default)]
    arch: Vec<String>,
    #[serde(default)]
    when: Vec<String>,
    hypervisor: Option<Text>,
    text: Text,
    #[serde(default)]
    warn: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSoc {
    name: Text,
    symbol: Text,
    #[serde(default)]
    bridge: Vec<Text>,
    iommu: Vec<Text>,
    #[serde(default)]
    note: Text,
}

impl RawSoc {
    pub(crate) fn check(self) -> Result<Soc, String> {
        for symbol in self.bridge.iter().chain(&self.iommu).chain([&self.symbol]) {
            if !is_symbol(symbol) {
                let soc = &self.name;
                return Err(format!("soc {soc}: \"{symbol}\" is not a symbol without CONFIG_"));
            }
        }
        Ok(Soc {
            name: self.name,
            symbol: self.symbol,
            bridge: self.bridge.into(),
            iommu: self.iommu.into(),
            note: self.note,
        })
    }
}

impl RawNote {
    pub(crate) fn check(self) -> Result<Note, String> {
        let fail = |message: String| format!("note \"{}\": {message}", self.text);
        if self.parameter.is_none() && (self.when.is_empty() || !self.values.is_empty()) {
            return Err(fail(
                "expected `parameter` (with `values` where it matters) or `when`".into(),
            ));
        }
        Ok(Note {
            scope: scope(&self.arch, &self.when).map_err(fail)?,
            parameter: self.parameter,
            values: self.values.into(),
            hypervisor: self.hypervisor,
            text: self.text,
            warn: self.warn,
        })
    }
}

impl RawRule {
    pub(crate) fn check(mut self) -> Result<Rule, String> {
        if self.id.is_empty() || self.id.contains(char::is_whitespace) {
            return Err(format!("\"{}\" is not a rule id like VB-KVM-001", self.id));
        }
        let id = self.id.clone();
        let fail = |message: String| format!("rule {id}: {message}");
        let condition = self.condition().map_err(fail)?;
        let default = if self.level == Level::Forbidden { "n" } else { "y" };
        let accept = self.accept.unwrap_or_else(|| vec![default.into()]);
        let scope = Scope {
            since: version(self.since.as_deref()).map_err(fail)?,
            until: version(self.until.as_deref()).map_err(fail)?,
            ..scope(&self.arch, &self.when).map_err(fail)?
        };
        let modules: Vec<Text> = self.modules.iter().map(|name| module_name(name).into()).collect();
        Ok(Rule {
            set: each(&self.set).map_err(fail)?,
            never_module: arches(&self.never_module).map_err(fail)?,
            alternative: self.alternative,
            by_soc: self.by_soc,
            satisfied_by: each(&self.satisfied_by).map_err(fail)?,
            broken_by: each(&self.broken_by).map_err(fail)?,
            id: self.id,
            title: self.title,
            level: self.level,
            condition,
            scope,
            accept: accept.into(),
            vendor_module: self.vendor_module,
            modules: modules.into(),
            module_hints: self.module_hints.into(),
            why: self.why,
            effect: self.effect,
            fix: self.fix,
        })
    }

    /// Take the condition out of the table.
    fn condition(&mut self) -> Result<Condition, String> {
        let looks_at =
            (self.symbol.take(), self.any.take(), self.all.take(), self.parameter.take());
        let groups: Vec<List<Text>> = match looks_at {
            (Some(symbol), None, None, None) => vec![vec![symbol].into()],
            (None, Some(groups), None, None) => groups.into_iter().map(Group::symbols).collect(),
            (None, None, Some(symbols), None) => vec![symbols.into()],
            (None, None, None, Some(name)) => {
                let reject = self.reject.take().unwrap_or_default();
                if reject.is_empty() {
                    return Err("`parameter` needs `reject`, the values that fail".into());
                }
                if self.accept.is_some() {
                    return Err("`accept` goes with symbols; use `reject`".into());
                }
                return Ok(Condition::Parameter(Switch {
                    name,
                    reject: reject.into(),
                    restore: self.restore.take().map(Into::into),
                    off_when: each(&self.off_when)?,
                }));
            }
            _ => {
                let message = "expected exactly one of `symbol`, `any`, `all`, `parameter`";
                return Err(message.into());
            }
        };
        if groups.is_empty() || groups.iter().any(|group| group.is_empty()) {
            return Err("an empty list of symbols".into());
        }
        let mut symbols = groups.iter().flat_map(|group| group.iter());
        if let Some(symbol) = symbols.find(|symbol| !is_symbol(symbol)) {
            return Err(format!("\"{symbol}\" is not a symbol; write it without CONFIG_"));
        }
        if self.reject.is_some() {
            return Err("`reject` goes with `parameter`; use `accept`".into());
        }
        if self.restore.is_some() || !self.off_when.is_empty() {
            return Err("`restore` and `off_when` go with `parameter`".into());
        }
        Ok(Condition::Symbols(groups.into()))
    }
}

impl Group {
    fn symbols(self) -> List<Text> {
        match self {
            Group::One(symbol) => vec![symbol].into(),
            Group::All(symbols) => symbols.into(),
        }
    }
}

impl RawParameter {
    pub(crate) fn check(self) -> Result<RecommendedParameter, String> {
        let fail = |message| format!("word {}: {message}", self.word);
        if self.word.is_empty() || self.word.contains(char::is_whitespace) {
            return Err(fail("expected one kernel parameter without spaces".into()));
        }
        if self.level.decides() {
            return Err(fail(
                "what is required is a [[rule]] with `parameter` and `off_when`".into(),
            ));
        }
        Ok(RecommendedParameter {
            scope: scope(&self.arch, &self.when).map_err(fail)?,
            parameter: self.word,
            level: self.level,
            why: self.why,
        })
    }
}

fn scope(arch: &[String], when: &[String]) -> Result<Scope, String> {
    Ok(Scope { arch: arches(arch)?, since: None, until: None, when: each(when)? })
}

fn version(text: Option<&str>) -> Result<Option<KernelVersion>, String> {
    let parse = |text| {
        let version = KernelVersion::parse(text);
        version.ok_or_else(|| format!("\"{text}\" is not a version like 6.6"))
    };
    text.map(parse).transpose()
}

pub(super) fn arches(names: &[String]) -> Result<List<Arch>, String> {
    let arch = |name: &String| {
        Arch::from_name(name).ok_or_else(|| format!("\"{name}\" is not an architecture like arm64"))
    };
    names.iter().map(arch).collect()
}

/// Parse each of these texts.
fn each<T: FromStr<Err = String> + Clone + 'static>(texts: &[String]) -> Result<List<T>, String> {
    texts.iter().map(|text| text.parse()).collect()
}
