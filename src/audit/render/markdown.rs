//! Markdown for a comment on a pull request: the verdict, the fixes, and folded details.

use super::escape::markdown as md;
use super::format::Render;
use super::{Audience, Format};
use crate::audit::report::Report;
use crate::audit::run::{Input, Run};
use crate::audit::{Finding, Outcome, Verdict};

pub(super) const FORMAT: Format = Format {
    name: "markdown",
    about: "For a comment on a pull request",
    audience: Audience::People,
    render: Render::Whole(|run, _| render(run)),
};

/// Maximum size of a comment; GitHub's limit is 65536 characters.
const MOST: usize = 60_000;

/// Render all inputs. If they do not fit in one comment, details are dropped first, then tables.
fn render(run: &Run) -> String {
    let mut out = format!("## vfioboot check: {}\n\n", heading(run));
    for input in &run.inputs {
        out.push_str(&format!("- {}\n", summary(input)));
        if out.len() > MOST / 2 {
            out.push_str("- and more\n");
            break;
        }
    }
    let mut left_out = 0;
    for input in &run.inputs {
        let Ok(report) = &input.result else { continue };
        let section = section(input, report);
        let details = details(report);
        if out.len() + section.len() + details.len() <= MOST {
            out.push_str(&(section + &details));
        } else if out.len() + section.len() <= MOST {
            out.push_str(&section);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        out.push_str(&format!("\n{left_out} more did not fit into a comment.\n"));
    }
    let (name, title) = (md(&run.settings.profile), md(&run.settings.title));
    out.push_str(&format!("\n<sub>Profile {name}: {title}.</sub>\n"));
    out
}

fn heading(run: &Run) -> String {
    match run.verdict() {
        Some(outcome) => format!("{} {}", mark(outcome), outcome.name()),
        None => "⚠️ an input could not be checked".to_owned(),
    }
}

fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "✅",
        Outcome::Fail => "❌",
        Outcome::Inconclusive => "❔",
    }
}

fn summary(input: &Input) -> String {
    let name = md(&input.name);
    match &input.result {
        Ok(report) => {
            format!("{} **{name}**: {}", mark(report.outcome()), md(&report.verdict_line()))
        }
        Err(error) => format!("⚠️ **{name}**: not checked: {}", md(&error.to_string())),
    }
}

fn section(input: &Input, report: &Report) -> String {
    let mut out = format!(
        "\n### {}\n\n{} ({}; config: {})\n",
        md(&input.name),
        md(&report.kernel()),
        md(&report.subject.to_string()),
        md(&report.config())
    );
    let open: Vec<(&str, &Finding)> =
        report.ranked().into_iter().filter_map(|own| Some((sign(report, own)?, own))).collect();
    if !open.is_empty() {
        out.push_str(
            "\n| | Rule | Level | Finding | Fix | Evidence |\n|---|---|---|---|---|---|\n",
        );
    }
    for (sign, finding) in open {
        let rule = &finding.rule;
        out.push_str(&format!(
            "| {sign} | **{}** {} | {} | {} | {} | {} |\n",
            md(&rule.id),
            md(&rule.title),
            rule.level.name(),
            md(&finding.reason.to_string()),
            md(&rule.fix),
            md(&finding.provenance.to_string())
        ));
    }
    for note in report.notes() {
        out.push_str(&format!("\n> {}\n", md(&note)));
    }
    for own in &report.evaluation.parameters {
        out.push_str(&format!(
            "\nFor the command line: **{}** — {}\n",
            md(&own.parameter),
            md(&own.why)
        ));
    }
    out
}

/// The sign for a finding that fails or is unknown.
fn sign(report: &Report, finding: &Finding) -> Option<&'static str> {
    match finding.verdict {
        Verdict::Fail if report.decides(finding) => Some("❌ fails"),
        Verdict::Fail if report.is_known(finding) => Some("☑️ known"),
        Verdict::Fail => Some("⚠️ fails"),
        Verdict::Unknown => Some("❔ unknown"),
        Verdict::Pass | Verdict::NotApplicable => None,
    }
}

fn details(report: &Report) -> String {
    let tally = report.tally();
    let mut out = format!(
        "\n<details><summary>{} passed, {} do not apply</summary>\n\n\
         | | Rule | Finding | Evidence |\n|---|---|---|---|\n",
        tally.passed, tally.not_applicable
    );
    for verdict in [Verdict::Pass, Verdict::NotApplicable] {
        for finding in report.with(verdict) {
            let mark = if verdict == Verdict::Pass { "✅" } else { "–" };
            out.push_str(&format!(
                "| {mark} | **{}** {} | {} | {} |\n",
                md(&finding.rule.id),
                md(&finding.rule.title),
                md(&finding.reason.to_string()),
                md(&finding.provenance.to_string())
            ));
        }
    }
    out.push_str("\n</details>\n");
    if let Some(line) = report.cmdline() {
        out.push_str(
            "\n<details><summary>The command line</summary>\n\n| Parameter | From |\n|---|---|\n",
        );
        for own in &line.entries {
            out.push_str(&format!("| {} | {} |\n", md(&own.text), md(&own.label())));
        }
        if let Some(explained) = line.mode.explain() {
            out.push_str(&format!("\n{}.\n", md(explained)));
        }
        out.push_str("\n</details>\n");
    }
    out
}
