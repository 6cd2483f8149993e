//! What is known of the kernel of an image, and how the evaluator sees it.

use super::evidence::Evidence;
use super::links::{Linked, Links};
use super::{CmdlinePart, EffectiveCmdline, Origin, Setting as CmdlineSetting};
use crate::kernel::config::{KernelConfig, Value};
use crate::kernel::module::Module;
use crate::kernel::{Arch, Exports, KernelVersion, Scan};
use crate::modules::{Misfit, Target};
use crate::rules::{
    self, Basis, Confidence, Coverage, EvidenceState, Fit, KernelInfo, Setting, Symbol,
};

/// Where a value was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The config embedded in a kernel.
    Ikconfig {
        /// What the kernel was called (`boot.img`).
        what: String,
        /// Where `IKCFG_ST` stands in the unpacked kernel, in bytes.
        offset: u64,
    },
    /// A config file by this name.
    File(String),
    /// The kernel command line.
    Cmdline,
    /// Names in the kernel's own symbol table.
    Kallsyms {
        /// What the kernel was called.
        what: String,
        /// How many names there are.
        count: usize,
        /// How sure it is.
        confidence: Confidence,
    },
    /// Nothing is known.
    NotKnown,
}

impl std::fmt::Display for Provenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Provenance::Ikconfig { what, offset } => {
                write!(f, "IKCONFIG at offset {offset:#x} of the unpacked kernel in {what}")
            }
            Provenance::File(name) => write!(f, "config file {name}"),
            Provenance::Cmdline => f.write_str("kernel command line"),
            Provenance::Kallsyms { what, count, confidence } => {
                let sure = confidence.name();
                write!(f, "{count} names in the symbol table of the kernel in {what} ({sure})")
            }
            Provenance::NotKnown => f.write_str("not known"),
        }
    }
}

/// How a feature is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Built {
    /// `=y`.
    In,
    /// `=m`.
    Module,
    /// Not at all.
    Off,
    /// There is no config to tell.
    Unknown,
}

/// What is known about a kernel. Everything may be missing; rules that need it are then unknown.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The config and where it comes from.
    pub config: Option<(KernelConfig, Provenance)>,
    /// The release: `6.1.192-android14-11-g0a1b2c3`.
    pub release: Option<String>,
    /// The architecture.
    pub arch: Option<Arch>,
    /// The command line as far as it is known, without the one built into the kernel.
    pub cmdline: Option<String>,
    /// The same in pieces, when it is known where they come from; see [`Facts::set_cmdline`].
    pub cmdline_parts: Vec<CmdlinePart>,
    /// The modules that will be there at boot; None when nobody looked.
    pub modules: Option<Vec<Module>>,
    /// There may be more modules than these: they are those in the ramdisks of the images, and
    /// nobody looked at the other partitions.
    pub modules_partial: bool,
    /// Whether the modules find the symbols they need; None where that was not compared.
    pub links: Option<Links>,
    /// What the kernel's symbol table tells; counts only where there is no config.
    pub evidence: Option<Evidence>,
}

impl Facts {
    /// The facts that a search of a kernel gives, with what the kernel is called in messages.
    /// Its embedded config is left out when it is not one.
    pub fn from_scan(scan: &Scan, arch: Option<Arch>, what: &str) -> Self {
        let mut facts = Facts { release: scan.version.clone(), arch, ..Facts::default() };
        if let Some(ikconfig) = &scan.ikconfig
            && let Ok(config) = KernelConfig::parse(&ikconfig.text)
        {
            let offset = ikconfig.offset;
            facts.set_config(config, Provenance::Ikconfig { what: what.to_owned(), offset });
        }
        facts
    }

    /// Take this config. Its header tells release and architecture where nothing else did.
    pub fn set_config(&mut self, config: KernelConfig, provenance: Provenance) {
        self.release = self.release.take().or_else(|| config.release().map(str::to_owned));
        self.arch = self.arch.or(config.arch());
        self.config = Some((config, provenance));
    }

    /// Compare modules, in the order that [`super::links::read`] gives them, with what the kernel
    /// exports.
    pub fn link(&mut self, modules: &[Linked], exports: &Exports) {
        let kernel = Target {
            // The evaluator judges the vermagic.
            release: None,
            release_is_partial: false,
            exports: Some(exports),
            trims_exports: self.built("TRIM_UNUSED_KSYMS") == Built::In,
            requires_signature: self.built("MODULE_SIG_FORCE") == Built::In,
        };
        self.links = Some(Links::new(modules, &kernel));
    }

    /// What reports tell of them: where config and evidence come from, without their symbols and
    /// without the modules. It takes little memory, however many kernels there are.
    #[must_use]
    pub fn outline(self) -> Facts {
        let config = self.config.map(|(_, provenance)| (KernelConfig::default(), provenance));
        let evidence = self.evidence.map(Evidence::outline);
        Facts { config, evidence, modules: None, links: None, ..self }
    }

    /// The version, by the release.
    pub fn version(&self) -> Option<KernelVersion> {
        KernelVersion::parse(self.release.as_deref()?)
    }

    /// How the feature of `symbol` (without `CONFIG_`) is built.
    pub fn built(&self, symbol: &str) -> Built {
        match self.symbol(symbol) {
            Symbol::Value(Value::Yes) => Built::In,
            Symbol::Value(Value::Module) => Built::Module,
            Symbol::Value(Value::No | Value::Text(_) | Value::Number(_)) => Built::Off,
            Symbol::Evidence(evidence) => match evidence.state {
                EvidenceState::BuiltIn => Built::In,
                EvidenceState::Off => Built::Off,
                EvidenceState::NotBuiltIn => Built::Unknown,
            },
            Symbol::Silent | Symbol::NoConfig => Built::Unknown,
        }
    }

