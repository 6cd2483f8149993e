//! SARIF 2.1.0, in the form that GitHub's code scanning accepts.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::escape::{hex, uri};
use super::format::Render;
use super::{Audience, Format, json};
use crate::audit::report::Report;
use crate::audit::run::{Input, Run, Settings};
use crate::audit::{BUILTIN, Finding, Level, Profile, Rule, Verdict};
use crate::text::visible_json;

pub(super) const FORMAT: Format = Format {
    name: "sarif",
    about: "SARIF 2.1.0, for code scanning",
    audience: Audience::Programs,
    render: Render::Whole(|run, _| render(run)),
};

/// Where the pages of the built-in rules are.
const PAGES: &str =
    concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/book/src/reference/rules");

/// The most bytes of all results: that are more than the 5,000 which GitHub shows, the most severe ones.
const MOST: usize = 4 << 20;

/// Render one run, with a result for each finding that fails, or is unknown and decides.
fn render(run: &Run) -> String {
    let mut found = Results::default();
    for input in &run.inputs {
        match &input.result {
            Ok(report) => found.add(&run.settings, input, report),
            Err(error) => found.notifications.push(json!({
                "level": "error",
                "message": { "text": format!("{}: {error}", input.name) },
                "locations": [location(input, 1)],
            })),
        }
    }
    let results = found.fitting();
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "vfioboot",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": described(&found.rules),
            }},
            "automationDetails": { "id": format!("vfioboot-check/{}/", run.settings.profile) },
            "artifacts": run.inputs.iter().map(artifact).collect::<Vec<Value>>(),
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": !run.has_errors(),
                "toolExecutionNotifications": found.notifications,
            }],
            "results": results,
        }],
    });
    // Indented it would be twice as large.
    let json = match run.inputs.len() {
        0 | 1 => serde_json::to_string_pretty(&document),
        _ => serde_json::to_string(&document),
    };
    visible_json(&json.unwrap_or_default()).into_owned() + "\n"
}

/// The results so far, with the rules that they are of.
#[derive(Default)]
struct Results<'r> {
    rules: Vec<&'r Rule>,
    index: BTreeMap<&'r str, usize>,
    deciding: Vec<Value>,
    /// Those that do not decide.
    lesser: Vec<Value>,
    notifications: Vec<Value>,
}

impl<'r> Results<'r> {
    fn add(&mut self, settings: &'r Settings, input: &'r Input, report: &'r Report) {
        for finding in report.ranked() {
            let decides = report.decides(finding);
            match finding.verdict {
                Verdict::Fail => {}
                Verdict::Unknown if decides || report.is_known(finding) => {}
                Verdict::Unknown | Verdict::Pass | Verdict::NotApplicable => continue,
            }
            // Its fix is that for any kernel.
            let of_profile = settings.rules.iter().find(|own| own.id == finding.rule.id);
            let rule = of_profile.unwrap_or(&finding.rule);
            let rules = &mut self.rules;
            let index = *self.index.entry(&finding.rule.id).or_insert_with(|| {
                rules.push(rule);
                rules.len() - 1
            });
            let mut result = result(input, report, finding, index);
            if let (Some(fix), Some(text)) =
                (settings.own_fix(finding), result.pointer_mut("/message/text"))
            {
                *text = format!("{}. Fix: {fix}", text.as_str().unwrap_or_default()).into();
            }
            if decides { &mut self.deciding } else { &mut self.lesser }.push(result);
        }
    }

    /// Those that decide first, as many as there is room for.
    fn fitting(&mut self) -> Vec<Value> {
        let mut results = std::mem::take(&mut self.deciding);
        results.append(&mut self.lesser);
        let mut size = 0;
        let fits = results.iter().take_while(|result| {
            size += result.to_string().len();
            size <= MOST
        });
        let (fits, all) = (fits.count(), results.len());
        results.truncate(fits);
        if fits < all {
            let text = format!("{} results do not fit and are left out", all - fits);
            self.notifications.push(json!({ "level": "warning", "message": { "text": text } }));
        }
        results
    }
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

/// The texts of the rule, which is in the run once, are not repeated.
fn result(input: &Input, report: &Report, finding: &Finding, index: usize) -> Value {
    let rule = &finding.rule;
    let fails = finding.verdict == Verdict::Fail;
    // That of most is the config, which the artifact names.
    let config = report.facts.config.as_ref().map(|(_, provenance)| provenance);
    let own = Some(&finding.provenance).filter(|own| Some(*own) != config);
    let mut text = format!("{}: {}", rule.title, finding.reason);
    if let Some(provenance) = own {
        text.push_str(&format!(" (evidence: {provenance})"));
    }
    let fingerprint = hex(&Sha256::digest(format!("{}\0{}", rule.id, input.key)));
    let mut result = json!({
        "ruleId": rule.id,
        "ruleIndex": index,
        // In SARIF, only a failure has a level.
        "kind": if fails { "fail" } else { "open" },
        "level": if fails { level(rule.level) } else { "none" },
        "message": { "text": text },
        "locations": [location(input, report.line(finding))],
        "partialFingerprints": {
            "vfiobootFinding/v1": &fingerprint[..32],
            // The identity of the result in code scanning. It does not include the line, which may
            // move and which a boot image does not have.
            "primaryLocationLineHash": format!("{}:1", &fingerprint[..16]),
        },
    });
    if let (Some(provenance), Some(object)) = (own, result.as_object_mut()) {
        let properties = json!({ "provenance": json::source(provenance) });
        object.insert("properties".into(), properties);
    }
    if report.is_known(finding)
        && let Some(object) = result.as_object_mut()
    {
        object.insert("baselineState".into(), "unchanged".into());
        let suppression = json!({ "kind": "external", "justification": "in the baseline" });
        object.insert("suppressions".into(), json!([suppression]));
    }
    result
}
