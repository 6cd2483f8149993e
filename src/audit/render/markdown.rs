//! Markdown for a comment on a pull request: the verdict, what to do, the rest folded away.

use super::escape::markdown as md;
use crate::audit::run::{Audited, Input, Run};
use crate::audit::{Finding, Outcome, Verdict};

/// GitHub takes 65536 characters in a comment.
const MOST: usize = 60_000;

/// All inputs. Where they are too many for one comment, details go first, then whole tables.
pub fn render(run: &Run) -> String {
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
        let Ok(audited) = &input.result else { continue };
        let section = section(input, audited);
        let details = details(audited);
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
    let (name, title) = (md(&run.profile), md(&run.title));
    out.push_str(&format!("\n<sub>Profile {name}: {title}.</sub>\n"));
    out
}

fn heading(run: &Run) -> &'static str {
    match run.verdict() {
        "pass" => "✅ pass",
        "fail" => "❌ fail",
        "inconclusive" => "❔ inconclusive",
        _ => "⚠️ an input could not be checked",
    }
}

fn summary(input: &Input) -> String {
    let name = md(&input.name);
    match &input.result {
        Ok(audited) => {
            let mark = match audited.outcome() {
                Outcome::Pass => "✅",
                Outcome::Fail => "❌",
                Outcome::Inconclusive => "❔",
            };
            format!("{mark} **{name}**: {}", md(&audited.verdict_line()))
        }
        Err(error) => format!("⚠️ **{name}**: not checked: {}", md(error)),
    }
}

fn section(input: &Input, audited: &Audited) -> String {
    let mut out = format!(
        "\n### {}\n\n{} ({}; config: {})\n",
        md(&input.name),
        md(&audited.kernel()),
        md(&audited.what),
        md(&audited.config())
    );
    let wanting: Vec<&Finding> = audited
        .ranked()
        .into_iter()
        .filter(|finding| matches!(finding.verdict, Verdict::Fail | Verdict::Unknown))
        .collect();
    if !wanting.is_empty() {
        out.push_str(
            "\n| | Rule | Level | Finding | Fix | Evidence |\n|---|---|---|---|---|---|\n",
        );
    }
    for finding in wanting {
        let rule = &finding.rule;
        let mark = match (finding.verdict, audited.decides(finding)) {
            (Verdict::Fail, true) => "❌ fails",
            (Verdict::Fail, false) if audited.is_known(finding) => "☑️ known",
            (Verdict::Fail, false) => "⚠️ fails",
            _ => "❔ unknown",
        };
        out.push_str(&format!(
            "| {mark} | **{}** {} | {} | {} | {} | {} |\n",
            md(&rule.id),
            md(&rule.title),
            rule.level.name(),
            md(&finding.reason.to_string()),
            md(&rule.fix),
            md(&finding.provenance.to_string())
        ));
    }
    for note in audited.notes() {
        out.push_str(&format!("\n> {}\n", md(note)));
    }
    for own in &audited.report.parameters {
        out.push_str(&format!(
            "\nFor the command line: **{}** — {}\n",
            md(&own.parameter),
            md(&own.why)
        ));
    }
    out
}

fn details(audited: &Audited) -> String {
    let tally = audited.tally();
    let mut out = format!(
        "\n<details><summary>{} passed, {} do not apply</summary>\n\n\
         | | Rule | Finding | Evidence |\n|---|---|---|---|\n",
        tally.passed, tally.not_applicable
    );
    for verdict in [Verdict::Pass, Verdict::NotApplicable] {
        for finding in audited.with(verdict) {
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
    if let Some(line) = audited.cmdline() {
        out.push_str(
            "\n<details><summary>The command line</summary>\n\n| Word | From |\n|---|---|\n",
        );
        for word in &line.words {
            out.push_str(&format!("| {} | {} |\n", md(&word.word), md(&word.label())));
        }
        if let Some(explained) = line.mode.explain() {
            out.push_str(&format!("\n{}.\n", md(explained)));
        }
        out.push_str("\n</details>\n");
    }
    out
}
