//! The report for people: what fails first, each with its fix, one verdict at the end.

use std::fmt::Write;

use vfioboot::audit::run::{Audited, Run};
use vfioboot::audit::{Finding, Outcome, Provenance, Verdict};

use crate::cli::config::HOW_TO_GET_A_CONFIG;
use crate::cli::style::{BAD, DIM, GOOD, HEAD, NOTE};

/// All inputs, with escape sequences for colour. Those that could not be read are told on
/// standard error, and here `with_errors`.
pub fn render(run: &Run, with_errors: bool) -> String {
    let mut out = String::new();
    for input in &run.inputs {
        let name = plain(&input.name);
        if !out.is_empty() {
            out.push('\n');
        }
        // Writing to a String does not fail.
        let _ = match &input.result {
            Ok(audited) => one(&mut out, &name, audited),
            Err(error) if with_errors => {
                writeln!(out, "{HEAD}{name}{HEAD:#}: {BAD}not checked{BAD:#}: {}", plain(error))
            }
            Err(_) => Ok(()),
        };
    }
    out
}

/// Foreign text without control characters: a name must not end a line or talk to the terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn one(out: &mut String, name: &str, audited: &Audited) -> std::fmt::Result {
    let report = &audited.report;
    writeln!(out, "{HEAD}{name}{HEAD:#}: {}", plain(&audited.what))?;
    writeln!(out, "  kernel: {}", plain(&audited.kernel()))?;
    writeln!(out, "  config: {}", plain(&audited.config()))?;

    let failed = audited.with(Verdict::Fail);
    let (known, failed): (Vec<&Finding>, Vec<&Finding>) =
        failed.into_iter().partition(|finding| audited.is_known(finding));
    let (serious, lesser): (Vec<&Finding>, Vec<&Finding>) =
        failed.into_iter().partition(|finding| audited.decides(finding));
    if !serious.is_empty() {
        writeln!(out, "\n{BAD}FAILS{BAD:#}")?;
        findings(out, &serious)?;
    }
    unknown(out, audited)?;
    if !lesser.is_empty() {
        writeln!(out, "\n{NOTE}COULD BE BETTER{NOTE:#}")?;
        findings(out, &lesser)?;
    }
    let by_module = audited.with(Verdict::Pass);
    let by_module: Vec<&Finding> =
        by_module.into_iter().filter(|own| own.reason.module().is_some()).collect();
    if !by_module.is_empty() {
        writeln!(out, "\n{GOOD}SATISFIED BY MODULES{GOOD:#}")?;
        for finding in by_module {
            let (id, title) = (&finding.rule.id, &finding.rule.title);
            writeln!(out, "  {HEAD}{id}{HEAD:#} {title}: {}", plain(&finding.reason.to_string()))?;
        }
    }
    if !known.is_empty() {
        writeln!(out, "\n{NOTE}KNOWN FROM THE BASELINE{NOTE:#}")?;
        findings(out, &known)?;
    }
    let notes: Vec<&str> = audited.notes().collect();
    if !notes.is_empty() {
        writeln!(out, "\n{HEAD}NOTES{HEAD:#}")?;
        for note in notes {
            writeln!(out, "  {}", plain(note))?;
        }
    }
    cmdline(out, audited)?;
    if !report.parameters.is_empty() {
        writeln!(out, "\n{HEAD}FOR THE COMMAND LINE{HEAD:#}")?;
        for own in &report.parameters {
            writeln!(out, "  {HEAD}{}{HEAD:#} ({})", own.parameter, own.level.name())?;
            writeln!(out, "      {}", own.why)?;
        }
    }
    verdict(out, name, audited)
}

fn findings(out: &mut String, findings: &[&Finding]) -> std::fmt::Result {
    for finding in findings {
        let rule = &finding.rule;
        let (id, title, level) = (&rule.id, &rule.title, rule.level.name());
        writeln!(
            out,
            "  {HEAD}{id}{HEAD:#} {title} ({level}): {}",
            plain(&finding.reason.to_string())
        )?;
        evidence(out, finding)?;
        writeln!(out, "      {}", rule.effect)?;
        writeln!(out, "      {GOOD}Fix:{GOOD:#} {}", rule.fix)?;
    }
    Ok(())
}

/// Evidence that is not the config, which stands at the top.
fn evidence(out: &mut String, finding: &Finding) -> std::fmt::Result {
    let text = match &finding.provenance {
        Provenance::Cmdline => format!("by the {}", finding.provenance),
        Provenance::Kallsyms { .. } => format!("by {}", finding.provenance),
        _ => return Ok(()),
    };
    writeln!(out, "      {DIM}{}{DIM:#}", plain(&text))
}

/// Every word with its origin.
fn cmdline(out: &mut String, audited: &Audited) -> std::fmt::Result {
    let Some(line) = audited.cmdline() else { return Ok(()) };
    writeln!(out, "\n{HEAD}THE COMMAND LINE{HEAD:#}")?;
    for word in &line.words {
        writeln!(out, "  {}  {DIM}{}{DIM:#}", plain(&word.word), plain(&word.label()))?;
    }
    match line.mode.explain() {
        Some(explained) => writeln!(out, "      {explained}"),
        None => Ok(()),
    }
}

fn unknown(out: &mut String, audited: &Audited) -> std::fmt::Result {
    let unknown = audited.with(Verdict::Unknown);
    if unknown.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{NOTE}UNKNOWN{NOTE:#}")?;
    if audited.facts.config.is_none() && audited.facts.evidence.is_none() {
        // The same reason for each.
        writeln!(out, "  {} rules: there is no config to look at", unknown.len())?;
        return writeln!(out, "      {GOOD}Fix:{GOOD:#} {HOW_TO_GET_A_CONFIG}.");
    }
    for finding in unknown {
        let rule = &finding.rule;
        let (id, title, level) = (&rule.id, &rule.title, rule.level.name());
        writeln!(
            out,
            "  {HEAD}{id}{HEAD:#} {title} ({level}): {}",
            plain(&finding.reason.to_string())
        )?;
        evidence(out, finding)?;
        if audited.decides(finding) {
            writeln!(out, "      {GOOD}To be sure:{GOOD:#} {}", rule.fix)?;
        }
    }
    Ok(())
}

fn verdict(out: &mut String, name: &str, audited: &Audited) -> std::fmt::Result {
    let style = match audited.outcome() {
        Outcome::Pass => GOOD,
        Outcome::Fail => BAD,
        Outcome::Inconclusive => NOTE,
    };
    let tally = audited.tally();
    let (passed, others) = (tally.passed, tally.not_applicable);
    let line = audited.verdict_line();
    writeln!(out, "\n{name}: {style}{line}{style:#} ({passed} passed, {others} do not apply)")
}
