//! Evaluates one rule with what is known about a kernel.

use super::config::Value;
use super::{
    Basis, Cause, Condition, Confidence, Coverage, Doubt, Evidence, EvidenceState, KernelInfo,
    List, ModuleState, Outside, Profile, Reason, Rule, Scope, Setting, Symbol, SymbolReason,
    SymbolState, Text, VendorModule, Verdict,
};
use super::{blacklist, switch};

/// A verdict, its reason and its basis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement<O, M> {
    /// Whether the rule is satisfied.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason<O, M>,
    /// The basis of the verdict.
    pub basis: Basis<O>,
}

/// A verdict with its cause.
type Judged<K> = (Verdict, Cause<<K as KernelInfo>::Origin, <K as KernelInfo>::Misfit>);

/// A verdict with its basis.
type Based<K> = (Judged<K>, Basis<<K as KernelInfo>::Origin>);

/// The result for one symbol, or for the symbols of a group.
type JudgedSymbols<M> = (Verdict, Vec<SymbolReason<M>>);

/// Evaluate one rule of a profile for a kernel.
pub(crate) fn judge<K: KernelInfo>(
    profile: &Profile,
    rule: &Rule,
    kernel: &K,
) -> Judgement<K::Origin, K::Misfit> {
    let doubt = match scope(&rule.scope, kernel) {
        Ok(doubt) => doubt,
        Err(outside) => {
            let reason = Reason { cause: Cause::Outside(outside), doubt: None };
            let basis = config_basis(&rule.condition, kernel);
            return Judgement { verdict: Verdict::NotApplicable, reason, basis };
        }
    };
    let ((verdict, cause), basis) = condition(profile, rule, kernel);
    // A rule that may not apply to this kernel or machine can pass, but it cannot fail.
    let (verdict, doubt) = match (verdict, doubt) {
        (Verdict::Fail, None) => match alternative(profile, rule, kernel) {
            Some(other) => (Verdict::Unknown, Some(Doubt::Machine(other.title.clone()))),
            None => (Verdict::Fail, None),
        },
        (Verdict::Fail, doubt) => (Verdict::Unknown, doubt),
        (verdict, _) => (verdict, None),
    };
    Judgement { verdict, reason: Reason { cause, doubt }, basis }
}

fn condition<K: KernelInfo>(profile: &Profile, rule: &Rule, kernel: &K) -> Based<K> {
    match &rule.condition {
        Condition::Symbols(groups) => overruled(rule, kernel).unwrap_or_else(|| {
            let basis = config_basis(&rule.condition, kernel);
            (symbols(profile, rule, groups, kernel), basis)
        }),
        Condition::Parameter(switch) => {
            let (verdict, cause, basis) = switch::judge(switch, kernel);
            ((verdict, cause), basis)
        }
    }
}

/// The rule of the parts that serve on other machines, if it does not fail.
fn alternative<'p, K: KernelInfo>(
    profile: &'p Profile,
    rule: &Rule,
    kernel: &K,
) -> Option<&'p Rule> {
    let other = profile.rule(rule.alternative.as_ref()?)?;
    scope(&other.scope, kernel).ok()?;
    let ((verdict, _), _) = condition(profile, other, kernel);
    (verdict != Verdict::Fail).then_some(other)
}

/// Whether a kernel is in the scope: Err with the reason if it is not, Ok with a doubt if that is
/// unknown.
fn scope<K: KernelInfo>(scope: &Scope, kernel: &K) -> Result<Option<Doubt>, Outside> {
    let mut doubt = None;
    if !scope.arch.is_empty() {
        match kernel.arch() {
            Some(arch) if scope.arch.contains(&arch) => {}
            Some(arch) => return Err(Outside::Arch(arch)),
            None => doubt = Some(Doubt::Arch),
        }
    }
    match kernel.version() {
        Some(version) => {
            if let Some(since) = scope.since.filter(|since| version < *since) {
                return Err(Outside::Before { since, version });
            }
            if let Some(until) = scope.until.filter(|until| version >= *until) {
                return Err(Outside::After { until, version });
            }
        }
        None if scope.since.is_some() || scope.until.is_some() => doubt = Some(Doubt::Version),
        None => {}
    }
    for when in scope.when.iter() {
        match kernel.holds(when) {
            Some(true) => {}
            Some(false) => return Err(Outside::When(when.clone())),
            None => doubt = Some(Doubt::When(when.clone())),
        }
    }
    Ok(doubt)
}

impl Scope {
    /// The kernel is certainly in the scope.
    pub(crate) fn includes<K: KernelInfo>(&self, kernel: &K) -> bool {
        scope(self, kernel) == Ok(None)
    }
}

/// The basis of a rule about symbols.
fn config_basis<K: KernelInfo>(condition: &Condition, kernel: &K) -> Basis<K::Origin> {
    if kernel.has_config() {
        return Basis::Config;
    }
    let confidence = |symbol: &Text| match kernel.symbol(symbol) {
        Symbol::Evidence(evidence) => Some(evidence.confidence),
        Symbol::Value(_) | Symbol::Unstated | Symbol::Silent | Symbol::NoConfig => None,
    };
    let least_sure = condition.symbols().filter_map(confidence).min();
    least_sure.map_or(Basis::Nothing, Basis::Evidence)
}

