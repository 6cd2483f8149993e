//! A kernel config and rules in, findings out.
//!
//! Rules are data: `kernel-configs/*.toml`, whose header says how to write one. A finding is
//! pass, fail, unknown or not applicable, and says where its evidence comes from. Nothing here
//! reads files: the caller gathers [`Facts`] from wherever it has them.

pub mod baseline;
mod batch;
pub mod check;
pub mod content;
mod error;
pub mod evidence;
mod facts;
mod files;
pub mod fragment;
pub mod group;
pub mod links;
pub mod render;
pub mod run;
pub(crate) mod words;
mod workers;

use crate::modules::Misfit;
use crate::rules::{self, Judgement, KernelInfo, Setting as ParameterSetting};

pub use crate::bootset::{
    CmdlineMode, CmdlinePart, CmdlineWord, EffectiveCmdline, Origin, Setting, sources,
};
pub use crate::rules::{
    BUILTIN, Condition, Confidence, EvidenceState, Level, Profile, ProfileError,
    RecommendedParameter, Rule, Verdict,
};
pub use batch::check_all;
pub use check::{Options, check};
pub use error::{CheckError, Problem};
pub use evidence::Evidence;
pub use facts::{Built, Facts, Provenance};
pub use files::{File, Files};
pub use links::Links;
pub use words::recommended_parameters;

use facts::Known;

/// Why a finding's verdict is what it is; its `Display` is one line for people.
pub type Reason = rules::Reason<Origin, Misfit>;

/// What became of all rules that decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every one passed or does not apply.
    Pass,
    /// At least one failed.
    Fail,
    /// None failed, at least one is unknown.
    Inconclusive,
}

impl Outcome {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Inconclusive => "inconclusive",
        }
    }
}

/// A rule held against a kernel.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// Whether it is satisfied.
    pub verdict: Verdict,
    /// Why: `VFIO_PCI is not set`.
    pub reason: Reason,
    /// Where the evidence comes from.
    pub provenance: Provenance,
}

impl Finding {
    /// A module decided it.
    pub fn by_module(&self) -> bool {
        self.reason.module().is_some()
    }
}

/// What an audit gives.
#[derive(Clone, Debug)]
pub struct Report {
    /// One for each rule of the profile, in its order.
    pub findings: Vec<Finding>,
    /// What the rules that decide come to.
    pub verdict: Outcome,
    /// What does not fit together among the facts.
    pub notes: Vec<String>,
    /// Kernel parameters that the profile recommends and that are not given.
    pub parameters: Vec<RecommendedParameter>,
    /// The kernel's command line with the origin of every word; None when nothing is known.
    pub cmdline: Option<EffectiveCmdline>,
}

impl Report {
    /// The findings with this verdict, the most important first.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Finding> {
        let mut found: Vec<&Finding> =
            self.findings.iter().filter(|finding| finding.verdict == verdict).collect();
        found.sort_by_key(|finding| finding.rule.level);
        found.into_iter()
    }

    /// The finding of the rule `id`.
    pub fn finding(&self, id: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.rule.id == id)
    }
}

/// Hold the facts against every rule of the profile.
pub fn evaluate(profile: &Profile, facts: &Facts) -> Report {
    let known = Known::new(facts);
    let finding = |rule: &Rule| {
        let Judgement { verdict, reason, basis } = rules::judge(profile, rule, &known);
        let provenance = known.provenance(&basis);
        Finding { rule: rule.clone(), verdict, reason, provenance }
    };
    let findings: Vec<Finding> = profile.rules.iter().map(finding).collect();
    let deciding = |verdict| {
        findings.iter().any(|finding| finding.rule.level.decides() && finding.verdict == verdict)
    };
    let verdict = if deciding(Verdict::Fail) {
        Outcome::Fail
    } else if deciding(Verdict::Unknown) {
        Outcome::Inconclusive
    } else {
        Outcome::Pass
    };
    let mut notes = notes(facts);
    notes.extend(remarks(profile, &known));
    let parameters = words::recommended(profile, &known);
    Report { findings, verdict, notes, parameters, cmdline: known.cmdline }
}

/// The notes of the profile that go with these facts.
fn remarks(profile: &Profile, known: &Known<'_>) -> Vec<String> {
    let mut remarks = Vec::new();
    for note in profile.notes.iter().filter(|note| note.scope.includes(known)) {
        let Some(name) = &note.parameter else {
            remarks.push(note.text.to_string());
            continue;
        };
        let values = match known.parameter(name) {
            ParameterSetting::NoCommandLine | ParameterSetting::Absent => Vec::new(),
            ParameterSetting::Value(value, origin) => vec![(value, origin)],
            ParameterSetting::Either(values) => values.into(),
        };
        for (value, origin) in values {
            if note.values.is_empty() || note.values.iter().any(|named| *named == value) {
                let equals = if value.is_empty() { "" } else { "=" };
                remarks.push(format!("{name}{equals}{value} (from {origin}): {}", note.text));
            }
        }
    }
    remarks
}

/// What does not fit together among the facts, and what is odd about the config.
fn notes(facts: &Facts) -> Vec<String> {
    let mut notes = Vec::new();
    let Some((config, provenance)) = &facts.config else { return notes };
    if let (Some(kernel), Some(config)) = (facts.arch, config.arch())
        && kernel != config
    {
        notes.push(format!("the config is for {config}, the kernel for {kernel}"));
    }
    if let (Some(kernel), Some(config)) = (facts.version(), config.version())
        // Distributions call every 6.1.x 6.1.0.
        && (kernel.major, kernel.minor) != (config.major, config.minor)
    {
        notes.push(format!("the config is of Linux {config}, the kernel is {kernel}"));
    }
    for duplicate in config.duplicates() {
        let (symbol, line) = (&duplicate.symbol, duplicate.line);
        notes.push(format!("{provenance}: {symbol} is set again in line {line}; that one counts"));
    }
    if let Some(first) = config.strange_lines().first() {
        let count = config.strange_lines().len();
        notes.push(format!("{provenance}: {count} line(s) are not settings, the first is {first}"));
    }
    notes
}
