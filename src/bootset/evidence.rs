//! What the names in a kernel's symbol table imply about its config.
//!
//! The knowledge is data, `kernel-configs/evidence.toml`, whose header says how to add to it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::kernel::{Arch, Kallsyms, KernelVersion};
use crate::rules::{self, Confidence, EvidenceState};

const EVIDENCE: &str = include_str!("../../kernel-configs/evidence.toml");

/// All evidence that a symbol table gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The name of the kernel in messages.
    pub what: String,
    /// The number of names in its table.
    pub count: usize,
    symbols: BTreeMap<String, rules::Evidence>,
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
    /// The evidence in the names of a kernel; `what` is its name in messages.
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
        // A symbol comes after the one that it is part of.
        for entry in &entries {
            if let Some(found) = entry.evidence(kallsyms, arch, version, modules, &evidence) {
                evidence.symbols.insert(entry.name.clone(), found);
            }
        }
        evidence
    }

    /// The part that reports show, without the symbols.
    pub(super) fn outline(self) -> Self {
        Evidence { symbols: BTreeMap::new(), ..self }
    }

    /// What is known about `symbol` (without `CONFIG_`).
    pub fn about(&self, symbol: &str) -> Option<&rules::Evidence> {
        self.symbols.get(symbol)
    }

    /// Every symbol with evidence, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &rules::Evidence)> {
        self.symbols.iter().map(|(symbol, evidence)| (symbol.as_str(), evidence))
    }

    /// Every symbol for which there can be evidence.
    pub fn symbols() -> Vec<String> {
        let file = toml::from_str::<File>(EVIDENCE);
        file.map(|file| file.symbol.into_iter().map(|entry| entry.name).collect())
            .unwrap_or_default()
    }
}

impl Entry {
    fn evidence(
        &self,
        kallsyms: &Kallsyms,
        arch: Option<Arch>,
        version: Option<KernelVersion>,
        modules: bool,
        before: &Evidence,
    ) -> Option<rules::Evidence> {
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
            let state = EvidenceState::BuiltIn;
            return Some(rules::Evidence { state, confidence, names: vec![name.clone()] });
        }
        let whole = self.part_of.as_ref().is_none_or(|other| {
            before.about(other).is_some_and(|own| own.state == EvidenceState::BuiltIn)
        });
        if !self.absence || !whole {
            return None;
        }
        let tristate = self.tristate && !arch.is_some_and(|arch| self.bool_on.contains(&arch));
        let state = match tristate && modules {
            true => EvidenceState::NotBuiltIn,
            false => EvidenceState::Off,
        };
        Some(rules::Evidence { state, confidence, names: self.names.clone() })
    }
}
