//! Whether a kernel will take a module: what `load_module` in `kernel/module/main.c` checks, before
//! the device does.

use std::collections::HashMap;

use crate::kernel::exports::Exports;
use crate::kernel::module::Module;
use crate::kernel::symbols::{Export, Symbols};

/// The kernel that modules are for, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Target<'k> {
    /// Its release, `6.1.192-android14`.
    pub release: Option<&'k str>,
    /// `release` may be without its local part: it comes from a config's header.
    pub release_is_partial: bool,
    /// What it exports; None when that could not be read.
    pub exports: Option<&'k Exports>,
    /// `CONFIG_TRIM_UNUSED_KSYMS=y`.
    pub trims_exports: bool,
    /// `CONFIG_MODULE_SIG_FORCE=y`, or `module.sig_enforce` on the command line.
    pub requires_signature: bool,
}

/// Why a module will not load.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Built for another kernel.
    #[error("{module} was built for {built_for}, the kernel is {release}")]
    Release {
        /// Its name.
        module: String,
        /// By its vermagic.
        built_for: String,
        /// The kernel's.
        release: String,
    },
    /// A symbol that nobody exports.
    #[error(
        "{module} needs the symbol {symbol}, which neither the kernel nor another module exports{}",
        if *.trimmed { " (TRIM_UNUSED_KSYMS: the kernel exports only what its own modules use)" } else { "" }
    )]
    Unresolved {
        /// The module's name.
        module: String,
        /// The symbol.
        symbol: String,
        /// The kernel was built so that it leaves out what it thinks unused.
        trimmed: bool,
    },
    /// A symbol whose type differs from the one that the module was built with.
    #[error(
        "{module} was built with another {symbol} (CRC {wanted:#010x}) than is exported (CRC {got:#010x}): it is not of this kernel's build"
    )]
    Crc {
        /// The module's name.
        module: String,
        /// The symbol.
        symbol: String,
        /// What the module was built with.
        wanted: u32,
        /// What is exported.
        got: u32,
    },
    /// A symbol that is for GPL modules only.
    #[error("{module} has the licence \"{license}\", and {symbol} is exported to GPL modules only")]
    Gpl {
        /// The module's name.
        module: String,
        /// Its licence.
        license: String,
        /// The symbol.
        symbol: String,
    },
    /// A symbol in a namespace that the module does not import.
    #[error("{module} uses {symbol} without importing its namespace {namespace}")]
    Namespace {
        /// The module's name.
        module: String,
        /// The symbol.
        symbol: String,
        /// Its namespace.
        namespace: String,
    },
    /// No signature, and the kernel asks for one.
    #[error("{module} is not signed, and the kernel loads signed modules only (MODULE_SIG_FORCE)")]
    Unsigned {
        /// Its name.
        module: String,
    },
}

impl Misfit {
    /// The name of the module.
    pub fn module(&self) -> &str {
        match self {
            Misfit::Release { module, .. }
            | Misfit::Unresolved { module, .. }
            | Misfit::Crc { module, .. }
            | Misfit::Gpl { module, .. }
            | Misfit::Namespace { module, .. }
            | Misfit::Unsigned { module } => module,
        }
    }
}

/// Whether a module's CRCs were compared with the kernel's and are the same: then it is of this
/// kernel's build, or of one with the same interface, even with another vermagic.
fn same_interface(module: &Module, symbols: &Symbols, target: &Target<'_>) -> bool {
    let Some(exports) = target.exports.filter(|exports| exports.has_crcs) else { return false };
    let mut compared = 0;
    for import in &symbols.imports {
        let Some(wanted) = import.crc else { continue };
        match exports.get(&import.name).and_then(|export| export.crc) {
            Some(crc) if crc == wanted => compared += 1,
            Some(_) => return false,
            None => {}
        }
    }
    compared > 0 && module.has_modversions()
}

/// Why the kernel of `target` refuses any of `modules`, which are loaded in this order.
/// Nothing is said of what cannot be known.
pub fn misfits(modules: &[(&Module, &Symbols)], target: &Target<'_>) -> Vec<Misfit> {
    let mut found = Vec::new();
    let mut given: HashMap<&str, &Export> = HashMap::new();
    for (module, symbols) in modules {
        found.extend(release(module, symbols, target));
        if target.requires_signature && !module.signed {
            found.push(Misfit::Unsigned { module: module.name.clone() });
        }
        if let Some(exports) = target.exports {
            found.extend(links(module, symbols, exports, &given, target));
        }
        given.extend(symbols.exports.iter().map(|(name, export)| (name.as_str(), export)));
    }
    found
}

/// The part of the vermagic that must be the kernel's, unless CRCs replace it (`same_magic` in
/// `kernel/module/version.c`).
fn release(module: &Module, symbols: &Symbols, target: &Target<'_>) -> Option<Misfit> {
    let release = target.release?;
    let built_for = module.vermagic.as_deref().unwrap_or_default();
    let matches = match target.release_is_partial {
        true => built_for.starts_with(release),
        false => module.vermagic_matches(release),
    };
    let misfit = || Misfit::Release {
        module: module.name.clone(),
        built_for: module.vermagic.clone().unwrap_or_else(|| "nothing it says".to_owned()),
        release: release.to_owned(),
    };
    (!matches && !same_interface(module, symbols, target)).then(misfit)
}

/// What `resolve_symbol` would say to each symbol that the module needs.
fn links(
    module: &Module,
    symbols: &Symbols,
    exports: &Exports,
    given: &HashMap<&str, &Export>,
    target: &Target<'_>,
) -> Vec<Misfit> {
    let mut found = Vec::new();
    for import in &symbols.imports {
        let (module_name, symbol) = (module.name.clone(), import.name.clone());
        let export = exports.get(&import.name).or_else(|| given.get(import.name.as_str()).copied());
        let Some(export) = export else {
            if !import.weak {
                let trimmed = target.trims_exports;
                found.push(Misfit::Unresolved { module: module_name, symbol, trimmed });
            }
            continue;
        };
        if let (Some(wanted), Some(got)) = (import.crc, export.crc)
            && wanted != got
        {
            found.push(Misfit::Crc { module: module_name, symbol, wanted, got });
        } else if export.gpl && !module.license.is_empty() && !module.is_gpl() {
            let license = module.license.clone();
            found.push(Misfit::Gpl { module: module_name, license, symbol });
        } else if !export.namespace.is_empty() && !module.namespaces.contains(&export.namespace) {
            let namespace = export.namespace.clone();
            found.push(Misfit::Namespace { module: module_name, symbol, namespace });
        }
    }
    found
}
