//! Workflow commands of GitHub Actions, which show as annotations. GitHub shows ten of each kind
//! for a step, so the most important come first.

use super::escape::{github_message, github_property};
use crate::audit::run::{Input, Run};
use crate::audit::{Level, Verdict};

/// All inputs.
pub fn render(run: &Run) -> String {
    let mut commands: Vec<((Kind, bool), String)> = Vec::new();
    for input in &run.inputs {
        match &input.result {
            Err(error) => {
                commands.push(((Kind::Error, false), command(input, 1, "not checked", error)));
            }
            Ok(audited) => {
                let verdict = audited.verdict_line();
                let mut text = format!("{} ({})", verdict, audited.kernel());
                text.push_str(&format!("\nConfig: {}", audited.config()));
                if let Some(line) = audited.cmdline() {
                    text.push_str(&format!("\nCommand line: {line}"));
                }
                for note in audited.notes() {
                    text.push_str(&format!("\nNote: {note}"));
                }
                commands.push(((Kind::Notice, false), command(input, 1, "vfioboot check", &text)));
                for wanted in [Verdict::Fail, Verdict::Unknown] {
                    for finding in audited.with(wanted) {
                        let rule = &finding.rule;
                        let kind = match (wanted, audited.decides(finding)) {
                            (Verdict::Fail, true) => Kind::Error,
                            (Verdict::Unknown, true) => Kind::Warning,
                            (Verdict::Fail, false) if rule.level == Level::Optional => Kind::Notice,
                            (Verdict::Fail, false) => Kind::Warning,
                            // Without a say and without an answer: nothing to tell.
                            _ => continue,
                        };
                        let title = format!("{} {} ({})", rule.id, rule.title, rule.level.name());
                        let mut text = format!("{}\n", finding.reason);
                        if wanted == Verdict::Unknown {
                            text.push_str("Unknown. To be sure: ");
                        } else {
                            text.push_str(&format!("{}\nFix: ", rule.effect));
                        }
                        text.push_str(&rule.fix);
                        text.push_str(&format!("\nEvidence: {}", finding.provenance));
                        if audited.is_known(finding) {
                            text.push_str("\nIn the baseline.");
                        }
                        let command = command(input, audited.line(finding), &title, &text);
                        commands.push(((kind, !audited.decides(finding)), command));
                    }
                }
            }
        }
    }
    commands.sort_by_key(|(order, _)| *order);
    commands.into_iter().map(|((kind, _), text)| format!("::{} {text}\n", kind.name())).collect()
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

/// A command without its name. The file is left out where there is none.
fn command(input: &Input, line: usize, title: &str, text: &str) -> String {
    let title = github_property(title);
    let text = github_message(&format!("{}: {text}", input.name));
    if input.key == "-" {
        return format!("title={title}::{text}");
    }
    let line = if line > 1 { format!(",line={line}") } else { String::new() };
    format!("file={}{line},title={title}::{text}", github_property(&input.key))
}
