//! One rule against the facts.

use super::evidence::{Confidence, State};
use super::{
    Built, Condition, EffectiveCmdline, Facts, Finding, Origin, Profile, Provenance, Rule, Setting,
    Verdict,
};
use crate::kernel::Arch;
use crate::kernel::config::Value;
use crate::kernel::module::Module;

/// A verdict with its reason.
type Judged = (Verdict, String);

/// What a reason says of a module that was seen, behind its name.
pub(super) const MODULE_IS_THERE: &str = ".ko is there";

/// Hold the facts against one rule.
pub(super) fn judge(profile: &Profile, rule: &Rule, facts: &Facts) -> Finding {
    let config = match (&facts.config, &facts.evidence, &rule.condition) {
        (Some((_, provenance)), ..) => provenance.clone(),
        (None, Some(evidence), Condition::Symbols(groups))
            if groups.iter().flatten().any(|symbol| evidence.sign(symbol).is_some()) =>
        {
            evidence.provenance(groups.iter().flatten())
        }
        (None, ..) => Provenance::NotKnown,
    };
    let mut word = None;
    let (provenance, (verdict, reason)) = match applies(rule, facts) {
        Err(reason) => (config, (Verdict::NotApplicable, reason)),
        Ok(doubt) => {
            let (provenance, judged) = match &rule.condition {
                Condition::Symbols(groups) => match overruled(rule, facts) {
                    Some((origin, judged)) => {
                        let from = facts.provenance(&origin);
                        word = Some(origin);
                        (from, judged)
                    }
                    None => (config, symbols(profile, rule, groups, facts)),
                },
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
    Finding { rule: rule.clone(), verdict, reason, provenance, word }
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
            None => doubt = Some(format!("whether {when} holds is not known")),
        }
    }
    Ok(doubt)
}

/// The best of the groups; within a group the worst of its symbols.
fn symbols(profile: &Profile, rule: &Rule, groups: &[Vec<String>], facts: &Facts) -> Judged {
    if facts.config.is_none() && facts.evidence.is_none() {
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
    let none = || {
        let names: Vec<String> = groups.iter().map(|group| group.join(" with ")).collect();
        format!("none of {} is set", names.join(", "))
    };
    let short = !single && !groups.iter().flatten().any(|name| is_module(name, facts));
    match verdict {
        Verdict::Fail if rule.vendor_module && facts.is_gki() => {
            vendor_module(rule, if short { none() } else { reason }, facts)
        }
        Verdict::Fail if short => (Verdict::Fail, none()),
        _ => (verdict, reason),
    }
}

fn is_module(symbol: &str, facts: &Facts) -> bool {
    facts.built(symbol) == Built::Module
}

/// What is not set in a GKI kernel's config is decided by the modules, under whatever names.
fn vendor_module(rule: &Rule, reason: String, facts: &Facts) -> Judged {
    let Some(modules) = &facts.modules else {
        let reason = format!(
            "{reason}; on a GKI kernel it may be a vendor module, which its vendor_boot image or \
             --modules would show"
        );
        return (Verdict::Unknown, reason);
    };
    let named = rule.modules.iter().find_map(|name| facts.module(name));
    if let Some(module) = named {
        let (verdict, what) = fit(module, facts);
        return (verdict, format!("not in the kernel, but {}: {what}", there(module)));
    }
    let hinted = modules
        .iter()
        .find(|module| rule.module_hints.iter().any(|hint| module.name.contains(hint.as_str())));
    if let Some(module) = hinted {
        let reason = format!("{reason}, but {}, which may be one", there(module));
        return (Verdict::Unknown, reason);
    }
    if facts.modules_partial {
        let reason = format!(
            "{reason}; on a GKI kernel it may be a vendor module, and the images given hold none \
             that is one"
        );
        return (Verdict::Unknown, reason);
    }
    (Verdict::Fail, format!("{reason}, and none of the {} modules given is one", modules.len()))
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

/// Without a config, by the kernel's symbol table.
fn by_evidence(profile: &Profile, rule: &Rule, name: &str, facts: &Facts) -> Judged {
    let accepts = |text: &str| rule.accept.iter().any(|accepted| accepted == text);
    let Some(sign) = facts.sign(name) else {
        return (Verdict::Unknown, format!("no config tells about {name}, nor does any name"));
    };
    let because = sign.because();
    // Likely evidence does not fail a rule.
    let fails = match sign.confidence {
        Confidence::Certain => Verdict::Fail,
        Confidence::Likely => Verdict::Unknown,
    };
    let reason = |what: &str| format!("{name} is {what}, because {because}");
    match sign.state {
        State::BuiltIn if accepts("y") => (Verdict::Pass, reason("built in")),
        State::BuiltIn => (fails, reason("built in")),
        State::Off if accepts("n") => (Verdict::Pass, reason("not set")),
        State::Off => (fails, reason("not set")),
        State::NotBuiltIn if accepts("n") && accepts("m") => {
            (Verdict::Pass, reason("not built in"))
        }
        State::NotBuiltIn => {
            let file = profile.module_name(name);
            let reason = reason("not built in");
            match given(profile, name, facts) {
                Some(module) if accepts("y") || accepts("m") => {
                    let (verdict, what) = fit(module, facts);
                    (verdict, format!("{reason}; {}: {what}", there(module)))
                }
                None if facts.modules.is_some() && !facts.modules_partial && !accepts("n") => {
                    (fails, format!("{reason}, and {file}.ko is not among the modules given"))
                }
                _ => (Verdict::Unknown, format!("{reason}; it may be a module, {file}.ko")),
            }
        }
    }
}

fn symbol(profile: &Profile, rule: &Rule, name: &str, facts: &Facts) -> Judged {
    if facts.config.is_none() {
        return by_evidence(profile, rule, name, facts);
    }
    let value = facts.config.as_ref().and_then(|(config, _)| config.get(name));
    let accepts = |text: &str| rule.accept.iter().any(|accepted| accepted == text);
    match value {
        None | Some(Value::No) if accepts("n") => (Verdict::Pass, format!("{name} is not set")),
        // Built apart from the kernel, as vendor modules are.
        None | Some(Value::No) if accepts("y") && given(profile, name, facts).is_some() => {
            module(profile, name, "not set", facts)
        }
        None | Some(Value::No) => (Verdict::Fail, format!("{name} is not set")),
        Some(Value::Module) if facts.arch.is_some_and(|arch| rule.never_module.contains(&arch)) => {
            let arch = facts.arch.map(Arch::name).unwrap_or_default();
            let reason =
                format!("{name}=m, which {arch} does not have: a config of another kernel");
            (Verdict::Fail, reason)
        }
        Some(Value::Module) if accepts("m") => (Verdict::Pass, format!("{name}=m")),
        Some(Value::Module) if accepts("y") => module(profile, name, "m", facts),
        Some(value) if accepts(&value.to_string()) => (Verdict::Pass, format!("{name}={value}")),
        Some(value) => (Verdict::Fail, format!("{name}={value}")),
    }
}

/// The module that `symbol` builds, when it is among those given.
fn given<'a>(profile: &Profile, symbol: &str, facts: &'a Facts) -> Option<&'a Module> {
    facts.module(&profile.module_name(symbol))
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
        if facts.modules_partial {
            let reason = format!("{symbol}=m, and {name}.ko is not in the ramdisks of the images");
            return (Verdict::Unknown, reason);
        }
        let reason = format!("{symbol}=m, and {name}.ko is not among the modules given");
        return (Verdict::Fail, reason);
    };
    let (verdict, what) = fit(module, facts);
    (verdict, format!("{symbol} is {value}, {}: {what}", there(module)))
}

