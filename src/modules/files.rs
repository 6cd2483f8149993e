//! Collects the modules and lists of one ramdisk in a pass over it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::role::{Role, roles_of};
use super::survey::{MAX_MODULE, MAX_MODULES, is_module_name, is_wanted};
use crate::compression::Format;
use crate::kernel::module::{self, Module};
use crate::kernel::symbols::Symbols;
use crate::ramdisk::Collector;

/// Maximum total size of kept compressed modules in bytes, without those in [`ModuleRequest::keep`].
const KEPT_MAX: usize = 8 << 20;

/// The data to collect from modules, besides `.modinfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleRequest {
    /// Collect the symbols that each module imports and exports.
    pub symbols: bool,
    /// The bytes of compressed modules, up to a limit.
    pub packed: bool,
    /// Names of modules (with `_`) whose bytes are always kept.
    pub keep: &'static [&'static str],
}

/// The modules and lists of a ramdisk, in file order.
#[derive(Debug, Default)]
pub struct ModuleFiles {
    request: ModuleRequest,
    /// Files with the name of a module.
    pub modules: Vec<Arc<ModuleFile>>,
    /// The lists of depmod and Android's build.
    pub lists: Vec<Arc<ListFile>>,
    /// Bytes of modules that are kept.
    kept: usize,
}

/// A file with the name of a module.
#[derive(Debug)]
pub struct ModuleFile {
    /// Its path in the ramdisk, without a leading `/`.
    pub path: String,
    /// The number of its entry in the ramdisk.
    entry: usize,
    /// Its compression.
    pub compression: Option<Format>,
    /// Its `.modinfo`.
    pub module: Result<Module, Arc<module::Error>>,
    /// Its roles.
    pub roles: Result<BTreeSet<Role>, Arc<module::Error>>,
    /// Its symbols, if requested and readable.
    pub symbols: Option<Symbols>,
    /// Its bytes in the ramdisk, if requested.
    pub bytes: Option<Vec<u8>>,
}

/// A list beside modules.
#[derive(Debug)]
pub struct ListFile {
    /// Its path in the ramdisk, without `/` at its start.
    pub path: String,
    /// The number of its entry in the ramdisk.
    entry: usize,
    /// Its contents.
    pub bytes: Vec<u8>,
}

impl ModuleFile {
    /// Read a module; its bytes are not kept.
    pub(crate) fn read(path: &str, bytes: &[u8], request: &ModuleRequest) -> Self {
        let unpacked = module::unpack(bytes);
        let elf = || unpacked.as_deref().map_err(|error| module::Error::from(error.clone()));
        let module = elf().and_then(|elf| Module::from_elf(elf, path));
        let roles = match &module {
            Ok(module) => elf().and_then(|elf| roles_of(module, elf)),
            Err(_) => Ok(BTreeSet::new()),
        };
        ModuleFile {
            path: path.to_owned(),
            entry: 0,
            compression: Format::detect(bytes),
            module: module.map_err(Arc::new),
            roles: roles.map_err(Arc::new),
            symbols: request.symbols.then(|| elf().and_then(Symbols::of_elf).ok()).flatten(),
            bytes: None,
        }
    }
}

impl ModuleFiles {
    /// An empty collection; `request` selects the data to collect.
    pub(crate) fn new(request: ModuleRequest) -> Self {
        ModuleFiles { request, ..ModuleFiles::default() }
    }

    /// Those among the first `entries` entries of the ramdisk.
    pub(crate) fn before(&self, entries: usize) -> Self {
        let modules = self.modules.iter().take_while(|file| file.entry < entries);
        let lists = self.lists.iter().take_while(|file| file.entry < entries);
        ModuleFiles {
            request: self.request.clone(),
            modules: modules.cloned().collect(),
            lists: lists.cloned().collect(),
            kept: self.kept,
        }
    }

    fn keeps(&self, file: &ModuleFile, size: usize) -> bool {
        let named = |module: &Module| self.request.keep.contains(&module.name.as_str());
        file.compression.is_some()
            && self.request.packed
            && (file.module.as_ref().is_ok_and(named) || self.kept + size <= KEPT_MAX)
    }
}

impl Collector for ModuleFiles {
    fn wants(&self, path: &str, size: u32) -> bool {
        is_wanted(path) && u64::from(size) <= MAX_MODULE && self.modules.len() < MAX_MODULES
    }

    fn take(&mut self, entry: usize, path: &str, data: &[u8]) {
        if !is_module_name(path) {
            let (path, bytes) = (path.to_owned(), data.to_vec());
            return self.lists.push(Arc::new(ListFile { path, entry, bytes }));
        }
        let mut file = ModuleFile { entry, ..ModuleFile::read(path, data, &self.request) };
        if self.keeps(&file, data.len()) {
            self.kept += data.len();
            file.bytes = Some(data.to_vec());
        }
        self.modules.push(Arc::new(file));
    }
}
