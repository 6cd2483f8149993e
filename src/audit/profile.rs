//! Rule profiles: read from TOML, checked as a whole before any is used.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use toml::Spanned;

use crate::kernel::Arch;
use crate::kernel::config::KernelVersion;

use super::fragment::KconfigLine;
use super::words::Word;
use super::{Built, Facts, Level};

/// The profile that vfioboot brings along.
const PASSTHROUGH: &str = include_str!("../../kernel-configs/passthrough.toml");

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
}

impl When {
    /// `SYMBOL` (y or m), `SYMBOL=y`, `SYMBOL=m` or `SYMBOL=n`.
    fn parse(text: &str) -> Option<When> {
        let (symbol, built) = match text.split_once('=') {
            None => (text, None),
            Some((symbol, "y")) => (symbol, Some(Built::In)),
            Some((symbol, "m")) => (symbol, Some(Built::Module)),
            Some((symbol, "n")) => (symbol, Some(Built::Off)),
            Some(_) => return None,
        };
        is_symbol(symbol).then(|| When { symbol: symbol.to_owned(), built })
    }

    /// It holds; None when there is no config to tell.
    pub fn holds(&self, facts: &Facts) -> Option<bool> {
        match (facts.built(&self.symbol), self.built) {
            (Built::Unknown, _) => None,
            (built, Some(wanted)) => Some(built == wanted),
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
        write!(f, "{}{value}", self.symbol)
    }
}

/// A word and when it helps.
#[derive(Clone, Debug)]
pub(super) struct WordRule {
    pub word: Word,
    pub arch: Vec<Arch>,
    pub when: Vec<When>,
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
    #[error("no profile \"{0}\"; there is \"passthrough\", or name a TOML file")]
    NoSuchProfile(String),
}

impl Profile {
    /// The names of the profiles that vfioboot brings along.
    pub const BUILTIN: [&str; 1] = ["passthrough"];

    /// A profile that vfioboot brings along.
    ///
    /// # Errors
    /// [`ProfileError::NoSuchProfile`].
    pub fn builtin(name: &str) -> Result<Self, ProfileError> {
        match name {
            "passthrough" => Self::parse(PASSTHROUGH, name),
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
        let mut ids = HashSet::new();
        let mut rules = Vec::new();
        for raw in file.rule {
            let start = raw.span().start;
            let rule = raw.into_inner().check().map_err(|message| at(start, message))?;
            if !ids.insert(rule.id.clone()) {
                return Err(at(start, format!("rule id {} is used twice", rule.id)));
            }
            rules.push(rule);
        }
        let mut words = Vec::new();
        for raw in file.word {
            let start = raw.span().start;
            words.push(raw.into_inner().check().map_err(|message| at(start, message))?);
        }
        let (title, modules) = (file.title, file.modules);
        Ok(Profile { name: name.to_owned(), title, rules, words, modules })
    }

    /// The name (with `_`) of the module that `symbol` builds when it is `m`.
    pub fn module_name(&self, symbol: &str) -> String {
        match self.modules.get(symbol) {
            Some(name) => crate::kernel::module::normalise(name),
            None => symbol.to_ascii_lowercase(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: String,
    #[serde(default)]
    modules: BTreeMap<String, String>,
    #[serde(default)]
    rule: Vec<Spanned<RawRule>>,
    #[serde(default)]
    word: Vec<Spanned<RawWord>>,
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
        let set: Result<Vec<KconfigLine>, String> =
            self.set.iter().map(|line| line.parse()).collect();
        Ok(Rule {
            set: set.map_err(fail)?,
            since: version(self.since)?,
            until: version(self.until)?,
            arch: arches(&self.arch).map_err(fail)?,
            when: conditions(&self.when).map_err(fail)?,
            title: self.title,
            level: self.level,
            condition,
            accept,
            vendor_module: self.vendor_module,
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
