//! The text report: failures first, each with its fix, and one verdict at the end.

use std::fmt::{Result, Write};

use super::{Audience, Format, Medium, Palette};
use crate::audit::error::CheckError;
use crate::audit::run::{Report, Run};
use crate::audit::{Finding, Outcome, Provenance, Verdict};
use crate::text::visible;

pub(super) const FORMAT: Format =
    Format { name: "text", about: "For people", audience: Audience::People, render };

/// The fix for a kernel without a known config.
const HOW_TO_GET_A_CONFIG: &str = "Build it with CONFIG_IKCONFIG=y, or check it together with its \
    config (/proc/config.gz of the running device, the .config of the build, /boot/config-* of a \
    distribution).";

fn render(run: &Run, medium: Medium) -> String {
    let (palette, with_errors) = match medium {
        Medium::Terminal => (Palette::TERMINAL, false),
        Medium::File => (Palette::PLAIN, true),
    };
    let mut text = Text { out: String::new(), palette };
    for input in &run.inputs {
        // Writing to a String does not fail.
        let _ = match &input.result {
            Ok(report) => text.input(&input.name, report),
            Err(error) if with_errors => text.error(&input.name, error),
            Err(_) => Ok(()),
        };
    }
    if run.inputs.len() > 1 {
        let _ = text.total(run);
    }
    text.out
}

struct Text {
    out: String,
    palette: Palette,
}

impl Text {
    /// Write an empty line between inputs.
    fn begin(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    /// Write how many inputs ended how: the last line of a log is read first.
    fn total(&mut self, run: &Run) -> Result {
        self.begin();
        let Palette { head, .. } = self.palette;
        let count = |outcome| run.reports().filter(|(_, own)| own.outcome() == outcome).count();
        let all = run.inputs.len();
        let (pass, fail) = (count(Outcome::Pass), count(Outcome::Fail));
        let open = count(Outcome::Inconclusive);
        write!(
            self.out,
            "{head}{all} inputs{head:#}: {pass} pass, {fail} fail, {open} inconclusive"
        )?;
        match all - run.reports().count() {
            0 => writeln!(self.out),
            errors => writeln!(self.out, ", {errors} not checked"),
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
