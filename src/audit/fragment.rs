//! The Kconfig fragment that makes failing rules pass, for `scripts/kconfig/merge_config.sh`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::report::Report;
use super::run::Run;
use super::{Condition, Finding, Level, Rule, Verdict};
use crate::rules::config::Value;
use crate::rules::{Cause, KconfigLine, SymbolState};

/// The fragment for all kernels of a run, one section per rule. It covers rules that fail, and rules
/// that are unknown only because a module was not found: they pass if it is built in. Optional
/// symbols are comments.
pub fn render(run: &Run) -> String {
    let mut out = format!(
        "# Kconfig symbols that `vfioboot check` (profile {}) found missing.\n\
         # scripts/kconfig/merge_config.sh -m .config THIS_FILE && make olddefconfig\n",
        one_line(&run.settings.profile)
    );
    let mut set: HashMap<Cow<'static, str>, String> = HashMap::new();
    let reports: Vec<(&str, &Report)> = run.reports().collect();
    let mut done: Vec<&str> = Vec::new();
    for finding in reports.iter().flat_map(|(_, report)| &report.evaluation.findings) {
        let rule = &finding.rule;
        if done.contains(&rule.id.as_ref()) {
            continue;
        }
        done.push(&rule.id);
        let wanting: Vec<&(&str, &Report)> = reports
            .iter()
            .filter(|(_, report)| {
                report.evaluation.finding(&rule.id).is_some_and(|own| improves(own, report))
            })
            .collect();
        if !wanting.is_empty() {
            section(&mut out, rule, &wanting, reports.len() > 1, &mut set);
        }
    }
    if set.is_empty() {
        out.push_str("# None: no failing rule can be satisfied by a Kconfig symbol.\n");
    }
    out
}

fn section(
    out: &mut String,
    rule: &Rule,
    wanting: &[&(&str, &Report)],
    several: bool,
    set: &mut HashMap<Cow<'static, str>, String>,
) {
    let (id, title, level) = (&rule.id, one_line(&rule.title), rule.level.name());
    out.push_str(&format!("\n# {id} {title} ({level}): {}\n", one_line(&rule.why)));
    if several {
        let names: Vec<String> = wanting.iter().map(|(name, _)| one_line(name)).collect();
        out.push_str(&format!("# for {}\n", names.join(", ")));
    }
    // A kernel parameter overrides the symbols.
    let mut lines: Vec<&KconfigLine> = Vec::new();
    for (_, report) in wanting {
        let own = report.evaluation.finding(&rule.id).filter(|own| !own.reason.is_overruled());
        for line in own.iter().flat_map(|own| &own.settings) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    if lines.is_empty() {
        out.push_str(&format!("# Not fixed by Kconfig: {}\n", one_line(&rule.fix)));
    }
    for line in lines {
        let has = |report: &Report| {
            let Some(version) = report.facts.version() else { return true };
            line.since.is_none_or(|since| version >= since)
                && line.until.is_none_or(|until| version < until)
        };
        if !wanting.iter().any(|(_, report)| has(report)) {
            continue;
        }
        let text = line.to_string();
        match set.get(&line.symbol) {
            Some(before) if *before == text => {
                out.push_str(&format!("# CONFIG_{}: as above\n", line.symbol));
            }
            Some(before) => out.push_str(&format!("# {text}? It is {before} above\n")),
            None if rule.level == Level::Optional => out.push_str(&format!("#{text}\n")),
            None => {
                out.push_str(&text);
                out.push('\n');
                set.insert(line.symbol.clone(), text);
            }
        }
    }
}

/// Whether a setting improves this finding.
fn improves(finding: &Finding, report: &Report) -> bool {
    let facts = &report.facts;
    match finding.verdict {
        Verdict::Fail => true,
        // No symbol is set if it is not certain that the rule applies, or if a vendor module may
        // satisfy it that the config does not name.
        Verdict::Unknown => {
            let known = facts.config.is_some() && facts.arch.is_some();
            let symbols = matches!(finding.rule.condition, Condition::Symbols(_));
            let symbols = symbols && !finding.reason.is_overruled();
            let named = !finding.rule.vendor_module || is_of_modules(finding);
            known && symbols && facts.version().is_some() && named
        }
        Verdict::Pass | Verdict::NotApplicable => false,
    }
}

/// Something that the config makes a module decided it: built in, it would be certain.
fn is_of_modules(finding: &Finding) -> bool {
    let Cause::Symbols(symbols) = &finding.reason.cause else { return false };
    symbols.iter().any(|own| matches!(own.state, SymbolState::Module { value: Value::Module, .. }))
}

/// Join the lines of a text, which must not leave its comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
