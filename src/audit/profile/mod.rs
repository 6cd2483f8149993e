//! Rule profiles: read from TOML, checked as a whole before any is used.

mod raw;

use std::collections::{BTreeMap, HashSet};

use crate::kernel::Arch;
use crate::kernel::config::KernelVersion;
use crate::kernel::module::normalise;

use self::raw::File;
use super::fragment::KconfigLine;
use super::words::Word;
use super::{Built, EffectiveCmdline, Facts, Level, Setting};

pub(super) use raw::is_symbol;

/// The profiles that vfioboot brings along.
const PASSTHROUGH: &str = include_str!("../../../kernel-configs/passthrough.toml");
const KVM_ONLY: &str = include_str!("../../../kernel-configs/kvm-only.toml");
const HARDENED: &str = include_str!("../../../kernel-configs/hardened.toml");

/// A set of rules. `kernel-configs/passthrough.toml` documents the format.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What it is called: a builtin's name, or the file it came from.
    pub name: String,
    /// In one line, what it checks for.
    pub title: String,
    /// The architectures that it has rules for; empty: any.
    pub arch: Vec<Arch>,
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
        let (base_arch, mut rules, base_words, base_notes, base_modules) = match base {
            Some(base) => (base.arch, base.rules, base.words, base.notes, base.modules),
            None => Default::default(),
        };
        let arch = match file.arch {
            None => base_arch,
            Some(list) => {
                let start = list.span().start;
                raw::arches(list.get_ref()).map_err(|message| at(start, message))?
            }
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
        Ok(Profile { name: name.to_owned(), title, arch, rules, words, notes, modules })
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

    /// It has rules for this architecture.
    pub fn covers(&self, arch: Arch) -> bool {
        self.arch.is_empty() || self.arch.contains(&arch)
    }

    /// The name (with `_`) of the module that `symbol` builds when it is `m`.
    pub fn module_name(&self, symbol: &str) -> String {
        match self.modules.get(symbol) {
            Some(name) => normalise(name),
            None => symbol.to_ascii_lowercase(),
        }
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
