//! JSON, described by `docs/schema/check.schema.json`. `format` is incremented when the meaning of a
//! field changes or a field is removed.
//!
//! The document has the texts of the rules once. A line for an input has none of them, and the reason only
//! of what decides: thousands of lines are searched by programs.

use serde::Serialize;

use super::escape::hex;
use super::format::{Pieces, Place, Render};
use super::rules::{JSON_FORMAT, RuleEntry};
use super::{Audience, Format};
use crate::audit::report::{Report, Tally};
use crate::audit::run::{Content, Input, Run, Settings};
use crate::audit::{EffectiveCmdline, Facts, Finding, Given, Outcome, Provenance};
use crate::rules::{RecommendedParameter, Verdict};
use crate::text::visible_json;

/// The most bytes of a line, without the names of its files.
const MAX_LINE: usize = 1900;

pub(super) const DOCUMENT: Format = Format {
    name: "json",
    about: "For programs: one document, with a schema",
    audience: Audience::Programs,
    render: Render::Whole(|run, _| document(run)),
};

pub(super) const LINES: Format = Format {
    name: "jsonl",
    about: "For programs: one line per input, as soon as it is done",
    audience: Audience::Programs,
    render: Render::Pieces(Pieces { begin: "", input: json_line, end: |_| String::new() }),
};

fn document(run: &Run) -> String {
    let document = Document {
        format: JSON_FORMAT,
        version: env!("CARGO_PKG_VERSION"),
        profile: &run.settings.profile,
        fail_on: run.settings.fail_on.name(),
        given: &run.settings.given,
        verdict: run.verdict().map_or("error", Outcome::name),
        rules: run.settings.rules.iter().map(RuleEntry::of).collect(),
        inputs: run.inputs.iter().map(|own| input(&run.settings, own)).collect(),
    };
    // Only strings and numbers: serialisation does not fail.
    let json = serde_json::to_string_pretty(&document).unwrap_or_default();
    visible_json(&json).into_owned() + "\n"
}

/// One line per input, each a separate document.
fn json_line(place: &Place<'_>, own: &Input) -> String {
    let mut line = JsonLine {
        format: JSON_FORMAT,
        version: env!("CARGO_PKG_VERSION"),
        profile: &place.settings.profile,
        fail_on: place.settings.fail_on.name(),
        given: &place.settings.given,
        head: head(own),
        details: own.result.as_ref().ok().map(line_details),
        shortened: false,
    };
    let text = |line: &JsonLine<'_>| {
        visible_json(&serde_json::to_string(line).unwrap_or_default()).into_owned() + "\n"
    };
    let names = line.head.names();
    let mut out = text(&line);
    for shorten in SHORTEN {
        let Some(details) = &mut line.details else { break };
        if out.len() <= MAX_LINE + names {
            break;
        }
        shorten(details);
        line.shortened = true;
        out = text(&line);
    }
    out
}

/// What a line loses when it is too long, one after the other.
const SHORTEN: [fn(&mut LineDetails<'_>); 4] = [
    |own| own.cut_reasons(160),
    |own| own.notes.clear(),
    |own| own.cut_reasons(50),
    |own| own.findings.iter_mut().for_each(|own| own.reason = None),
];

impl LineDetails<'_> {
    /// Reasons of at most so many characters.
    fn cut_reasons(&mut self, most: usize) {
        for reason in self.findings.iter_mut().filter_map(|own| own.reason.as_mut()) {
            if let Some((end, _)) = reason.char_indices().nth(most) {
                reason.truncate(end);
                reason.push('…');
            }
        }
    }
}

#[derive(Serialize)]
struct JsonLine<'a> {
    format: u32,
    version: &'static str,
    profile: &'a str,
    fail_on: &'static str,
    /// What else was given.
    #[serde(skip_serializing_if = "Given::is_empty")]
    given: &'a Given,
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    details: Option<LineDetails<'a>>,
    /// Reasons or notes are left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shortened: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    /// The version of vfioboot.
    version: &'static str,
    profile: &'a str,
    fail_on: &'static str,
    /// What else was given.
    #[serde(skip_serializing_if = "Given::is_empty")]
    given: &'a Given,
    /// The worst outcome of all inputs.
    verdict: &'static str,
    /// The rules of the profile.
    rules: Vec<RuleEntry<'a>>,
    inputs: Vec<InputEntry<'a>>,
}

/// Which input it is, and its verdict.
#[derive(Serialize)]
struct Head<'a> {
    input: &'a str,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    beside: Vec<FileEntry<'a>>,
    /// `pass`, `fail`, `inconclusive`, or `error` with the reason in `error`.
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A file that was checked together with the input.
#[derive(Serialize)]
struct FileEntry<'a> {
    key: &'a str,
    sha256: String,
    size: u64,
}

