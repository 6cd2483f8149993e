//! Files and directories with kernel modules.

use std::path::{Path, PathBuf};

use anyhow::Context;
use vfioboot::container::{self, Modules};
use vfioboot::modules::ModuleSource;

use super::image_set::container_error;
use super::input::Input;
use super::spill;

/// What `--modules` or `--add-module` names.
pub struct ModuleFiles {
    pub path: PathBuf,
    /// None for a directory.
    opened: Option<(Input, Modules)>,
}

impl ModuleFiles {
    /// Open it, and what is around the modules.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let opened = match path.is_dir() {
            true => None,
            false => {
                let input = Input::open(path)?;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let modules = container::modules(&input, &name, &spill::Files::default())
                    .map_err(|error| container_error(error, path))
                    .with_context(|| input.name())?;
                Some((input, modules))
            }
        };
        Ok(ModuleFiles { path: path.to_owned(), opened })
    }

    /// The file; None for a directory.
    pub fn input(&self) -> Option<&Input> {
        self.opened.as_ref().map(|(input, _)| input)
    }

    /// Where the modules are.
    pub fn sources(&self) -> Vec<ModuleSource<'_>> {
        match &self.opened {
            Some((input, modules)) => modules.sources(input, &input.name()),
            None => vec![ModuleSource::Directory(self.path.clone())],
        }
    }
}
