//! The text report: failures first, each with its fix, and one verdict at the end.

use std::fmt::{Result, Write};

use super::format::{Pieces, Place, Render};
use super::{Audience, Format, Medium, Palette};
use crate::audit::error::CheckError;
use crate::audit::report::Report;
use crate::audit::run::{Input, Totals};
use crate::audit::{Finding, Outcome, Provenance, Verdict};
use crate::text::visible;

pub(super) const FORMAT: Format = Format {
    name: "text",
    about: "For people",
    audience: Audience::People,
    render: Render::Pieces(Pieces { begin: "", input, end }),
};

/// The fix for a kernel without a known config.
const HOW_TO_GET_A_CONFIG: &str = "Build it with CONFIG_IKCONFIG=y, or check it together with its \
    config (/proc/config.gz of the running device, the .config of the build, /boot/config-* of a \
    distribution).";

fn input(place: &Place<'_>, input: &Input) -> String {
    let mut text = Text::at(place);
    // Writing to a String does not fail.
    let _ = match &input.result {
        Ok(report) => text.input(&input.name, report),
        Err(error) if place.medium == Medium::File => text.error(&input.name, error),
        Err(_) => Ok(()),
    };
    text.out
}

/// How many inputs ended how: the last line of a log is read first.
fn end(place: &Place<'_>) -> String {
    let Totals { pass, fail, inconclusive, errors } = place.totals;
    let all = place.totals.inputs();
    if all < 2 {
        return String::new();
    }
    let mut text = Text::at(place);
    text.begin();
    let head = text.palette.head;
    let _ = write!(
        text.out,
        "{head}{all} inputs{head:#}: {pass} pass, {fail} fail, {inconclusive} inconclusive"
    );
    if errors > 0 {
        let _ = write!(text.out, ", {errors} not checked");
    }
    text.out + "\n"
}

struct Text {
    out: String,
    palette: Palette,
    /// Nothing has been written before.
    first: bool,
}

impl Text {
    fn at(place: &Place<'_>) -> Self {
        let palette = match place.medium {
            Medium::Terminal => Palette::TERMINAL,
            Medium::File => Palette::PLAIN,
        };
        Text { out: String::new(), palette, first: place.first }
    }

    /// Write an empty line between inputs.
    fn begin(&mut self) {
        if !self.first {
            self.out.push('\n');
        }
    }

    fn error(&mut self, name: &str, error: &CheckError) -> Result {
        self.begin();
        let Palette { head, bad, .. } = self.palette;
        let error = error.to_string();
        let (name, error) = (visible(name), visible(&error));
        writeln!(self.out, "{head}{name}{head:#}: {bad}not checked{bad:#}: {error}")
    }

    fn input(&mut self, name: &str, report: &Report) -> Result {
        self.begin();
        let Palette { head, bad, note, .. } = self.palette;
        let name = visible(name);
        writeln!(self.out, "{head}{name}{head:#}: {}", visible(&report.subject.to_string()))?;
        writeln!(self.out, "  kernel: {}", visible(&report.kernel()))?;
        writeln!(self.out, "  config: {}", visible(&report.config()))?;
        if let Some(what) = report.facts.incomplete {
            writeln!(self.out, "  {note}{what}{note:#}")?;
        }

        let failed = report.with(Verdict::Fail);
        let (known, failed): (Vec<&Finding>, Vec<&Finding>) =
            failed.into_iter().partition(|finding| report.is_known(finding));
        let (serious, lesser): (Vec<&Finding>, Vec<&Finding>) =
            failed.into_iter().partition(|finding| report.decides(finding));
        if !serious.is_empty() {
            writeln!(self.out, "\n{bad}FAILS{bad:#}")?;
            self.findings(&serious)?;
        }
        self.unknown(report)?;
        if !lesser.is_empty() {
            writeln!(self.out, "\n{note}RECOMMENDED{note:#}")?;
            self.findings(&lesser)?;
        }
        self.by_module(report)?;
        if !known.is_empty() {
            writeln!(self.out, "\n{note}IN THE BASELINE{note:#}")?;
            self.findings(&known)?;
        }
        self.notes(report)?;
        self.cmdline(report)?;
        self.recommended(report)?;
        self.verdict(&name, report)
    }

    fn findings(&mut self, findings: &[&Finding]) -> Result {
        let good = self.palette.good;
        for finding in findings {
            self.finding(finding)?;
            writeln!(self.out, "      {}", finding.rule.effect)?;
            writeln!(self.out, "      {good}Fix:{good:#} {}", finding.rule.fix)?;
        }
        Ok(())
    }

