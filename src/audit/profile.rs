//! Rule profiles: read from TOML, checked as a whole before any is used.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use toml::Spanned;

use crate::kernel::Arch;
use crate::kernel::config::KernelVersion;
use crate::kernel::module::normalise;

use super::fragment::KconfigLine;
use super::words::Word;
use super::{Built, EffectiveCmdline, Facts, Level, Setting};

/// The profiles that vfioboot brings along.
const PASSTHROUGH: &str = include_str!("../../kernel-configs/passthrough.toml");
const KVM_ONLY: &str = include_str!("../../kernel-configs/kvm-only.toml");
const HARDENED: &str = include_str!("../../kernel-configs/hardened.toml");

/// A set of rules. `kernel-configs/passthrough.toml` documents the format.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What it is called: a builtin's name, or the file it came from.
    pub name: String,
    /// In one line, what it checks for.
    pub title: String,
    /// The rules, in the file's order.
    pub rules: Vec<Rule>,
    /// Words for the command line, with when they help.
    pub(super) words: Vec<WordRule>,
    /// What is worth saying without being a rule.
    notes: Vec<NoteRule>,
    /// Symbol → module name, where it is not the symbol in lower case.
    modules: BTreeMap<String, String>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable: `VB-KVM-001`.
    pub id: String,
    /// What it asks for, in a few words.
    pub title: String,
    /// How much it matters.
    pub level: Level,
    /// What must hold.
    pub condition: Condition,
    /// Values that satisfy it: `y`, `m`, `n` or a literal value.
    pub accept: Vec<String>,
    /// The first version it applies to.
    pub since: Option<KernelVersion>,
    /// The first version it no longer applies to.
    pub until: Option<KernelVersion>,
    /// The architectures it applies to; empty: all.
    pub arch: Vec<Arch>,
    /// It applies only when these hold.
    pub when: Vec<When>,
    /// On a GKI kernel a vendor module may do what is not set in the config.
    pub vendor_module: bool,
    /// Names (with `_`) of vendor modules that satisfy a `vendor_module` rule.
    pub modules: Vec<String>,
    /// A module with this in its name may satisfy it.
    pub module_hints: Vec<String>,
    /// On these architectures the symbols are no tristates: `m` is a config's mistake.
    pub never_module: Vec<Arch>,
    /// Words of the command line that satisfy a rule about symbols, whatever these are.
    pub satisfied_by: Vec<String>,
    /// Words that break it, whatever the symbols are.
    pub broken_by: Vec<String>,
    /// The settings that make it pass, visible symbols only; empty: its own symbols.
    pub set: Vec<KconfigLine>,
    /// Why it matters.
    pub why: String,
    /// What failing means to the user.
    pub effect: String,
    /// What to do about it.
    pub fix: String,
}

/// What a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Every symbol of at least one of these groups has an accepted value.
    Symbols(Vec<Vec<String>>),
    /// The last value of this kernel parameter is none of these.
    Parameter {
        /// Its name: `kvm-arm.mode`.
        name: String,
        /// Values that fail the rule.
        reject: Vec<String>,
    },
}

/// A precondition: a symbol and how it must be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// Without `CONFIG_`.
    pub symbol: String,
    /// None: `y` or `m`.
    pub built: Option<Built>,
    /// It must not be so.
    pub not: bool,
}

impl When {
    /// `SYMBOL` (y or m), `SYMBOL=y`, `SYMBOL=m` or `SYMBOL=n`, `SYMBOL!=y` and so on.
    fn parse(text: &str) -> Option<When> {
        let (text, not) = match text.split_once("!=") {
            Some((symbol, value)) => (&format!("{symbol}={value}") as &str, true),
            None => (text, false),
        };
        let (symbol, built) = match text.split_once('=') {
            None => (text, None),
            Some((symbol, "y")) => (symbol, Some(Built::In)),
            Some((symbol, "m")) => (symbol, Some(Built::Module)),
            Some((symbol, "n")) => (symbol, Some(Built::Off)),
            Some(_) => return None,
        };
        is_symbol(symbol).then(|| When { symbol: symbol.to_owned(), built, not })
    }

