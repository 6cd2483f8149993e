//! What is known about a kernel, as the rule evaluator needs it.

use super::cmdline::{EffectiveCmdline, Setting as CmdlineSetting};
use super::evidence::Evidence;
use super::facts::Facts;
use super::origin::Origin;
use super::provenance::Provenance;
use crate::kernel::module::Module;
use crate::kernel::{Arch, KernelVersion};
use crate::modules::Misfit;
use crate::rules::{self, Basis, Coverage, Given, KernelInfo, Setting, Symbol};

impl Facts {
    /// An Android Generic Kernel Image, whose drivers for the hardware are vendor modules.
    pub fn is_gki(&self) -> bool {
        Known { facts: self, cmdline: None }.is_gki()
    }
}

/// Facts for the rule evaluator.
pub(crate) struct Known<'f> {
    facts: &'f Facts,
    /// The command line, built once.
    pub cmdline: Option<EffectiveCmdline>,
}

impl<'f> Known<'f> {
    pub(crate) fn new(facts: &'f Facts) -> Self {
        Known { facts, cmdline: EffectiveCmdline::new(facts) }
    }

    /// Where what a verdict rests on was read.
    pub(crate) fn provenance(&self, basis: &Basis<Origin>) -> Provenance {
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

    fn version(&self) -> Option<KernelVersion> {
        self.facts.version()
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

    fn needs(&self, module: &str) -> Vec<String> {
        let modules = self.facts.modules.as_deref().unwrap_or_default();
        let mut needed = vec![module.to_owned()];
        let mut next = 0;
        while let Some(name) = needed.get(next) {
            let own = modules.iter().find(|own| own.name == *name);
            let depends = own.map(|own| own.depends.clone()).unwrap_or_default();
            let new: Vec<String> =
                depends.into_iter().filter(|own| !needed.contains(own)).collect();
            needed.extend(new);
            next += 1;
        }
        needed
    }

    fn occurrences(&self, name: &str) -> Option<Vec<Vec<Given<Origin>>>> {
        self.cmdline.as_ref().map(|line| line.occurrences(name))
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
