//! TAP 13 (Test Anything Protocol), which every reader knows: a test point for each input, with one for each
//! rule in a subtest as of TAP 14.

use std::fmt::Write;

use super::format::{Pieces, Place, Render};
use super::{Audience, Format};
use crate::audit::report::Report;
use crate::audit::run::Input;
use crate::audit::{Finding, Outcome, Verdict};
use crate::text::visible;

pub(super) const FORMAT: Format = Format {
    name: "tap",
    about: "TAP, for test harnesses",
    audience: Audience::Programs,
    render: Render::Pieces(Pieces { begin: "TAP version 13\n", input, end }),
};

fn end(place: &Place<'_>) -> String {
    format!("1..{}\n", place.totals.inputs())
}

fn input(place: &Place<'_>, input: &Input) -> String {
    let (number, name) = (place.totals.inputs(), text(&input.name));
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = match &input.result {
        Ok(report) => suite(&mut out, number, &name, report),
        Err(error) => {
            let error = diagnostic("  ", &[("message", &error.to_string()), ("severity", "error")]);
            write!(out, "not ok {number} - {name}\n{error}")
        }
    };
    out
}

fn suite(out: &mut String, number: usize, name: &str, report: &Report) -> std::fmt::Result {
    let findings = &report.evaluation.findings;
    writeln!(out, "# Subtest: {name}\n    1..{}", findings.len())?;
    for (index, finding) in findings.iter().enumerate() {
        point(out, index + 1, report, finding)?;
    }
    match report.outcome() {
        Outcome::Pass => writeln!(out, "ok {number} - {name}"),
        Outcome::Inconclusive => writeln!(out, "ok {number} - {name} # SKIP inconclusive"),
        Outcome::Fail => writeln!(out, "not ok {number} - {name}"),
    }
}

/// A test point fails only if the rule fails the check.
fn point(out: &mut String, number: usize, report: &Report, finding: &Finding) -> std::fmt::Result {
    let rule = &finding.rule;
    let (ok, skip) = match finding.verdict {
        Verdict::Pass => ("ok", None),
        Verdict::Fail if report.decides(finding) => ("not ok", None),
        Verdict::Fail if report.is_known(finding) => ("ok", Some("fails, in the baseline")),
        Verdict::Fail => ("ok", Some("fails, but does not decide")),
        Verdict::Unknown => ("ok", Some("unknown")),
        Verdict::NotApplicable => ("ok", Some("does not apply")),
    };
    write!(out, "    {ok} {number} - {} {}", text(&rule.id), text(&rule.title))?;
    match skip {
        None => writeln!(out)?,
        Some(why) => writeln!(out, " # SKIP {why}: {}", text(&finding.reason.to_string()))?,
    }
    if ok == "ok" {
        return Ok(());
    }
    let lines = [
        ("message", finding.reason.to_string()),
        ("severity", rule.level.name().to_owned()),
        ("effect", rule.effect.to_string()),
        ("fix", rule.fix.to_string()),
        ("evidence", finding.provenance.to_string()),
    ];
    let lines: Vec<(&str, &str)> =
        lines.iter().map(|(key, value)| (*key, value.as_str())).collect();
    out.write_str(&diagnostic("      ", &lines))
}

/// A block of YAML. A string of JSON is one of YAML.
fn diagnostic(indent: &str, lines: &[(&str, &str)]) -> String {
    let mut out = format!("{indent}---\n");
    for (key, value) in lines {
        let value = serde_json::to_string(&visible(value)).unwrap_or_default();
        let _ = writeln!(out, "{indent}{key}: {value}");
    }
    out + indent + "...\n"
}

/// A description: a `#` would begin a directive.
fn text(text: &str) -> String {
    visible(text).replace('\\', "\\\\").replace('#', "\\#")
}