/// The module in words.
fn there(module: &Module) -> String {
    match module.file.as_str() {
        "" => format!("{}{MODULE_IS_THERE}", module.name),
        file => format!("{}{MODULE_IS_THERE} ({file})", module.name),
    }
}

/// Whether the kernel will load it: by its vermagic, and by its symbols where these are known.
fn fit(module: &Module, facts: &Facts) -> Judged {
    let (verdict, what) = by_vermagic(module, facts);
    let refusals = facts.links.as_ref().and_then(|links| links.refusals(&module.name));
    match (verdict, refusals) {
        (Verdict::Fail, _) | (_, None) => (verdict, what),
        (_, Some([])) => (verdict, format!("{what}, and what it needs is exported")),
        (_, Some([first, rest @ ..])) => {
            let more = match rest.len() {
                0 => String::new(),
                count => format!("; {count} more such"),
            };
            (Verdict::Fail, format!("it will not load: {first}{more}"))
        }
    }
}

fn by_vermagic(module: &Module, facts: &Facts) -> Judged {
    let vermagic = module.vermagic.as_deref().unwrap_or("none");
    match facts.release.as_deref() {
        Some(release) if module.vermagic_matches(release) => {
            (Verdict::Pass, format!("it fits the kernel (vermagic {release})"))
        }
        Some(release) if !module.has_modversions() && is_whole(release, facts) => {
            (Verdict::Fail, format!("it is for \"{vermagic}\", the kernel is {release}"))
        }
        Some(_) if module.has_modversions() => {
            let reason = format!(
                "it is for \"{vermagic}\", and with MODVERSIONS the CRC of each symbol decides"
            );
            (Verdict::Unknown, reason)
        }
        _ => (Verdict::Unknown, format!("whether it (\"{vermagic}\") fits cannot be told")),
    }
}

