//! The modules to load for a module, and their order.
//!
//! [`Dependencies::probe`] lists the steps of kmod's `modprobe`, including repetitions
//! (`__kmod_module_get_probe_list` in `libkmod/libkmod-module.c`): dependencies from the end of the
//! line in `modules.dep`, each surrounded by its soft dependencies, and a module again if a soft
//! dependency of another module needs it too. [`Dependencies::load_order`] lists each module once.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::alias::matches;
use super::depmod::{Lists, Softdep, name_of};
use crate::kernel::module::{Module, normalise};

/// Maximum depth of nested soft dependencies.
const MAX_DEPTH: usize = 128;

/// One step of loading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Load the module of this name.
    Load {
        /// With `_`.
        name: String,
        /// The path in `modules.dep`, or of the module's file.
        path: String,
    },
    /// It is part of the kernel.
    Builtin(String),
    /// A command is run instead.
    Install {
        /// With `_`.
        name: String,
        /// The shell command.
        command: String,
    },
}

/// Why a module cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClosureError {
    /// The module itself is missing.
    #[error("there is no module {0}")]
    Unknown(String),
    /// A dependency is missing.
    #[error("module {module} needs {needs}, which is missing")]
    Missing {
        /// The module that depends on it.
        module: String,
        /// The missing module.
        needs: String,
    },
    /// A dependency cycle.
    #[error("dependency cycle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// Soft dependencies are nested too deeply.
    #[error("the soft dependencies of {0} are nested more than {MAX_DEPTH} deep")]
    TooDeep(String),
}

/// A module with its dependencies.
#[derive(Clone, Debug)]
struct Node {
    path: String,
    /// Names in load order, including indirect dependencies.
    needs: Vec<String>,
}

/// The dependencies among the modules of a directory.
#[derive(Clone, Debug, Default)]
pub struct Dependencies {
    nodes: BTreeMap<String, Node>,
    /// Modules that cannot be loaded, and why.
    broken: BTreeMap<String, ClosureError>,
    softdeps: HashMap<String, Softdep>,
    aliases: Vec<(String, String)>,
    builtin: HashSet<String>,
    builtin_aliases: Vec<(String, String)>,
    install: BTreeMap<String, String>,
}

impl Dependencies {
    /// Read the dependencies from `modules.dep` or, without one, from the modules. `is_builtin`
    /// returns whether a module is part of the kernel.
    pub fn new(lists: &Lists, modules: &[Module], is_builtin: impl Fn(&str) -> bool) -> Self {
        let mut all = Dependencies {
            aliases: lists.aliases.clone(),
            builtin: lists.builtin.iter().cloned().collect(),
            builtin_aliases: lists.builtin_aliases.clone(),
            install: lists.install.clone(),
            ..Dependencies::default()
        };
        match &lists.dep {
            Some(dep) => {
                for (name, dep) in dep {
                    let needs = dep.needs.iter().rev().map(|path| name_of(path)).collect();
                    all.nodes.insert(name.clone(), Node { path: dep.path.clone(), needs });
                }
            }
            None => all.add_modules(modules, is_builtin),
        }
        if lists.seen.contains("modules.softdep") {
            all.softdeps(lists.softdeps.iter().cloned());
        } else {
            let own = modules.iter().flat_map(|module| {
                module.softdeps.iter().map(|text| Softdep::parse(&module.name, text))
            });
            all.softdeps(own);
        }
        if !lists.seen.contains("modules.alias") {
            all.aliases.extend(modules.iter().flat_map(|module| {
                module.aliases.iter().map(|alias| (alias.clone(), module.name.clone()))
            }));
        }
        all
    }

    /// Add soft dependencies. As in kmod, the first line of a module counts.
    fn softdeps(&mut self, softdeps: impl Iterator<Item = Softdep>) {
        for softdep in softdeps {
            self.softdeps.entry(softdep.module.clone()).or_insert(softdep);
        }
    }

    fn add_modules(&mut self, modules: &[Module], is_builtin: impl Fn(&str) -> bool) {
        let by_name: BTreeMap<&str, &Module> =
            modules.iter().rev().map(|module| (module.name.as_str(), module)).collect();
        for module in by_name.values() {
            let mut walk = Walk {
                by_name: &by_name,
                is_builtin: &is_builtin,
                path: Vec::new(),
                done: Vec::new(),
            };
            match walk.module(&module.name) {
                Ok(()) => {
                    walk.done.pop();
                    let node = Node { path: module.path.clone(), needs: walk.done };
                    self.nodes.insert(module.name.clone(), node);
                }
                Err(error) => {
                    self.broken.insert(module.name.clone(), error);
                }
            }
        }
    }

    /// Whether there is a module of this name (with `_`).
    pub(crate) fn has(&self, name: &str) -> bool {
        self.nodes.contains_key(name) || self.broken.contains_key(name)
    }

    /// Names of all modules.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// Names of the dependencies of a module, including indirect ones, without soft dependencies.
    ///
    /// # Errors
    /// [`ClosureError`], except [`ClosureError::TooDeep`].
    pub(crate) fn needs(&self, name: &str) -> Result<&[String], ClosureError> {
        let name = normalise(name);
        if let Some(error) = self.broken.get(&name) {
            return Err(error.clone());
        }
        let Some(node) = self.nodes.get(&name) else { return Err(ClosureError::Unknown(name)) };
        match node.needs.iter().find(|needed| !self.nodes.contains_key(*needed)) {
            Some(missing) => Err(ClosureError::Missing { module: name, needs: missing.clone() }),
            None => Ok(&node.needs),
        }
    }

