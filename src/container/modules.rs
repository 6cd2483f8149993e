//! The kernel modules in a file: those in an archive of modules, those in the ramdisks of images.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use super::error::Error;
use super::form::Form;
use super::given::{Choice, Given, Inside, read};
use super::limits::budget;
use super::recognise::{decoded_head, recognise};
use super::spill::Spill;
use super::stream::Streams;
use super::tar;
use super::unpack::{copy, within};
use super::zip;
use crate::compression::Format;
use crate::image::{Image, ImageKind};
use crate::modules::survey::is_module_name;
use crate::modules::{ModuleArchive, ModuleSource};

/// Where the modules in a file are.
pub enum Modules {
    /// In the file itself: a module, a ramdisk, an image.
    Plain,
    /// Among the files of an archive.
    Archive(Archive),
    /// In images in a container.
    Images(Vec<Inside>),
}

/// An archive of modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Archive {
    /// A tar archive.
    Tar,
    /// A compressed tar archive.
    TarStream(Format),
    /// A zip file.
    Zip,
}

/// Find the modules in a file. An archive without any is searched for images. `name` is its file name.
///
/// # Errors
/// Those of [`read`].
pub fn modules(file: &[u8], name: &str, spill: &dyn Spill) -> Result<Modules, Error> {
    let form = recognise(file);
    let archive = match form {
        Form::Plain => return Ok(Modules::Plain),
        Form::Tar => Some(Archive::Tar),
        Form::Zip => Some(Archive::Zip),
        Form::Compressed(format) => {
            let is_tar = recognise(&decoded_head(format, file)) == Form::Tar;
            is_tar.then_some(Archive::TarStream(format))
        }
        Form::Payload | Form::Sparse | Form::Super => None,
    };
    if let Some(packing) = archive
        && (Files { packing, file }).has_modules()?
    {
        return Ok(Modules::Archive(packing));
    }
    match read(file, name, Choice::BootSet, spill)? {
        Given::Plain => Ok(Modules::Plain),
        Given::Images(images) => Ok(Modules::Images(images)),
    }
}

impl Modules {
    /// The sources in `file`, which messages call `name`.
    pub fn sources<'a>(&'a self, file: &'a [u8], name: &str) -> Vec<ModuleSource<'a>> {
        let name = name.to_owned();
        match self {
            Modules::Plain => vec![ModuleSource::Bytes { name, bytes: file }],
            Modules::Archive(packing) => {
                let files = Arc::new(Files { packing: *packing, file });
                vec![ModuleSource::Archive { name, files }]
            }
            Modules::Images(images) => {
                let images =
                    images.iter().filter(|image| may_have_modules((*image.bytes).as_ref()));
                let source = |image: &'a Inside| ModuleSource::Bytes {
                    name: image.path.as_ref().map_or(name.clone(), |path| format!("{name}/{path}")),
                    bytes: (*image.bytes).as_ref(),
                };
                images.map(source).collect()
            }
        }
    }
}

/// Not a vbmeta or dtbo image.
fn may_have_modules(image: &[u8]) -> bool {
    let kind = Image::parse(image).map(|image| image.kind());
    !matches!(kind, Ok(ImageKind::Vbmeta | ImageKind::Dtbo))
}

/// The files of an archive, read from its start each time.
#[derive(Clone, Copy)]
struct Files<'a> {
    packing: Archive,
    file: &'a [u8],
}

impl std::fmt::Debug for Files<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Files").field(&self.packing).finish()
    }
}

/// Gets path, size and contents of a file; false ends the walk.
type Look<'l> = dyn FnMut(&str, u64, &mut dyn Read) -> Result<bool, Error> + 'l;

impl Files<'_> {
    /// Whether a file has the name of a module.
    fn has_modules(&self) -> Result<bool, Error> {
        let mut found = false;
        self.walk(&mut |path, _, _| {
            found |= is_module_name(path);
            Ok(!found)
        })?;
        Ok(found)
    }

    fn walk(&self, look: &mut Look<'_>) -> Result<(), Error> {
        let file = self.file;
        match self.packing {
            Archive::Tar => {
                tar::check_digest(file)?;
                for own in tar::files(Cursor::new(file))? {
                    let mut contents = within(file, &own)?;
                    if !look(&own.path, own.size, &mut contents)? {
                        break;
                    }
                }
                Ok(())
            }
            Archive::TarStream(format) => {
                let streams = Streams::new(format, file, budget(file.len()))?;
                tar::walk(streams, &mut |own, contents| look(&own.path, own.size, contents))
            }
            Archive::Zip => {
                let mut archive = zip::Archive::open(file)?;
                for own in archive.members().to_vec() {
                    if !look(&own.name, own.size, &mut archive.reader(&own)?)? {
                        break;
                    }
                }
                Ok(())
            }
        }
    }
}

impl ModuleArchive for Files<'_> {
    fn read(
        &self,
        wants: &mut dyn FnMut(&str, u64) -> bool,
        take: &mut dyn FnMut(&str, &[u8]),
    ) -> io::Result<()> {
        let walked = self.walk(&mut |path, size, contents| {
            if wants(path, size) {
                let mut bytes = Vec::new();
                copy(contents, path, size, &mut bytes)?;
                take(path, &bytes);
            }
            Ok(true)
        });
        walked.map_err(io::Error::other)
    }
}