    /// Write the finding, and its evidence unless that is the config, which is shown at the top.
    fn finding(&mut self, finding: &Finding) -> Result {
        let Palette { head, dim, .. } = self.palette;
        let rule = &finding.rule;
        let (id, title, level) = (&rule.id, &rule.title, rule.level.name());
        let reason = finding.reason.to_string();
        let reason = visible(&reason);
        writeln!(self.out, "  {head}{id}{head:#} {title} ({level}): {reason}")?;
        let evidence = match &finding.provenance {
            Provenance::Cmdline => format!("by the {}", finding.provenance),
            Provenance::Kallsyms { .. } => format!("by {}", finding.provenance),
            Provenance::Ikconfig { .. } | Provenance::File(_) | Provenance::NotKnown => {
                return Ok(());
            }
        };
        writeln!(self.out, "      {dim}{}{dim:#}", visible(&evidence))
    }

    fn unknown(&mut self, report: &Report) -> Result {
        let Palette { good, note, .. } = self.palette;
        let unknown = report.with(Verdict::Unknown);
        if unknown.is_empty() {
            return Ok(());
        }
        writeln!(self.out, "\n{note}UNKNOWN{note:#}")?;
        if report.facts.config.is_none() && report.facts.evidence.is_none() {
            // The reason is the same for each.
            writeln!(self.out, "  {} rules: no config is known", unknown.len())?;
            return writeln!(self.out, "      {good}Fix:{good:#} {HOW_TO_GET_A_CONFIG}");
        }
        for finding in unknown {
            self.finding(finding)?;
            if report.decides(finding) {
                writeln!(self.out, "      {good}To be sure:{good:#} {}", finding.rule.fix)?;
            }
        }
        Ok(())
    }

    fn by_module(&mut self, report: &Report) -> Result {
        let Palette { head, good, .. } = self.palette;
        let passed = report.with(Verdict::Pass);
        let by_module: Vec<&Finding> = passed.into_iter().filter(|own| own.by_module()).collect();
        if !by_module.is_empty() {
            writeln!(self.out, "\n{good}SATISFIED BY MODULES{good:#}")?;
        }
        for finding in by_module {
            let (id, title) = (&finding.rule.id, &finding.rule.title);
            let reason = finding.reason.to_string();
            writeln!(self.out, "  {head}{id}{head:#} {title}: {}", visible(&reason))?;
        }
        Ok(())
    }

    fn notes(&mut self, report: &Report) -> Result {
        let head = self.palette.head;
        let notes: Vec<String> = report.notes().collect();
        if !notes.is_empty() {
            writeln!(self.out, "\n{head}NOTES{head:#}")?;
        }
        for note in notes {
            writeln!(self.out, "  {}", visible(&note))?;
        }
        Ok(())
    }

    /// Write every parameter with its origin.
    fn cmdline(&mut self, report: &Report) -> Result {
        let Palette { head, dim, .. } = self.palette;
        let Some(line) = report.cmdline() else { return Ok(()) };
        writeln!(self.out, "\n{head}EFFECTIVE COMMAND LINE{head:#}")?;
        for own in &line.entries {
            writeln!(self.out, "  {}  {dim}{}{dim:#}", visible(&own.text), visible(&own.label()))?;
        }
        match line.mode.explain() {
            Some(explained) => writeln!(self.out, "      {explained}"),
            None => Ok(()),
        }
    }

    fn recommended(&mut self, report: &Report) -> Result {
        let head = self.palette.head;
        if !report.evaluation.parameters.is_empty() {
            writeln!(self.out, "\n{head}RECOMMENDED PARAMETERS{head:#}")?;
        }
        for own in &report.evaluation.parameters {
            writeln!(self.out, "  {head}{}{head:#} ({})", own.parameter, own.level.name())?;
            writeln!(self.out, "      {}", own.why)?;
        }
        Ok(())
    }

    fn verdict(&mut self, name: &str, report: &Report) -> Result {
        let style = match report.outcome() {
            Outcome::Pass => self.palette.good,
            Outcome::Fail => self.palette.bad,
            Outcome::Inconclusive => self.palette.note,
        };
        let tally = report.tally();
        let (passed, others) = (tally.passed, tally.not_applicable);
        let line = report.verdict_line();
        writeln!(
            self.out,
            "\n{name}: {style}{line}{style:#} ({passed} passed, {others} do not apply)"
        )
    }
}