    /// The steps that `modprobe --show-depends` prints for the module, in the same order.
    ///
    /// # Errors
    /// [`ClosureError`].
    pub fn probe(&self, name: &str) -> Result<Vec<Step>, ClosureError> {
        let name = normalise(name);
        if let Some(error) = self.broken.get(&name) {
            return Err(error.clone());
        }
        let found = self.look_up(&name);
        if found.is_empty() {
            return Err(ClosureError::Unknown(name));
        }
        let mut steps = Vec::new();
        for handle in found {
            let mut probe = Probe { all: self, visited: HashSet::new(), steps: Vec::new() };
            probe.module(&handle, 0)?;
            steps.extend(probe.steps);
        }
        Ok(steps)
    }

    /// The modules to load for these names, each once, in order, without parts of the kernel.
    ///
    /// # Errors
    /// [`ClosureError`].
    pub(crate) fn load_order(&self, names: &[&str]) -> Result<Vec<String>, ClosureError> {
        let mut order: Vec<String> = Vec::new();
        for name in names {
            for step in self.probe(name)? {
                if let Step::Load { name, .. } = step
                    && !order.contains(&name)
                {
                    order.push(name);
                }
            }
        }
        Ok(order)
    }

    /// Look up a name or alias like kmod (`kmod_module_new_from_lookup`).
    fn look_up(&self, name: &str) -> Vec<Handle> {
        let name = normalise(name);
        if self.nodes.contains_key(&name) {
            return vec![Handle { name, alias: None }];
        }
        if self.install.contains_key(&name) {
            return vec![Handle { name, alias: None }];
        }
        for aliases in [&self.aliases, &self.builtin_aliases] {
            let found: Vec<Handle> = aliases
                .iter()
                .filter(|(pattern, _)| matches(pattern, &name))
                .map(|(_, module)| Handle { name: module.clone(), alias: Some(name.clone()) })
                .collect();
            if !found.is_empty() {
                return found;
            }
        }
        match self.builtin.contains(&name) {
            true => vec![Handle { name, alias: None }],
            false => Vec::new(),
        }
    }
}

/// The module of a name or alias. kmod treats a module found by an alias as a separate one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Handle {
    name: String,
    alias: Option<String>,
}

struct Probe<'d> {
    all: &'d Dependencies,
    visited: HashSet<Handle>,
    steps: Vec<Step>,
}

impl Probe<'_> {
    fn module(&mut self, handle: &Handle, depth: usize) -> Result<(), ClosureError> {
        if depth > MAX_DEPTH {
            return Err(ClosureError::TooDeep(handle.name.clone()));
        }
        if !self.visited.insert(handle.clone()) {
            return Ok(());
        }
        if let Some(error) = self.all.broken.get(&handle.name) {
            return Err(error.clone());
        }
        let needs = match self.all.nodes.contains_key(&handle.name) {
            true => self.all.needs(&handle.name)?,
            false => &[],
        };
        for needed in needs {
            self.with_softdeps(&Handle { name: needed.clone(), alias: None }, depth)?;
        }
        self.with_softdeps(handle, depth)
    }

    /// Add the module and the soft dependencies before and after it.
    fn with_softdeps(&mut self, handle: &Handle, depth: usize) -> Result<(), ClosureError> {
        let softdep = self.all.softdeps.get(&handle.name);
        for name in softdep.iter().flat_map(|softdep| &softdep.pre) {
            self.soft(name, depth)?;
        }
        self.steps.extend(self.step(handle));
        for name in softdep.iter().flat_map(|softdep| &softdep.post) {
            self.soft(name, depth)?;
        }
        Ok(())
    }

    fn soft(&mut self, name: &str, depth: usize) -> Result<(), ClosureError> {
        for handle in self.all.look_up(name) {
            self.module(&handle, depth + 1)?;
        }
        Ok(())
    }

    fn step(&self, handle: &Handle) -> Option<Step> {
        let name = &handle.name;
        if let Some(command) = self.all.install.get(name) {
            return Some(Step::Install { name: name.clone(), command: command.clone() });
        }
        match self.all.nodes.get(name) {
            Some(node) => Some(Step::Load { name: name.clone(), path: node.path.clone() }),
            None if self.all.builtin.contains(name) => Some(Step::Builtin(name.clone())),
            None => None,
        }
    }
}

/// A walk through the dependencies in the modules themselves.
struct Walk<'w, F> {
    by_name: &'w BTreeMap<&'w str, &'w Module>,
    is_builtin: &'w F,
    /// The path from the first module to the current one.
    path: Vec<String>,
    done: Vec<String>,
}

impl<F: Fn(&str) -> bool> Walk<'_, F> {
    fn module(&mut self, name: &str) -> Result<(), ClosureError> {
        if self.done.iter().any(|other| other == name) {
            return Ok(());
        }
        if let Some(first) = self.path.iter().position(|other| other == name) {
            let mut cycle = self.path.split_off(first);
            cycle.push(name.to_owned());
            return Err(ClosureError::Cycle(cycle));
        }
        let Some(module) = self.by_name.get(name) else {
            if (self.is_builtin)(name) {
                return Ok(());
            }
            let module = self.path.last().cloned().unwrap_or_default();
            return Err(ClosureError::Missing { module, needs: name.to_owned() });
        };
        self.path.push(name.to_owned());
        for needed in &module.depends {
            self.module(needed)?;
        }
        self.path.pop();
        self.done.push(name.to_owned());
        Ok(())
    }
}
