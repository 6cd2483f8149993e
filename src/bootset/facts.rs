//! What is known about the kernel of a set.

use std::sync::Arc;

use super::complete::Incomplete;
use super::evidence::Evidence;
use super::links::Links;
use super::origin::CmdlinePart;
use super::provenance::Provenance;
use crate::kernel::config::{KernelConfig, Value};
use crate::kernel::module::Module;
use crate::kernel::{Arch, Exports, KernelVersion, Scan, Symbols};
use crate::modules::{Misfit, TargetKernel};
use crate::rules::{EvidenceState, Fit, Symbol};

/// How a feature is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Built {
    /// `=y`.
    In,
    /// `=m`.
    Module,
    /// Not at all.
    Off,
    /// Unknown, because there is no config.
    Unknown,
}

/// What is known about a kernel. Every part may be missing; rules that need it are then unknown.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The config and where it comes from.
    pub config: Option<(Arc<KernelConfig>, Provenance)>,
    /// The config is only a part of one; None also without a config.
    pub incomplete: Option<Incomplete>,
    /// The release: `6.1.192-android14-11-g0a1b2c3`.
    pub release: Option<String>,
    /// The version that the user gives for a kernel whose release is unknown.
    pub given_version: Option<KernelVersion>,
    /// The architecture.
    pub arch: Option<Arch>,
    /// The command line as far as it is known, without the one built into the kernel.
    pub cmdline: Option<String>,
    /// The same in pieces, when it is known where they come from; see [`Facts::set_cmdline`].
    pub cmdline_parts: Vec<CmdlinePart>,
    /// The modules that are available at boot; None if unknown.
    pub modules: Option<Vec<Module>>,
    /// There may be more modules: these are from the ramdisks of the images, and the other partitions
    /// were not searched.
    pub modules_partial: bool,
    /// Whether the modules find the symbols they need; None where that was not compared.
    pub links: Option<Links>,
    /// The evidence of the kernel's symbol table; used only without a config.
    pub evidence: Option<Evidence>,
}

impl Facts {
    /// The facts that a search of a kernel gives, with what the kernel is called in messages.
    /// Its embedded config is left out when it is not one.
    pub(crate) fn from_scan(scan: &Scan, arch: Option<Arch>, what: &str) -> Self {
        let mut facts = Facts { release: scan.version.clone(), arch, ..Facts::default() };
        if let Some(ikconfig) = &scan.ikconfig
            && let Ok(config) = KernelConfig::parse(&ikconfig.text)
        {
            let offset = ikconfig.offset;
            facts.set_config(config, Provenance::Ikconfig { what: what.to_owned(), offset });
        }
        facts
    }

    /// Use this config. Its header gives the release and the architecture if they are unknown.
    pub fn set_config(&mut self, config: KernelConfig, provenance: Provenance) {
        self.release = self.release.take().or_else(|| config.release().map(str::to_owned));
        self.arch = self.arch.or(config.arch());
        // A kernel embeds what it was built with.
        let embedded = matches!(provenance, Provenance::Ikconfig { .. });
        self.incomplete = if embedded { None } else { Incomplete::of(&config) };
        self.config = Some((Arc::new(config), provenance));
    }

    /// Compare modules, each after those that it depends on, with what the kernel exports.
    pub fn link(&mut self, modules: &[(&Module, &Symbols)], exports: &Exports) {
        let kernel = TargetKernel {
            // The evaluator judges the vermagic.
            release: None,
            release_is_partial: false,
            exports: Some(exports),
            trims_exports: self.built("TRIM_UNUSED_KSYMS") == Built::In,
            requires_signature: self.built("MODULE_SIG_FORCE") == Built::In,
        };
        self.links = Some(Links::new(modules, &kernel));
    }

    /// The part that reports show: the provenance of config and evidence, without their symbols and
    /// without the modules. It takes little memory, however many kernels there are.
    #[must_use]
    pub(crate) fn outline(self) -> Facts {
        let config = self.config.map(|(_, provenance)| (Arc::default(), provenance));
        let evidence = self.evidence.map(Evidence::outline);
        Facts { config, evidence, modules: None, links: None, ..self }
    }

    /// The version, by the release or as it was given.
    pub(crate) fn version(&self) -> Option<KernelVersion> {
        self.release.as_deref().and_then(KernelVersion::parse).or(self.given_version)
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
            Symbol::Unstated | Symbol::Silent | Symbol::NoConfig => Built::Unknown,
        }
    }

    pub(super) fn symbol(&self, name: &str) -> Symbol<'_> {
        match (&self.config, &self.evidence) {
            (Some((config, _)), _) => match (config.get(name), self.incomplete) {
                (Some(value), _) => Symbol::Value(value),
                (None, None) => Symbol::Value(&Value::No),
                (None, Some(_)) => Symbol::Unstated,
            },
            (None, Some(evidence)) => match evidence.about(name) {
                Some(evidence) => Symbol::Evidence(evidence),
                None => Symbol::Silent,
            },
            (None, None) => Symbol::NoConfig,
        }
    }

    /// Whether the kernel loads a module, judged by its vermagic and, if known, its symbols.
    pub(super) fn fit(&self, module: &Module) -> Fit<Misfit> {
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
