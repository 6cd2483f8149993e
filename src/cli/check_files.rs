//! The files of a check: those on disk, and those in containers.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vfioboot::audit::group::Open;
use vfioboot::bootset::{Identity, Pages};
use vfioboot::container::{self, Choice};

use super::input::Input;

/// Opens files on disk and files in containers, whose paths go on in the container:
/// `factory.zip/boot.img`.
pub struct CheckFiles {
    /// Pipes, which cannot be opened again.
    held: BTreeMap<PathBuf, Opened>,
}

/// An open file, which several may hold.
#[derive(Clone)]
pub struct Opened(Arc<Input>);

impl AsRef<[u8]> for Opened {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl CheckFiles {
    /// For these inputs. Pipes are read now.
    pub fn new(inputs: &[PathBuf]) -> Self {
        let is_pipe = |path: &&PathBuf| {
            let metadata = fs::metadata(path);
            metadata.is_ok_and(|own| !own.is_file() && !own.is_dir())
        };
        let pipes = inputs.iter().filter(is_pipe);
        // The check reports what cannot be read.
        let read = |path: &PathBuf| Some((path.clone(), opened(Input::read(path).ok()?)));
        CheckFiles { held: pipes.filter_map(read).collect() }
    }
}

fn opened(input: Input) -> Opened {
    Opened(Arc::new(input))
}

impl Open for CheckFiles {
    type Bytes = Opened;

    fn open(&self, path: &Path) -> io::Result<Opened> {
        match self.held.get(path) {
            Some(input) => Ok(input.clone()),
            None => Input::read(path).map(opened),
        }
    }

    fn identity(&self, file: &Opened) -> Option<Identity> {
        file.0.identity()
    }

    fn opens_again(&self, path: &Path) -> bool {
        path.is_file() || self.held.contains_key(path)
    }

    fn unpack(
        &self,
        path: &Path,
        file: Opened,
    ) -> Result<Vec<(PathBuf, Opened)>, container::Error> {
        let Some(images) = file.0.inside(Choice::BootSet)? else {
            return Ok(vec![(path.to_owned(), file)]);
        };
        Ok(images.into_iter().map(|image| (image.full_path(), opened(image))).collect())
    }

    fn release(&self, file: &Opened) {
        file.0.release();
    }
}
