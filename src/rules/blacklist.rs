//! What the command line keeps from starting.

use super::config::Value;
use super::{
    Assignment, EvidenceState, KernelInfo, ModuleState, Profile, SymbolState, Text, module_name,
};

/// The module parameter of the kernel: the last one counts, names are compared byte by byte
/// (`blacklisted` in `kernel/module/main.c`).
const MODULES: &str = "module_blacklist";
/// That of modprobe and Android's libmodprobe: every one counts.
const MODPROBE: &str = "modprobe.blacklist";
/// Functions, of the kernel and of modules; every one counts (`initcall_blacklisted` in
/// `init/main.c`).
const INITCALLS: &str = "initcall_blacklist";

/// The word that keeps `symbol` from starting, if it is in this state.
pub(super) fn word<K: KernelInfo>(
    profile: &Profile,
    symbol: &str,
    state: &SymbolState<K::Misfit>,
    kernel: &K,
) -> Option<Assignment> {
    let modules = match state {
        SymbolState::Value(Value::Yes) => Vec::new(),
        SymbolState::Value(Value::Module) => profile.modules_of(symbol),
        SymbolState::Module { module, .. } | SymbolState::Evidence { module: Some(module), .. } => {
            match module {
                ModuleState::Present(module) => vec![module.name.clone()],
                ModuleState::Missing { names, .. } => names.clone(),
            }
        }
        SymbolState::Evidence { evidence, module: None } => match evidence.state {
            EvidenceState::BuiltIn => Vec::new(),
            EvidenceState::NotBuiltIn | EvidenceState::Off => return None,
        },
        SymbolState::Value(_)
        | SymbolState::NeverModule(_)
        | SymbolState::Blocked { .. }
        | SymbolState::Unstated
        | SymbolState::Silent => return None,
    };
    let modules: Vec<String> = modules.iter().flat_map(|name| kernel.needs(name)).collect();
    let initcalls = profile.initcalls_of(symbol);
    let named = |parameter: &'static str, accept: &dyn Fn(&str) -> bool| {
        let mut values = kernel.occurrences(parameter)?.into_iter().next()?;
        if parameter == MODULES {
            values = values.pop().into_iter().collect();
        }
        let mut words = values.iter().flat_map(|(value, _)| value.split(','));
        let value = words.find(|word| accept(word))?.to_owned();
        Some(Assignment { name: Text::Borrowed(parameter), value: value.into() })
    };
    named(MODULES, &|word| modules.iter().any(|own| own == word))
        .or_else(|| named(MODPROBE, &|word| modules.contains(&module_name(word))))
        .or_else(|| named(INITCALLS, &|word| initcalls.iter().any(|own| own == word)))
}
