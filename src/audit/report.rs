//! The report on one input.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::error::Problem;
use super::note::Note;
use super::{EffectiveCmdline, Evaluation, Facts, Finding, Level, Outcome, Verdict};

/// The kind of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A kernel, with the names of its containers: `gzip → arm64 Image`.
    Kernel(String),
    /// A config file.
    Config,
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subject::Kernel(summary) => f.pad(summary),
            Subject::Config => f.pad("config file"),
        }
    }
}

/// The audit of an input that could be read.
#[derive(Debug)]
pub struct Report {
    /// The kind of input.
    pub subject: Subject,
    /// The outline of the facts (`Facts::outline`).
    pub facts: Facts,
    /// The findings.
    pub evaluation: Evaluation,
    /// What is left to mend when the settings for those are made.
    pub(super) follow: Vec<Finding>,
    /// Problems with the input itself.
    pub problems: Vec<Problem>,
    /// Rules of at least this level affect the outcome.
    pub fail_on: Level,
    /// Rules whose finding is in the baseline: they do not affect the outcome.
    pub known: BTreeSet<String>,
    /// Line numbers of the rules' symbols, from 1; only for plain config files.
    pub lines: BTreeMap<String, usize>,
}

/// Number of findings of each kind. Findings that affect the outcome count as failed or unknown,
/// the others as lesser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Tally {
    /// Failed, and affect the outcome.
    pub failed: usize,
    /// Unknown, and affect the outcome.
    pub unknown: usize,
    /// Failed or unknown, but do not affect the outcome.
    pub lesser: usize,
    /// Lesser findings that would affect the outcome, but are in the baseline.
    pub in_baseline: usize,
    /// Passed.
    pub passed: usize,
    /// Not applicable.
    pub not_applicable: usize,
}

impl Report {
    /// Whether the rule of this finding affects the outcome.
    pub fn decides(&self, finding: &Finding) -> bool {
        decides(self.fail_on, finding.rule.level) && !self.is_known(finding)
    }

    /// Whether the finding is in the baseline.
    pub(crate) fn is_known(&self, finding: &Finding) -> bool {
        self.known.contains(finding.rule.id.as_ref())
    }

    /// The finding of this rule that a setting improves, at once or when other settings are made.
    pub(super) fn to_mend(&self, rule: &str) -> Option<&Finding> {
        let own = self.evaluation.finding(rule).filter(|own| own.is_mendable(&self.facts));
        own.or_else(|| self.follow.iter().find(|own| own.rule.id == rule))
    }

    /// Whether this rule is to be mended only when other settings are made.
    pub(super) fn follows(&self, rule: &str) -> bool {
        self.follow.iter().any(|own| own.rule.id == rule)
    }

    /// The outcome of the deciding rules.
    pub fn outcome(&self) -> Outcome {
        let tally = self.tally();
        match (tally.failed, tally.unknown) {
            // What is only a part of a config proves nothing as a whole.
            (0, 0) if self.facts.incomplete.is_none() => Outcome::Pass,
            (0, _) => Outcome::Inconclusive,
            _ => Outcome::Fail,
        }
    }

