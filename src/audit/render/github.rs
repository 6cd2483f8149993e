//! Workflow commands of GitHub Actions, which are shown as annotations. GitHub shows ten of each kind
//! per step, so the most important ones come first.

use super::escape::{github_message, github_property};
use super::{Audience, Format};
use crate::audit::run::{Input, Report, Run};
use crate::audit::{Finding, Level, Verdict};

pub(super) const FORMAT: Format = Format {
    name: "github",
    about: "Annotations in GitHub Actions",
    audience: Audience::Programs,
    render: |run, _| render(run),
};

fn render(run: &Run) -> String {
    let mut annotations: Vec<Annotation> = run.inputs.iter().flat_map(annotations).collect();
    annotations.sort_by_key(|annotation| (annotation.kind, annotation.lesser));
    let line =
        |annotation: Annotation| format!("::{} {}\n", annotation.kind.name(), annotation.command);
    annotations.into_iter().map(line).collect()
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
