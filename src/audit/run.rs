//! One run of the audit over several inputs: what every report is made from.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::error::{CheckError, Problem};
use super::{EffectiveCmdline, Facts, Finding, Level, Outcome, Report, Verdict};

/// Several inputs with the result of each, in the order they were given.
#[derive(Debug)]
pub struct Run {
    /// What the profile is called.
    pub profile: String,
    /// What it checks for.
    pub title: String,
    /// Rules down to this level decide.
    pub fail_on: Level,
    /// The inputs.
    pub inputs: Vec<Input>,
}

/// One input.
#[derive(Debug)]
pub struct Input {
    /// As the user named it.
    pub name: String,
    /// The name that stays the same from machine to machine: the path relative to where the run
    /// takes place, with `/`. Baselines, fingerprints and locations use it.
    pub key: String,
    /// Its audit, or why it could not be checked.
    pub result: Result<Audited, CheckError>,
}

/// What was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A kernel, with its containers in words: `gzip → arm64 Image`.
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
pub struct Audited {
    /// What it is.
    pub subject: Subject,
    /// What is known about it, in outline ([`Facts::outline`]).
    pub facts: Facts,
    /// The findings.
    pub report: Report,
    /// What is odd about the input itself.
    pub problems: Vec<Problem>,
    /// Rules down to this level decide.
    pub fail_on: Level,
    /// Rules whose finding is in the baseline: they do not decide.
    pub known: BTreeSet<String>,
    /// Where in the input a rule's symbol stands, from 1; of plain config files only.
    pub lines: BTreeMap<String, usize>,
}

/// How many findings there are of each kind. Those that decide count as failed or unknown, the
/// others as lesser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Fail, and decide.
    pub failed: usize,
    /// Unknown, and would decide.
    pub unknown: usize,
    /// Fail or unknown, without a say.
    pub lesser: usize,
    /// Of these, how many would decide but are in the baseline.
    pub in_baseline: usize,
    /// Pass.
    pub passed: usize,
    /// For other kernels.
    pub not_applicable: usize,
}

impl Audited {
    /// The rule of this finding has a say in the outcome.
    pub fn decides(&self, finding: &Finding) -> bool {
        decides(self.fail_on, finding.rule.level) && !self.is_known(finding)
    }

    /// It is in the baseline.
    pub fn is_known(&self, finding: &Finding) -> bool {
        self.known.contains(finding.rule.id.as_ref())
    }

    /// What the rules that decide come to.
    pub fn outcome(&self) -> Outcome {
        let tally = self.tally();
        match (tally.failed, tally.unknown) {
            (0, 0) => Outcome::Pass,
            (0, _) => Outcome::Inconclusive,
            _ => Outcome::Fail,
        }
    }

    /// How many findings there are of each kind.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for finding in &self.report.findings {
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

    /// The line of the input that the finding is about, from 1.
    pub fn line(&self, finding: &Finding) -> usize {
        self.lines.get(finding.rule.id.as_ref()).copied().unwrap_or(1)
    }

    /// The outcome in one line: `FAIL: 1 required rule fails, 2 unknown`.
    pub fn verdict_line(&self) -> String {
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
                line = "PASS: nothing new since the baseline".into();
            }
            line.push_str(&format!(", {} known from the baseline", tally.in_baseline));
        }
        line
    }

    /// The findings with this verdict, those that decide first, then the most important.
    pub fn with(&self, verdict: Verdict) -> Vec<&Finding> {
        let mut found: Vec<&Finding> = self.report.with(verdict).collect();
        found.sort_by_key(|finding| !self.decides(finding));
        found
    }

    /// All findings, what matters most first: what decides and fails, what decides and is unknown,
    /// what fails without a say, what is unknown without one, what passes, what does not apply.
    pub fn ranked(&self) -> Vec<&Finding> {
        let mut found: Vec<&Finding> = self.report.findings.iter().collect();
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

    /// What is odd about the input, and what does not fit together.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let problems = self.problems.iter().map(ToString::to_string);
        problems.chain(self.report.notes.iter().map(ToString::to_string))
    }

    /// `Linux 6.1.192, arm64`.
    pub fn kernel(&self) -> String {
        let release = match &self.facts.release {
            Some(release) => format!("Linux {release}"),
            None => "version not known".to_owned(),
        };
        match self.facts.arch {
            Some(arch) => format!("{release}, {arch}"),
            None => format!("{release}, architecture not known"),
        }
    }

    /// Where the config comes from, in words.
    pub fn config(&self) -> String {
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

    /// The command line as far as it is known, when there are words on it.
    pub fn cmdline(&self) -> Option<&EffectiveCmdline> {
        self.report.cmdline.as_ref().filter(|line| !line.words.is_empty())
    }
}

/// For each rule, the line of `config` (a `.config` file as it is) that mentions the first of its
/// symbols that is mentioned at all.
pub fn lines(report: &Report, config: &[u8]) -> BTreeMap<String, usize> {
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
    report.findings.iter().filter_map(line).collect()
}

/// Rules of this level decide when those down to `fail_on` do.
pub fn decides(fail_on: Level, level: Level) -> bool {
    level.decides() || level <= fail_on
}

impl Run {
    /// The inputs that could be read, with their names.
    pub fn audits(&self) -> impl Iterator<Item = (&str, &Audited)> {
        self.inputs
            .iter()
            .filter_map(|input| Some((input.name.as_str(), input.result.as_ref().ok()?)))
    }

    /// An input could not be checked.
    pub fn has_errors(&self) -> bool {
        self.inputs.iter().any(|input| input.result.is_err())
    }

    /// What all inputs that could be read come to; None when there is none.
    pub fn outcome(&self) -> Option<Outcome> {
        let outcomes: Vec<Outcome> = self.audits().map(|(_, audited)| audited.outcome()).collect();
        [Outcome::Fail, Outcome::Inconclusive, Outcome::Pass]
            .into_iter()
            .find(|outcome| outcomes.contains(outcome))
    }

    /// What all inputs come to; None when one could not be checked.
    pub fn verdict(&self) -> Option<Outcome> {
        self.outcome().filter(|_| !self.has_errors())
    }
}