    /// The number of findings of each kind.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for finding in &self.evaluation.findings {
            match (finding.verdict, self.decides(finding)) {
                (Verdict::Pass, _) => tally.passed += 1,
                (Verdict::NotApplicable, _) => tally.not_applicable += 1,
                (Verdict::Fail, true) => tally.failed += 1,
                (Verdict::Unknown, true) => tally.unknown += 1,
                (Verdict::Fail | Verdict::Unknown, false) => {
                    tally.lesser += 1;
                    tally.in_baseline += usize::from(self.is_known(finding));
                }
            }
        }
        tally
    }

    /// The line of the input for the finding, from 1.
    pub(crate) fn line(&self, finding: &Finding) -> usize {
        self.lines.get(finding.rule.id.as_ref()).copied().unwrap_or(1)
    }

    /// The outcome in one line: `FAIL: 1 required rule fails, 2 unknown`.
    pub(crate) fn verdict_line(&self) -> String {
        let tally = self.tally();
        let (failed, unknown) = (tally.failed, tally.unknown);
        let kind =
            if self.fail_on >= Level::Recommended { "required or recommended" } else { "required" };
        let mut line = match self.outcome() {
            Outcome::Pass => format!("PASS: every {kind} rule is satisfied"),
            Outcome::Fail => {
                let rules = if failed == 1 { "rule fails" } else { "rules fail" };
                format!("FAIL: {failed} {kind} {rules}, {unknown} unknown")
            }
            Outcome::Inconclusive => {
                format!("INCONCLUSIVE: no {kind} rule fails, {unknown} unknown")
            }
        };
        if tally.in_baseline > 0 {
            if self.outcome() == Outcome::Pass {
                line = "PASS: no new findings since the baseline".into();
            }
            line.push_str(&format!(", {} known from the baseline", tally.in_baseline));
        }
        let mut hypervisors: Vec<&str> =
            self.evaluation.notes.iter().filter_map(Note::hypervisor).collect();
        hypervisors.dedup();
        if !hypervisors.is_empty() {
            line.push_str(&format!("; it is also a kernel for {}", hypervisors.join(" and ")));
        }
        line
    }

    /// The findings with this verdict: those that affect the outcome first, then by importance.
    pub(crate) fn with(&self, verdict: Verdict) -> Vec<&Finding> {
        let mut found: Vec<&Finding> = self.evaluation.with(verdict).collect();
        found.sort_by_key(|finding| !self.decides(finding));
        found
    }

    /// All findings by importance: deciding rules that fail, deciding rules that are unknown, other
    /// rules that fail, other rules that are unknown, rules that pass, rules that do not apply.
    pub(crate) fn ranked(&self) -> Vec<&Finding> {
        let mut found: Vec<&Finding> = self.evaluation.findings.iter().collect();
        found.sort_by_key(|finding| {
            let rank = match (finding.verdict, self.decides(finding)) {
                (Verdict::Fail, true) => 0,
                (Verdict::Unknown, true) => 1,
                (Verdict::Fail, false) => 2,
                (Verdict::Unknown, false) => 3,
                (Verdict::Pass, _) => 4,
                (Verdict::NotApplicable, _) => 5,
            };
            (rank, finding.rule.level)
        });
        found
    }

    /// Problems with the input, and contradictions among the facts.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let problems = self.problems.iter().map(ToString::to_string);
        problems.chain(self.evaluation.notes.iter().map(ToString::to_string))
    }

    /// `Linux 6.1.192, arm64`.
    pub fn kernel(&self) -> String {
        let release = match &self.facts.release {
            Some(release) => format!("Linux {release}"),
            None => match self.facts.version() {
                Some(version) => format!("Linux {version}, as given"),
                None => "unknown version".to_owned(),
            },
        };
        match self.facts.arch {
            Some(arch) => format!("{release}, {arch}"),
            None => format!("{release}, unknown architecture"),
        }
    }

    /// The source of the config, as text.
    pub(crate) fn config(&self) -> String {
        match &self.facts.config {
            Some((_, provenance)) => provenance.to_string(),
            None => match &self.facts.evidence {
                Some(evidence) => format!(
                    "none embedded, none given; evidence instead: {} names in the kernel's own \
                     symbol table",
                    evidence.count
                ),
                None => "none embedded, none given".to_owned(),
            },
        }
    }

    /// The command line, if it is known and not empty.
    pub(crate) fn cmdline(&self) -> Option<&EffectiveCmdline> {
        self.evaluation.cmdline.as_ref().filter(|line| !line.entries.is_empty())
    }
}

/// For each rule, the line of `config` (the text of a `.config` file) with the first of its symbols
/// that occurs.
pub(crate) fn lines(evaluation: &Evaluation, config: &[u8]) -> BTreeMap<String, usize> {
    let mut at: HashMap<&[u8], usize> = HashMap::new();
    for (index, line) in config.split(|byte| *byte == b'\n').enumerate() {
        let rest = line.strip_prefix(b"# ").unwrap_or(line);
        let Some(rest) = rest.strip_prefix(b"CONFIG_") else { continue };
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b' '));
        at.insert(&rest[..end.unwrap_or(rest.len())], index + 1);
    }
    let line = |finding: &Finding| {
        let mut symbols = finding.rule.condition.symbols();
        let line = symbols.find_map(|symbol| at.get(symbol.as_bytes()))?;
        Some((finding.rule.id.to_string(), *line))
    };
    evaluation.findings.iter().filter_map(line).collect()
}

/// Whether rules of this level affect the outcome, given the lowest level `fail_on` that does.
pub(crate) fn decides(fail_on: Level, level: Level) -> bool {
    level.decides() || level <= fail_on
}