    /// It holds; None when there is no config to tell.
    pub fn holds(&self, facts: &Facts) -> Option<bool> {
        match (facts.built(&self.symbol), self.built) {
            (Built::Unknown, _) => None,
            (built, Some(wanted)) => Some((built == wanted) != self.not),
            (built, None) => Some(built != Built::Off),
        }
    }
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = match self.built {
            Some(Built::In) => "=y",
            Some(Built::Module) => "=m",
            Some(Built::Off) => "=n",
            Some(Built::Unknown) | None => "",
        };
        let not = if self.not { "!" } else { "" };
        write!(f, "{}{not}{value}", self.symbol)
    }
}

/// A word and when it helps.
#[derive(Clone, Debug)]
pub(super) struct WordRule {
    pub word: Word,
    pub arch: Vec<Arch>,
    pub when: Vec<When>,
}

/// Something to say when a parameter is given or conditions hold.
#[derive(Clone, Debug)]
struct NoteRule {
    parameter: Option<String>,
    values: Vec<String>,
    arch: Vec<Arch>,
    when: Vec<When>,
    text: String,
}

/// Why a profile could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not TOML, or not the fields a profile has; the text names line and column.
    #[error("profile {name}: {message}")]
    Toml {
        /// The profile.
        name: String,
        /// What the reader says.
        message: String,
    },
    /// A rule that makes no sense.
    #[error("profile {name}, line {line}: {message}")]
    Rule {
        /// The profile.
        name: String,
        /// Where the rule or word begins, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// No such builtin profile.
    #[error(
        "no profile \"{0}\"; there are \"passthrough\", \"kvm-only\" and \"hardened\", or name a \
         TOML file"
    )]
    NoSuchProfile(String),
}

impl Profile {
    /// The names of the profiles that vfioboot brings along.
    pub const BUILTIN: [&str; 3] = ["passthrough", "kvm-only", "hardened"];

    /// A profile that vfioboot brings along.
    ///
    /// # Errors
    /// [`ProfileError::NoSuchProfile`].
    pub fn builtin(name: &str) -> Result<Self, ProfileError> {
        match name {
            "passthrough" => Self::parse(PASSTHROUGH, name),
            "kvm-only" => Self::parse(KVM_ONLY, name),
            "hardened" => Self::parse(HARDENED, name),
            _ => Err(ProfileError::NoSuchProfile(name.to_owned())),
        }
    }

