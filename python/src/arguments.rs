//! What Python gives, as the library's options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use vfioboot::audit::check::GivenModules;
use vfioboot::audit::render::rules_json;
use vfioboot::audit::{self, BUILTIN, Level, Options, Provenance};
use vfioboot::container::{self, Memory, Modules};
use vfioboot::kernel::{Arch, KernelVersion, config_file};
use vfioboot::modules::ModuleSource;

use crate::error::Raise;

/// The rules: a built-in profile, or one in TOML.
#[pyclass(frozen, module = "vfioboot")]
pub(crate) struct Profile {
    name: String,
    text: String,
    pub(crate) rules: Arc<audit::Profile>,
}

#[pymethods]
impl Profile {
    #[new]
    #[pyo3(signature = (name="passthrough", text=None))]
    fn new(name: &str, text: Option<String>) -> PyResult<Self> {
        let builtin = || BUILTIN.iter().find(|own| own.name == name).map(|own| own.text.to_owned());
        let text = match text.or_else(builtin) {
            Some(text) => text,
            None => audit::Profile::builtin(name).map(|_| String::new()).map_err(|e| e.raise())?,
        };
        let rules = audit::Profile::parse(&text, name).map_err(|error| error.raise())?;
        Ok(Profile { name: name.to_owned(), text, rules: Arc::new(rules) })
    }

    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    fn to_json(&self) -> String {
        rules_json(&self.rules).to_string()
    }

    /// For copies in other processes.
    fn __reduce__(slf: Bound<'_, Self>) -> (Bound<'_, PyAny>, (String, String)) {
        let own = slf.get();
        (slf.get_type().into_any(), (own.name.clone(), own.text.clone()))
    }

    fn __repr__(&self) -> String {
        format!("<vfioboot.Profile {:?}: {} rules>", self.name, self.rules.rules.len())
    }
}

/// Where modules are: files by name, or directories and files on disk.
#[derive(FromPyObject)]
pub(crate) enum ModulesArgument {
    /// Files by name.
    Files(BTreeMap<String, PyBackedBytes>),
    /// A directory or file.
    One(PathBuf),
    /// Several.
    Paths(Vec<PathBuf>),
}

/// Arguments, owned, so that the checks need no Python.
pub(crate) struct Arguments {
    pub profile: Arc<audit::Profile>,
    pub fail_on: Level,
    pub config: Option<PyBackedBytes>,
    pub modules: Option<ModulesArgument>,
    pub cmdline: Option<String>,
    pub arch: Option<Arch>,
    pub version: Option<KernelVersion>,
}

impl Arguments {
    pub(crate) fn level(name: &str) -> PyResult<Level> {
        match name {
            "required" => Ok(Level::Required),
            "recommended" => Ok(Level::Recommended),
            other => Err(PyValueError::new_err(format!(
                "fail_on: expected \"required\" or \"recommended\", not {other:?}"
            ))),
        }
    }

    pub(crate) fn arch(name: Option<&str>) -> PyResult<Option<Arch>> {
        let read = |name: &str| {
            let unknown = || PyValueError::new_err(format!("arch: {name:?} is not known"));
            Arch::from_name(name).ok_or_else(unknown)
        };
        name.map(read).transpose()
    }

    pub(crate) fn version(text: Option<&str>) -> PyResult<Option<KernelVersion>> {
        let read = |text: &str| {
            let wrong =
                || PyValueError::new_err(format!("kernel_version: expected 6.1, not {text:?}"));
            KernelVersion::parse(text).ok_or_else(wrong)
        };
        text.map(read).transpose()
    }

    /// The files with modules, read and unpacked.
    pub(crate) fn module_files(&self) -> PyResult<Vec<ModuleFile<'_>>> {
        match &self.modules {
            None => Ok(Vec::new()),
            Some(ModulesArgument::One(path)) => Ok(vec![ModuleFile::on_disk(path)?]),
            Some(ModulesArgument::Paths(paths)) => {
                paths.iter().map(|path| ModuleFile::on_disk(path)).collect()
            }
            Some(ModulesArgument::Files(files)) => {
                let files = files.iter();
                files.map(|(name, own)| ModuleFile::of(name.clone(), Bytes::Python(own))).collect()
            }
        }
    }

    /// The options, with the modules in these files.
    pub(crate) fn options<'m>(&self, modules: &'m [ModuleFile<'_>]) -> PyResult<Options<'m>> {
        let mut options = Options::new((*self.profile).clone());
        options.fail_on = self.fail_on;
        options.cmdline.clone_from(&self.cmdline);
        options.arch = self.arch;
        options.version = self.version;
        if let Some(config) = &self.config {
            let read = config_file::read(config).map_err(|error| error.raise())?;
            options.config = Some((read, Provenance::File("config".to_owned())));
        }
        if self.modules.is_some() {
            let mut given = GivenModules::default();
            for file in modules {
                given.add(file.sources()).map_err(|error| error.raise())?;
            }
            options.modules = Some(given);
        }
        Ok(options)
    }
}

/// A file or directory with modules.
pub(crate) struct ModuleFile<'a> {
    name: String,
    /// None for a directory.
    opened: Option<(Bytes<'a>, Modules)>,
}

enum Bytes<'a> {
    Python(&'a PyBackedBytes),
    Read(Vec<u8>),
}

impl AsRef<[u8]> for Bytes<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Bytes::Python(bytes) => bytes,
            Bytes::Read(bytes) => bytes,
        }
    }
}

impl<'a> ModuleFile<'a> {
    fn on_disk(path: &Path) -> PyResult<Self> {
        let name = path.display().to_string();
        match path.is_dir() {
            true => Ok(ModuleFile { name, opened: None }),
            false => ModuleFile::of(name, Bytes::Read(std::fs::read(path)?)),
        }
    }

    fn of(name: String, bytes: Bytes<'a>) -> PyResult<Self> {
        let file = Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let modules = container::modules(bytes.as_ref(), &file, &Memory);
        let modules = modules.map_err(|error| error.raise())?;
        Ok(ModuleFile { name, opened: Some((bytes, modules)) })
    }

    fn sources(&self) -> Vec<ModuleSource<'_>> {
        match &self.opened {
            Some((bytes, modules)) => modules.sources(bytes.as_ref(), &self.name),
            None => vec![ModuleSource::Directory(PathBuf::from(&self.name))],
        }
    }
}
