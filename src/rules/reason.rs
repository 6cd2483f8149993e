//! Verdicts, and why.

use super::config::Value;
use super::{
    Arch, Assignment, Confidence, Coverage, Evidence, Fit, KernelVersion, List, Module, Text, When,
};

/// Whether a rule is satisfied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Satisfied, by evidence.
    Pass,
    /// Not satisfied, by evidence.
    Fail,
    /// The evidence does not decide it.
    Unknown,
    /// A rule for other kernels.
    NotApplicable,
}

impl Verdict {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Unknown => "unknown",
            Verdict::NotApplicable => "not_applicable",
        }
    }
}

/// The reason for a verdict. Its `Display` is one line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason<O, M> {
    /// What decided it.
    pub cause: Cause<O, M>,
    /// Why a rule that would fail is only unknown: it may be for other kernels.
    pub doubt: Option<Doubt>,
}

impl<O, M> Reason<O, M> {
    /// The module that decided it.
    pub fn module(&self) -> Option<&Module<M>> {
        self.cause.module()
    }

    /// A kernel parameter decided a rule about symbols, regardless of the symbols.
    pub(crate) fn is_overruled(&self) -> bool {
        match &self.cause {
            Cause::Overruled { .. } => true,
            Cause::Symbols(symbols) => symbols.iter().any(SymbolReason::is_blocked),
            Cause::Outside(_)
            | Cause::NoCommandLine
            | Cause::NoConfig
            | Cause::NoneSet(_)
            | Cause::VendorModule { .. }
            | Cause::Parameter { .. }
            | Cause::NotGiven { .. }
            | Cause::Needed { .. }
            | Cause::Ambiguous { .. } => false,
        }
    }
}

/// What decided a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause<O, M> {
    /// The rule is for other kernels.
    Outside(Outside),
    /// The rule is about a parameter, and no command line is known.
    NoCommandLine,
    /// The rule is about symbols, and there is neither a config nor a symbol table.
    NoConfig,
    /// These symbols.
    Symbols(Vec<SymbolReason<M>>),
    /// None of these groups of symbols is set.
    NoneSet(List<List<Text>>),
    /// What the config lacks can be a vendor module of a GKI kernel.
    VendorModule {
        /// The state of the symbols in the config.
        config: Box<Cause<O, M>>,
        /// The result of the search for modules.
        module: VendorModule<M>,
    },
    /// The rule is about this parameter.
    Parameter {
        /// Its name.
        name: Text,
        /// Its value; empty without one.
        value: String,
        /// Where it was given.
        origin: O,
    },
    /// The rule is about this parameter, which is not given.
    NotGiven {
        /// Its name.
        name: Text,
    },
    /// The rule is about something that is off unless a parameter turns it on, which is not given.
    Needed {
        /// The parameter with its value.
        parameter: Assignment,
        /// What makes it off.
        when: List<When>,
        /// Whether all of that certainly holds.
        certain: bool,
    },
    /// The rule is about this parameter, and it is unknown which of two values takes effect.
    Ambiguous {
        /// Its name.
        name: Text,
        /// The value that fails the rule.
        bad: String,
        /// The one that does not.
        good: String,
    },
    /// The rule is about symbols, and a parameter decides it regardless of them.
    Overruled {
        /// The parameter's name.
        name: Text,
        /// Its value; empty without one.
        value: String,
        /// Where it was given.
        origin: O,
        /// Whether another value may come after it.
        ambiguous: bool,
    },
}

impl<O, M> Cause<O, M> {
    fn module(&self) -> Option<&Module<M>> {
        match self {
            Cause::Symbols(symbols) => symbols.iter().find_map(SymbolReason::module),
            Cause::VendorModule { config, module } => match module {
                VendorModule::Named(module) | VendorModule::Hinted(module) => Some(module),
                VendorModule::NotFound(_) => config.module(),
            },
            Cause::Outside(_)
            | Cause::NoCommandLine
            | Cause::NoConfig
            | Cause::NoneSet(_)
            | Cause::Parameter { .. }
            | Cause::NotGiven { .. }
            | Cause::Needed { .. }
            | Cause::Ambiguous { .. }
            | Cause::Overruled { .. } => None,
        }
    }
}

