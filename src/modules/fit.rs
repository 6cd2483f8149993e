//! Checks in advance whether a kernel will load a module, like `load_module` in
//! `kernel/module/main.c`.

use std::collections::HashMap;

use crate::kernel::exports::Exports;
use crate::kernel::module::Module;
use crate::kernel::symbols::{Export, Symbols};

/// What is known about the kernel that is to load the modules.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetKernel<'k> {
    /// Its release, such as `6.1.192-android14`.
    pub release: Option<&'k str>,
    /// `release` may lack the local version, because it comes from the header of a config.
    pub release_is_partial: bool,
    /// Its exported symbols; None if they could not be read.
    pub exports: Option<&'k Exports>,
    /// `CONFIG_TRIM_UNUSED_KSYMS=y`.
    pub trims_exports: bool,
    /// `CONFIG_MODULE_SIG_FORCE=y`, or `module.sig_enforce` on the command line.
    pub requires_signature: bool,
}

/// A reason why a module will not load.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Built for another kernel.
    #[error("{module} was built for {built_for}, the kernel is {release}")]
    Release {
        /// Its name.
        module: String,
        /// Its vermagic.
        built_for: String,
        /// The kernel's release.
        release: String,
    },
    /// A symbol that is not exported.
    #[error(
        "{module} needs the symbol {symbol}, which neither the kernel nor another module exports{}",
        if *.trimmed { " (TRIM_UNUSED_KSYMS: the kernel exports only what its own modules use)" } else { "" }
    )]
    Unresolved {
        /// The module's name.
        module: String,
        /// The symbol.
        symbol: String,
        /// The kernel was built with `TRIM_UNUSED_KSYMS`.
        trimmed: bool,
    },
    /// A symbol whose type differs from the one that the module was built with.
    #[error(
        "{module} was built with another version of {symbol} (CRC {wanted:#010x}) than the exported one (CRC {got:#010x}): it belongs to another build of the kernel"
    )]
    Crc {
        /// The module's name.
        module: String,
        /// The symbol.
        symbol: String,
        /// The CRC in the module.
        wanted: u32,
        /// The exported CRC.
        got: u32,
    },
    /// A symbol that is exported only to GPL modules.
    #[error("{module} has the licence \"{license}\", but {symbol} is exported only to GPL modules")]
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
    /// No signature, but the kernel requires one.
    #[error("{module} is not signed, but the kernel loads only signed modules (MODULE_SIG_FORCE)")]
    Unsigned {
        /// Its name.
        module: String,
    },
}

impl Misfit {
    /// The name of the module.
    pub(crate) fn module(&self) -> &str {
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

/// Whether the module's CRCs could be compared with the kernel's and are equal. Then the module
/// belongs to this build of the kernel, or to one with the same interface, whatever its vermagic.
fn same_interface(module: &Module, symbols: &Symbols, target: &TargetKernel<'_>) -> bool {
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

/// Why the kernel `target` will not load any of `modules`, which are loaded in this order. Checks
/// that need unknown data are skipped.
pub fn misfits(modules: &[(&Module, &Symbols)], target: &TargetKernel<'_>) -> Vec<Misfit> {
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

/// Compare the release in the vermagic, which must be the kernel's unless CRCs are compared instead
/// (`same_magic` in `kernel/module/version.c`).
fn release(module: &Module, symbols: &Symbols, target: &TargetKernel<'_>) -> Option<Misfit> {
    let release = target.release?;
    let built_for = module.vermagic.as_deref().unwrap_or_default();
    let matches = match target.release_is_partial {
        true => built_for.starts_with(release),
        false => module.vermagic_matches(release),
    };
    let misfit = || Misfit::Release {
        module: module.name.clone(),
        built_for: module.vermagic.clone().unwrap_or_else(|| "an unknown kernel".to_owned()),
        release: release.to_owned(),
    };
    (!matches && !same_interface(module, symbols, target)).then(misfit)
}

/// Check each imported symbol like `resolve_symbol`.
fn links(
    module: &Module,
    symbols: &Symbols,
    exports: &Exports,
    given: &HashMap<&str, &Export>,
    target: &TargetKernel<'_>,
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
