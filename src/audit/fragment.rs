//! The Kconfig fragment that makes failing rules pass, for `scripts/kconfig/merge_config.sh`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::report::Report;
use super::run::Run;
use super::{Level, Rule};
use crate::rules::KconfigLine;

/// The fragment for all kernels of a run, one section per rule. It covers rules that fail, rules that
/// are unknown only because a module was not found (they pass if it is built in), and rules that apply
/// when the rest of it is set. Optional symbols are comments.
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
        let id = finding.rule.id.as_ref();
        if done.contains(&id) {
            continue;
        }
        done.push(id);
        let wanting: Vec<&(&str, &Report)> =
            reports.iter().filter(|own| own.1.to_mend(id).is_some()).collect();
        if let Some(first) = wanting.first().and_then(|(_, report)| report.to_mend(id)) {
            section(&mut out, &first.rule, &wanting, reports.len() > 1, &mut set);
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
    if wanting.iter().all(|(_, report)| report.follows(&rule.id)) {
        out.push_str("# The rule applies when other lines here are set.\n");
    }
    // A kernel parameter overrides the symbols.
    let mut lines: Vec<&KconfigLine> = Vec::new();
    for (_, report) in wanting {
        let own = report.to_mend(&rule.id).filter(|own| !own.reason.is_overruled());
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
        if !wanting.iter().any(|(_, report)| line.is_for(report.facts.version())) {
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

/// Join the lines of a text, which must not leave its comment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
