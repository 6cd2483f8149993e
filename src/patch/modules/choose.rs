//! What must be loaded for vfio-pci, out of what was given and what the ramdisk has.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{ModuleOptions, VFIO};
use crate::audit::Built;
use crate::kernel::Module;
use crate::kernel::module::normalise;
use crate::kernel::symbols::Symbols;
use crate::modules::depmod::Softdep;
use crate::modules::supply::{Supplied, Supply};
use crate::modules::survey::visit;
use crate::modules::{Dependencies, Misfit, ModuleFile, ModuleSource, ModuleTree, misfits};
use crate::patch::context::Context;
use crate::patch::error::{Error, ModuleError};
use crate::patch::kernel_facts::KernelFacts;
use crate::patch::warning::Warning;

/// What passthrough needs that may be a module: its config symbol and its name.
const NEEDED: &[(&str, &str)] =
    &[("VFIO_PCI", "vfio_pci"), ("VFIO_IOMMU_TYPE1", "vfio_iommu_type1")];

/// The modules to load, in order.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    pub modules: Vec<ChosenModule>,
    /// What they say of themselves, in the same order.
    pub infos: Vec<Module>,
}

impl Chosen {
    /// The modules that the ramdisk does not have yet.
    pub(crate) fn added(&self) -> impl Iterator<Item = &Module> {
        let both = self.modules.iter().zip(&self.infos);
        both.filter(|(chosen, _)| chosen.added.is_some()).map(|(_, module)| module)
    }
}

/// A module to load.
#[derive(Clone, Debug)]
pub(crate) struct ChosenModule {
    pub name: String,
    /// In the ramdisk, or the name of the file that was given.
    pub path: String,
    /// The file that is added; None for a module that the ramdisk has.
    pub added: Option<Added>,
}

/// A module that is added.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    /// What messages call the file.
    pub from: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// File name and contents of a module without the compression.
///
/// # Errors
/// [`Error::Module`].
pub(crate) fn decompress(path: &str, bytes: &[u8]) -> Result<(String, Vec<u8>), Error> {
    let file = path.rsplit('/').next().unwrap_or_default();
    let bytes = crate::kernel::module::unpack(bytes)
        .map_err(|error| Error::Module { name: file.to_owned(), problem: error.into() })?;
    let stem = file.split(".ko").next().unwrap_or_default();
    Ok((format!("{stem}.ko"), bytes.into_owned()))
}

/// What was given, and what of it was read.
pub(crate) struct Given<'o> {
    files: Vec<File<'o>>,
    pub supply: Supply<'o>,
}

impl<'o> Given<'o> {
    /// Read the modules that were given one by one, and of the sources those that they and VFIO need.
    ///
    /// # Errors
    /// [`Error::Module`], [`Error::ModuleSource`].
    pub(crate) fn read(
        tree: &ModuleTree,
        kernel: &KernelFacts<'_>,
        options: &'o ModuleOptions<'_>,
    ) -> Result<Self, Error> {
        let files = read_files(&options.files)?;
        let needed = NEEDED.iter().map(|(_, name)| *name).chain(VFIO.iter().copied());
        let first = needed.map(str::to_owned).collect();
        let mut given =
            Given { files, supply: Supply::open(&options.sources, kernel.version(), &first)? };
        for (symbol, name) in NEEDED {
            let missing = tree.named(name).is_none() && given.file(name).is_none();
            if missing && kernel.built(symbol) != Built::In && given.supply.get(name).is_none() {
                given.supply.read_all()?;
            }
        }
        given.read_needs(tree)?;
        Ok(given)
    }

    /// Read what is needed by what is there, over and over.
    fn read_needs(&mut self, tree: &ModuleTree) -> Result<(), Error> {
        let named = self.files.iter().map(|(module, _)| module.name.clone());
        let mut open: Vec<String> =
            named.chain(NEEDED.iter().map(|(_, name)| (*name).to_owned())).collect();
        let mut seen: BTreeSet<String> = BTreeSet::new();
        while let Some(name) = open.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let in_ramdisk = self.file(&name).is_none() && tree.named(&name).is_some();
            if self.file(&name).is_none() && !in_ramdisk {
                self.supply.read(&[&name])?;
            }
            let given = self.file(&name).map(|(module, _)| module).or(tree.named(&name));
            let Some(module) = given.or(self.supply.get(&name).map(|own| &own.module)) else {
                continue;
            };
            let own = module.softdeps.iter().map(|text| Softdep::parse(&name, text));
            let listed = tree.lists.softdeps.iter().filter(|own| own.module == name).cloned();
            let soft = own.chain(listed).flat_map(|softdep| [softdep.pre, softdep.post].concat());
            open.extend(soft.map(|name| normalise(&name)));
            open.extend(module.depends.iter().cloned());
        }
        Ok(())
    }

    fn file(&self, name: &str) -> Option<&File<'o>> {
        self.files.iter().find(|(module, _)| module.name == name)
    }
}

