//! Collects the modules and lists of one ramdisk in a pass over it.

use std::collections::BTreeSet;

use super::role::{Role, roles_of};
use super::survey::{MAX_MODULE, MAX_MODULES, is_module_name, is_wanted};
use crate::kernel::module::{self, Module};
use crate::kernel::symbols::Symbols;
use crate::ramdisk::Collector;

/// The data to collect from modules, besides `.modinfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleRequest {
    /// Collect the symbols that each module imports and exports.
    pub symbols: bool,
    /// Names of modules (with `_`) whose bytes are kept.
    pub keep: Vec<String>,
}

/// The modules and lists of a ramdisk, in file order.
#[derive(Debug, Default)]
pub struct ModuleFiles {
    request: ModuleRequest,
    /// Files with the name of a module.
    pub modules: Vec<ModuleFile>,
    /// The lists of depmod and Android's build: path and contents.
    pub lists: Vec<(String, Vec<u8>)>,
}

/// A file with the name of a module.
#[derive(Debug)]
pub struct ModuleFile {
    /// Its path in the ramdisk, without a leading `/`.
    pub path: String,
    /// Its `.modinfo`.
    pub module: Result<Module, module::Error>,
    /// Its roles.
    pub roles: Result<BTreeSet<Role>, module::Error>,
    /// Its symbols, if requested.
    pub symbols: Option<Symbols>,
    /// Its bytes, if requested.
    pub bytes: Option<Vec<u8>>,
}

impl ModuleFile {
    /// Read a module.
    pub fn read(path: &str, bytes: &[u8], request: &ModuleRequest) -> Self {
        let module = Module::parse(bytes, path);
        let roles = match &module {
            Ok(module) => roles_of(module, bytes),
            Err(_) => Ok(BTreeSet::new()),
        };
        let named = |module: &Module| request.keep.contains(&module.name);
        let kept = module.as_ref().is_ok_and(named);
        ModuleFile {
            path: path.to_owned(),
            roles,
            symbols: request.symbols.then(|| Symbols::parse(bytes).ok()).flatten(),
            bytes: kept.then(|| bytes.to_vec()),
            module,
        }
    }
}

impl ModuleFiles {
    /// An empty collection; `request` selects the data to collect.
    pub fn new(request: ModuleRequest) -> Self {
        ModuleFiles { request, ..ModuleFiles::default() }
    }

    /// The requested data.
    pub fn request(&self) -> &ModuleRequest {
        &self.request
    }
}

impl Collector for ModuleFiles {
    fn wants(&self, path: &str, size: u32) -> bool {
        is_wanted(path) && u64::from(size) <= MAX_MODULE && self.modules.len() < MAX_MODULES
    }

    fn take(&mut self, path: &str, data: &[u8]) {
        match is_module_name(path) {
            true => self.modules.push(ModuleFile::read(path, data, &self.request)),
            false => self.lists.push((path.to_owned(), data.to_vec())),
        }
    }
}
