//! The files of a check: those on disk, and those in containers.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vfioboot::audit::group::{self, Open};
use vfioboot::bootset::Identity;
use vfioboot::container::Choice;

use super::input::Input;

/// Opens files on disk and files in containers, whose paths go on in the container:
/// `factory.zip/boot.img`.
pub struct CheckFiles {
    /// What cannot be opened again: images in containers, pipes, standard input.
    held: BTreeMap<PathBuf, Result<Arc<Input>, String>>,
}

/// A file.
pub enum Opened {
    File(Input),
    Held(Arc<Input>),
}

impl AsRef<[u8]> for Opened {
    fn as_ref(&self) -> &[u8] {
        match self {
            Opened::File(input) => input,
            Opened::Held(input) => input,
        }
    }
}

impl CheckFiles {
    /// The files of these inputs: directories and containers are replaced by what is in them.
    pub fn expand(inputs: &[PathBuf]) -> (Vec<PathBuf>, Self) {
        let mut files = CheckFiles { held: BTreeMap::new() };
        let mut paths = Vec::new();
        for path in group::expand(inputs, &Input::read) {
            match path.is_dir() {
                true => paths.push(path),
                false => files.add(path, &mut paths),
            }
        }
        (paths, files)
    }

    fn add(&mut self, path: PathBuf, paths: &mut Vec<PathBuf>) {
        // The check opens it again and reports the error.
        let Ok(input) = Input::read(&path) else { return paths.push(path) };
        let images = match input.images(Choice::BootSet) {
            Ok(images) => images,
            Err(error) => {
                let message = format!("{:#}", anyhow::Error::from(error));
                self.held.insert(path.clone(), Err(message));
                return paths.push(path);
            }
        };
        for image in images {
            let own = image.full_path();
            if !(own.is_file() && image.forms().is_empty()) {
                self.held.insert(own.clone(), Ok(Arc::new(image)));
            }
            paths.push(own);
        }
    }
}

impl Open for CheckFiles {
    type Bytes = Opened;

    fn open(&self, path: &Path) -> io::Result<Opened> {
        match self.held.get(path) {
            Some(Ok(input)) => Ok(Opened::Held(Arc::clone(input))),
            Some(Err(message)) => Err(io::Error::other(message.clone())),
            None => Input::read(path).map(Opened::File),
        }
    }

    fn identity(&self, bytes: &Opened) -> Option<Identity> {
        match bytes {
            Opened::File(input) => input.identity(),
            Opened::Held(input) => input.identity(),
        }
    }

    fn opens_again(&self, path: &Path) -> bool {
        path.is_file() || self.held.contains_key(path)
    }
}
