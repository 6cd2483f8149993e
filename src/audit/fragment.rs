//! The Kconfig fragment that makes failing rules pass, for `scripts/kconfig/merge_config.sh`.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use super::run::{Audited, Run};
use super::{Condition, Finding, Level, Rule, Verdict};
use crate::kernel::config::KernelVersion;

/// A setting that a rule asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KconfigLine {
    /// Without `CONFIG_`.
    pub symbol: String,
    /// `y`, `m`, `n` or a literal value.
    pub value: String,
    /// The first version that has the symbol.
    pub since: Option<KernelVersion>,
    /// The first version that no longer has it.
    pub until: Option<KernelVersion>,
}

impl FromStr for KconfigLine {
    type Err = String;

    /// `SYMBOL=y`, with ` since 6.2` or ` until 5.8` behind it where not every kernel has it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no setting like VFIO=y or VFIO_GROUP=y since 6.6");
        let mut words = text.split_ascii_whitespace();
        let (symbol, value) = words.next().and_then(|w| w.split_once('=')).ok_or_else(wrong)?;
        if !super::profile::is_symbol(symbol) || value.is_empty() {
            return Err(wrong());
        }
        let mut line = KconfigLine {
            symbol: symbol.to_owned(),
            value: value.to_owned(),
            since: None,
            until: None,
        };
        while let Some(word) = words.next() {
            let version = words.next().and_then(KernelVersion::parse).ok_or_else(wrong)?;
            match word {
                "since" => line.since = Some(version),
                "until" => line.until = Some(version),
                _ => return Err(wrong()),
            }
        }
        Ok(line)
    }
}

impl fmt::Display for KconfigLine {
    /// As it stands in a `.config`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (symbol, value) = (&self.symbol, &self.value);
        match value.as_str() {
            "n" => write!(f, "# CONFIG_{symbol} is not set"),
            "y" | "m" => write!(f, "CONFIG_{symbol}={value}"),
            number if number.parse::<u64>().is_ok() => write!(f, "CONFIG_{symbol}={number}"),
            text => {
                let text = text.replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "CONFIG_{symbol}=\"{text}\"")
            }
        }
    }
}

impl Rule {
    /// The settings that satisfy it: what it says in `set`, else the first group of its own
    /// symbols with the first value it accepts. None for a rule about the command line.
    pub fn settings(&self) -> Vec<KconfigLine> {
        if !self.set.is_empty() {
            return self.set.clone();
        }
        let Condition::Symbols(groups) = &self.condition else { return Vec::new() };
        let value = self.accept.first().map_or("y", String::as_str);
        let line = |symbol: &String| KconfigLine {
            symbol: symbol.clone(),
            value: value.to_owned(),
            since: None,
            until: None,
        };
        groups.first().into_iter().flatten().map(line).collect()
    }
}

/// The fragment for all kernels of a run, one section a rule. Rules that fail are in it, and so
/// are those that are unknown only because a module was not seen: built in, they pass. What is
/// optional is there as a comment.
pub fn render(run: &Run) -> String {
    let mut out = format!(
        "# What `vfioboot check` (profile {}) found missing.\n\
         # scripts/kconfig/merge_config.sh -m .config THIS_FILE && make olddefconfig\n",
        one_line(&run.profile)
    );
    let mut set: HashMap<String, String> = HashMap::new();
    let audits: Vec<(&str, &Audited)> = run.audits().collect();
    let mut done: Vec<&str> = Vec::new();
    for finding in audits.iter().flat_map(|(_, audited)| &audited.report.findings) {
        let rule = &finding.rule;
        if done.contains(&rule.id.as_str()) {
            continue;
        }
        done.push(&rule.id);
        let wanting: Vec<&(&str, &Audited)> = audits
            .iter()
            .filter(|(_, audited)| {
                audited.report.finding(&rule.id).is_some_and(|own| mends(own, audited))
            })
            .collect();
        if !wanting.is_empty() {
            section(&mut out, rule, &wanting, audits.len() > 1, &mut set);
        }
    }
    if set.is_empty() {
        out.push_str("# Nothing: no rule fails that a Kconfig symbol could satisfy.\n");
    }
    out
}

fn section(
    out: &mut String,
    rule: &Rule,
    wanting: &[&(&str, &Audited)],
    several: bool,
    set: &mut HashMap<String, String>,
) {
    let (id, title, level) = (&rule.id, one_line(&rule.title), rule.level.name());
    out.push_str(&format!("\n# {id} {title} ({level}): {}\n", one_line(&rule.why)));
    if several {
        let names: Vec<String> = wanting.iter().map(|(name, _)| one_line(name)).collect();
        out.push_str(&format!("# for {}\n", names.join(", ")));
    }
    let by_word = |(_, audited): &&&(&str, &Audited)| {
        audited.report.finding(&rule.id).is_some_and(|own| own.word.is_some())
    };
    // A word of the command line overrules the symbols.
    let lines = match wanting.iter().all(|own| by_word(&own)) {
        true => Vec::new(),
        false => rule.settings(),
    };
    if lines.is_empty() {
        out.push_str(&format!("# Not a matter of Kconfig: {}\n", one_line(&rule.fix)));
    }
    for line in lines {
        let has = |audited: &Audited| {
            let Some(version) = audited.facts.version() else { return true };
            line.since.is_none_or(|since| version >= since)
                && line.until.is_none_or(|until| version < until)
        };
        if !wanting.iter().any(|(_, audited)| has(audited)) {
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
                set.insert(line.symbol, text);
            }
        }
    }
}

/// A setting makes this finding better.
fn mends(finding: &Finding, audited: &Audited) -> bool {
    let facts = &audited.facts;
    match finding.verdict {
        Verdict::Fail => true,
        // Where it is not even certain that the rule applies, or where a vendor module may do it,
        // nothing is to be set.
        Verdict::Unknown => {
            let known = facts.config.is_some() && facts.arch.is_some();
            let symbols = matches!(finding.rule.condition, Condition::Symbols(_));
            let symbols = symbols && finding.word.is_none();
            known && symbols && facts.version().is_some() && !finding.rule.vendor_module
        }
        Verdict::Pass | Verdict::NotApplicable => false,
    }
}

/// Nothing in a comment may begin a line of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
