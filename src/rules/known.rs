//! What a program can know about a kernel.

use std::fmt;

use super::config::Value;
use super::{Arch, KernelVersion, Test, Text, When};

/// What is known about one kernel: that of an image, or the running one.
pub(crate) trait KernelInfo {
    /// The origin of a kernel parameter.
    type Origin: Clone + fmt::Debug + fmt::Display;
    /// Why the kernel will not load a module.
    type Misfit: Clone + fmt::Debug + fmt::Display;

    /// Its architecture.
    fn arch(&self) -> Option<Arch>;

    /// Its release, `6.1.192-android14-11-gabc`.
    fn release(&self) -> Option<&str>;

    /// Whether its config is known.
    fn has_config(&self) -> bool;

    /// What is known about a symbol (without `CONFIG_`).
    fn symbol(&self, name: &str) -> Symbol<'_>;

    /// The modules that [`KernelInfo::find_module`] can find.
    fn coverage(&self) -> Coverage;

    /// The module whose name (with `_`) is accepted; of several with the same name the one that
    /// fits the kernel.
    fn find_module(&self, accept: &dyn Fn(&str) -> bool) -> Option<Module<Self::Misfit>>;

    /// What the kernel parameter `name` is set to.
    fn parameter(&self, name: &str) -> Setting<Self::Origin>;

    /// The values of the kernel parameter `name` in order, empty without one; a list for each order in
    /// which the kernel may see them. None if no command line is known.
    fn occurrences(&self, name: &str) -> Option<Vec<Vec<Given<Self::Origin>>>>;

    /// The modules (with `_`) that must load before this one does, and itself.
    fn needs(&self, module: &str) -> Vec<String> {
        vec![module.to_owned()]
    }

    /// Its version.
    fn version(&self) -> Option<KernelVersion> {
        KernelVersion::parse(self.release()?)
    }

    /// An Android Generic Kernel Image, whose drivers for the hardware are vendor modules: by
    /// its release (`-android14-`) or its config.
    fn is_gki(&self) -> bool {
        let version = self.symbol("LOCALVERSION");
        self.release().is_some_and(names_gki)
            || self.holds(&GKI_HACKS) == Some(true)
            || matches!(version, Symbol::Value(Value::Text(text)) if names_gki(text))
    }

    /// Whether a precondition holds; None if that is unknown.
    fn holds(&self, when: &When) -> Option<bool> {
        match self.symbol(&when.symbol) {
            Symbol::Value(value) => Some(when.test.accepts(value)),
            Symbol::Evidence(evidence) => match evidence.state {
                EvidenceState::BuiltIn => Some(when.test.accepts(&Value::Yes)),
                EvidenceState::Off => Some(when.test.accepts(&Value::No)),
                EvidenceState::NotBuiltIn => {
                    // m or n: decided where both give the same.
                    let module = when.test.accepts(&Value::Module);
                    (module == when.test.accepts(&Value::No)).then_some(module)
                }
            },
            Symbol::Unstated | Symbol::Silent | Symbol::NoConfig => None,
        }
    }
}

/// A symbol that GKI configs set.
const GKI_HACKS: When =
    When { symbol: Text::Borrowed("GKI_HACKS_TO_FIX"), test: Test::Is(Value::Yes) };

/// `-android` and two digits, as a whole part of a release.
fn names_gki(release: &str) -> bool {
    release.split('-').skip(1).any(|part| {
        let digits = part.strip_prefix("android").unwrap_or_default();
        digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// What is known about a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symbol<'k> {
    /// The config sets it; a symbol that it does not mention is `n`.
    Value(&'k Value),
    /// The config does not mention it, and is only a part of one.
    #[cfg_attr(not(feature = "desktop"), allow(dead_code, reason = "a running kernel's is whole"))]
    Unstated,
    /// There is no config, but the kernel's symbol table has evidence.
    Evidence(&'k Evidence),
    /// There is no config, and the symbol table has no evidence.
    Silent,
    /// There is neither a config nor a symbol table.
    NoConfig,
}

/// How certain evidence is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// It may mislead: a rule passes by it, but does not fail.
    Likely,
    /// As good as a config.
    #[default]
    Certain,
}

impl Confidence {
    /// As it is written in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Confidence::Likely => "likely",
            Confidence::Certain => "certain",
        }
    }
}

/// The evidence of the names in a symbol table for one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceState {
    /// It is `y`.
    BuiltIn,
    /// It is not `y`; it can be `m`.
    NotBuiltIn,
    /// It is `n`.
    Off,
}

/// Evidence for one symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The state of the symbol.
    pub state: EvidenceState,
    /// How certain it is.
    pub confidence: Confidence,
    /// The name that is there, or the names that are not.
    pub names: Vec<String>,
    /// Where they were looked for.
    pub place: Place,
}

/// Where the names of evidence were looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the kernel's symbol table.
    SymbolTable,
    /// In all of the kernel.
    Kernel,
    /// In the list of the modules that are built in.
    BuiltinList,
    /// In the symbol table of this module's file.
    Module(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::SymbolTable => f.write_str("the symbol table"),
            Place::Kernel => f.write_str("the kernel"),
            Place::BuiltinList => f.write_str("modules.builtin"),
            Place::Module(file) => f.write_str(file),
        }
    }
}

/// Which of the modules of a system are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// No modules were searched.
    None,
    /// Those in the ramdisks of some images; other partitions may have more.
    Ramdisks,
    /// All modules, and their number.
    All(usize),
    /// Those that the running kernel has loaded.
    Loaded,
}

/// A module that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module<M> {
    /// Its name, with `_`.
    pub name: String,
    /// The name of its file in messages; None if it has no file.
    pub file: Option<String>,
    /// Whether the kernel loads it.
    pub fit: Fit<M>,
}

/// Whether a kernel loads a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit<M> {
    /// It is loaded.
    Loaded,
    /// Its vermagic is this release's.
    Matches {
        /// The kernel's release.
        release: String,
        /// The kernel also exports every symbol it needs.
        linked: bool,
    },
    /// Its vermagic does not decide, but the kernel exports every symbol it needs; or that does not
    /// decide either.
    Undecided {
        /// Its vermagic.
        vermagic: Option<String>,
        /// It is for another release, and the CRC of each symbol decides (`MODVERSIONS`).
        by_crc: bool,
        /// The kernel exports every symbol it needs.
        linked: bool,
    },
    /// It is for another kernel.
    OtherKernel {
        /// Its vermagic.
        vermagic: Option<String>,
        /// The kernel's release.
        release: String,
    },
    /// The kernel does not load it.
    Refused {
        /// Why.
        first: M,
        /// How many reasons there are besides.
        others: usize,
    },
}

/// A value of a kernel parameter, and where it was given.
pub(crate) type Given<O> = (String, O);

/// What a kernel parameter is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setting<O> {
    /// No command line is known.
    NoCommandLine,
    /// It is not given.
    Absent,
    /// Its value, empty without one, and where that was given; of several the last counts.
    Value(String, O),
    /// Two values that differ, where it is not known which of them comes last.
    Either([(String, O); 2]),
}
