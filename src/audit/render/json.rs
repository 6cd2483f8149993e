//! JSON, described by `docs/schema/check.schema.json`. `format` goes up when a field changes its
//! meaning or goes away.

use serde::Serialize;

use super::{Audience, Format};
use crate::audit::run::{Audited, Input, Run, Tally};
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
    about: "For programs: one line an input",
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
    // Strings and numbers only: it does not fail.
    let json = serde_json::to_string_pretty(&document).unwrap_or_default();
    visible_json(&json).into_owned() + "\n"
}

/// One line an input, each a document of its own.
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
    /// Of vfioboot.
    version: &'static str,
    profile: &'a str,
    fail_on: &'static str,
    /// The worst of all inputs.
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
    config: Source<'a>,
    cmdline: Option<&'a str>,
    evidence: Option<Names<'a>>,
    effective_cmdline: Option<Line<'a>>,
    summary: Tally,
    findings: Vec<FindingEntry<'a>>,
    notes: Vec<String>,
    words: Vec<WordEntry<'a>>,
}

/// The kernel's own symbol table, which is looked at where there is no config.
#[derive(Serialize)]
struct Names<'a> {
    source: &'static str,
    /// The input.
    of: &'a str,
    /// How many there are.
    names: usize,
}

/// The command line that the kernel acts on.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    /// What becomes of `CONFIG_CMDLINE`: `none`, `unknown`, `from_bootloader`, `extend`, `front`,
    /// `force`.
    mode: &'static str,
    words: Vec<LineWord<'a>>,
}

#[derive(Serialize)]
struct LineWord<'a> {
    word: &'a str,
    /// `boot`, `vendor_boot`, `given`, `config`.
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    /// The kernel sees it.
    counts: bool,
}

/// Where a value comes from.
#[derive(Serialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Ikconfig {
        /// The input.
        of: &'a str,
        /// Of `IKCFG_ST` in the unpacked kernel, in bytes.
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
        /// How many names there are.
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
    /// It has a say in the verdict of the input.
    decides: bool,
    in_baseline: bool,
    reason: String,
    provenance: Source<'a>,
    why: &'a str,
    effect: &'a str,
    fix: &'a str,
}

#[derive(Serialize)]
struct WordEntry<'a> {
    word: &'a str,
    level: &'static str,
    why: &'a str,
}

fn input(input: &Input) -> InputEntry<'_> {
    let (verdict, error, details) = match &input.result {
        Ok(audited) => (audited.outcome().name(), None, Some(details(audited))),
        Err(error) => ("error", Some(error.to_string()), None),
    };
    InputEntry { input: &input.name, key: &input.key, verdict, error, details }
}

fn details(audited: &Audited) -> Details<'_> {
    let Audited { subject, facts, report, .. } = audited;
    Details {
        description: subject.to_string(),
        release: facts.release.as_deref(),
        arch: facts.arch.map(|arch| arch.name()),
        config: config(facts),
        cmdline: facts.cmdline.as_deref(),
        evidence: names(facts),
        effective_cmdline: report.cmdline.as_ref().map(line),
        summary: audited.tally(),
        findings: report.findings.iter().map(|own| finding(audited, own)).collect(),
        notes: audited.notes().collect(),
        words: report.parameters.iter().map(word).collect(),
    }
}

fn config(facts: &Facts) -> Source<'_> {
    facts.config.as_ref().map_or(Source::NotKnown, |(_, provenance)| source(provenance))
}

fn names(facts: &Facts) -> Option<Names<'_>> {
    let evidence = facts.evidence.as_ref().filter(|_| facts.config.is_none())?;
    Some(Names { source: "kallsyms", of: &evidence.what, names: evidence.count })
}

pub(super) fn line(line: &EffectiveCmdline) -> Line<'_> {
    let words = line.words.iter().map(|word| LineWord {
        word: &word.word,
        origin: word.origin.name(),
        file: word.origin.file(),
        counts: word.counts,
    });
    Line { mode: line.mode.name(), words: words.collect() }
}

pub(super) fn source(provenance: &Provenance) -> Source<'_> {
    match provenance {
        Provenance::Ikconfig { what, offset } => Source::Ikconfig { of: what, offset: *offset },
        Provenance::File(path) => Source::File { path },
        Provenance::Cmdline => Source::Cmdline,
        Provenance::Kallsyms { what, count, confidence } => {
            Source::Kallsyms { of: what, names: *count, confidence: confidence.name() }
        }
        Provenance::NotKnown => Source::NotKnown,
    }
}

fn finding<'a>(audited: &Audited, finding: &'a Finding) -> FindingEntry<'a> {
    let rule = &finding.rule;
    FindingEntry {
        id: &rule.id,
        title: &rule.title,
        level: rule.level.name(),
        verdict: finding.verdict.name(),
        decides: audited.decides(finding),
        in_baseline: audited.is_known(finding),
        reason: finding.reason.to_string(),
        provenance: source(&finding.provenance),
        why: &rule.why,
        effect: &rule.effect,
        fix: &rule.fix,
    }
}

fn word(own: &RecommendedParameter) -> WordEntry<'_> {
    WordEntry { word: &own.parameter, level: own.level.name(), why: &own.why }
}
