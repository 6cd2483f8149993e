//! Baselines: known findings of a project, so that a check fails only on new ones.
//!
//! A baseline is JSON that can be kept in version control and edited by hand. An entry has a rule
//! ID, the key of an input (its path relative to the working directory of the check; `*` is every
//! input) and the verdict. An entry with `fail` also covers `unknown`; one with `unknown` does not
//! cover `fail`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Verdict;
use super::report::decides;
use super::run::{Input, Run};

/// The version of the file format.
const FORMAT: u32 = 1;

/// A baseline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    format: u32,
    /// The known findings, in order.
    pub known: BTreeSet<Entry>,
}

/// A known finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The key of the input, or `*`.
    pub input: String,
    /// The rule.
    pub rule: String,
    /// Its verdict.
    pub verdict: KnownVerdict,
}

/// The verdict of a finding in a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownVerdict {
    /// It failed.
    Fail,
    /// It could not be decided.
    Unknown,
}

/// Errors of reading a baseline.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BaselineError {
    /// The file is not JSON, or does not have the fields of a baseline.
    #[error("is not a baseline")]
    Json(#[from] serde_json::Error),
    /// An unsupported format version.
    #[error("is a baseline of format {0}, expected {FORMAT}")]
    Format(u32),
}

impl Baseline {
    /// A baseline of all failed and unknown findings that affect the outcome of this run.
    pub fn of(run: &Run) -> Self {
        let mut known = BTreeSet::new();
        for input in &run.inputs {
            let Ok(report) = &input.result else { continue };
            for finding in &report.evaluation.findings {
                let verdict = match finding.verdict {
                    Verdict::Fail => KnownVerdict::Fail,
                    Verdict::Unknown => KnownVerdict::Unknown,
                    Verdict::Pass | Verdict::NotApplicable => continue,
                };
                if decides(run.settings.fail_on, finding.rule.level) {
                    let (input, rule) = (input.key.clone(), finding.rule.id.to_string());
                    known.insert(Entry { input, rule, verdict });
                }
            }
        }
        Baseline { format: FORMAT, known }
    }

    /// Parse a baseline.
    ///
    /// # Errors
    /// [`BaselineError`].
    pub fn parse(text: &[u8]) -> Result<Self, BaselineError> {
        let baseline: Baseline = serde_json::from_slice(text)?;
        if baseline.format != FORMAT {
            return Err(BaselineError::Format(baseline.format));
        }
        Ok(baseline)
    }

    /// The file, one entry per line, which gives readable diffs.
    pub fn render(&self) -> String {
        let line = |entry: &Entry| {
            serde_json::to_string(entry).map(|text| format!("    {text}")).unwrap_or_default()
        };
        let lines: Vec<String> = self.known.iter().map(line).collect();
        if lines.is_empty() {
            return format!("{{\n  \"format\": {FORMAT},\n  \"known\": []\n}}\n");
        }
        format!("{{\n  \"format\": {FORMAT},\n  \"known\": [\n{}\n  ]\n}}\n", lines.join(",\n"))
    }

    /// Mark the known findings of an input.
    pub fn apply(&self, input: &mut Input) {
        let Ok(report) = &mut input.result else { return };
        for finding in &report.evaluation.findings {
            let covered = self.known.iter().any(|entry| {
                let verdict = match finding.verdict {
                    Verdict::Fail => entry.verdict == KnownVerdict::Fail,
                    Verdict::Unknown => true,
                    Verdict::Pass | Verdict::NotApplicable => false,
                };
                let input = entry.input == "*" || entry.input == input.key;
                verdict && input && entry.rule == finding.rule.id
            });
            if covered {
                report.known.insert(finding.rule.id.to_string());
            }
        }
    }

    /// Entries for this input whose finding no longer occurs.
    pub fn obsolete<'a>(&'a self, input: &'a Input) -> impl Iterator<Item = &'a Entry> {
        let report = input.result.as_ref().ok();
        let report = move |entry: &Entry| report.filter(|_| input.key == entry.input);
        self.known.iter().filter(move |entry| {
            report(entry).is_some_and(|report| !report.known.contains(&entry.rule))
        })
    }
}