/// The best of the groups; within a group the worst of its symbols.
fn symbols<K: KernelInfo>(
    profile: &Profile,
    rule: &Rule,
    groups: &List<List<Text>>,
    kernel: &K,
) -> Judged<K> {
    let mut symbols = rule.condition.symbols();
    if symbols.any(|symbol| kernel.symbol(symbol) == Symbol::NoConfig) {
        return (Verdict::Unknown, Cause::NoConfig);
    }
    let of_group = |group: &List<Text>| {
        let judged = group.iter().map(|name| {
            let (verdict, state) = symbol(profile, rule, name, kernel);
            (verdict, vec![SymbolReason { symbol: name.clone(), state }])
        });
        select(judged.collect(), &[Verdict::Fail, Verdict::Unknown, Verdict::Pass])
    };
    let judged: Vec<JudgedSymbols<K::Misfit>> = groups.iter().map(of_group).collect();
    let blocked: Vec<SymbolReason<K::Misfit>> =
        judged.iter().flat_map(|(_, own)| own).filter(|own| own.is_blocked()).cloned().collect();
    let (verdict, reasons) = select(judged, &[Verdict::Pass, Verdict::Unknown, Verdict::Fail]);
    match (verdict, blocked.is_empty()) {
        (Verdict::Fail, true) => {}
        (Verdict::Fail, false) => return (verdict, Cause::Symbols(blocked)),
        (_, true) => return (verdict, Cause::Symbols(reasons)),
        // It is not known whether this machine has what is kept from starting, or the other.
        (_, false) => return (Verdict::Unknown, Cause::Symbols(blocked)),
    }
    let is_module = |symbol: &Text| kernel.symbol(symbol) == Symbol::Value(&Value::Module);
    let cause = match groups.len() > 1 && !rule.condition.symbols().any(is_module) {
        true => Cause::NoneSet(groups.clone()),
        false => Cause::Symbols(reasons),
    };
    match rule.vendor_module && kernel.is_gki() {
        true => vendor_module(rule, cause, kernel),
        false => (verdict, cause),
    }
}

/// The first verdict of `order` that occurs, with the reasons of all results with that verdict.
fn select<M>(judged: Vec<JudgedSymbols<M>>, order: &[Verdict]) -> JudgedSymbols<M> {
    let occurs = |wanted: &Verdict| judged.iter().any(|(verdict, _)| verdict == wanted);
    let selected = order.iter().copied().find(occurs).unwrap_or(Verdict::Unknown);
    let reasons = judged.into_iter().filter(|(verdict, _)| *verdict == selected);
    (selected, reasons.flat_map(|(_, reasons)| reasons).collect())
}

/// For a GKI kernel, vendor modules of any name can provide what its config lacks.
fn vendor_module<K: KernelInfo>(
    rule: &Rule,
    config: Cause<K::Origin, K::Misfit>,
    kernel: &K,
) -> Judged<K> {
    let named = rule.modules.iter().find_map(|name| kernel.find_module(&|other| other == name));
    let hinted = || {
        let hint = |name: &str| rule.module_hints.iter().any(|hint| name.contains(hint.as_ref()));
        kernel.find_module(&hint)
    };
    let (verdict, module) = if let Some(module) = named {
        (module.fit.verdict(), VendorModule::Named(module))
    } else if let Some(module) = hinted() {
        (Verdict::Unknown, VendorModule::Hinted(module))
    } else {
        let coverage = kernel.coverage();
        (coverage.verdict_on_missing(), VendorModule::NotFound(coverage))
    };
    (verdict, Cause::VendorModule { config: Box::new(config), module })
}

impl Coverage {
    /// What it means for a rule that a module was not found.
    fn verdict_on_missing(self) -> Verdict {
        match self {
            Coverage::None | Coverage::Ramdisks => Verdict::Unknown,
            Coverage::All(_) | Coverage::Loaded => Verdict::Fail,
        }
    }
}

fn symbol<K: KernelInfo>(
    profile: &Profile,
    rule: &Rule,
    name: &Text,
    kernel: &K,
) -> (Verdict, SymbolState<K::Misfit>) {
    let (verdict, state) = match kernel.symbol(name) {
        Symbol::Value(value) => by_config(profile, rule, name, value, kernel),
        Symbol::Evidence(evidence) => by_evidence(profile, rule, name, evidence, kernel),
        Symbol::Unstated => (Verdict::Unknown, SymbolState::Unstated),
        Symbol::Silent | Symbol::NoConfig => (Verdict::Unknown, SymbolState::Silent),
    };
    // What is forbidden may as well be kept from starting.
    if verdict == Verdict::Fail || rule.accepts("n") {
        return (verdict, state);
    }
    match blacklist::word(profile, name, &state, kernel) {
        Some(word) => (Verdict::Fail, SymbolState::Blocked { state: Box::new(state), word }),
        None => (verdict, state),
    }
}

