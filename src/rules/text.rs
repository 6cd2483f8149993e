//! The text of reasons.

use std::fmt::{self, Display, Formatter};

use super::config::Value;
use super::{
    Cause, Coverage, Doubt, Evidence, EvidenceState, Fit, Module, ModuleState, Outside, Place,
    Reason, SymbolReason, SymbolState, VendorModule,
};

impl<O: Display, M: Clone + Display> Display for Reason<O, M> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)?;
        match &self.doubt {
            Some(doubt) => write!(f, ", but {doubt}"),
            None => Ok(()),
        }
    }
}

impl<O: Display, M: Clone + Display> Display for Cause<O, M> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Outside(outside) => outside.fmt(f),
            Cause::NoCommandLine => f.write_str("no command line is known"),
            Cause::NoConfig => f.write_str("there is no config"),
            Cause::Symbols(symbols) => list(f, symbols),
            Cause::NoneSet(groups) => {
                let groups: Vec<String> = groups.iter().map(|group| group.join(" with ")).collect();
                write!(f, "none of {} is set", groups.join(", "))
            }
            Cause::VendorModule { config, module } => match module {
                VendorModule::Named(module) => write!(f, "not in the kernel, but {module}"),
                VendorModule::Hinted(module) => {
                    write!(f, "{config}, but {} may be such a module", File(module))
                }
                VendorModule::NotFound(coverage) => {
                    config.fmt(f)?;
                    no_vendor_module(f, *coverage)
                }
            },
            Cause::Parameter { name, value, origin } => {
                write!(f, "{}, from {origin}", Given(name, value))
            }
            Cause::NotGiven { name } => write!(f, "{name} is not given"),
            Cause::Needed { parameter, when, certain } => {
                write!(f, "{parameter} is not given, and ")?;
                if !certain {
                    f.write_str("it is not known whether ")?;
                }
                list(f, when)
            }
            Cause::Ambiguous { name, bad, good } => write!(
                f,
                "{name} is both {bad} and {good}; the last one counts, and which that is depends \
                 on the kernel"
            ),
            Cause::Overruled { name, value, origin, ambiguous: false } => {
                write!(f, "{}, from {origin}", Given(name, value))
            }
            Cause::Overruled { name, value, origin, ambiguous: true } => {
                let given = Given(name, value);
                write!(f, "it is not known whether {given} (from {origin}) comes last")
            }
        }
    }
}

/// A parameter and its value.
struct Given<'a>(&'a str, &'a str);

impl Display for Given<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Given(name, value) = self;
        if value.is_empty() { f.write_str(name) } else { write!(f, "{name}={value}") }
    }
}

fn list(f: &mut Formatter<'_>, items: &[impl Display]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

impl Display for Outside {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Outside::Arch(arch) => write!(f, "not for {arch}"),
            Outside::Before { since, version } => {
                write!(f, "from Linux {since} on, this is {version}")
            }
            Outside::After { until, version } => {
                write!(f, "before Linux {until}, this is {version}")
            }
            Outside::When(when) => write!(f, "only with {when}"),
        }
    }
}

impl Display for Doubt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Arch => f.write_str("the architecture is not known"),
            Doubt::Version => f.write_str("the kernel version is not known"),
            Doubt::When(when) => write!(f, "it is not known whether {when} holds"),
            Doubt::Machine(title) => write!(f, "on other machines \"{title}\" decides"),
        }
    }
}

impl<M: Clone + Display> Display for SymbolReason<M> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let symbol = &self.symbol;
        match &self.state {
            SymbolState::Value(value) => setting(f, symbol, value),
            SymbolState::NeverModule(arch) => write!(
                f,
                "{symbol}=m, which {arch} kernels do not have: it is another kernel's config"
            ),
            SymbolState::Module { value, module } => {
                setting(f, symbol, value)?;
                let and = if *value == Value::No { "but" } else { "and" };
                write!(f, ", {and} {module}")
            }
            SymbolState::Evidence { evidence, module } => {
                let state = match evidence.state {
                    EvidenceState::BuiltIn => "built in",
                    EvidenceState::NotBuiltIn => "not built in",
                    // It may be a module with the text.
                    EvidenceState::Off if evidence.place == Place::Kernel => "not built in",
                    EvidenceState::Off => "not set",
                };
                write!(f, "{symbol} is {state}, because {evidence}")?;
                match module {
                    Some(module) => write!(f, "; {module}"),
                    None => Ok(()),
                }
            }
            SymbolState::Blocked { state, word } => {
                SymbolReason { symbol: symbol.clone(), state: (**state).clone() }.fmt(f)?;
                write!(f, ", but {word} keeps it from starting")
            }
            SymbolState::Unstated => {
                write!(f, "{symbol} is not mentioned, and the config is not complete")
            }
            SymbolState::Silent => {
                write!(f, "nothing is known about {symbol}: no config, no evidence")
            }
        }
    }
}

