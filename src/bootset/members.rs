//! The images of a set and their ramdisks.

use std::sync::{Arc, OnceLock};

use super::file::{Error, File, Pages};
use super::provenance::Provenance;
use super::ramdisks::{self, Ramdisk, Spot};
use crate::image::{self, Image, ImageKind};
use crate::kernel::config_file::{self, is_config};
use crate::kernel::{Kernel, KernelConfig};
use crate::modules::ModuleRequest;

/// An image, a bare kernel, or a kernel config.
///
/// # Errors
/// Those of [`Image::parse`].
pub(crate) fn parse(bytes: &[u8]) -> Result<Image<'_>, image::Error> {
    if is_config(bytes) {
        return Ok(Image::bare_config(bytes));
    }
    match Image::parse(bytes) {
        Err(image::Error::UnknownMagic { .. }) if Kernel::parse(bytes).is_ok() => {
            Ok(Image::bare_kernel(bytes))
        }
        parsed => parsed,
    }
}

fn config(file: &File<'_>) -> Result<(KernelConfig, Provenance), Error> {
    let failed = |source| Error::Config { file: file.name.clone(), source };
    let config = config_file::read(file.bytes).map_err(failed)?;
    Ok((config, Provenance::File(file.name.clone())))
}

/// The images, each once.
#[derive(Debug)]
pub(super) struct Members<'a> {
    /// The name of each image in messages.
    pub names: Vec<String>,
    pub images: Vec<Image<'a>>,
    /// The memory of the files that can release it.
    pub pages: Vec<&'a dyn Pages>,
    /// For each file that was given, the index of its image.
    pub given: Vec<usize>,
    /// The modules that the passes over ramdisks collect.
    pub request: Arc<OnceLock<ModuleRequest>>,
    /// In the order of the images and of their fragments.
    pub ramdisks: Vec<Ramdisk<'a>>,
    /// The first config file.
    pub config: Option<(KernelConfig, Provenance)>,
}

impl<'a> Members<'a> {
    /// Read the images of these files with `parse`.
    pub(crate) fn read(
        files: impl IntoIterator<Item = File<'a>>,
        parse: impl Fn(&'a [u8]) -> Result<Image<'a>, image::Error>,
    ) -> Result<Self, Error> {
        let mut distinct: Vec<File<'a>> = Vec::new();
        let mut given = Vec::new();
        for file in files {
            let same = distinct.iter().position(|other| other.is_same(&file));
            given.push(same.unwrap_or(distinct.len()));
            if same.is_none() {
                distinct.push(file);
            }
        }
        let mut images = Vec::new();
        for file in &distinct {
            let failed = |source: image::Error| {
                // A command takes a file of the file system, not what is in a container.
                let source = match file.identity {
                    Some(_) => source.for_file(&file.name),
                    None => source,
                };
                Error::Image { file: file.name.clone(), source }
            };
            images.push(parse(file.bytes).map_err(failed)?);
        }
        let configs = std::iter::zip(&distinct, &images);
        let mut configs = configs.filter(|(_, image)| image.kind() == ImageKind::Config);
        let config = configs.next().map(|(file, _)| config(file)).transpose()?;
        let pages = distinct.iter().filter_map(|file| file.pages).collect();
        let names = distinct.into_iter().map(|file| file.name).collect();
        Ok(Members { pages, config, ..Self::of(names, images, given) })
    }

    /// Parsed images.
    pub(crate) fn of(names: Vec<String>, images: Vec<Image<'a>>, given: Vec<usize>) -> Self {
        let request = Arc::new(OnceLock::new());
        let ramdisks = ramdisks::of(&images, &request);
        Members { names, images, pages: Vec::new(), given, request, ramdisks, config: None }
    }

    /// The name of the image of this index in messages.
    pub(crate) fn name(&self, image: usize) -> &str {
        self.names.get(image).map_or("", String::as_str)
    }

    /// The ramdisk at this place.
    pub(crate) fn ramdisk(&self, spot: Spot) -> Option<&Ramdisk<'a>> {
        self.ramdisks.iter().find(|ramdisk| ramdisk.spot == spot)
    }
}
