//! Evaluates every rule of a profile for a kernel.

use super::advice::{self, Advice};
use super::note::Note;
use crate::bootset::{CmdlineParameter, EffectiveCmdline, Facts, Known, Origin, Provenance};
use crate::cmdline::Parameter;
use crate::modules::Misfit;
use crate::rules::{
    self, Judgement, KconfigLine, KernelInfo, Profile, RecommendedParameter, Rule, Setting, Verdict,
};

/// The reason for the verdict of a finding; its `Display` is one line of text.
pub(crate) type Reason = rules::Reason<Origin, Misfit>;

/// The outcome of the deciding rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All passed or do not apply.
    Pass,
    /// At least one failed.
    Fail,
    /// None failed, at least one is unknown.
    Inconclusive,
}

impl Outcome {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Inconclusive => "inconclusive",
        }
    }
}

/// The result of a rule for a kernel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The rule, with the fix for this kernel.
    pub rule: Rule,
    /// The verdict.
    pub verdict: Verdict,
    /// The reason: `VFIO_PCI is not set`.
    pub reason: Reason,
    /// The source of the evidence.
    pub provenance: Provenance,
    /// The settings that make it pass for this kernel.
    pub(crate) settings: Vec<KconfigLine>,
}

impl Finding {
    /// Whether a module decided it.
    pub(crate) fn by_module(&self) -> bool {
        self.reason.module().is_some()
    }
}

/// The result of evaluating a profile.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evaluation {
    /// One finding for each rule, in the order of the profile.
    pub findings: Vec<Finding>,
    /// The outcome of the deciding rules.
    pub verdict: Outcome,
    /// Contradictions among the facts, and notes of the profile.
    pub notes: Vec<Note>,
    /// Kernel parameters that the profile recommends and that are not set.
    pub parameters: Vec<RecommendedParameter>,
    /// The kernel command line with the origin of every parameter; None if unknown.
    pub cmdline: Option<EffectiveCmdline>,
}

impl Evaluation {
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

/// Evaluate every rule of the profile for the facts.
pub fn evaluate(profile: &Profile, facts: &Facts) -> Evaluation {
    let known = Known::new(facts);
    let finding = |rule: &Rule| {
        let Judgement { verdict, reason, basis } = rules::judge(profile, rule, &known);
        let provenance = known.provenance(&basis);
        let Advice { fix, settings } = advice::of(profile, rule, &known);
        let rule = Rule { fix: fix.unwrap_or_else(|| rule.fix.clone()), ..rule.clone() };
        Finding { rule, verdict, reason, provenance, settings }
    };
    let findings: Vec<Finding> = profile.rules.iter().map(finding).collect();
    let deciding = |verdict| {
        findings.iter().any(|finding| finding.rule.level.decides() && finding.verdict == verdict)
    };
    let verdict = if deciding(Verdict::Fail) {
        Outcome::Fail
    } else if deciding(Verdict::Unknown) || facts.incomplete.is_some() {
        Outcome::Inconclusive
    } else {
        Outcome::Pass
    };
    let mut notes = notes(facts);
    notes.extend(remarks(profile, &known));
    let parameters = recommended(profile, &known);
    Evaluation { findings, verdict, notes, parameters, cmdline: known.cmdline }
}

/// The notes of the profile that apply to these facts.
fn remarks(profile: &Profile, known: &Known<'_>) -> Vec<Note> {
    let mut remarks = Vec::new();
    for note in profile.notes.iter().filter(|note| note.scope.includes(known)) {
        let Some(name) = &note.parameter else {
            let own =
                Note::Profile { hypervisor: note.hypervisor.clone(), text: note.text.clone() };
            if !remarks.contains(&own) {
                remarks.push(own);
            }
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
                    hypervisor: note.hypervisor.clone(),
                    text: note.text.clone(),
                });
            }
        }
    }
    remarks
}

/// Contradictions among the facts, and problems with the config.
fn notes(facts: &Facts) -> Vec<Note> {
    let mut notes = Vec::new();
    let Some((config, provenance)) = &facts.config else { return notes };
    if let Some(what) = facts.incomplete {
        notes.push(Note::Incomplete { provenance: provenance.clone(), what });
    }
    if let (Some(kernel), Some(config)) = (facts.arch, config.arch())
        && kernel != config
    {
        notes.push(Note::OtherArchitecture { config, kernel });
    }
    if let (Some(kernel), Some(config)) = (facts.version(), config.version())
        // Distributions use 6.1.0 for every 6.1.x.
        && (kernel.major, kernel.minor) != (config.major, config.minor)
    {
        notes.push(Note::OtherVersion { config, kernel });
    }
    if let Some((first, count)) = config.duplicates() {
        let (first, provenance) = (first.clone(), provenance.clone());
        notes.push(Note::Duplicate { provenance, first, others: count - 1 });
    }
    if let [first, others @ ..] = config.strange_lines() {
        let provenance = provenance.clone();
        notes.push(Note::StrangeLines { provenance, first: *first, others: others.len() });
    }
    notes
}

/// The parameters that the built-in profile recommends for this kernel and that are not set, in the
/// order of the profile. Only parameters that are certain to help: none on arm64, and none without a
/// config.
pub fn recommended_parameters(facts: &Facts) -> Vec<RecommendedParameter> {
    match Profile::builtin("passthrough") {
        Ok(profile) => recommended(&profile, &Known::new(facts)),
        // The build script has checked every built-in profile.
        Err(_) => Vec::new(),
    }
}

/// The parameters that this profile recommends for the kernel and that are not set.
fn recommended(profile: &Profile, known: &Known<'_>) -> Vec<RecommendedParameter> {
    let given = |parameter: &str| {
        let Some(parameter) = Parameter::first_of(parameter.as_bytes()) else { return false };
        let given = known.cmdline.iter().flat_map(EffectiveCmdline::parameters);
        given.filter_map(CmdlineParameter::parameter).any(|own| own.same_as(&parameter))
    };
    let recommended = profile.parameters.iter().filter(|own| own.scope.includes(known));
    recommended.filter(|own| !given(&own.parameter)).cloned().collect()
}
