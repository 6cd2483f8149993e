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
    /// Symbols and the modules they build, where that is not the symbol in lower case; several where
    /// versions differ.
    pub modules: List<(Text, List<Text>)>,
    /// Symbols that build no module of their own, and the module that has their code.
    pub part_of: List<(Text, List<Text>)>,
    /// Families of SoCs.
    pub socs: List<Soc>,
    /// Symbols and the functions that `initcall_blacklist=` names to turn them off.
    pub initcalls: List<(Text, List<Text>)>,
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
    /// The drivers of the board's SoC that satisfy it, for advice that fits the board.
    pub by_soc: Option<SocPart>,
    /// The rule of the parts that serve in its place on other machines: while that one passes, a
    /// failure of this one decides nothing.
    pub alternative: Option<Text>,
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
    /// This kernel parameter does not turn something off.
    Parameter(Switch),
}

/// A kernel parameter that turns something off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Its name: `kvm-arm.mode`.
    pub name: Text,
    /// The values that turn it off; `*` is any.
    pub reject: List<Text>,
    /// The values that turn it on again. With these, even none, values are lists divided by commas, of
    /// which every word counts; without them the last value counts.
    pub restore: Option<List<Text>>,
    /// It is off unless the parameter turns it on, if all of these hold.
    pub off_when: List<When>,
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
    /// It is needed only if this holds before.
    pub when: Option<When>,
}

/// A family of SoCs: what is before its PCIe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soc {
    /// Its name for people.
    pub name: Text,
    /// The symbol of the family: `ARCH_QCOM`.
    pub symbol: Text,
    /// The drivers of its PCIe host bridges.
    pub bridge: List<Text>,
    /// The drivers of the IOMMUs before its PCIe; empty: there is none.
    pub iommu: List<Text>,
    /// What else there is to say; may be empty.
    pub note: Text,
}

/// Which drivers of a family of SoCs a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocPart {
    /// Those of the host bridges.
    Bridge,
    /// Those of the IOMMUs.
    Iommu,
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
    /// What the verdict names for it: a hypervisor that is not plain KVM.
    pub hypervisor: Option<Text>,
    /// The text.
    pub text: Text,
    /// Whether it is a reason to change the command line.
    pub warn: bool,
}

impl Level {
    /// As it is written in profiles and in JSON.
    pub fn name(self) -> &'static str {
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

    /// The names (with `_`) that the module with the code of `symbol` can have.
    pub(crate) fn modules_of(&self, symbol: &str) -> Vec<String> {
        let tables = [&self.modules, &self.part_of];
        match tables.into_iter().map(|table| of_symbol(table, symbol)).find(|own| !own.is_empty()) {
            None => vec![symbol.to_ascii_lowercase()],
            Some(names) => names.iter().map(|name| module_name(name)).collect(),
        }
    }

    /// Whether the code of `symbol` is in the module of another one, which may exist without it.
    pub(crate) fn is_part(&self, symbol: &str) -> bool {
        !of_symbol(&self.part_of, symbol).is_empty()
    }

    /// The functions that `initcall_blacklist=` names to turn `symbol` off.
    pub(crate) fn initcalls_of(&self, symbol: &str) -> &[Text] {
        of_symbol(&self.initcalls, symbol)
    }
}

fn of_symbol<'t>(table: &'t [(Text, List<Text>)], symbol: &str) -> &'t [Text] {
    table.iter().find(|(of, _)| of == symbol).map_or(&[], |(_, names)| names.as_ref())
}

impl Switch {
    /// Whether this value, or word of one, turns it off.
    pub(crate) fn rejects(&self, value: &str) -> bool {
        self.reject.iter().any(|own| own == value || own == "*")
    }

    /// The parameter that turns it on: `intel_iommu=on`.
    pub(crate) fn remedy(&self) -> Option<Assignment> {
        let value = self.restore.as_ref()?.first()?.clone();
        Some(Assignment { name: self.name.clone(), value })
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
            when: None,
        };
        groups.first().into_iter().flat_map(|group| group.iter()).map(line).collect()
    }
}

impl Condition {
    /// Every symbol that it names, in order.
    pub(crate) fn symbols(&self) -> impl Iterator<Item = &Text> {
        let groups: &[List<Text>] = match self {
            Condition::Symbols(groups) => groups,
            Condition::Parameter(_) => &[],
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

    /// `SYMBOL=y`, followed by ` since 6.2` or ` until 5.8` if not every kernel has it, and by
    /// ` if SYMBOL=m` if not every config needs it.
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
            when: None,
        };
        while let Some(word) = words.next() {
            if word == "if" {
                line.when = Some(words.next().ok_or_else(error)?.parse()?);
                continue;
            }
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

impl KconfigLine {
    /// Whether kernels of this version have the symbol, which is so where the version is unknown.
    pub(crate) fn is_for(&self, version: Option<KernelVersion>) -> bool {
        version.is_none_or(|version| {
            self.since.is_none_or(|since| version >= since)
                && self.until.is_none_or(|until| version < until)
        })
    }

    /// The value that a config has of it.
    pub(crate) fn as_value(&self) -> Value {
        match self.value.as_ref() {
            "y" => Value::Yes,
            "m" => Value::Module,
            "n" => Value::No,
            number if number.parse::<u64>().is_ok() => Value::Number(number.to_owned()),
            text => Value::Text(text.to_owned()),
        }
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
