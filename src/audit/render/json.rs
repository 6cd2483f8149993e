//! JSON, described by `docs/schema/check.schema.json`. `format` is incremented when the meaning of a
//! field changes or a field is removed.

use serde::Serialize;

use super::{Audience, Format};
use crate::audit::run::{Input, Report, Run, Tally};
use crate::audit::{EffectiveCmdline, Facts, Finding, Outcome, Provenance, RecommendedParameter};
use crate::text::visible_json;

/// The version of this format.
const FORMAT: u32 = 1;

pub(super) const DOCUMENT: Format = Format {
    name: "json",
    about: "For programs: one document, with a schema",
    audience: Audience::Programs,
    render: |run, _| document(run),
};

pub(super) const LINES: Format = Format {
    name: "jsonl",
    about: "For programs: one line per input",
    audience: Audience::Programs,
    render: |run, _| lines(run),
};

fn document(run: &Run) -> String {
    let document = Document {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION"),
        profile: &run.profile,
        fail_on: run.fail_on.name(),
        verdict: run.verdict().map_or("error", Outcome::name),
        inputs: run.inputs.iter().map(input).collect(),
    };
    // Only strings and numbers: serialisation does not fail.
    let json = serde_json::to_string_pretty(&document).unwrap_or_default();
    visible_json(&json).into_owned() + "\n"
}

/// One line per input, each a separate document.
fn lines(run: &Run) -> String {
    let line = |entry| JsonLine {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION"),
        profile: &run.profile,
        fail_on: run.fail_on.name(),
        input: input(entry),
    };
    let texts = run.inputs.iter().map(|entry| serde_json::to_string(&line(entry)));
    texts.map(|text| visible_json(&text.unwrap_or_default()).into_owned() + "\n").collect()
}

#[derive(Serialize)]
struct JsonLine<'a> {
    format: u32,
    version: &'static str,
    profile: &'a str,
    fail_on: &'static str,
    #[serde(flatten)]
    input: InputEntry<'a>,
}

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    /// The version of vfioboot.
    version: &'static str,
    profile: &'a str,
    fail_on: &'static str,
    /// The worst outcome of all inputs.
    verdict: &'static str,
    inputs: Vec<InputEntry<'a>>,
}

#[derive(Serialize)]
struct InputEntry<'a> {
    input: &'a str,
    key: &'a str,
    /// `pass`, `fail`, `inconclusive`, or `error` with the reason in `error`.
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    details: Option<Details<'a>>,
}

#[derive(Serialize)]
struct Details<'a> {
    description: String,
    release: Option<&'a str>,
    arch: Option<&'static str>,
    config: ProvenanceEntry<'a>,
    cmdline: Option<&'a str>,
    evidence: Option<Names<'a>>,
    effective_cmdline: Option<Line<'a>>,
    summary: Tally,
    findings: Vec<FindingEntry<'a>>,
    notes: Vec<String>,
    words: Vec<ParameterEntry<'a>>,
}

/// The kernel's symbol table, which is used without a config.
#[derive(Serialize)]
struct Names<'a> {
    source: &'static str,
    /// The input.
    of: &'a str,
    /// The number of names.
    names: usize,
}

/// The effective command line.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    /// How `CONFIG_CMDLINE` is used: `none`, `unknown`, `from_bootloader`, `extend`, `front`, `force`.
    mode: &'static str,
    words: Vec<LineParameter<'a>>,
}

#[derive(Serialize)]
struct LineParameter<'a> {
    word: &'a str,
    /// `boot`, `vendor_boot`, `given`, `config`.
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    /// Whether the kernel sees it.
    counts: bool,
}