fn by_config<K: KernelInfo>(
    profile: &Profile,
    rule: &Rule,
    name: &str,
    value: &Value,
    kernel: &K,
) -> (Verdict, SymbolState<K::Misfit>) {
    let state = || SymbolState::Value(value.clone());
    let by_module = |module: ModuleState<K::Misfit>| {
        (module.verdict(), SymbolState::Module { value: value.clone(), module })
    };
    let module = || module(profile, name, kernel);
    match value {
        Value::Module => match kernel.arch().filter(|arch| rule.never_module.contains(arch)) {
            Some(arch) => (Verdict::Fail, SymbolState::NeverModule(arch)),
            None if rule.accepts("m") => (Verdict::Pass, state()),
            None if rule.accepts("y") => by_module(module()),
            None => (Verdict::Fail, state()),
        },
        Value::No if rule.accepts("n") => (Verdict::Pass, state()),
        // A module can be built apart from the kernel, as vendor modules are.
        Value::No if rule.accepts("y") && !profile.is_part(name) => match module() {
            present @ ModuleState::Present(_) => by_module(present),
            ModuleState::Missing { .. } => (Verdict::Fail, state()),
        },
        Value::No => (Verdict::Fail, state()),
        Value::Yes | Value::Text(_) | Value::Number(_) => {
            (pass_if(rule.accepts(value.as_str())), state())
        }
    }
}

/// Without a config, by the kernel's symbol table.
fn by_evidence<K: KernelInfo>(
    profile: &Profile,
    rule: &Rule,
    name: &str,
    evidence: &Evidence,
    kernel: &K,
) -> (Verdict, SymbolState<K::Misfit>) {
    // Likely evidence does not fail a rule.
    let unless_likely = |verdict| match (verdict, evidence.confidence) {
        (Verdict::Fail, Confidence::Likely) => Verdict::Unknown,
        (verdict, Confidence::Likely | Confidence::Certain) => verdict,
    };
    let state = |module| SymbolState::Evidence { evidence: evidence.clone(), module };
    match evidence.state {
        EvidenceState::BuiltIn => (unless_likely(pass_if(rule.accepts("y"))), state(None)),
        EvidenceState::Off => (unless_likely(pass_if(rule.accepts("n"))), state(None)),
        EvidenceState::NotBuiltIn if rule.accepts("n") && rule.accepts("m") => {
            (Verdict::Pass, state(None))
        }
        EvidenceState::NotBuiltIn => {
            let module = module(profile, name, kernel);
            let verdict = match &module {
                ModuleState::Present(_) if profile.is_part(name) => Verdict::Unknown,
                ModuleState::Present(_) if rule.accepts("y") || rule.accepts("m") => {
                    module.verdict()
                }
                ModuleState::Missing { .. } if !rule.accepts("n") => {
                    unless_likely(module.verdict())
                }
                ModuleState::Present(_) | ModuleState::Missing { .. } => Verdict::Unknown,
            };
            (verdict, state(Some(module)))
        }
    }
}

fn pass_if(satisfied: bool) -> Verdict {
    if satisfied { Verdict::Pass } else { Verdict::Fail }
}

/// The module that a symbol builds.
fn module<K: KernelInfo>(profile: &Profile, symbol: &str, kernel: &K) -> ModuleState<K::Misfit> {
    let names = profile.modules_of(symbol);
    match kernel.find_module(&|other| names.iter().any(|name| name == other)) {
        Some(module) => ModuleState::Present(module),
        None => ModuleState::Missing { names, coverage: kernel.coverage() },
    }
}

impl<M> ModuleState<M> {
    /// What it means for a rule that the module decides.
    fn verdict(&self) -> Verdict {
        match self {
            ModuleState::Present(module) => module.fit.verdict(),
            ModuleState::Missing { coverage, .. } => coverage.verdict_on_missing(),
        }
    }
}

/// The effect of the command line on a rule about symbols: parameters that break it, or satisfy it.
fn overruled<K: KernelInfo>(rule: &Rule, kernel: &K) -> Option<Based<K>> {
    let lists = [(&rule.broken_by, Verdict::Fail), (&rule.satisfied_by, Verdict::Pass)];
    for (assignments, verdict) in lists {
        for wanted in assignments.iter() {
            let (value, origin, ambiguous) = match kernel.parameter(&wanted.name) {
                Setting::NoCommandLine | Setting::Absent => continue,
                Setting::Value(value, origin) => (value, origin, false),
                Setting::Either(values) => {
                    match values.into_iter().find(|(value, _)| *value == wanted.value) {
                        Some((value, origin)) => (value, origin, true),
                        None => continue,
                    }
                }
            };
            if value != wanted.value {
                continue;
            }
            let verdict = if ambiguous { Verdict::Unknown } else { verdict };
            let basis = Basis::CommandLine(Some(origin.clone()));
            let name = wanted.name.clone();
            return Some(((verdict, Cause::Overruled { name, value, origin, ambiguous }), basis));
        }
    }
    None
}