/// Choose. What was given as files is always loaded; whatever else vfio-pci needs comes from the
/// ramdisk if that has it, otherwise from the sources.
pub(crate) fn choose(
    tree: &ModuleTree,
    given: &Given<'_>,
    kernel: &KernelFacts<'_>,
    options: &ModuleOptions<'_>,
) -> Result<(Chosen, Vec<Warning>), Error> {
    let Given { files, supply } = given;
    let dependencies = dependencies(tree, given);
    let mut wanted: Vec<&str> = files.iter().map(|(module, _)| module.name.as_str()).collect();
    let mut warnings = Vec::new();
    for (symbol, name) in NEEDED {
        match (kernel.built(symbol), dependencies.has(name)) {
            (Built::In, _) => {}
            (_, true) => wanted.push(name),
            (_, false) if !options.sources.is_empty() => {
                return Err(Error::NoModule { name, symbol, given: names_of(&options.sources) });
            }
            (Built::Module, false) if files.is_empty() => {
                warnings.push(Warning::ModuleMissing { symbol, module: name });
            }
            (_, false) => {}
        }
    }
    let mut chosen = Chosen::default();
    for name in dependencies.load_order(&wanted)? {
        let (module, added) = match (given.file(&name), tree.named(&name), supply.get(&name)) {
            (Some((module, bytes)), _, _) => {
                (module, Some(Added { from: module.path.clone(), bytes: bytes.to_vec() }))
            }
            (None, Some(module), _) => (module, None),
            (None, None, Some(Supplied { module, bytes })) => {
                (module, Some(Added { from: module.file.clone(), bytes: bytes.clone() }))
            }
            (None, None, None) => continue,
        };
        chosen.infos.push(module.clone());
        chosen.modules.push(ChosenModule { name, path: module.path.clone(), added });
    }
    Ok((chosen, warnings))
}

/// The dependencies among the files given, the modules of the ramdisk and those of the sources.
fn dependencies(tree: &ModuleTree, given: &Given<'_>) -> Dependencies {
    let mut all: Vec<Module> = given.files.iter().map(|(module, _)| module.clone()).collect();
    let mut names: BTreeSet<String> = all.iter().map(|module| module.name.clone()).collect();
    for module in tree.modules.values().chain(given.supply.modules()) {
        if names.insert(module.name.clone()) {
            all.push(module.clone());
        }
    }
    let mut lists = tree.lists.clone();
    // The modules' own information covers the added ones too.
    lists.dep = None;
    lists.aliases.clear();
    let own_softdeps = all
        .iter()
        .flat_map(|module| module.softdeps.iter().map(|text| Softdep::parse(&module.name, text)));
    lists.softdeps.extend(own_softdeps);
    lists.seen.insert("modules.softdep".to_owned());
    lists.seen.insert("modules.alias".to_owned());
    lists.install.clear();
    let builtin = lists.builtin.clone();
    Dependencies::new(&lists, &all, |name| builtin.contains(name))
}

type File<'f> = (Module, &'f [u8]);

/// The modules that were given one by one.
fn read_files<'f>(
    files: &'f [(String, std::borrow::Cow<'_, [u8]>)],
) -> Result<Vec<File<'f>>, Error> {
    let mut modules = Vec::new();
    for (i, (name, bytes)) in files.iter().enumerate() {
        let fail = |problem| Error::Module { name: name.clone(), problem };
        if files[..i].iter().any(|(other, _)| other == name) {
            return Err(fail(ModuleError::Duplicate));
        }
        let module = Module::parse(bytes, name).map_err(|error| fail(error.into()))?;
        modules.push((module, &**bytes));
    }
    Ok(modules)
}

/// The bytes of the modules at these paths, as they are in the sources. Costs a pass over each.
pub(crate) fn contents(
    sources: &[ModuleSource<'_>],
    paths: &BTreeSet<&str>,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut found = BTreeMap::new();
    if paths.is_empty() {
        return Ok(found);
    }
    for source in sources {
        visit(source, &mut Vec::new(), &mut |file| {
            if paths.contains(file.path) {
                found.insert(file.path.to_owned(), file.bytes.to_vec());
            }
        })?;
    }
    Ok(found)
}

/// Refuse modules that the kernel will not load. Those that the ramdisk has are not checked: they
/// came with it.
pub(crate) fn check_fit(chosen: &Chosen, set: &Context<'_, '_>) -> Result<(), Error> {
    if chosen.added().next().is_none() {
        return Ok(());
    }
    // A kernel that cannot be read is not compared.
    let exports = set.exports();
    let target = set.kernel.target(exports);
    let read = chosen.modules.iter().map(|module| symbols(set, module));
    let read: Vec<(Module, Symbols)> = read.collect::<Result<_, _>>()?;
    let modules: Vec<(&Module, &Symbols)> = read.iter().map(|(m, s)| (m, s)).collect();
    let found = misfits(&modules, &target);
    match found.first() {
        None => Ok(()),
        Some(Misfit::Release { module, built_for, release }) => {
            let (built_for, release) = (built_for.clone(), release.clone());
            let problem = ModuleError::Release { built_for, release };
            Err(Error::Module { name: module.clone(), problem })
        }
        Some(_) => Err(Error::Misfits(found)),
    }
}

/// What a module says of itself, and its symbols.
fn symbols(set: &Context<'_, '_>, chosen: &ChosenModule) -> Result<(Module, Symbols), Error> {
    let again;
    let bytes = match (&chosen.added, set.module_file(&chosen.path)) {
        (Some(added), _) => added.bytes.as_slice(),
        (None, Some(ModuleFile { module: Ok(module), symbols: Some(symbols), .. })) => {
            return Ok((module.clone(), symbols.clone()));
        }
        // Damaged: reading it again gives the error.
        (None, _) => {
            let path = chosen.path.as_str();
            again = contents(&set.ramdisks(), &BTreeSet::from([path]))?.remove(path);
            again.as_deref().unwrap_or_default()
        }
    };
    let fail = |error: crate::kernel::module::Error| Error::Module {
        name: chosen.name.clone(),
        problem: error.into(),
    };
    let module = Module::parse(bytes, &chosen.path).map_err(fail)?;
    Ok((module, Symbols::parse(bytes).map_err(fail)?))
}

fn names_of(sources: &[ModuleSource<'_>]) -> String {
    sources.iter().map(ModuleSource::name).collect::<Vec<_>>().join(", ")
}
