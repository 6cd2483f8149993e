//! Workflow commands of GitHub Actions, which are shown as annotations. GitHub shows only ten of each kind
//! of a step, and fifty of a job: there are ten at most, the most important ones, and the last one says
//! what is left out.

use super::escape::{github_message, github_property};
use super::format::Render;
use super::{Audience, Format};
use crate::audit::report::Report;
use crate::audit::run::{Input, Run};
use crate::audit::{Finding, Level, Verdict};

pub(super) const FORMAT: Format = Format {
    name: "github",
    about: "Annotations in GitHub Actions",
    audience: Audience::Programs,
    render: Render::Whole(|run, _| render(run)),
};

/// The most annotations.
const MOST: usize = 10;

fn render(run: &Run) -> String {
    let mut annotations: Vec<Annotation> = run.inputs.iter().flat_map(annotations).collect();
    annotations.sort_by_key(|annotation| (annotation.kind, annotation.lesser));
    if annotations.len() > MOST {
        let left = annotations.split_off(MOST - 1);
        annotations.push(rest(&left));
    }
    let line =
        |annotation: Annotation| format!("::{} {}\n", annotation.kind.name(), annotation.command);
    annotations.into_iter().map(line).collect()
}

/// The annotation for those that are left out.
fn rest(left: &[Annotation]) -> Annotation {
    let counts = [Kind::Error, Kind::Warning, Kind::Notice].into_iter().filter_map(|kind| {
        let count = left.iter().filter(|own| own.kind == kind).count();
        (count > 0).then(|| format!("{count} {}{}", kind.name(), if count == 1 { "" } else { "s" }))
    });
    let counts = counts.collect::<Vec<_>>().join(", ");
    let command =
        format!("title=vfioboot check::{counts} more: the summary of the job has all of them");
    let kind = left.iter().map(|own| own.kind).min().unwrap_or(Kind::Notice);
    Annotation { kind, lesser: true, command }
}

struct Annotation {
    kind: Kind,
    /// It does not affect the outcome.
    lesser: bool,
    /// The command without its name.
    command: String,
}

fn annotations(input: &Input) -> Vec<Annotation> {
    let report = match &input.result {
        Ok(report) => report,
        Err(error) => {
            let command = command(input, 1, "not checked", &error.to_string());
            return vec![Annotation { kind: Kind::Error, lesser: false, command }];
        }
    };
    let mut all = vec![summary(input, report)];
    for verdict in [Verdict::Fail, Verdict::Unknown] {
        all.extend(report.with(verdict).into_iter().filter_map(|own| annotate(input, report, own)));
    }
    all
}

/// The facts about the input as a whole.
fn summary(input: &Input, report: &Report) -> Annotation {
    let mut text = format!("{} ({})", report.verdict_line(), report.kernel());
    text.push_str(&format!("\nConfig: {}", report.config()));
    if let Some(line) = report.cmdline() {
        text.push_str(&format!("\nCommand line: {line}"));
    }
    for note in report.notes() {
        text.push_str(&format!("\nNote: {note}"));
    }
    let command = command(input, 1, "vfioboot check", &text);
    Annotation { kind: Kind::Notice, lesser: false, command }
}

/// The annotation for a finding; None for one that is not worth an annotation.
fn annotate(input: &Input, report: &Report, finding: &Finding) -> Option<Annotation> {
    let rule = &finding.rule;
    let decides = report.decides(finding);
    let (kind, advice) = match (finding.verdict, decides, rule.level) {
        (Verdict::Pass | Verdict::NotApplicable, ..) | (Verdict::Unknown, false, _) => return None,
        (Verdict::Unknown, true, _) => (Kind::Warning, "Unknown. To be sure: ".to_owned()),
        (Verdict::Fail, true, _) => (Kind::Error, format!("{}\nFix: ", rule.effect)),
        (Verdict::Fail, false, Level::Optional) => {
            (Kind::Notice, format!("{}\nFix: ", rule.effect))
        }
        (Verdict::Fail, false, Level::Required | Level::Forbidden | Level::Recommended) => {
            (Kind::Warning, format!("{}\nFix: ", rule.effect))
        }
    };
    let title = format!("{} {} ({})", rule.id, rule.title, rule.level.name());
    let baseline = if report.is_known(finding) { "\nIn the baseline." } else { "" };
    let text = format!(
        "{}\n{advice}{}\nEvidence: {}{baseline}",
        finding.reason, rule.fix, finding.provenance
    );
    let command = command(input, report.line(finding), &title, &text);
    Some(Annotation { kind, lesser: !decides, command })
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Error,
    Warning,
    Notice,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Error => "error",
            Kind::Warning => "warning",
            Kind::Notice => "notice",
        }
    }
}

/// A command without its name. Standard input has no file property.
fn command(input: &Input, line: usize, title: &str, text: &str) -> String {
    let title = github_property(title);
    let text = github_message(&format!("{}: {text}", input.name));
    if input.key == "-" {
        return format!("title={title}::{text}");
    }
    let line = if line > 1 { format!(",line={line}") } else { String::new() };
    format!("file={}{line},title={title}::{text}", github_property(&input.key))
}