#[derive(Serialize)]
struct InputEntry<'a> {
    #[serde(flatten)]
    head: Head<'a>,
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

#[derive(Serialize)]
struct LineDetails<'a> {
    description: String,
    release: Option<&'a str>,
    arch: Option<&'static str>,
    config: ProvenanceEntry<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Names<'a>>,
    summary: Tally,
    /// What fails or is unknown, and decides.
    findings: Vec<LineFinding<'a>>,
    /// The rules that fail and do not decide.
    lesser_failed: Vec<&'a str>,
    /// Those that are unknown and do not decide.
    lesser_unknown: Vec<&'a str>,
    /// Those that pass.
    passed: Vec<&'a str>,
    notes: Vec<String>,
    words: Vec<&'a str>,
}

#[derive(Serialize)]
struct LineFinding<'a> {
    id: &'a str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
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
    level: &'static str,
    verdict: &'static str,
    /// Whether it affects the verdict of the input.
    decides: bool,
    in_baseline: bool,
    reason: String,
    provenance: ProvenanceEntry<'a>,
    /// For this kernel, where that is not the fix of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'a str>,
}

#[derive(Serialize)]
struct ParameterEntry<'a> {
    word: &'a str,
    level: &'static str,
    why: &'a str,
}

fn input<'a>(settings: &Settings, input: &'a Input) -> InputEntry<'a> {
    let details = input.result.as_ref().ok().map(|report| details(settings, report));
    InputEntry { head: head(input), details }
}

fn head(input: &Input) -> Head<'_> {
    let (verdict, error) = match &input.result {
        Ok(report) => (report.outcome().name(), None),
        Err(error) => ("error", Some(error.to_string())),
    };
    Head {
        input: &input.name,
        key: &input.key,
        sha256: input.content.map(|content| hex(&content.sha256)),
        size: input.content.map(|content| content.size),
        beside: input.beside.iter().map(|(key, content)| beside(key, content)).collect(),
        verdict,
        error,
    }
}

fn beside<'a>(key: &'a str, content: &Content) -> FileEntry<'a> {
    FileEntry { key, sha256: hex(&content.sha256), size: content.size }
}

impl Head<'_> {
    /// Bytes of what depends on how the files are called.
    fn names(&self) -> usize {
        let beside: usize = self.beside.iter().map(|own| own.key.len() + own.sha256.len()).sum();
        self.input.len() + self.key.len() + beside
    }
}

fn line_details(report: &Report) -> LineDetails<'_> {
    let Report { subject, facts, evaluation, .. } = report;
    let with = |verdict| report.with(verdict).into_iter();
    let decides = |own: &&Finding| report.decides(own);
    let open = with(Verdict::Fail).chain(with(Verdict::Unknown));
    let lesser = |verdict| with(verdict).filter(|own| !report.decides(own)).map(id).collect();
    LineDetails {
        description: subject.to_string(),
        release: facts.release.as_deref(),
        arch: facts.arch.map(|arch| arch.name()),
        config: config(facts),
        evidence: names(facts),
        summary: report.tally(),
        findings: open.filter(decides).map(line_finding).collect(),
        lesser_failed: lesser(Verdict::Fail),
        lesser_unknown: lesser(Verdict::Unknown),
        passed: with(Verdict::Pass).map(id).collect(),
        notes: report.notes().collect(),
        words: evaluation.parameters.iter().map(|own| own.parameter.as_ref()).collect(),
    }
}

fn id(finding: &Finding) -> &str {
    &finding.rule.id
}

fn line_finding(finding: &Finding) -> LineFinding<'_> {
    let reason = Some(finding.reason.to_string());
    LineFinding { id: id(finding), verdict: finding.verdict.name(), reason }
}

fn details<'a>(settings: &Settings, report: &'a Report) -> Details<'a> {
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
        findings: evaluation.findings.iter().map(|own| finding(settings, report, own)).collect(),
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

fn finding<'a>(settings: &Settings, report: &Report, finding: &'a Finding) -> FindingEntry<'a> {
    FindingEntry {
        id: &finding.rule.id,
        level: finding.rule.level.name(),
        verdict: finding.verdict.name(),
        decides: report.decides(finding),
        in_baseline: report.is_known(finding),
        reason: finding.reason.to_string(),
        provenance: source(&finding.provenance),
        fix: settings.own_fix(finding),
    }
}

fn parameter(own: &RecommendedParameter) -> ParameterEntry<'_> {
    ParameterEntry { word: &own.parameter, level: own.level.name(), why: &own.why }
}