/// Why a rule is not for a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outside {
    /// It is not for its architecture.
    Arch(Arch),
    /// It is for later versions.
    Before {
        /// The first that it is for.
        since: KernelVersion,
        /// The kernel's.
        version: KernelVersion,
    },
    /// It is for earlier versions.
    After {
        /// The first that it is not for.
        until: KernelVersion,
        /// The kernel's.
        version: KernelVersion,
    },
    /// A precondition does not hold.
    When(When),
}

/// An unknown fact about a kernel that decides whether a rule applies to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Its architecture.
    Arch,
    /// Its version.
    Version,
    /// Whether this holds.
    When(When),
    /// Whether the machine has the parts of another rule, with this title.
    Machine(Text),
}

/// The state of one symbol, for a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymbolReason<M> {
    /// Without `CONFIG_`.
    pub symbol: Text,
    /// Its state.
    pub state: SymbolState<M>,
}

/// The state of a symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SymbolState<M> {
    /// The value in the config.
    Value(Value),
    /// It is `m`, which this architecture does not have.
    NeverModule(Arch),
    /// The config does not build it in, so its module decides.
    Module {
        /// `m` or `n`.
        value: Value,
        /// The module.
        module: ModuleState<M>,
    },
    /// There is no config, but evidence.
    Evidence {
        /// The evidence.
        evidence: Evidence,
        /// Its module, if that can decide the verdict.
        module: Option<ModuleState<M>>,
    },
    /// The command line keeps from starting what would satisfy the rule.
    Blocked {
        /// The state without that.
        state: Box<SymbolState<M>>,
        /// What does it.
        word: Assignment,
    },
    /// The config is only a part of one, and does not mention it.
    Unstated,
    /// There is neither a config nor evidence.
    Silent,
}

impl<M> SymbolReason<M> {
    /// Whether the command line keeps it from starting.
    pub(super) fn is_blocked(&self) -> bool {
        matches!(self.state, SymbolState::Blocked { .. })
    }

    fn module(&self) -> Option<&Module<M>> {
        match &self.state {
            SymbolState::Module { module: ModuleState::Present(module), .. }
            | SymbolState::Evidence { module: Some(ModuleState::Present(module)), .. } => {
                Some(module)
            }
            SymbolState::Module { module: ModuleState::Missing { .. }, .. }
            | SymbolState::Evidence { module: Some(ModuleState::Missing { .. }) | None, .. }
            | SymbolState::Value(_)
            | SymbolState::NeverModule(_)
            | SymbolState::Blocked { .. }
            | SymbolState::Unstated
            | SymbolState::Silent => None,
        }
    }
}

/// Whether a module was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleState<M> {
    /// It was.
    Present(Module<M>),
    /// It was not.
    Missing {
        /// The names that it can have, with `_`.
        names: Vec<String>,
        /// The modules that were searched.
        coverage: Coverage,
    },
}

/// The result of the search for a vendor module that can satisfy a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VendorModule<M> {
    /// This is one.
    Named(Module<M>),
    /// By its name this may be one.
    Hinted(Module<M>),
    /// None was found.
    NotFound(Coverage),
}

impl<M> Fit<M> {
    /// What it means for a rule that the module decides.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Fit::Loaded | Fit::Matches { .. } => Verdict::Pass,
            Fit::Undecided { .. } => Verdict::Unknown,
            Fit::OtherKernel { .. } | Fit::Refused { .. } => Verdict::Fail,
        }
    }
}

/// The basis of a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis<O> {
    /// The config.
    Config,
    /// The kernel's symbol table, as certain as its least certain evidence.
    Evidence(Confidence),
    /// The command line, with the origin of the parameter that decided.
    CommandLine(Option<O>),
    /// Nothing.
    Nothing,
}
