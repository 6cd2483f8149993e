//! The Code Quality report of GitLab: a JSON array with an issue for each finding that fails or is unknown.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::escape::hex;
use super::format::{Pieces, Place, Render};
use super::{Audience, Format};
use crate::audit::report::Report;
use crate::audit::run::Input;
use crate::audit::{Finding, Level, Verdict};
use crate::text::visible_json;

pub(super) const FORMAT: Format = Format {
    name: "gitlab",
    about: "A Code Quality report for GitLab",
    audience: Audience::Programs,
    render: Render::Pieces(Pieces { begin: "[", input, end: |_| "\n]\n".to_owned() }),
};

#[derive(Serialize)]
struct Issue<'a> {
    description: String,
    check_name: &'a str,
    fingerprint: String,
    severity: &'static str,
    location: Location<'a>,
}

#[derive(Serialize)]
struct Location<'a> {
    path: &'a str,
    lines: Lines,
}

#[derive(Serialize)]
struct Lines {
    begin: usize,
}

fn input(place: &Place<'_>, input: &Input) -> String {
    let issues: Vec<Issue<'_>> = match &input.result {
        Ok(report) => {
            let findings = report.ranked().into_iter();
            findings.filter_map(|finding| issue(input, report, finding)).collect()
        }
        Err(error) => {
            let text = format!("{}: not checked: {error}", input.name);
            vec![made(input, "not-checked", "blocker", text, 1)]
        }
    };
    let mut out = String::new();
    for issue in issues {
        let comma = if place.first && out.is_empty() { "" } else { "," };
        // Only strings and numbers: serialisation does not fail.
        let json = serde_json::to_string(&issue).unwrap_or_default();
        out += &format!("{comma}\n{}", visible_json(&json));
    }
    out
}

/// The issue of a finding; None for one that is none, or is in the baseline.
fn issue<'a>(input: &'a Input, report: &Report, finding: &'a Finding) -> Option<Issue<'a>> {
    let rule = &finding.rule;
    let (severity, advice) = match (finding.verdict, report.decides(finding)) {
        (Verdict::Pass | Verdict::NotApplicable, _) | (Verdict::Unknown, false) => return None,
        _ if report.is_known(finding) => return None,
        (Verdict::Fail, true) => ("critical", "Fix"),
        (Verdict::Unknown, true) => ("major", "Unknown. To be sure"),
        (Verdict::Fail, false) if rule.level == Level::Optional => ("info", "Fix"),
        (Verdict::Fail, false) => ("minor", "Fix"),
    };
    let text = format!(
        "{} ({}): {}. {advice}: {}",
        rule.title,
        rule.level.name(),
        finding.reason,
        rule.fix
    );
    Some(made(input, &rule.id, severity, text, report.line(finding)))
}

fn made<'a>(
    input: &'a Input,
    check_name: &'a str,
    severity: &'static str,
    description: String,
    begin: usize,
) -> Issue<'a> {
    // It does not include the line, which may move.
    let fingerprint = hex(&Sha256::digest(format!("{check_name}\0{}", input.key)));
    let location = Location { path: &input.key, lines: Lines { begin } };
    Issue { description, check_name, fingerprint, severity, location }
}
