//! The modules of one device with their lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::alias::{MatchKind, PciAlias};
use super::closure::Dependencies;
use super::depmod::{LISTS, Lists};
use super::files::{ModuleFile, ModuleFiles, ModuleRequest};
use super::problem::{ModuleProblem, ProblemCause};
pub use super::role::Role;
use super::survey::{ModuleSource, SurveyError, visit};
use crate::kernel::module::{self, Module};

/// Compatible strings of host bridges that need only memory: no clock, PHY or reset, which would need
/// other drivers (`drivers/pci/controller/pci-host-generic.c`).
const SELF_CONTAINED: [&str; 2] = ["pci-host-ecam-generic", "pci-host-cam-generic"];

/// A driver that matches a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The module's name.
    pub module: String,
    /// How its aliases match.
    pub match_kind: MatchKind,
    /// The name of the device class, if it matches by class.
    pub class: Option<&'static str>,
}

/// The modules in one or more sources and their lists. The last file of a path counts.
#[derive(Clone, Debug, Default)]
pub struct ModuleTree {
    /// The modules by path.
    pub modules: BTreeMap<String, Module>,
    /// Roles by module name.
    pub roles: BTreeMap<String, BTreeSet<Role>>,
    /// The directory of the lists, without a leading or trailing `/`; empty if there are no lists.
    pub directory: String,
    /// The parsed lists.
    pub lists: Lists,
    /// The unparsed lists by name.
    pub raw_lists: BTreeMap<String, Vec<u8>>,
    /// Files that could not be read.
    pub problems: Vec<ModuleProblem>,
}

