//! The report for programs. `format` goes up when a field changes its meaning or goes away.

use serde::Serialize;
use vfioboot::audit::{Facts, Finding, Profile, Provenance, Word};

use super::{Audited, Checked};

/// The version of this format.
const FORMAT: u32 = 1;

/// All inputs as one JSON document that ends in a newline.
pub fn render(profile: &Profile, checked: &[Checked]) -> serde_json::Result<String> {
    let document = Document {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION"),
        profile: &profile.name,
        inputs: checked.iter().map(input).collect(),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    /// Of vfioboot.
    version: &'static str,
    profile: &'a str,
    inputs: Vec<InputEntry<'a>>,
}

#[derive(Serialize)]
struct InputEntry<'a> {
    input: &'a str,
    /// `pass`, `fail`, `inconclusive`, or `error` with the reason in `error`.
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    details: Option<Details<'a>>,
}

#[derive(Serialize)]
struct Details<'a> {
    description: &'a str,
    release: Option<&'a str>,
    arch: Option<&'static str>,
    config: Source<'a>,
    cmdline: Option<&'a str>,
    effective_cmdline: Option<super::cmdline::Line<'a>>,
    findings: Vec<FindingEntry<'a>>,
    notes: Vec<&'a str>,
    words: Vec<WordEntry<'a>>,
}

/// Where a value comes from.
#[derive(Serialize)]
#[serde(tag = "source", rename_all = "snake_case")]
enum Source<'a> {
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
    reason: &'a str,
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

fn input(checked: &Checked) -> InputEntry<'_> {
    let input = &checked.name;
    match &checked.result {
        Ok(audited) => InputEntry {
            input,
            verdict: audited.report.verdict.name(),
            error: None,
            details: Some(details(audited)),
        },
        Err(error) => {
            InputEntry { input, verdict: "error", error: Some(format!("{error:#}")), details: None }
        }
    }
}

fn details(audited: &Audited) -> Details<'_> {
    let Audited { what, facts, report, problems } = audited;
    Details {
        description: what,
        release: facts.release.as_deref(),
        arch: facts.arch.map(|arch| arch.name()),
        config: config(facts),
        cmdline: facts.cmdline.as_deref(),
        effective_cmdline: report.cmdline.as_ref().map(super::cmdline::json),
        findings: report.findings.iter().map(finding).collect(),
        notes: problems.iter().chain(&report.notes).map(String::as_str).collect(),
        words: report.words.iter().map(word).collect(),
    }
}

fn config(facts: &Facts) -> Source<'_> {
    facts.config.as_ref().map_or(Source::NotKnown, |(_, provenance)| source(provenance))
}

fn source(provenance: &Provenance) -> Source<'_> {
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

fn finding(finding: &Finding) -> FindingEntry<'_> {
    let rule = &finding.rule;
    FindingEntry {
        id: &rule.id,
        title: &rule.title,
        level: rule.level.name(),
        verdict: finding.verdict.name(),
        reason: &finding.reason,
        provenance: source(&finding.provenance),
        why: &rule.why,
        effect: &rule.effect,
        fix: &rule.fix,
    }
}

fn word(word: &Word) -> WordEntry<'_> {
    WordEntry { word: &word.word, level: word.level.name(), why: &word.why }
}