/// The source of a value.
#[derive(Serialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub(super) enum ProvenanceEntry<'a> {
    Ikconfig {
        /// The input.
        of: &'a str,
        /// Offset of `IKCFG_ST` in the decompressed kernel, in bytes.
        offset: u64,
    },
    File {
        path: &'a str,
    },
    Cmdline,
    /// Names in the kernel's symbol table.
    Kallsyms {
        /// The input.
        of: &'a str,
        /// The number of names.
        names: usize,
        /// `certain` or `likely`.
        confidence: &'static str,
    },
    NotKnown,
}

#[derive(Serialize)]
struct FindingEntry<'a> {
    id: &'a str,
    title: &'a str,
    level: &'static str,
    verdict: &'static str,
    /// Whether it affects the verdict of the input.
    decides: bool,
    in_baseline: bool,
    reason: String,
    provenance: ProvenanceEntry<'a>,
    why: &'a str,
    effect: &'a str,
    fix: &'a str,
}

#[derive(Serialize)]
struct ParameterEntry<'a> {
    word: &'a str,
    level: &'static str,
    why: &'a str,
}

fn input(input: &Input) -> InputEntry<'_> {
    let (verdict, error, details) = match &input.result {
        Ok(report) => (report.outcome().name(), None, Some(details(report))),
        Err(error) => ("error", Some(error.to_string()), None),
    };
    InputEntry { input: &input.name, key: &input.key, verdict, error, details }
}

fn details(report: &Report) -> Details<'_> {
    let Report { subject, facts, evaluation, .. } = report;
    Details {
        description: subject.to_string(),
        release: facts.release.as_deref(),
        arch: facts.arch.map(|arch| arch.name()),
        config: config(facts),
        cmdline: facts.cmdline.as_deref(),
        evidence: names(facts),
        effective_cmdline: evaluation.cmdline.as_ref().map(line),
        summary: report.tally(),
        findings: evaluation.findings.iter().map(|own| finding(report, own)).collect(),
        notes: report.notes().collect(),
        words: evaluation.parameters.iter().map(parameter).collect(),
    }
}

fn config(facts: &Facts) -> ProvenanceEntry<'_> {
    facts.config.as_ref().map_or(ProvenanceEntry::NotKnown, |(_, provenance)| source(provenance))
}

fn names(facts: &Facts) -> Option<Names<'_>> {
    let evidence = facts.evidence.as_ref().filter(|_| facts.config.is_none())?;
    Some(Names { source: "kallsyms", of: &evidence.what, names: evidence.count })
}

pub(super) fn line(line: &EffectiveCmdline) -> Line<'_> {
    let words = line.entries.iter().map(|own| LineParameter {
        word: &own.text,
        origin: own.origin.name(),
        file: own.origin.file(),
        counts: own.counts,
    });
    Line { mode: line.mode.name(), words: words.collect() }
}

pub(super) fn source(provenance: &Provenance) -> ProvenanceEntry<'_> {
    match provenance {
        Provenance::Ikconfig { what, offset } => {
            ProvenanceEntry::Ikconfig { of: what, offset: *offset }
        }
        Provenance::File(path) => ProvenanceEntry::File { path },
        Provenance::Cmdline => ProvenanceEntry::Cmdline,
        Provenance::Kallsyms { what, count, confidence } => {
            ProvenanceEntry::Kallsyms { of: what, names: *count, confidence: confidence.name() }
        }
        Provenance::NotKnown => ProvenanceEntry::NotKnown,
    }
}

fn finding<'a>(report: &Report, finding: &'a Finding) -> FindingEntry<'a> {
    let rule = &finding.rule;
    FindingEntry {
        id: &rule.id,
        title: &rule.title,
        level: rule.level.name(),
        verdict: finding.verdict.name(),
        decides: report.decides(finding),
        in_baseline: report.is_known(finding),
        reason: finding.reason.to_string(),
        provenance: source(&finding.provenance),
        why: &rule.why,
        effect: &rule.effect,
        fix: &rule.fix,
    }
}

fn parameter(own: &RecommendedParameter) -> ParameterEntry<'_> {
    ParameterEntry { word: &own.parameter, level: own.level.name(), why: &own.why }
}
