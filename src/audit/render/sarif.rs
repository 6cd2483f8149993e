//! SARIF 2.1.0, in the form that GitHub's code scanning accepts.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::escape::uri;
use super::{Audience, Format, json};
use crate::audit::run::{Input, Report, Run};
use crate::audit::{BUILTIN, Finding, Level, Profile, Rule, Verdict};
use crate::text::visible_json;

pub(super) const FORMAT: Format = Format {
    name: "sarif",
    about: "SARIF 2.1.0, for code scanning",
    audience: Audience::Programs,
    render: |run, _| render(run),
};

/// Where the pages of the built-in rules are.
const PAGES: &str =
    concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/book/src/reference/rules");

/// Render one run, with a result for each finding that fails or is unknown.
fn render(run: &Run) -> String {
    let mut rules: Vec<&Rule> = Vec::new();
    let mut index: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, report) in run.reports() {
        for finding in &report.evaluation.findings {
            index.entry(&finding.rule.id).or_insert_with(|| {
                rules.push(&finding.rule);
                rules.len() - 1
            });
        }
    }
    let mut results = Vec::new();
    let mut notifications = Vec::new();
    for input in &run.inputs {
        match &input.result {
            Ok(report) => {
                let open = |own: &&Finding| matches!(own.verdict, Verdict::Fail | Verdict::Unknown);
                let found = report.ranked().into_iter().filter(open);
                results.extend(found.map(|own| result(input, report, own, &index)));
            }
            Err(error) => notifications.push(json!({
                "level": "error",
                "message": { "text": format!("{}: {error}", input.name) },
                "locations": [location(input, 1)],
            })),
        }
    }
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "vfioboot",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": described(&rules),
            }},
            "automationDetails": { "id": format!("vfioboot-check/{}/", run.profile) },
            "artifacts": run.inputs.iter().map(artifact).collect::<Vec<Value>>(),
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": !run.has_errors(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    });
    let json = serde_json::to_string_pretty(&document).unwrap_or_default();
    visible_json(&json).into_owned() + "\n"
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Required | Level::Forbidden => "error",
        Level::Recommended => "warning",
        Level::Optional => "note",
    }
}

/// The rules; those of the built-in profiles have pages in the book.
fn described(rules: &[&Rule]) -> Vec<Value> {
    let profiles: Vec<Profile> = BUILTIN.iter().filter_map(|profile| profile.read().ok()).collect();
    let has_page =
        |id: &str| profiles.iter().any(|profile| profile.rules.iter().any(|own| own.id == id));
    rules
        .iter()
        .map(|own| {
            let mut value = rule(own);
            if has_page(&own.id) {
                value["helpUri"] = format!("{PAGES}/{}.md", own.id).into();
            }
            value
        })
        .collect()
}

fn rule(rule: &Rule) -> Value {
    let (title, why, effect, fix) = (&rule.title, &rule.why, &rule.effect, &rule.fix);
    json!({
        "id": rule.id,
        "name": pascal(title),
        "shortDescription": { "text": format!("{title} ({})", rule.level.name()) },
        "fullDescription": { "text": format!("{why} Without it: {effect}") },
        "help": {
            "text": format!("{why}\n\nWhen it fails: {effect}\n\nFix: {fix}"),
            "markdown": format!("{why}\n\n**When it fails:** {effect}\n\n**Fix:** {fix}"),
        },
        "defaultConfiguration": { "level": level(rule.level) },
        "properties": { "tags": ["kernel", "vfio", rule.level.name()], "precision": "very-high" },
    })
}

/// A title as an identifier: `VFIO can map guest memory` → `VfioCanMapGuestMemory`.
fn pascal(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_ascii_uppercase() + &word[1..].to_ascii_lowercase()).collect()
}

fn address(input: &Input) -> String {
    if input.key == "-" { "stdin".to_owned() } else { uri(&input.key) }
}

/// An input with the facts about it as a whole.
fn artifact(input: &Input) -> Value {
    let mut artifact =
        json!({ "location": { "uri": address(input) }, "roles": ["analysisTarget"] });
    if let (Ok(report), Some(object)) = (&input.result, artifact.as_object_mut()) {
        let properties = json!({
            "description": report.subject.to_string(),
            "kernel": report.kernel(),
            "config": report.config(),
            "verdict": report.verdict_line(),
            "effectiveCmdline": report.cmdline().map(json::line),
            "notes": report.notes().collect::<Vec<String>>(),
        });
        object.insert("properties".into(), properties);
    }
    artifact
}

fn location(input: &Input, line: usize) -> Value {
    json!({ "physicalLocation": {
        "artifactLocation": { "uri": address(input) },
        "region": { "startLine": line },
    }})
}

fn result(
    input: &Input,
    report: &Report,
    finding: &Finding,
    index: &BTreeMap<&str, usize>,
) -> Value {
    let rule = &finding.rule;
    let fails = finding.verdict == Verdict::Fail;
    let text = format!(
        "{}: {}. {} Fix: {} (evidence: {})",
        rule.title, finding.reason, rule.effect, rule.fix, finding.provenance
    );
    let fingerprint =
        base16ct::lower::encode_string(&Sha256::digest(format!("{}\0{}", rule.id, input.key)));
    let mut result = json!({
        "ruleId": rule.id,
        "ruleIndex": index.get(rule.id.as_ref()),
        // In SARIF, only a failure has a level.
        "kind": if fails { "fail" } else { "open" },
        "level": if fails { level(rule.level) } else { "none" },
        "message": { "text": text },
        "locations": [location(input, report.line(finding))],
        "partialFingerprints": {
            "vfiobootFinding/v1": fingerprint,
            // The identity of the result in code scanning. It does not include the line, which may
            // move and which a boot image does not have.
            "primaryLocationLineHash": format!("{}:1", &fingerprint[..16]),
        },
        "properties": { "provenance": json::source(&finding.provenance) },
    });
    if report.is_known(finding)
        && let Some(object) = result.as_object_mut()
    {
        object.insert("baselineState".into(), "unchanged".into());
        let suppression = json!({ "kind": "external", "justification": "in the baseline" });
        object.insert("suppressions".into(), json!([suppression]));
    }
    result
}
