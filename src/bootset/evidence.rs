//! What the names in a kernel's symbol table imply about its config.
//!
//! The knowledge is data, `kernel-configs/evidence.toml`, whose header says how to add to it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::kernel::{Arch, Kallsyms, KernelVersion, Module};
use crate::rules::{self, Confidence, EvidenceState, Place};

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
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    texts: Vec<String>,
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

    /// The texts that are to be looked for in kernels.
    pub fn texts() -> Vec<String> {
        let entries = toml::from_str::<File>(EVIDENCE).map(|file| file.symbol).unwrap_or_default();
        entries.into_iter().flat_map(|own| own.texts).collect()
    }

    /// All of the kernel was searched, and no config is embedded in it.
    pub(super) fn without_config(&mut self) {
        let found = rules::Evidence {
            state: EvidenceState::Off,
            confidence: Confidence::Certain,
            names: vec!["IKCFG_ST".to_owned()],
            place: Place::Kernel,
        };
        self.symbols.insert("IKCONFIG".to_owned(), found);
    }

    /// The modules that have the code of symbols about which the kernel says nothing, each with the
    /// functions that would show them.
    pub(crate) fn open_parts(&self) -> BTreeMap<String, Vec<String>> {
        let entries = toml::from_str::<File>(EVIDENCE).map(|file| file.symbol).unwrap_or_default();
        let mut parts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in entries.into_iter().filter(|entry| self.about(&entry.name).is_none()) {
            if let Some(whole) = entry.part_of {
                parts.entry(whole.to_ascii_lowercase()).or_default().extend(entry.names);
            }
        }
        parts
    }

    /// Take the evidence of a module, which defines these functions.
    pub(crate) fn take_module(
        &mut self,
        module: &Module,
        defined: &[String],
        version: Option<KernelVersion>,
    ) {
        let entries = toml::from_str::<File>(EVIDENCE).map(|file| file.symbol).unwrap_or_default();
        for entry in entries {
            let own =
                entry.part_of.as_ref().is_some_and(|of| of.to_ascii_lowercase() == module.name);
            if !own || self.about(&entry.name).is_some() || !entry.is_for(version) {
                continue;
            }
            let found = entry.names.iter().find(|name| defined.contains(name));
            let (state, names) = match found {
                Some(name) => (EvidenceState::BuiltIn, vec![name.clone()]),
                None if entry.absence => (EvidenceState::Off, entry.names.clone()),
                None => continue,
            };
            let place = Place::Module(module.file.clone());
            let confidence = entry.confidence;
            self.symbols.insert(entry.name, rules::Evidence { state, confidence, names, place });
        }
    }

    /// Take what `modules.builtin` says of a module that is there: built in, or in a file of its own. What
    /// the symbol table decides stays.
    pub(crate) fn take_list(&mut self, symbol: &str, module: &str, built_in: bool) {
        let open = |own: &rules::Evidence| own.state == EvidenceState::NotBuiltIn;
        if self.about(symbol).is_some_and(|own| !(built_in && open(own))) {
            return;
        }
        let found = rules::Evidence {
            state: if built_in { EvidenceState::BuiltIn } else { EvidenceState::NotBuiltIn },
            confidence: Confidence::Certain,
            names: vec![module.to_owned()],
            place: Place::BuiltinList,
        };
        self.symbols.insert(symbol.to_owned(), found);
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
    /// Whether kernels of this version have the symbol.
    fn is_for(&self, version: Option<KernelVersion>) -> bool {
        let bound = |text: &Option<String>| text.as_deref().and_then(KernelVersion::parse);
        let before = bound(&self.since).is_some_and(|since| version.is_none_or(|own| own < since));
        let after = bound(&self.until).is_some_and(|until| version.is_none_or(|own| own >= until));
        !before && !after
    }

    fn evidence(
        &self,
        kallsyms: &Kallsyms,
        arch: Option<Arch>,
        version: Option<KernelVersion>,
        modules: bool,
        before: &Evidence,
    ) -> Option<rules::Evidence> {
        if !self.is_for(version) {
            return None;
        }
        let confidence = self.confidence;
        let found = |name: &str, place| {
            let (state, names) = (EvidenceState::BuiltIn, vec![name.to_owned()]);
            Some(rules::Evidence { state, confidence, names, place })
        };
        if let Some(name) = self.names.iter().find(|name| kallsyms.has(name)) {
            return found(name, Place::SymbolTable);
        }
        let has = |text: &&String| kallsyms.texts.get(*text) == Some(&true);
        if let Some(text) = self.texts.iter().find(has) {
            return found(text, Place::Kernel);
        }
        let whole = self.part_of.as_ref().is_none_or(|other| {
            before.about(other).is_some_and(|own| own.state == EvidenceState::BuiltIn)
        });
        let looked = self.texts.iter().all(|text| kallsyms.texts.contains_key(text));
        if !self.absence || !whole || !looked {
            return None;
        }
        let tristate = self.tristate && !arch.is_some_and(|arch| self.bool_on.contains(&arch));
        let state = match tristate && modules {
            true => EvidenceState::NotBuiltIn,
            false => EvidenceState::Off,
        };
        let (names, place) = match self.names.is_empty() {
            true => (self.texts.clone(), Place::Kernel),
            false => (self.names.clone(), Place::SymbolTable),
        };
        Some(rules::Evidence { state, confidence, names, place })
    }
}
