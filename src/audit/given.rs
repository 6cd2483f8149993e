//! What a run was given beside its inputs: what decides verdicts, so that a later run can tell whether it was
//! given the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::check::Options;
use super::render::hex;
use crate::modules::SurveyError;
use crate::rules::BUILTIN;

/// A longer text is named by its digest.
const MAX_TEXT: usize = 120;

/// Options by name, each with its value, or the SHA-256 of what it names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Given(BTreeMap<String, String>);

impl Given {
    /// That of checks with these options. Modules are read for it.
    ///
    /// # Errors
    /// Those of reading modules.
    pub fn of(options: &Options<'_>) -> Result<Self, SurveyError> {
        let mut given = Given::default();
        if BUILTIN.iter().all(|builtin| builtin.name != options.profile.name) {
            given.add("profile", &digest(|hash| hash.update(format!("{:?}", options.profile))));
        }
        if let Some((config, _)) = &options.config {
            given.add(
                "config",
                &digest(|hash| {
                    for (symbol, value) in config.iter() {
                        hash.update(format!("{symbol}={value:?}\n"));
                    }
                }),
            );
        }
        if let Some(modules) = &options.modules {
            given.add("modules", &hex(&modules.digest()?));
        }
        if let Some(line) = &options.cmdline {
            given.add("cmdline", line);
        }
        if let Some(arch) = options.arch {
            given.add("arch", arch.name());
        }
        if let Some(version) = options.version {
            given.add("kernel-version", &version.to_string());
        }
        if let Some(tree) = &options.expand {
            given.add("expand", &tree.display().to_string());
        }
        if let Some(budget) = options.budget {
            given.add("limit", &budget.bytes().to_string());
        }
        Ok(given)
    }

    /// Add what an option has; a long text by its digest.
    pub fn add(&mut self, option: &str, value: &str) {
        let value = match value.len() <= MAX_TEXT {
            true => value.to_owned(),
            false => digest(|hash| hash.update(value)),
        };
        self.0.insert(option.to_owned(), value);
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first option that differs, with its value here and there.
    pub(crate) fn differs<'g>(
        &'g self,
        other: &'g Given,
    ) -> Option<(&'g str, Option<&'g str>, Option<&'g str>)> {
        let names = self.0.keys().chain(other.0.keys());
        names.map(String::as_str).find_map(|name| {
            let (own, their) = (self.0.get(name), other.0.get(name));
            (own != their).then_some((name, own.map(String::as_str), their.map(String::as_str)))
        })
    }

    /// As one line of JSON, the same for the same options.
    pub fn to_json(&self) -> String {
        // Only strings: serialisation does not fail.
        serde_json::to_string(&self.0).unwrap_or_default()
    }
}

fn digest(fill: impl FnOnce(&mut Sha256)) -> String {
    let mut hash = Sha256::new();
    fill(&mut hash);
    hex(&hash.finalize())
}
