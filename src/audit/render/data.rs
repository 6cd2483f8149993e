//! The data of a page for many inputs: short, because there may be thousands.

use serde::Serialize;

use super::rules::RuleEntry;
use crate::audit::Verdict;
use crate::audit::report::Report;
use crate::audit::run::{Input, Run, Settings};

/// All of it.
#[derive(Serialize)]
pub(super) struct Data<'a> {
    rules: Vec<RuleEntry<'a>>,
    inputs: Vec<InputData<'a>>,
}

#[derive(Serialize)]
struct InputData<'a> {
    name: &'a str,
    verdict: &'static str,
    /// The verdict in one line, or why it could not be checked.
    line: String,
    kernel: String,
    config: String,
    /// A letter for each rule.
    verdicts: String,
    /// What fails or is unknown: the index of its rule, the reason, whether it decides, and the fix where
    /// that is not the rule's.
    open: Vec<(usize, String, bool, Option<&'a str>)>,
    notes: Vec<String>,
}

impl<'a> Data<'a> {
    pub(super) fn of(run: &'a Run) -> Self {
        Data {
            rules: run.settings.rules.iter().map(RuleEntry::of).collect(),
            inputs: run.inputs.iter().map(|own| input(&run.settings, own)).collect(),
        }
    }
}

fn input<'a>(settings: &Settings, input: &'a Input) -> InputData<'a> {
    let name = &input.name;
    match &input.result {
        Ok(report) => checked(settings, name, report),
        Err(error) => InputData {
            name,
            verdict: "error",
            line: format!("not checked: {error}"),
            kernel: String::new(),
            config: String::new(),
            verdicts: String::new(),
            open: Vec::new(),
            notes: Vec::new(),
        },
    }
}

fn checked<'a>(settings: &Settings, name: &'a str, report: &'a Report) -> InputData<'a> {
    let findings = report.evaluation.findings.iter().enumerate();
    let open = findings
        .clone()
        .filter(|(_, own)| matches!(own.verdict, Verdict::Fail | Verdict::Unknown))
        .map(|(at, own)| (at, own.reason.to_string(), report.decides(own), settings.own_fix(own)));
    InputData {
        name,
        verdict: report.outcome().name(),
        line: report.verdict_line(),
        kernel: report.kernel(),
        config: report.config(),
        verdicts: findings.clone().map(|(_, own)| letter(own.verdict)).collect(),
        open: open.collect(),
        notes: report.notes().collect(),
    }
}

fn letter(verdict: Verdict) -> char {
    match verdict {
        Verdict::Pass => 'p',
        Verdict::Fail => 'f',
        Verdict::Unknown => 'u',
        Verdict::NotApplicable => '-',
    }
}
