//! The files that a command works with: plain, or out of a container.

use super::entry::{Entry, EntryKind};
use super::error::Error;
use super::form::Form;
use super::limits::{MAX_DEPTH, MAX_IMAGE};
use super::open::open;
use super::recognise::recognise;
use super::spill::{Kept, Spill};

/// Which images of a container are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Those that a device boots with.
    BootSet,
    /// The only one.
    Only,
}

/// A file, or what is in it.
pub enum Given {
    /// No container.
    Plain,
    /// The images in a container.
    Images(Vec<Inside>),
}

/// An image out of a container.
pub struct Inside {
    /// The name of the image's own file.
    pub file: String,
    /// Its path in the container that has several files; None in a container around one image.
    pub path: Option<String>,
    /// What is around it, outermost first.
    pub forms: Vec<Form>,
    /// The image.
    pub bytes: Kept,
}

/// What a file has for a command that works with images. `name` is its file name.
///
/// # Errors
/// Those of [`open`] and of `Opened`.
pub fn read(file: &[u8], name: &str, choice: Choice, spill: &dyn Spill) -> Result<Given, Error> {
    match recognise(file) {
        Form::Plain => Ok(Given::Plain),
        _ => images(file, name, choice, spill, 0).map(Given::Images),
    }
}

fn images(
    file: &[u8],
    name: &str,
    choice: Choice,
    spill: &dyn Spill,
    depth: usize,
) -> Result<Vec<Inside>, Error> {
    open(file, name, spill, |opened| {
        let wanted = match choice {
            Choice::BootSet => opened.boot_set()?,
            Choice::Only => vec![opened.only()?],
        };
        let forms = opened.forms().to_vec();
        let around_one = forms.iter().all(|form| form.is_around_one());
        let mut images = Vec::new();
        opened.each::<Error>(&wanted, MAX_IMAGE, &mut |entry, fill| {
            let kept = spill.keep(fill)?;
            let path = (!around_one).then(|| shown_path(entry));
            let inside =
                Inside { file: entry.file.clone(), path, forms: forms.clone(), bytes: kept };
            images.push(inside.plain(spill, depth)?);
            Ok(())
        })?;
        Ok(images)
    })
}

/// An image by its file, which is the only one of a partition; a kernel by its path.
fn shown_path(entry: &Entry) -> String {
    match entry.kind {
        EntryKind::Image => entry.file.clone(),
        EntryKind::Kernel => entry.path.clone(),
    }
}

impl Inside {
    /// Without what is still around the image: a sparse image in an archive.
    fn plain(self, spill: &dyn Spill, depth: usize) -> Result<Self, Error> {
        let bytes = (*self.bytes).as_ref();
        if !recognise(bytes).is_around_one() {
            return Ok(self);
        }
        if depth >= MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        let inner = images(bytes, &self.file, Choice::Only, spill, depth + 1)?;
        let Some(inner) = inner.into_iter().next() else { return Ok(self) };
        let forms = [self.forms, inner.forms].concat();
        Ok(Inside { file: self.file, path: self.path, forms, bytes: inner.bytes })
    }
}