    /// Read a profile; `name` is for messages.
    ///
    /// # Errors
    /// [`ProfileError`], naming the line.
    pub fn parse(text: &str, name: &str) -> Result<Self, ProfileError> {
        let file: File = toml::from_str(text).map_err(|error| ProfileError::Toml {
            name: name.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        let at = |start: usize, message: String| ProfileError::Rule {
            name: name.to_owned(),
            line: 1 + text[..start.min(text.len())].matches('\n').count(),
            message,
        };
        let base = base(&file, name).map_err(|(start, message)| at(start, message))?;
        let (mut rules, base_words, base_notes, base_modules) = match base {
            Some(base) => (base.rules, base.words, base.notes, base.modules),
            None => Default::default(),
        };
        for raw in file.overrides {
            let start = raw.span().start;
            raw.into_inner().apply(&mut rules).map_err(|message| at(start, message))?;
        }
        let mut ids: HashSet<String> = rules.iter().map(|rule| rule.id.clone()).collect();
        for raw in file.rule {
            let start = raw.span().start;
            let rule = raw.into_inner().check().map_err(|message| at(start, message))?;
            if !ids.insert(rule.id.clone()) {
                return Err(at(start, format!("rule id {} is used twice", rule.id)));
            }
            rules.push(rule);
        }
        let mut words = base_words;
        for raw in file.word {
            let start = raw.span().start;
            words.push(raw.into_inner().check().map_err(|message| at(start, message))?);
        }
        let mut notes = base_notes;
        for raw in file.note {
            let start = raw.span().start;
            notes.push(raw.into_inner().check().map_err(|message| at(start, message))?);
        }
        let title = file.title;
        let mut modules = base_modules;
        modules.extend(file.modules);
        Ok(Profile { name: name.to_owned(), title, rules, words, notes, modules })
    }

    /// The notes that go with these facts.
    pub(super) fn remarks(&self, facts: &Facts, line: Option<&EffectiveCmdline>) -> Vec<String> {
        let holds = |note: &&NoteRule| {
            let here = note.arch.is_empty() || facts.arch.is_some_and(|a| note.arch.contains(&a));
            here && note.when.iter().all(|when| when.holds(facts) == Some(true))
        };
        let mut out = Vec::new();
        for note in self.notes.iter().filter(holds) {
            let Some(name) = &note.parameter else {
                out.push(note.text.clone());
                continue;
            };
            let Some(Setting::Values(values)) = line.map(|line| line.setting(name)) else {
                continue;
            };
            for (value, origin) in values {
                if note.values.is_empty() || note.values.contains(&value) {
                    let equals = if value.is_empty() { "" } else { "=" };
                    out.push(format!("{name}{equals}{value} (from {origin}): {}", note.text));
                }
            }
        }
        out
    }

    /// The name (with `_`) of the module that `symbol` builds when it is `m`.
    pub fn module_name(&self, symbol: &str) -> String {
        match self.modules.get(symbol) {
            Some(name) => normalise(name),
            None => symbol.to_ascii_lowercase(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    extends: Option<Spanned<String>>,
    keep: Option<Spanned<Vec<String>>>,
    drop: Option<Spanned<Vec<String>>>,
    #[serde(default, rename = "override")]
    overrides: Vec<Spanned<RawOverride>>,
    #[serde(default)]
    modules: BTreeMap<String, String>,
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
    #[serde(default)]
    word: Vec<Spanned<RawWord>>,
    #[serde(default)]
    note: Vec<Spanned<RawNote>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    title: String,
    level: Level,
    symbol: Option<String>,
    any: Option<Vec<Group>>,
    all: Option<Vec<String>>,
    parameter: Option<String>,
    accept: Option<Vec<String>>,
    reject: Option<Vec<String>>,
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
    module_hints: Vec<String>,
    #[serde(default)]
    never_module: Vec<String>,
    #[serde(default)]
    satisfied_by: Vec<String>,
    #[serde(default)]
    broken_by: Vec<String>,
    #[serde(default)]
    set: Vec<String>,
    why: String,
    effect: String,
    fix: String,
}

/// One of `any`: a symbol, or several that count only together.
#[derive(Deserialize)]
#[serde(untagged)]
enum Group {
    One(String),
    All(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWord {
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
struct RawOverride {
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
    fn apply(self, rules: &mut [Rule]) -> Result<(), String> {
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

/// What a profile builds on, without the rules it does not want. Errors with the place.
fn base(file: &File, name: &str) -> Result<Option<Profile>, (usize, String)> {
    let Some(extends) = &file.extends else {
        let lost = [file.keep.as_ref(), file.drop.as_ref()].into_iter().flatten().next();
        return match (lost, file.overrides.first()) {
            (Some(list), _) => {
                Err((list.span().start, "`keep` and `drop` go with `extends`".into()))
            }
            (None, Some(raw)) => Err((raw.span().start, "`override` goes with `extends`".into())),
            (None, None) => Ok(None),
        };
    };
    let wanted = extends.get_ref().as_str();
    let builtin = Profile::BUILTIN.contains(&wanted) && wanted != name;
    if !builtin {
        let message = format!(
            "extends \"{wanted}\", expected one of vfioboot's own: {}",
            Profile::BUILTIN.join(", ")
        );
        return Err((extends.span().start, message));
    }
    let mut base =
        Profile::builtin(wanted).map_err(|error| (extends.span().start, error.to_string()))?;
    for (list, keep) in [(&file.keep, true), (&file.drop, false)] {
        let Some(list) = list else { continue };
        for id in list.get_ref() {
            if !base.rules.iter().any(|rule| rule.id.starts_with(id.as_str())) {
                let message = format!("{wanted} has no rule that begins with \"{id}\"");
                return Err((list.span().start, message));
            }
        }
        let named = |rule: &Rule| list.get_ref().iter().any(|id| rule.id.starts_with(id.as_str()));
        base.rules.retain(|rule| named(rule) == keep);
    }
    Ok(Some(base))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNote {
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
    fn check(self) -> Result<NoteRule, String> {
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
    fn check(self) -> Result<Rule, String> {
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
    fn check(self) -> Result<WordRule, String> {
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

fn arches(names: &[String]) -> Result<Vec<Arch>, String> {
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

pub(super) fn is_symbol(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with("CONFIG_")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
