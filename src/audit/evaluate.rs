//! What is known of a kernel, held against every rule of a profile.

use super::note::Note;
use crate::bootset::{CmdlineWord, EffectiveCmdline, Facts, Known, Origin, Provenance};
use crate::cmdline::Parameter;
use crate::modules::Misfit;
use crate::rules::{
    self, Judgement, KernelInfo, Profile, RecommendedParameter, Rule, Setting, Verdict,
};

/// Why a finding's verdict is what it is; its `Display` is one line for people.
pub type Reason = rules::Reason<Origin, Misfit>;

/// The outcome of the rules that decide.
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
    /// What does not fit together among the facts, and what the profile says of them.
    pub notes: Vec<Note>,
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
    let parameters = recommended(profile, &known);
    Report { findings, verdict, notes, parameters, cmdline: known.cmdline }
}

/// The notes of the profile that go with these facts.
fn remarks(profile: &Profile, known: &Known<'_>) -> Vec<Note> {
    let mut remarks = Vec::new();
    for note in profile.notes.iter().filter(|note| note.scope.includes(known)) {
        let Some(name) = &note.parameter else {
            remarks.push(Note::Profile { text: note.text.clone() });
            continue;
        };
        let values = match known.parameter(name) {
            Setting::NoCommandLine | Setting::Absent => Vec::new(),
            Setting::Value(value, origin) => vec![(value, origin)],
            Setting::Either(values) => values.into(),
        };
        for (value, origin) in values {
            if note.is_about(&value) {
                remarks.push(Note::Parameter {
                    name: name.clone(),
                    value,
                    origin,
                    text: note.text.clone(),
                });
            }
        }
    }
    remarks
}

/// What does not fit together among the facts, and what is odd about the config.
fn notes(facts: &Facts) -> Vec<Note> {
    let mut notes = Vec::new();
    let Some((config, provenance)) = &facts.config else { return notes };
    if let (Some(kernel), Some(config)) = (facts.arch, config.arch())
        && kernel != config
    {
        notes.push(Note::OtherArchitecture { config, kernel });
    }
    if let (Some(kernel), Some(config)) = (facts.version(), config.version())
        // Distributions call every 6.1.x 6.1.0.
        && (kernel.major, kernel.minor) != (config.major, config.minor)
    {
        notes.push(Note::OtherVersion { config, kernel });
    }
    for duplicate in config.duplicates() {
        let (duplicate, provenance) = (duplicate.clone(), provenance.clone());
        notes.push(Note::Duplicate { provenance, duplicate });
    }
    if let [first, others @ ..] = config.strange_lines() {
        let provenance = provenance.clone();
        notes.push(Note::StrangeLines { provenance, first: *first, others: others.len() });
    }
    notes
}

/// What the built-in profile recommends for such a kernel and is not given yet, in the profile's
/// order. Nothing where it is not certain that a parameter helps: none on arm64, and none without
/// a config.
pub fn recommended_parameters(facts: &Facts) -> Vec<RecommendedParameter> {
    match Profile::builtin("passthrough") {
        Ok(profile) => recommended(&profile, &Known::new(facts)),
        // The build script has read every built-in profile.
        Err(_) => Vec::new(),
    }
}

/// What this profile recommends for such a kernel and is not given yet.
fn recommended(profile: &Profile, known: &Known<'_>) -> Vec<RecommendedParameter> {
    let given = |parameter: &str| {
        let Some(parameter) = Parameter::first_of(parameter.as_bytes()) else { return false };
        let given = known.cmdline.iter().flat_map(EffectiveCmdline::parameters);
        given.filter_map(CmdlineWord::parameter).any(|own| own.same_as(&parameter))
    };
    let recommended = profile.parameters.iter().filter(|own| own.scope.includes(known));
    recommended.filter(|own| !given(&own.parameter)).cloned().collect()
}
