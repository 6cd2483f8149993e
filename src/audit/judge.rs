//! One rule against the facts.

use super::words::{Setting, parameter};
use super::{Condition, Facts, Finding, Profile, Provenance, Rule, Verdict};
use crate::kernel::config::Value;
use crate::kernel::module::Module;

/// A verdict with its reason.
type Judged = (Verdict, String);

/// Hold the facts against one rule.
pub(super) fn judge(profile: &Profile, rule: &Rule, facts: &Facts) -> Finding {
    let config = match &facts.config {
        Some((_, provenance)) => provenance.clone(),
        None => Provenance::NotKnown,
    };
    let (provenance, (verdict, reason)) = match applies(rule, facts) {
        Err(reason) => (config, (Verdict::NotApplicable, reason)),
        Ok(doubt) => {
            let (provenance, judged) = match &rule.condition {
                Condition::Symbols(groups) => (config, symbols(profile, rule, groups, facts)),
                Condition::Parameter { name, reject } => parameter_rule(name, reject, facts),
            };
            // A rule that may not even apply can pass, but it cannot fail.
            let judged = match (doubt, judged) {
                (Some(doubt), (Verdict::Fail, reason)) => {
                    (Verdict::Unknown, format!("{reason}, but {doubt}"))
                }
                (_, judged) => judged,
            };
            (provenance, judged)
        }
    };
    Finding { rule: rule.clone(), verdict, reason, provenance }
}

/// Whether the rule is one for this kernel: Err with the reason when not, Ok with a doubt when
/// that cannot be told.
fn applies(rule: &Rule, facts: &Facts) -> Result<Option<String>, String> {
    let mut doubt = None;
    if !rule.arch.is_empty() {
        match facts.arch {
            Some(arch) if rule.arch.contains(&arch) => {}
            Some(arch) => return Err(format!("not for {arch}")),
            None => doubt = Some("the architecture is not known".to_owned()),
        }
    }
    match facts.version() {
        Some(version) => {
            if let Some(since) = rule.since.filter(|since| version < *since) {
                return Err(format!("from Linux {since} on, this is {version}"));
            }
            if let Some(until) = rule.until.filter(|until| version >= *until) {
                return Err(format!("before Linux {until}, this is {version}"));
            }
        }
        None if rule.since.is_some() || rule.until.is_some() => {
            doubt = Some("the kernel version is not known".to_owned());
        }
        None => {}
    }
    for when in &rule.when {
        match when.holds(facts) {
            Some(true) => {}
            Some(false) => return Err(format!("only with {when}")),
            None => doubt = Some("there is no config".to_owned()),
        }
    }
    Ok(doubt)
}

/// The best of the groups; within a group the worst of its symbols.
fn symbols(profile: &Profile, rule: &Rule, groups: &[Vec<String>], facts: &Facts) -> Judged {
    if facts.config.is_none() {
        return (Verdict::Unknown, "there is no config to look at".into());
    }
    let judged: Vec<Judged> = groups
        .iter()
        .map(|group| {
            let symbols = group.iter().map(|name| symbol(profile, rule, name, facts));
            combine(symbols.collect(), &[Verdict::Fail, Verdict::Unknown, Verdict::Pass])
        })
        .collect();
    let single = groups.len() == 1;
    let (verdict, reason) = combine(judged, &[Verdict::Pass, Verdict::Unknown, Verdict::Fail]);
    match verdict {
        Verdict::Fail if rule.vendor_module && facts.is_gki() => {
            (Verdict::Unknown, format!("{reason}; on a GKI kernel it may be a vendor module"))
        }
        Verdict::Fail if !single => {
            let names: Vec<String> = groups.iter().map(|group| group.join(" with ")).collect();
            (Verdict::Fail, format!("none of {} is set", names.join(", ")))
        }
        _ => (verdict, reason),
    }
}

/// The first of `order` that occurs, with the reasons of all that have it.
fn combine(judged: Vec<Judged>, order: &[Verdict]) -> Judged {
    let verdict = order.iter().copied().find(|v| judged.iter().any(|(verdict, _)| verdict == v));
    let verdict = verdict.unwrap_or(Verdict::Unknown);
    let reasons: Vec<String> = judged
        .into_iter()
        .filter(|(other, _)| *other == verdict)
        .map(|(_, reason)| reason)
        .collect();
    (verdict, reasons.join(", "))
}

