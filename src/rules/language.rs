//! Profiles and their rules. The header of `kernel-configs/passthrough.toml` explains each key.
//!
//! Everything is a [`Cow`]: a profile is read from TOML and owns its texts, or the build script
//! has read it and it is a constant of the program.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::config::Value;
use super::{Arch, KernelVersion};

/// A text of a profile.
pub(crate) type Text = Cow<'static, str>;

/// A list of a profile.
pub(crate) type List<T> = Cow<'static, [T]>;

/// A set of rules.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The name of a built-in profile, or of the file it was read from.
    pub name: Text,
    /// Its purpose, in one line.
    pub title: Text,
    /// The architectures that it has rules for; empty: any.
    pub arch: List<Arch>,
    /// The rules, in the file's order.
    pub rules: List<Rule>,
    /// Kernel parameters to recommend.
    pub parameters: List<RecommendedParameter>,
    /// Notes that are not rules.
    pub notes: List<Note>,
    /// Symbols and the modules they build, where that is not the symbol in lower case.
    pub modules: List<(Text, Text)>,
}

/// How much a rule matters.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Passthrough does not work without it.
    Required,
    /// Passthrough does not work with it; counts like `Required`.
    Forbidden,
    /// Passthrough works without it, but worse or less safely.
    Recommended,
    /// Good to know.
    Optional,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable: `VB-KVM-001`.
    pub id: Text,
    /// The requirement, in a few words.
    pub title: Text,
    /// How much it matters.
    pub level: Level,
    /// What must hold.
    pub condition: Condition,
    /// The kernels that it is for.
    pub scope: Scope,
    /// Values that satisfy it: `y`, `m`, `n` or a literal value.
    pub accept: List<Text>,
    /// On a GKI kernel a vendor module can provide what is not set in the config.
    pub vendor_module: bool,
    /// Names (with `_`) of vendor modules that satisfy a `vendor_module` rule.
    pub modules: List<Text>,
    /// A module with this in its name may satisfy it.
    pub module_hints: List<Text>,
    /// On these architectures the symbols are not tristates: `m` cannot be right.
    pub never_module: List<Arch>,
    /// Kernel parameters that satisfy a rule about symbols, regardless of the symbols.
    pub satisfied_by: List<Assignment>,
    /// Kernel parameters that break it, regardless of the symbols.
    pub broken_by: List<Assignment>,
    /// The settings that make it pass, visible symbols only; empty: its own symbols.
    pub set: List<KconfigLine>,
    /// Why it matters.
    pub why: Text,
    /// The consequence of a failure for the user.
    pub effect: Text,
    /// How to fix it.
    pub fix: Text,
}

/// The condition of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Every symbol of at least one of these groups has an accepted value.
    Symbols(List<List<Text>>),
    /// The last value of this kernel parameter is not one of these.
    Parameter {
        /// Its name: `kvm-arm.mode`.
        name: Text,
        /// Values that fail the rule.
        reject: List<Text>,
    },
}

/// The kernels that a rule, a note or a recommendation is for: those for which all of this holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The architectures; empty: all.
    pub arch: List<Arch>,
    /// The first version.
    pub since: Option<KernelVersion>,
    /// The first version that is not included.
    pub until: Option<KernelVersion>,
    /// Preconditions on symbols.
    pub when: List<When>,
}

/// A precondition: a symbol and how it must be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// Without `CONFIG_`.
    pub symbol: Text,
    /// The test of its value.
    pub test: Test,
}

/// The test of a symbol's value in a precondition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// `SYMBOL`: it is `y` or `m`.
    Enabled,
    /// `SYMBOL=y`: it has this value.
    Is(Value),
    /// `SYMBOL!=y`: it has another value.
    IsNot(Value),
}

/// A kernel parameter with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The parameter's name.
    pub name: Text,
    /// Its value; empty without one.
    pub value: Text,
}

/// A setting that a rule recommends, and the kernel versions that have the symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KconfigLine {
    /// Without `CONFIG_`.
    pub symbol: Text,
    /// `y`, `m`, `n` or a literal value.
    pub value: Text,
    /// The first version that has the symbol.
    pub since: Option<KernelVersion>,
    /// The first version without it.
    pub until: Option<KernelVersion>,
}

/// A parameter that belongs on the kernel command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecommendedParameter {
    /// As it is written: `intel_iommu=on`.
    pub parameter: Text,
    /// How much it matters; an optional one is for the user to choose.
    pub level: Level,
    /// The kernels that need it.
    pub scope: Scope,
    /// Why.
    pub why: Text,
}

/// A note for a given parameter, or for the kernels in its scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The parameter that it is about; it is shown if that is given.
    pub parameter: Option<Text>,
    /// The values for which it is shown; empty: any.
    pub values: List<Text>,
    /// The kernels that it is about.
    pub scope: Scope,
    /// The text.
    pub text: Text,
    /// Whether it is a reason to change the command line.
    pub warn: bool,
}

impl Level {
    /// As it is written in profiles and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Required => "required",
            Level::Forbidden => "forbidden",
            Level::Recommended => "recommended",
            Level::Optional => "optional",
        }
    }

    /// Whether it decides the outcome of a report.
    pub(crate) fn decides(self) -> bool {
        matches!(self, Level::Required | Level::Forbidden)
    }
}

impl Profile {
    /// Whether it has rules for this architecture.
    pub fn covers(&self, arch: Arch) -> bool {
        self.arch.is_empty() || self.arch.contains(&arch)
    }

