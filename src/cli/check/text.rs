//! The report for people: what fails first, each with its fix, one verdict at the end.

use std::fmt::Write;

use vfioboot::audit::{Facts, Finding, Outcome, Provenance, Report, Verdict};

use super::{Audited, Checked};
use crate::cli::config::HOW_TO_GET_A_CONFIG;
use crate::cli::style::{BAD, DIM, GOOD, HEAD, NOTE};

/// All inputs, with escape sequences for colour. Those that could not be read are told on
/// standard error, and here `with_errors`.
pub fn render(checked: &[Checked], with_errors: bool) -> String {
    let mut out = String::new();
    for input in checked {
        if !out.is_empty() {
            out.push('\n');
        }
        // Writing to a String does not fail.
        let _ = match &input.result {
            Ok(audited) => one(&mut out, &input.name, audited),
            Err(error) if with_errors => {
                writeln!(out, "{HEAD}{}{HEAD:#}: {BAD}not checked{BAD:#}: {error:#}", input.name)
            }
            Err(_) => Ok(()),
        };
    }
    out
}

fn one(out: &mut String, name: &str, audited: &Audited) -> std::fmt::Result {
    let (facts, report) = (&audited.facts, &audited.report);
    writeln!(out, "{HEAD}{name}{HEAD:#}: {}", audited.what)?;
    writeln!(out, "  kernel: {}", kernel(facts))?;
    match &facts.config {
        Some((_, provenance)) => writeln!(out, "  config: {provenance}")?,
        None => writeln!(out, "  config: none embedded, none given")?,
    }
    if let (None, Some(evidence)) = (&facts.config, &facts.evidence) {
        let count = evidence.count;
        writeln!(out, "  evidence instead: {count} names in the kernel's own symbol table")?;
    }

    let failed: Vec<&Finding> = report.with(Verdict::Fail).collect();
    let (serious, lesser): (Vec<&Finding>, Vec<&Finding>) =
        failed.into_iter().partition(|finding| finding.rule.level.decides());
    if !serious.is_empty() {
        writeln!(out, "\n{BAD}FAILS{BAD:#}")?;
        findings(out, &serious)?;
    }
    unknown(out, facts, report)?;
    if !lesser.is_empty() {
        writeln!(out, "\n{NOTE}COULD BE BETTER{NOTE:#}")?;
        findings(out, &lesser)?;
    }
    let notes: Vec<&String> = audited.problems.iter().chain(&report.notes).collect();
    if !notes.is_empty() {
        writeln!(out, "\n{HEAD}NOTES{HEAD:#}")?;
        for note in notes {
            writeln!(out, "  {note}")?;
        }
    }
    super::cmdline::text(out, report.cmdline.as_ref())?;
    if !report.words.is_empty() {
        writeln!(out, "\n{HEAD}FOR THE COMMAND LINE{HEAD:#}")?;
        for word in &report.words {
            writeln!(out, "  {HEAD}{}{HEAD:#} ({})", word.word, word.level.name())?;
            writeln!(out, "      {}", word.why)?;
        }
    }
    verdict(out, name, report)
}

fn kernel(facts: &Facts) -> String {
    let release = match &facts.release {
        Some(release) => format!("Linux {release}"),
        None => "version not known".to_owned(),
    };
    match facts.arch {
        Some(arch) => format!("{release}, {arch}"),
        None => format!("{release}, architecture not known"),
    }
}

fn findings(out: &mut String, findings: &[&Finding]) -> std::fmt::Result {
    for finding in findings {
        let rule = &finding.rule;
        let (id, title, level) = (&rule.id, &rule.title, rule.level.name());
        writeln!(out, "  {HEAD}{id}{HEAD:#} {title} ({level}): {}", finding.reason)?;
        if finding.provenance == Provenance::Cmdline {
            writeln!(out, "      {DIM}by the {}{DIM:#}", finding.provenance)?;
        }
        writeln!(out, "      {}", rule.effect)?;
        writeln!(out, "      {GOOD}Fix:{GOOD:#} {}", rule.fix)?;
    }
    Ok(())
}

fn unknown(out: &mut String, facts: &Facts, report: &Report) -> std::fmt::Result {
    let unknown: Vec<&Finding> = report.with(Verdict::Unknown).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{NOTE}UNKNOWN{NOTE:#}")?;
    if facts.config.is_none() && facts.evidence.is_none() {
        // The same reason for each.
        writeln!(out, "  {} rules: there is no config to look at", unknown.len())?;
        return writeln!(out, "      {GOOD}Fix:{GOOD:#} {HOW_TO_GET_A_CONFIG}.");
    }
    for finding in unknown {
        let rule = &finding.rule;
        let (id, title, level) = (&rule.id, &rule.title, rule.level.name());
        writeln!(out, "  {HEAD}{id}{HEAD:#} {title} ({level}): {}", finding.reason)?;
        if rule.level.decides() {
            writeln!(out, "      {GOOD}To be sure:{GOOD:#} {}", rule.fix)?;
        }
    }
    Ok(())
}

fn verdict(out: &mut String, name: &str, report: &Report) -> std::fmt::Result {
    let count = |verdict, deciding: bool| {
        let counted = report.with(verdict);
        counted.filter(|finding| finding.rule.level.decides() || !deciding).count()
    };
    let failed = count(Verdict::Fail, true);
    let unknown = count(Verdict::Unknown, true);
    let (style, words) = match report.verdict {
        Outcome::Pass => (GOOD, "PASS: this kernel can pass PCI devices through".to_owned()),
        Outcome::Fail => (BAD, format!("FAIL: {failed} required rule(s) fail, {unknown} unknown")),
        Outcome::Inconclusive => {
            (NOTE, format!("INCONCLUSIVE: no required rule fails, {unknown} unknown"))
        }
    };
    let passed = count(Verdict::Pass, false);
    let others = count(Verdict::NotApplicable, false);
    writeln!(out, "\n{name}: {style}{words}{style:#} ({passed} passed, {others} do not apply)")
}