    /// An Android Generic Kernel Image, whose drivers for the hardware are vendor modules.
    pub fn is_gki(&self) -> bool {
        Known { facts: self, cmdline: None }.is_gki()
    }

    fn symbol(&self, name: &str) -> Symbol<'_> {
        match (&self.config, &self.evidence) {
            (Some((config, _)), _) => Symbol::Value(config.get(name).unwrap_or(&Value::No)),
            (None, Some(evidence)) => match evidence.about(name) {
                Some(evidence) => Symbol::Evidence(evidence),
                None => Symbol::Silent,
            },
            (None, None) => Symbol::NoConfig,
        }
    }

    /// Whether the kernel loads a module: by its vermagic, and by its symbols where these are
    /// known.
    fn fit(&self, module: &Module) -> Fit<Misfit> {
        let misfits = self.links.as_ref().and_then(|links| links.misfits(&module.name));
        let linked = misfits.is_some();
        let vermagic = || module.vermagic.clone();
        let by_vermagic = match &self.release {
            Some(release) if module.vermagic_matches(release) => {
                Fit::Matches { release: release.clone(), linked }
            }
            Some(release) if !module.has_modversions() && self.is_whole(release) => {
                return Fit::OtherKernel { vermagic: vermagic(), release: release.clone() };
            }
            Some(_) => {
                let by_crc = module.has_modversions();
                Fit::Undecided { vermagic: vermagic(), by_crc, linked }
            }
            None => Fit::Undecided { vermagic: vermagic(), by_crc: false, linked },
        };
        match misfits {
            Some([first, others @ ..]) => {
                Fit::Refused { first: first.clone(), others: others.len() }
            }
            Some([]) | None => by_vermagic,
        }
    }

    /// The release is not just the version that a config's header gives, without its local part.
    fn is_whole(&self, release: &str) -> bool {
        self.config.as_ref().is_none_or(|(config, _)| config.release() != Some(release))
    }
}

/// Facts as the evaluator asks for them.
pub(super) struct Known<'f> {
    facts: &'f Facts,
    /// The command line, put together once.
    pub cmdline: Option<EffectiveCmdline>,
}

impl<'f> Known<'f> {
    pub fn new(facts: &'f Facts) -> Self {
        Known { facts, cmdline: EffectiveCmdline::new(facts) }
    }

    /// Where what a verdict rests on was read.
    pub fn provenance(&self, basis: &Basis<Origin>) -> Provenance {
        match basis {
            Basis::Config => self.config_provenance(),
            Basis::Evidence(confidence) => match &self.facts.evidence {
                Some(Evidence { what, count, .. }) => {
                    let (what, count, confidence) = (what.clone(), *count, *confidence);
                    Provenance::Kallsyms { what, count, confidence }
                }
                None => Provenance::NotKnown,
            },
            Basis::CommandLine(Some(Origin::Config)) => self.config_provenance(),
            Basis::CommandLine(Some(_)) => Provenance::Cmdline,
            Basis::CommandLine(None) => {
                let mut parameters = self.cmdline.iter().flat_map(EffectiveCmdline::parameters);
                let mut origins = parameters.by_ref().map(|parameter| &parameter.origin).peekable();
                let built_in = origins.peek().is_some();
                match built_in && origins.all(|origin| *origin == Origin::Config) {
                    true => self.config_provenance(),
                    false => Provenance::Cmdline,
                }
            }
            Basis::Nothing => Provenance::NotKnown,
        }
    }

    fn config_provenance(&self) -> Provenance {
        let config = self.facts.config.as_ref();
        config.map_or(Provenance::NotKnown, |(_, provenance)| provenance.clone())
    }
}

impl KernelInfo for Known<'_> {
    type Origin = Origin;
    type Misfit = Misfit;

    fn arch(&self) -> Option<Arch> {
        self.facts.arch
    }

    fn release(&self) -> Option<&str> {
        self.facts.release.as_deref()
    }

    fn has_config(&self) -> bool {
        self.facts.config.is_some()
    }

    fn symbol(&self, name: &str) -> Symbol<'_> {
        self.facts.symbol(name)
    }

    fn coverage(&self) -> Coverage {
        match &self.facts.modules {
            None => Coverage::None,
            Some(_) if self.facts.modules_partial => Coverage::Ramdisks,
            Some(modules) => Coverage::All(modules.len()),
        }
    }

    fn find_module(&self, accept: &dyn Fn(&str) -> bool) -> Option<rules::Module<Misfit>> {
        let modules = self.facts.modules.iter().flatten();
        let mut accepted = modules.filter(|module| accept(&module.name)).peekable();
        let first = *accepted.peek()?;
        let fits = |module: &&Module| {
            let release = self.facts.release.as_deref();
            module.name == first.name && release.is_some_and(|own| module.vermagic_matches(own))
        };
        let module = accepted.find(fits).unwrap_or(first);
        let file = Some(module.file.clone()).filter(|file| !file.is_empty());
        Some(rules::Module { name: module.name.clone(), file, fit: self.facts.fit(module) })
    }

    fn parameter(&self, name: &str) -> Setting<Origin> {
        let Some(line) = &self.cmdline else { return Setting::NoCommandLine };
        let mut values = match line.setting(name) {
            CmdlineSetting::Absent => return Setting::Absent,
            CmdlineSetting::Values(values) => values.into_iter(),
        };
        match (values.next(), values.next()) {
            (Some(first), Some(second)) => Setting::Either([first, second]),
            (Some((value, origin)), None) => Setting::Value(value, origin),
            (None, _) => Setting::Absent,
        }
    }
}