    /// The rule of this id.
    pub(crate) fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// The name (with `_`) of the module that `symbol` builds if it is `m`.
    pub(crate) fn module_of(&self, symbol: &str) -> String {
        match self.modules.iter().find(|(of, _)| of == symbol) {
            Some((_, name)) => module_name(name),
            None => symbol.to_ascii_lowercase(),
        }
    }
}

impl Note {
    /// Whether it applies to this value of its parameter; empty: no value.
    pub(crate) fn is_about(&self, value: &str) -> bool {
        self.values.is_empty() || self.values.iter().any(|own| own == value)
    }
}

impl Rule {
    /// Whether this value satisfies it.
    pub(crate) fn accepts(&self, value: &str) -> bool {
        self.accept.iter().any(|accepted| accepted == value)
    }

    /// The settings that satisfy it: those in `set`, else the first group of its symbols with the first
    /// accepted value. Empty for a rule about a kernel parameter.
    pub fn settings(&self) -> Vec<KconfigLine> {
        if !self.set.is_empty() {
            return self.set.to_vec();
        }
        let Condition::Symbols(groups) = &self.condition else { return Vec::new() };
        let value = self.accept.first().cloned().unwrap_or(Cow::Borrowed("y"));
        let line = |symbol: &Text| KconfigLine {
            symbol: symbol.clone(),
            value: value.clone(),
            since: None,
            until: None,
        };
        groups.first().into_iter().flat_map(|group| group.iter()).map(line).collect()
    }
}

impl Condition {
    /// Every symbol that it names, in order.
    pub(crate) fn symbols(&self) -> impl Iterator<Item = &Text> {
        let groups: &[List<Text>] = match self {
            Condition::Symbols(groups) => groups,
            Condition::Parameter { .. } => &[],
        };
        groups.iter().flat_map(|group| group.iter())
    }
}

impl Test {
    /// Whether a symbol with this value passes it.
    pub(crate) fn accepts(&self, value: &Value) -> bool {
        match self {
            Test::Enabled => matches!(value, Value::Yes | Value::Module),
            Test::Is(wanted) => value == wanted,
            Test::IsNot(unwanted) => value != unwanted,
        }
    }
}

impl FromStr for When {
    type Err = String;

    /// `SYMBOL` (y or m), `SYMBOL=y`, `SYMBOL=m` or `SYMBOL=n`, `SYMBOL!=y` and so on.
    fn from_str(text: &str) -> Result<When, String> {
        let error = || format!("\"{text}\" is not a condition like ARM_SMMU=y");
        let tristate = |value| match value {
            "y" => Ok(Value::Yes),
            "m" => Ok(Value::Module),
            "n" => Ok(Value::No),
            _ => Err(error()),
        };
        let (symbol, test) = if let Some((symbol, value)) = text.split_once("!=") {
            (symbol, Test::IsNot(tristate(value)?))
        } else if let Some((symbol, value)) = text.split_once('=') {
            (symbol, Test::Is(tristate(value)?))
        } else {
            (text, Test::Enabled)
        };
        if !is_symbol(symbol) {
            return Err(error());
        }
        Ok(When { symbol: symbol.to_owned().into(), test })
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbol = &self.symbol;
        match &self.test {
            Test::Enabled => f.write_str(symbol),
            Test::Is(value) => write!(f, "{symbol}={value}"),
            Test::IsNot(value) => write!(f, "{symbol}!={value}"),
        }
    }
}

impl FromStr for Assignment {
    type Err = String;

    /// `NAME` or `NAME=VALUE`.
    fn from_str(text: &str) -> Result<Assignment, String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() || text.contains(char::is_whitespace) {
            return Err(format!("\"{text}\" is not a kernel parameter like iommu.strict=1"));
        }
        Ok(Assignment { name: name.to_owned().into(), value: value.to_owned().into() })
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.value.is_empty() { Ok(()) } else { write!(f, "={}", self.value) }
    }
}

impl FromStr for KconfigLine {
    type Err = String;

    /// `SYMBOL=y`, followed by ` since 6.2` or ` until 5.8` if not every kernel has it.
    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("\"{text}\" is not a setting like VFIO=y or VFIO_GROUP=y since 6.6");
        let mut words = text.split_ascii_whitespace();
        let (symbol, value) = words.next().and_then(|w| w.split_once('=')).ok_or_else(error)?;
        if !is_symbol(symbol) || value.is_empty() {
            return Err(error());
        }
        let mut line = KconfigLine {
            symbol: symbol.to_owned().into(),
            value: value.to_owned().into(),
            since: None,
            until: None,
        };
        while let Some(word) = words.next() {
            let version = words.next().and_then(KernelVersion::parse).ok_or_else(error)?;
            match word {
                "since" => line.since = Some(version),
                "until" => line.until = Some(version),
                _ => return Err(error()),
            }
        }
        Ok(line)
    }
}

impl fmt::Display for KconfigLine {
    /// As it is written in a `.config`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (symbol, value) = (&self.symbol, &self.value);
        match value.as_ref() {
            "n" => write!(f, "# CONFIG_{symbol} is not set"),
            "y" | "m" => write!(f, "CONFIG_{symbol}={value}"),
            number if number.parse::<u64>().is_ok() => write!(f, "CONFIG_{symbol}={number}"),
            text => {
                let text = text.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "CONFIG_{symbol}=\"{text}\"")
            }
        }
    }
}

/// A module's name in the kernel: `vfio_pci` for `vfio-pci`.
pub(crate) fn module_name(name: &str) -> String {
    name.replace('-', "_")
}

pub(super) fn is_symbol(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with("CONFIG_")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
