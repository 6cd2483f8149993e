//! JUnit XML: a suite per input, a case per rule. A case fails only if it fails the check.

use std::fmt::Write;

use super::format::Render;
use super::{Audience, Format};
use crate::audit::error::CheckError;
use crate::audit::report::Report;
use crate::audit::run::{Input, Run};
use crate::audit::{Finding, Verdict};
use crate::text::xml;

pub(super) const FORMAT: Format = Format {
    name: "junit",
    about: "JUnit XML",
    audience: Audience::Programs,
    render: Render::Whole(|run, _| render(run)),
};

/// Number of cases of each kind.
#[derive(Clone, Copy, Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

fn render(run: &Run) -> String {
    let mut total = Counts::default();
    let mut suites = String::new();
    for input in &run.inputs {
        let (counts, cases) = match &input.result {
            Ok(report) => cases(input, report),
            Err(error) => unreadable(input, error),
        };
        total.tests += counts.tests;
        total.failures += counts.failures;
        total.errors += counts.errors;
        total.skipped += counts.skipped;
        let attributes = attributes(&xml(&input.key), counts, true);
        let properties = input.result.as_ref().map(properties).unwrap_or_default();
        let _ = writeln!(suites, "  <testsuite {attributes}>\n{properties}{cases}  </testsuite>");
    }
    let attributes = attributes("vfioboot check", total, false);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {attributes}>\n{suites}</testsuites>\n"
    )
}

fn attributes(name: &str, counts: Counts, skipped: bool) -> String {
    let Counts { tests, failures, errors, .. } = counts;
    let mut out =
        format!("name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\"");
    if skipped {
        let _ = write!(out, " skipped=\"{}\"", counts.skipped);
    }
    out
}

fn unreadable(input: &Input, error: &CheckError) -> (Counts, String) {
    let case = format!(
        "    <testcase classname=\"{}\" name=\"the input can be read\">\n      \
         <error message=\"{}\" type=\"unreadable\"/>\n    </testcase>\n",
        xml(&input.key),
        xml(&error.to_string())
    );
    (Counts { tests: 1, errors: 1, ..Counts::default() }, case)
}

/// The facts about the input as a whole.
fn properties(report: &Report) -> String {
    let mut out = String::from("    <properties>\n");
    let mut property = |name: &str, value: &str| {
        let _ = writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", xml(value));
    };
    property("description", &report.subject.to_string());
    property("kernel", &report.kernel());
    property("config", &report.config());
    if let Some(line) = report.cmdline() {
        property("cmdline", &line.to_string());
    }
    for note in report.notes() {
        property("note", &note);
    }
    out + "    </properties>\n"
}

fn cases(input: &Input, report: &Report) -> (Counts, String) {
    let mut counts = Counts::default();
    let mut out = String::new();
    for finding in &report.evaluation.findings {
        let rule = &finding.rule;
        let (key, id, title) = (xml(&input.key), xml(&rule.id), xml(&rule.title));
        counts.tests += 1;
        let body = body(report, finding, &mut counts);
        let _ = writeln!(
            out,
            "    <testcase classname=\"{key}\" name=\"{id} {title}\">\n      {body}\n    </testcase>"
        );
    }
    (counts, out)
}

fn body(report: &Report, finding: &Finding, counts: &mut Counts) -> String {
    let (rule, reason) = (&finding.rule, finding.reason.to_string());
    let level = rule.level.name();
    let why = match finding.verdict {
        Verdict::Pass => return evidence(finding),
        Verdict::Fail if report.decides(finding) => {
            counts.failures += 1;
            let text =
                format!("{}\nFix: {}\nEvidence: {}", rule.effect, rule.fix, finding.provenance);
            let (message, text) = (xml(&reason), xml(&text));
            return format!("<failure message=\"{message}\" type=\"{level}\">{text}</failure>");
        }
        Verdict::Fail if report.is_known(finding) => format!("fails, in the baseline: {reason}"),
        Verdict::Fail => format!("fails, but is only {level}: {reason}"),
        Verdict::Unknown => format!("unknown: {reason}"),
        Verdict::NotApplicable => format!("does not apply: {reason}"),
    };
    counts.skipped += 1;
    let evidence = match finding.verdict {
        Verdict::NotApplicable => String::new(),
        Verdict::Pass | Verdict::Fail | Verdict::Unknown => evidence(finding),
    };
    format!("<skipped message=\"{}\"/>{evidence}", xml(&why))
}

/// The reason, for cases that do not fail.
fn evidence(finding: &Finding) -> String {
    let text = format!("{}\nEvidence: {}", finding.reason, finding.provenance);
    format!("<system-out>{}</system-out>", xml(&text))
}