fn symbol(profile: &Profile, rule: &Rule, name: &str, facts: &Facts) -> Judged {
    let value = facts.config.as_ref().and_then(|(config, _)| config.get(name));
    let accepts = |text: &str| rule.accept.iter().any(|accepted| accepted == text);
    match value {
        None | Some(Value::No) if accepts("n") => (Verdict::Pass, format!("{name} is not set")),
        // Built apart from the kernel, as vendor modules are.
        None | Some(Value::No) if accepts("y") && given(profile, name, facts).is_some() => {
            module(profile, name, "not set", facts)
        }
        None | Some(Value::No) => (Verdict::Fail, format!("{name} is not set")),
        Some(Value::Module) if accepts("m") => (Verdict::Pass, format!("{name}=m")),
        Some(Value::Module) if accepts("y") => module(profile, name, "m", facts),
        Some(value) if accepts(&value.to_string()) => (Verdict::Pass, format!("{name}={value}")),
        Some(value) => (Verdict::Fail, format!("{name}={value}")),
    }
}

/// The module that `symbol` builds, when it is among those given.
fn given<'a>(profile: &Profile, symbol: &str, facts: &'a Facts) -> Option<&'a Module> {
    let name = profile.module_name(symbol);
    facts.modules.as_ref()?.iter().find(|module| module.name == name)
}

/// Where `y` is asked for and the config does not say so (but `value`), the module must be there
/// and fit the kernel.
fn module(profile: &Profile, symbol: &str, value: &str, facts: &Facts) -> Judged {
    let name = profile.module_name(symbol);
    if facts.modules.is_none() {
        let reason = format!("{symbol}=m: built as a module, {name}.ko not seen");
        return (Verdict::Unknown, reason);
    }
    let Some(module) = given(profile, symbol, facts) else {
        let reason = format!("{symbol}=m, and {name}.ko is not among the modules given");
        return (Verdict::Fail, reason);
    };
    let vermagic = module.vermagic.as_deref().unwrap_or("none");
    let (verdict, what) = match facts.release.as_deref() {
        Some(release) if module.vermagic_matches(release) => {
            (Verdict::Pass, "it fits the kernel".to_owned())
        }
        Some(release) if !module.has_modversions() && is_whole(release, facts) => {
            (Verdict::Fail, format!("it is for \"{vermagic}\", the kernel is {release}"))
        }
        _ => (Verdict::Unknown, format!("whether it (\"{vermagic}\") fits cannot be told")),
    };
    (verdict, format!("{symbol} is {value}, {name}.ko is there: {what}"))
}

/// The release is not just the version that a config's header gives, without its local part.
fn is_whole(release: &str, facts: &Facts) -> bool {
    facts.config.as_ref().is_none_or(|(config, _)| config.release() != Some(release))
}

fn parameter_rule(name: &str, reject: &[String], facts: &Facts) -> (Provenance, Judged) {
    match parameter(facts, name) {
        Setting::NoCmdline => {
            let reason = "no command line was given".to_owned();
            (Provenance::NotKnown, (Verdict::NotApplicable, reason))
        }
        Setting::Absent(from) => (from, (Verdict::Pass, format!("{name} is not given"))),
        Setting::Values(values) => {
            let bad = values.iter().find(|(value, _)| reject.contains(value));
            let good = values.iter().find(|(value, _)| !reject.contains(value));
            match (bad, good) {
                (Some((value, from)), None) => {
                    (from.clone(), (Verdict::Fail, format!("{name}={value}")))
                }
                (Some((bad, from)), Some((good, _))) => {
                    let reason = format!("{name} is both {bad} and {good}; the last one counts");
                    (from.clone(), (Verdict::Unknown, reason))
                }
                (None, Some((value, from))) => {
                    (from.clone(), (Verdict::Pass, format!("{name}={value}")))
                }
                (None, None) => {
                    (Provenance::NotKnown, (Verdict::Pass, format!("{name} is not given")))
                }
            }
        }
    }
}