fn setting(f: &mut Formatter<'_>, symbol: &str, value: &Value) -> fmt::Result {
    match value {
        Value::No => write!(f, "{symbol} is not set"),
        Value::Yes | Value::Module | Value::Text(_) | Value::Number(_) => {
            write!(f, "{symbol}={value}")
        }
    }
}

impl Display for Evidence {
    /// `vfio_pci_probe is in the symbol table`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (names, place) = (self.names.join(", "), &self.place);
        match (self.state, self.names.len()) {
            (EvidenceState::BuiltIn, _) => write!(f, "{names} is in {place}"),
            (EvidenceState::NotBuiltIn | EvidenceState::Off, 1) => {
                write!(f, "{names} is not in {place}")
            }
            (EvidenceState::NotBuiltIn | EvidenceState::Off, _) => {
                write!(f, "none of {names} is in {place}")
            }
        }
    }
}

impl<M: Display> Display for ModuleState<M> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            ModuleState::Present(module) => module.fmt(f),
            ModuleState::Missing { names, coverage } => {
                let name = names.join(" or ");
                match coverage {
                    Coverage::None => write!(f, "{name}.ko was not looked for"),
                    Coverage::Ramdisks => {
                        write!(f, "{name}.ko is not in the ramdisks of the images")
                    }
                    Coverage::All(_) => write!(f, "{name}.ko is not among the modules given"),
                    Coverage::Loaded => write!(f, "{name} is not loaded"),
                }
            }
        }
    }
}

/// What follows the state of the config where no vendor module was found.
fn no_vendor_module(f: &mut Formatter<'_>, coverage: Coverage) -> fmt::Result {
    match coverage {
        Coverage::None => f.write_str(
            "; on a GKI kernel it may be a vendor module, which its vendor_boot image or the \
             directory of its modules would show",
        ),
        Coverage::Ramdisks => f.write_str(
            "; on a GKI kernel it may be a vendor module, but none in the images given is one",
        ),
        Coverage::All(count) => write!(f, ", and none of the {count} modules given is one"),
        Coverage::Loaded => f.write_str(", and no module that is loaded is one"),
    }
}

/// A module's file name, and the file it was read from: `vfio_pci.ko (vendor_boot.img: …)`.
struct File<'a, M>(&'a Module<M>);

impl<M> Display for File<'_, M> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Module { name, file, .. } = self.0;
        match file {
            Some(file) => write!(f, "{name}.ko ({file})"),
            None => write!(f, "{name}.ko"),
        }
    }
}

impl<M: Display> Display for Module<M> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let file = File(self);
        match &self.fit {
            Fit::Loaded => write!(f, "{} is loaded", self.name),
            Fit::Matches { release, linked } => {
                write!(f, "{file} fits the kernel (vermagic {release}){}", exported(*linked))
            }
            Fit::Undecided { vermagic, by_crc: true, linked } => write!(
                f,
                "{file} is for \"{}\", and with MODVERSIONS the CRC of each symbol decides{}",
                vermagic_text(vermagic),
                exported(*linked)
            ),
            Fit::Undecided { vermagic, by_crc: false, linked } => write!(
                f,
                "it is not known whether {file} (\"{}\") fits the kernel{}",
                vermagic_text(vermagic),
                exported(*linked)
            ),
            Fit::OtherKernel { vermagic, release } => {
                let vermagic = vermagic_text(vermagic);
                write!(f, "{file} is for \"{vermagic}\", and the kernel is {release}")
            }
            Fit::Refused { first, others } => {
                write!(f, "the kernel does not load {file}: {first}")?;
                if *others == 0 { Ok(()) } else { write!(f, "; {others} more such") }
            }
        }
    }
}

fn vermagic_text(vermagic: &Option<String>) -> &str {
    vermagic.as_deref().unwrap_or("no vermagic")
}

fn exported(linked: bool) -> &'static str {
    if linked { ", which exports every symbol it needs" } else { "" }
}