/// The release is not just the version that a config's header gives, without its local part.
fn is_whole(release: &str, facts: &Facts) -> bool {
    facts.config.as_ref().is_none_or(|(config, _)| config.release() != Some(release))
}

fn parameter_rule(name: &str, reject: &[String], facts: &Facts) -> (Provenance, Judged) {
    let Some(line) = EffectiveCmdline::new(facts) else {
        let reason = "no command line was given".to_owned();
        return (Provenance::NotKnown, (Verdict::NotApplicable, reason));
    };
    let values = match line.setting(name) {
        Setting::Values(values) => values,
        Setting::Absent => {
            let given = line.parameters().any(|word| word.origin != Origin::Config);
            let own = !given && line.parameters().next().is_some();
            let from = if own { facts.provenance(&Origin::Config) } else { Provenance::Cmdline };
            return (from, (Verdict::Pass, format!("{name} is not given")));
        }
    };
    let bad = values.iter().find(|(value, _)| reject.contains(value));
    let good = values.iter().find(|(value, _)| !reject.contains(value));
    let word =
        |(value, origin): &(String, Origin)| format!("{}, from {origin}", assign(name, value));
    match (bad, good) {
        (Some(bad), Some(good)) => {
            let reason = format!(
                "{name} is both {} and {}; the last one counts, and which that is depends on the \
                 kernel",
                bad.0, good.0
            );
            (facts.provenance(&bad.1), (Verdict::Unknown, reason))
        }
        (Some(bad), None) => (facts.provenance(&bad.1), (Verdict::Fail, word(bad))),
        (None, Some(good)) => (facts.provenance(&good.1), (Verdict::Pass, word(good))),
        (None, None) => (Provenance::Cmdline, (Verdict::Pass, format!("{name} is not given"))),
    }
}

fn assign(name: &str, value: &str) -> String {
    if value.is_empty() { name.to_owned() } else { format!("{name}={value}") }
}

/// What the command line does to a rule about symbols: words that break it, or satisfy it.
fn overruled(rule: &Rule, facts: &Facts) -> Option<(Origin, Judged)> {
    let line = EffectiveCmdline::new(facts)?;
    let lists = [(&rule.broken_by, Verdict::Fail), (&rule.satisfied_by, Verdict::Pass)];
    for (words, verdict) in lists {
        for word in words {
            let (name, wanted) = word.split_once('=').unwrap_or((word, ""));
            let Setting::Values(values) = line.setting(name) else { continue };
            let Some((value, origin)) = values.iter().find(|(value, _)| value == wanted) else {
                continue;
            };
            let text = assign(name, value);
            if values.len() > 1 {
                let reason = format!("whether {text} (from {origin}) comes last is not known");
                return Some((origin.clone(), (Verdict::Unknown, reason)));
            }
            return Some((origin.clone(), (verdict, format!("{text}, from {origin}"))));
        }
    }
    None
}
