//! What the names in a kernel's symbol table tell about its config.
//!
//! The knowledge is data, `kernel-configs/evidence.toml`, whose header says how to add to it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Facts, Provenance};
use crate::kernel::{Arch, Kallsyms, KernelVersion};

const EVIDENCE: &str = include_str!("../../kernel-configs/evidence.toml");

/// How sure evidence is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
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
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Likely => "likely",
            Confidence::Certain => "certain",
        }
    }
}

/// What the names tell about one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is `y`.
    BuiltIn,
    /// It is not `y`; it can be `m`.
    NotBuiltIn,
    /// It is `n`.
    Off,
}

/// Evidence for one symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    /// What it says.
    pub state: State,
    /// How sure it is.
    pub confidence: Confidence,
    /// The name that is there, or the names that are not.
    pub names: Vec<String>,
}

impl Sign {
    /// In words: `vfio_pci_probe is in the symbol table`.
    pub fn because(&self) -> String {
        let names = self.names.join(", ");
        match (self.state, self.names.len()) {
            (State::BuiltIn, _) => format!("{names} is in the symbol table"),
            (_, 1) => format!("{names} is not in the symbol table"),
            _ => format!("none of {names} is in the symbol table"),
        }
    }
}

/// All evidence that a symbol table gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What the kernel is called.
    pub what: String,
    /// How many names there are in its table.
    pub count: usize,
    signs: BTreeMap<String, Sign>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    symbol: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    names: Vec<String>,
    #[serde(default)]
    tristate: bool,
    #[serde(default)]
    bool_on: Vec<Arch>,
    part_of: Option<String>,
    #[serde(default = "yes")]
    absence: bool,
    #[serde(default)]
    confidence: Confidence,
    since: Option<String>,
    until: Option<String>,
}

fn yes() -> bool {
    true
}

impl Evidence {
    /// What the names in a kernel tell; `what` is its name for messages.
    pub fn collect(
        kallsyms: &Kallsyms,
        arch: Option<Arch>,
        version: Option<KernelVersion>,
        what: &str,
    ) -> Self {
        // A test reads the file.
        let entries = toml::from_str::<File>(EVIDENCE).map(|file| file.symbol).unwrap_or_default();
        let modules = entries.iter().find(|entry| entry.name == "MODULES");
        let modules = modules.is_none_or(|entry| entry.names.iter().any(|n| kallsyms.has(n)));
        let mut evidence =
            Evidence { what: what.to_owned(), count: kallsyms.count, ..Evidence::default() };
        // What is part of another symbol stands behind it.
        for entry in &entries {
            if let Some(sign) = entry.sign(kallsyms, arch, version, modules, &evidence) {
                evidence.signs.insert(entry.name.clone(), sign);
            }
        }
        evidence
    }

    /// What reports tell of it, without the symbols.
    pub(super) fn outline(self) -> Self {
        Evidence { signs: BTreeMap::new(), ..self }
    }

    /// What is known about `symbol` (without `CONFIG_`).
    pub fn sign(&self, symbol: &str) -> Option<&Sign> {
        self.signs.get(symbol)
    }

    /// Every symbol that something is known about, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Sign)> {
        self.signs.iter().map(|(symbol, sign)| (symbol.as_str(), sign))
    }

    /// Where the evidence for these symbols stands, as sure as the least sure of it.
    pub(super) fn provenance<'a>(&self, symbols: impl Iterator<Item = &'a String>) -> Provenance {
        let known = symbols.filter_map(|symbol| self.sign(symbol)).map(|sign| sign.confidence);
        Provenance::Kallsyms {
            what: self.what.clone(),
            count: self.count,
            confidence: known.min().unwrap_or(Confidence::Likely),
        }
    }

    /// Every symbol that evidence can tell something about.
    pub fn symbols() -> Vec<String> {
        let file = toml::from_str::<File>(EVIDENCE);
        file.map(|file| file.symbol.into_iter().map(|entry| entry.name).collect())
            .unwrap_or_default()
    }
}

impl Entry {
    fn sign(
        &self,
        kallsyms: &Kallsyms,
        arch: Option<Arch>,
        version: Option<KernelVersion>,
        modules: bool,
        before: &Evidence,
    ) -> Option<Sign> {
        let bound = |text: &Option<String>| text.as_deref().and_then(KernelVersion::parse);
        if let Some(since) = bound(&self.since)
            && version.is_none_or(|version| version < since)
        {
            return None;
        }
        if let Some(until) = bound(&self.until)
            && version.is_none_or(|version| version >= until)
        {
            return None;
        }
        let confidence = self.confidence;
        if let Some(name) = self.names.iter().find(|name| kallsyms.has(name)) {
            return Some(Sign { state: State::BuiltIn, confidence, names: vec![name.clone()] });
        }
        let whole = self.part_of.as_ref().is_none_or(|other| {
            before.sign(other).is_some_and(|sign| sign.state == State::BuiltIn)
        });
        if !self.absence || !whole {
            return None;
        }
        let tristate = self.tristate && !arch.is_some_and(|arch| self.bool_on.contains(&arch));
        let state = if tristate && modules { State::NotBuiltIn } else { State::Off };
        Some(Sign { state, confidence, names: self.names.clone() })
    }
}

impl Facts {
    /// What the symbol table tells about `symbol`, where there is no config.
    pub(super) fn sign(&self, symbol: &str) -> Option<&Sign> {
        match self.config {
            Some(_) => None,
            None => self.evidence.as_ref()?.sign(symbol),
        }
    }
}
