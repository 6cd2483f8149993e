//! Modules of sources of which a patch needs a few: a whole distribution has thousands, and reading
//! one means decompressing it.
//!
//! The names of the files are the index, as they are for `modprobe`; only what is asked for is read,
//! and what it says of itself counts. Where a name does not fit the module, or a module is missing
//! and no `modules.dep` says that there is none, everything is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::depmod::name_of;
use super::files::{ModuleFile, ModuleRequest};
use super::problem::{ModuleProblem, ProblemCause};
use super::role::Role;
use super::survey::{ModuleSource, SourceFile, SurveyError, is_module_name, visit_some};
use crate::kernel::module::Module;

/// The modules of some sources, read when they are wanted.
#[derive(Debug, Default)]
pub(crate) struct Supply<'s> {
    sources: &'s [ModuleSource<'s>],
    /// The files of each name, by path; of files of the same path the last counts.
    places: BTreeMap<String, BTreeMap<String, usize>>,
    modules: BTreeMap<String, Supplied>,
    /// How many sources have a `modules.dep`.
    indexed: usize,
    /// What could not be read.
    pub problems: Vec<ModuleProblem>,
    /// Part of the path of the files that are preferred.
    release: Option<String>,
    read_all: bool,
}

/// A module of a source.
#[derive(Clone, Debug)]
pub(crate) struct Supplied {
    pub module: Module,
    /// The file.
    pub bytes: Vec<u8>,
}

/// A file of a source.
struct Found {
    path: String,
    file: String,
    bytes: Vec<u8>,
}

impl Found {
    fn new(file: &SourceFile<'_>) -> Self {
        let (path, name) = (file.path.to_owned(), file.file.to_owned());
        Found { path, file: name, bytes: file.bytes.to_vec() }
    }
}

impl<'s> Supply<'s> {
    /// List the modules of `sources` and read those called `first` in the same pass. Of several files
    /// of a name one below a directory called `release` is taken.
    ///
    /// # Errors
    /// [`SurveyError`].
    pub(crate) fn open(
        sources: &'s [ModuleSource<'s>],
        release: Option<&str>,
        first: &BTreeSet<String>,
    ) -> Result<Self, SurveyError> {
        let release = release.map(str::to_owned);
        let mut supply = Supply { sources, release, ..Supply::default() };
        // In a directory listing costs little; in an archive it is a pass.
        let is_stream = |source: &ModuleSource<'_>| !matches!(source, ModuleSource::Directory(_));
        let mut found = Vec::new();
        for (index, source) in sources.iter().enumerate() {
            let (mut paths, mut is_indexed) = (Vec::new(), false);
            let mut wants = |path: &str| {
                is_indexed |= path.rsplit('/').next() == Some("modules.dep");
                let is_module = is_module_name(path);
                if is_module {
                    paths.push(path.to_owned());
                }
                is_module && is_stream(source) && first.contains(&name_of(path))
            };
            visit_some(source, &mut supply.problems, &mut wants, &mut |file| {
                found.push(Found::new(file));
            })?;
            supply.indexed += usize::from(is_indexed);
            for path in paths {
                supply.places.entry(name_of(&path)).or_default().insert(path, index);
            }
        }
        found.into_iter().for_each(|found| supply.take(found));
        supply.read(&first.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(supply)
    }

    /// Whether there is a file of this name (with `_`), read or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.modules.contains_key(name) || self.places.contains_key(name)
    }

    /// A module that was read.
    pub(crate) fn get(&self, name: &str) -> Option<&Supplied> {
        self.modules.get(name)
    }

    /// The roles of a module that was read.
    pub(crate) fn roles(&self, name: &str) -> Option<BTreeSet<Role>> {
        let Supplied { module, bytes } = self.modules.get(name)?;
        ModuleFile::read(&module.path, bytes, &ModuleRequest::default()).roles.ok()
    }

    /// All modules that were read.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &Module> {
        self.modules.values().map(|own| &own.module)
    }

    /// Read the modules of these names (with `_`), those that there are.
    ///
    /// # Errors
    /// [`SurveyError`].
    pub(crate) fn read(&mut self, names: &[&str]) -> Result<(), SurveyError> {
        let new = |name: &&&str| !self.modules.contains_key(**name);
        let wanted: Vec<(usize, String)> =
            names.iter().filter(new).filter_map(|name| self.place(name)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let mut found = Vec::new();
        for (index, source) in self.sources.iter().enumerate() {
            let paths: BTreeSet<&str> =
                wanted.iter().filter(|own| own.0 == index).map(|own| own.1.as_str()).collect();
            if paths.is_empty() {
                continue;
            }
            let wants = &mut |path: &str| paths.contains(path);
            visit_some(source, &mut self.problems, wants, &mut |file| {
                found.push(Found::new(file));
            })?;
        }
        found.into_iter().for_each(|found| self.take(found));
        Ok(())
    }

    /// Read every module, because one may have another name than its file.
    ///
    /// # Errors
    /// [`SurveyError`].
    pub(crate) fn read_all(&mut self) -> Result<(), SurveyError> {
        // What depmod listed has the name of its file, or modprobe would not find it either.
        if std::mem::replace(&mut self.read_all, true) || self.indexed == self.sources.len() {
            return Ok(());
        }
        for source in self.sources {
            let (modules, problems) = (&mut self.modules, &mut Vec::new());
            visit_some(source, problems, &mut is_module_name, &mut |file| {
                let Ok(module) = Module::parse(file.bytes, file.path) else { return };
                let module = Module { file: file.file.to_owned(), ..module };
                let name = module.name.clone();
                let supplied = || Supplied { module, bytes: file.bytes.to_vec() };
                if name_of(file.path) != name {
                    modules.entry(name).or_insert_with(supplied);
                }
            })?;
        }
        Ok(())
    }

    /// The file to read for a name.
    fn place(&self, name: &str) -> Option<(usize, String)> {
        let places = self.places.get(name)?;
        let fits = |path: &&String| {
            self.release
                .as_deref()
                .is_some_and(|release| path.split('/').any(|part| part == release))
        };
        let path = places.keys().find(fits).or(places.keys().next())?;
        Some((*places.get(path)?, path.clone()))
    }

    /// Take a file that was read, if it is the one for its name.
    fn take(&mut self, Found { path, file, bytes }: Found) {
        let name = name_of(&path);
        if self.place(&name).is_none_or(|(_, chosen)| chosen != path) {
            return;
        }
        match Module::parse(&bytes, &path) {
            Ok(module) => {
                let module = Module { file, ..module };
                self.modules.insert(module.name.clone(), Supplied { module, bytes });
            }
            Err(error) => {
                let cause = ProblemCause::Module(Arc::new(error));
                self.problems.push(ModuleProblem::new(file, cause));
            }
        }
        // Under this name it is known now, or is not there.
        self.places.remove(&name);
    }
}
