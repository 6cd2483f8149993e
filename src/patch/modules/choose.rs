//! What must be loaded for vfio-pci, out of what was given and what the ramdisk has.

use std::collections::BTreeMap;

use super::plan::ModuleOptions;
use crate::audit::Built;
use crate::image::{FragmentType, ImageKind, SectionName};
use crate::kernel::Module;
use crate::kernel::symbols::Symbols;
use crate::modules::depmod::Softdep;
use crate::modules::survey::visit;
use crate::modules::{Dependencies, Misfit, ModuleSource, ModuleTree, misfits};
use crate::patch::context::Context;
use crate::patch::error::{Error, ModuleError};
use crate::patch::kernel_facts::KernelFacts;
use crate::patch::warning::Warning;

/// What passthrough needs that may be a module: its config symbol and its name.
const NEEDED: &[(&str, &str)] =
    &[("VFIO_PCI", "vfio_pci"), ("VFIO_IOMMU_TYPE1", "vfio_iommu_type1")];

/// The modules to load, in order.
#[derive(Debug, Default)]
pub struct Chosen {
    pub modules: Vec<ChosenModule>,
    /// The modules themselves, of those that are added.
    added: Vec<Module>,
}

impl Chosen {
    /// The modules that the ramdisk does not have yet.
    pub fn added(&self) -> impl Iterator<Item = &Module> {
        self.added.iter()
    }
}

/// A module to load.
#[derive(Clone, Debug)]
pub struct ChosenModule {
    pub name: String,
    /// In the ramdisk, or the name of the file that was given.
    pub path: String,
    pub bytes: Vec<u8>,
    /// The file it is taken from when the ramdisk does not have it.
    pub added_from: Option<String>,
}

impl ChosenModule {
    /// File name and contents without the compression.
    ///
    /// # Errors
    /// [`Error::Module`].
    pub fn decompress(&self) -> Result<(String, Vec<u8>), Error> {
        let file = self.path.rsplit('/').next().unwrap_or_default();
        let bytes = crate::kernel::module::unpack(&self.bytes)
            .map_err(|error| Error::Module { name: file.to_owned(), problem: error.into() })?;
        let stem = file.split(".ko").next().unwrap_or_default();
        Ok((format!("{stem}.ko"), bytes.into_owned()))
    }
}

/// The ramdisks of a set that a normal boot unpacks, in the order of unpacking: bootloaders put the
/// fragments of vendor_kernel_boot after those of vendor_boot.
pub fn ramdisks<'a>(set: &Context<'_, 'a>) -> Vec<ModuleSource<'a>> {
    const GENERIC: &[ImageKind] = &[ImageKind::Boot, ImageKind::InitBoot, ImageKind::Ramdisk];
    let of = |kind| set.find(kind).map(|index| &set.images[index]);
    let order = of(ImageKind::VendorBoot).into_iter().chain(set.vendor_kernel_boots());
    let order = order.chain(GENERIC.iter().filter_map(|kind| of(*kind)));
    let mut sources = Vec::new();
    for image in order {
        let kind = image.kind();
        let fragments = image.fragments();
        for fragment in &fragments {
            if fragment.kind != FragmentType::Recovery && !fragment.bytes.is_empty() {
                sources.push(ModuleSource::Bytes { name: kind.to_string(), bytes: fragment.bytes });
            }
        }
        let whole = image.section(SectionName::Ramdisk).filter(|bytes| !bytes.is_empty());
        if let (true, Some(bytes)) = (fragments.is_empty(), whole) {
            sources.push(ModuleSource::Bytes { name: kind.to_string(), bytes });
        }
    }
    sources
}

/// Choose. What was given as files is always loaded; whatever else vfio-pci needs comes from the
/// ramdisk if that has it, otherwise from the sources.
pub fn choose(
    tree: &ModuleTree,
    supply: &ModuleTree,
    ramdisks: &[ModuleSource<'_>],
    kernel: &KernelFacts<'_>,
    options: &ModuleOptions<'_>,
) -> Result<(Chosen, Vec<Warning>), Error> {
    let files = read_files(&options.files)?;
    let dependencies = dependencies(tree, supply, &files);
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
    let order = dependencies.load_order(&wanted)?;
    let in_ramdisk = |name: &String| {
        files.iter().all(|(module, _)| module.name != **name) && tree.named(name).is_some()
    };
    let (here, rest): (Vec<String>, Vec<String>) = order.iter().cloned().partition(in_ramdisk);
    let mut here = contents(ramdisks, tree, &here)?;
    let mut supplied = contents(&options.sources, supply, &rest)?;
    let mut chosen = Chosen::default();
    for name in order {
        let file = files.iter().find(|(module, _)| module.name == name);
        let (module, bytes, added_from) = match (file, here.remove(&name)) {
            (Some((module, bytes)), _) => (module, bytes.to_vec(), Some(module.path.clone())),
            (None, Some(bytes)) => {
                let Some(module) = tree.named(&name) else { continue };
                (module, bytes, None)
            }
            (None, None) => {
                let Some(module) = supply.named(&name) else { continue };
                (module, supplied.remove(&name).unwrap_or_default(), Some(module.file.clone()))
            }
        };
        if added_from.is_some() {
            chosen.added.push(module.clone());
        }
        chosen.modules.push(ChosenModule { name, path: module.path.clone(), bytes, added_from });
    }
    Ok((chosen, warnings))
}

/// The dependencies among the files given, the modules of the ramdisk and those of the sources.
fn dependencies(tree: &ModuleTree, supply: &ModuleTree, files: &[File<'_>]) -> Dependencies {
    let mut all: Vec<Module> = files.iter().map(|(module, _)| module.clone()).collect();
    for module in tree.modules.values().chain(supply.modules.values()) {
        if all.iter().all(|other| other.name != module.name) {
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

/// The bytes of the modules of these names, as they stand in the sources.
pub fn contents(
    sources: &[ModuleSource<'_>],
    tree: &ModuleTree,
    names: &[String],
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let paths: BTreeMap<&str, &String> =
        names.iter().filter_map(|name| Some((tree.named(name)?.path.as_str(), name))).collect();
    let mut found = BTreeMap::new();
    if paths.is_empty() {
        return Ok(found);
    }
    for source in sources {
        visit(source, &mut Vec::new(), &mut |file| {
            if let Some(name) = paths.get(file.path) {
                found.insert((*name).clone(), file.bytes.to_vec());
            }
        })?;
    }
    Ok(found)
}

/// Refuse modules that the kernel will not load. Those that the ramdisk has are not checked: they
/// came with it.
pub fn check_fit(chosen: &Chosen, set: &Context<'_, '_>) -> Result<(), Error> {
    if chosen.added.is_empty() {
        return Ok(());
    }
    // A kernel that cannot be read is not compared.
    let exports = set.exports();
    let target = set.kernel.target(exports);
    let mut read: Vec<(Module, Symbols)> = Vec::new();
    for chosen in &chosen.modules {
        let fail = |error: crate::kernel::module::Error| Error::Module {
            name: chosen.name.clone(),
            problem: error.into(),
        };
        let module = Module::parse(&chosen.bytes, &chosen.path).map_err(fail)?;
        read.push((module, Symbols::parse(&chosen.bytes).map_err(fail)?));
    }
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

fn names_of(sources: &[ModuleSource<'_>]) -> String {
    let names = sources.iter().map(|source| match source {
        ModuleSource::Directory(path) => path.display().to_string(),
        ModuleSource::Bytes { name, .. } => name.clone(),
    });
    names.collect::<Vec<_>>().join(", ")
}