impl ModuleTree {
    /// Read the modules and lists of several sources. Later sources overlay earlier ones.
    ///
    /// # Errors
    /// [`SurveyError`].
    pub fn read(sources: &[ModuleSource<'_>]) -> Result<Self, SurveyError> {
        let mut tree = ModuleTree::default();
        let mut lists: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut problems = Vec::new();
        for source in sources {
            visit(source, &mut problems, &mut |found| match found.is_module() {
                true => {
                    let file = ModuleFile::read(found.path, found.bytes, &ModuleRequest::default());
                    tree.add(&file, found.file);
                }
                false => {
                    lists.insert(found.path.to_owned(), found.bytes.to_vec());
                }
            })?;
        }
        tree.problems.extend(problems);
        tree.take_lists(lists);
        Ok(tree)
    }

    /// The modules and lists of ramdisks, each with its name in messages. Later ramdisks overlay
    /// earlier ones.
    pub fn of_files<'f>(ramdisks: impl IntoIterator<Item = (String, &'f ModuleFiles)>) -> Self {
        let mut tree = ModuleTree::default();
        let mut lists: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for (name, files) in ramdisks {
            for file in &files.modules {
                tree.add(file, &format!("{name}: {}", file.path));
            }
            lists.extend(files.lists.iter().map(|own| (own.path.clone(), own.bytes.clone())));
        }
        tree.take_lists(lists);
        tree
    }

    /// Add a module whose name in messages is `name`.
    fn add(&mut self, file: &ModuleFile, name: &str) {
        let module = match &file.module {
            Ok(module) => module,
            Err(error) => return self.problem(name, error),
        };
        match &file.roles {
            Ok(roles) if roles.is_empty() => {}
            Ok(roles) => drop(self.roles.insert(module.name.clone(), roles.clone())),
            Err(error) => self.problem(name, error),
        }
        self.modules.insert(file.path.clone(), Module { file: name.to_owned(), ..module.clone() });
    }

    fn problem(&mut self, name: &str, error: &Arc<module::Error>) {
        let cause = ProblemCause::Module(Arc::clone(error));
        self.problems.push(ModuleProblem::new(name, cause));
    }

    /// Select the lists of the directory with a `modules.dep` and, if there are several, with the
    /// most modules.
    fn take_lists(&mut self, lists: BTreeMap<String, Vec<u8>>) {
        let directories: BTreeSet<&str> = lists.keys().map(|path| split(path).0).collect();
        let below = |directory: &str| {
            let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
            self.modules.keys().filter(|path| path.starts_with(&prefix)).count()
        };
        let chosen = directories.into_iter().max_by_key(|directory| {
            let dep = lists.contains_key(&join(directory, "modules.dep"));
            (dep, below(directory), std::cmp::Reverse(directory.len()))
        });
        let Some(directory) = chosen.map(str::to_owned) else { return };
        for name in LISTS {
            if let Some(bytes) = lists.get(&join(&directory, name)) {
                self.lists.read(name, bytes);
                self.raw_lists.insert(name.to_owned(), bytes.clone());
            }
        }
        self.directory = directory;
    }

    /// The module of this name (with `_`).
    pub fn named(&self, name: &str) -> Option<&Module> {
        self.modules.values().find(|module| module.name == name)
    }

    /// Names of the modules with this role.
    pub fn with_role(&self, role: Role) -> Vec<&str> {
        let of_role = self.roles.iter().filter(|(_, roles)| roles.contains(&role));
        of_role.map(|(name, _)| name.as_str()).collect()
    }

    /// Whether the module is a host bridge that needs no other hardware.
    pub fn is_self_contained(&self, name: &str) -> bool {
        let Some(module) = self.named(name) else { return false };
        let mut compatibles = module.aliases.iter().filter_map(|alias| {
            let (_, compatible) = alias.strip_prefix("of:")?.split_once('C')?;
            Some(compatible.trim_end_matches("C*").trim_end_matches('*'))
        });
        let known = |compatible: &str| SELF_CONTAINED.contains(&compatible);
        compatibles.any(known)
    }

    /// The releases in the vermagics, the most frequent first: the kernels that the modules are for.
    pub fn releases(&self) -> Vec<&str> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for vermagic in self.modules.values().filter_map(|module| module.vermagic.as_deref()) {
            *counts.entry(vermagic.split(' ').next().unwrap_or_default()).or_default() += 1;
        }
        let mut releases: Vec<_> = counts.into_iter().collect();
        releases.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        releases.into_iter().map(|(release, _)| release).collect()
    }

    /// Their dependencies. Without a list, `is_builtin` returns whether a module is part of the
    /// kernel.
    pub(crate) fn dependencies(&self, is_builtin: impl Fn(&str) -> bool) -> Dependencies {
        let modules: Vec<Module> = self.modules.values().cloned().collect();
        Dependencies::new(&self.lists, &modules, is_builtin)
    }

    /// Aliases, each with its module.
    fn aliases(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.modules.values().flat_map(|module| {
            module.aliases.iter().map(|alias| (alias.as_str(), module.name.as_str()))
        });
        // An alias that occurs only in a list belongs to a module on another partition.
        let listed = self.lists.aliases.iter().map(|(alias, name)| (alias.as_str(), name.as_str()));
        own.chain(listed)
    }

    /// The modules that drive PCI devices, except vfio-pci and its variants.
    pub fn pci_drivers(&self) -> BTreeSet<&str> {
        self.aliases()
            .filter(|(alias, _)| alias.starts_with("pci:"))
            .map(|(_, name)| name)
            .collect()
    }

    /// The drivers that match the device, the best match first.
    pub fn drivers(&self, vendor: u16, device: u16) -> Vec<Driver> {
        driver_of(self.aliases(), vendor, device)
    }

    /// The built-in drivers that match the device, according to the lists.
    pub(crate) fn builtin_drivers(&self, vendor: u16, device: u16) -> Vec<Driver> {
        let listed = self.lists.builtin_aliases.iter();
        driver_of(listed.map(|(alias, name)| (alias.as_str(), name.as_str())), vendor, device)
    }
}

fn driver_of<'a>(
    aliases: impl Iterator<Item = (&'a str, &'a str)>,
    vendor: u16,
    device: u16,
) -> Vec<Driver> {
    let mut found: BTreeMap<&str, (MatchKind, Option<&'static str>)> = BTreeMap::new();
    for (alias, name) in aliases {
        let Some(alias) = PciAlias::parse(alias) else { continue };
        let Some(kind) = alias.match_kind(vendor, device) else { continue };
        let class = (kind == MatchKind::Class).then(|| alias.class_name()).flatten();
        let entry = found.entry(name).or_insert((kind, class));
        if kind < entry.0 {
            *entry = (kind, class);
        }
    }
    let drivers = found.into_iter().map(|(module, (kind, class))| Driver {
        module: module.to_owned(),
        match_kind: kind,
        class,
    });
    let mut drivers: Vec<Driver> = drivers.collect();
    drivers.sort_by_key(|driver| driver.match_kind);
    drivers
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
