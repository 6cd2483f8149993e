//! The images of one device, as that device will use them.
//!
//! A [`BootSet`] is built once from the files of a set and asked by every command. Nothing is
//! computed before somebody asks for it, and nothing twice: each ramdisk is unpacked once,
//! whoever asks. The library reads no files: the caller hands over their bytes.
//!
//! | file | subject |
//! |---|---|
//! | `file` | a file of the set; the same file given twice |
//! | `role` | what each image is for |
//! | `ramdisks` | the ramdisks of the images, and where each is |
//! | `kernel` | the kernel that a normal boot starts |
//! | [`sources`] | where kernel parameters are in the images |
//! | `cmdline` | the effective command line, with the origin of every parameter |
//! | [`flow`] | how a device with these images boots |
//! | `avb` | the vbmeta images as a tree |
//! | `mark` | what a patch leaves for whoever finds the image later |

mod avb;
mod cmdline;
mod file;
pub mod flow;
mod kernel;
mod mark;
mod ramdisks;
mod role;
pub mod sources;

use std::sync::OnceLock;

pub use avb::Cover;
pub use cmdline::{CmdlineMode, CmdlinePart, CmdlineWord, EffectiveCmdline, Origin, Setting};
pub use file::{Error, File, Identity, Pages};
pub use flow::{Flow, FlowKind};
pub use kernel::{KernelState, SetKernel};
pub use mark::PatchMark;
pub(crate) use ramdisks::undo_record;
pub use ramdisks::{Ramdisk, Spot};
pub use role::Role;
pub use sources::CommandLines;

use crate::audit::{Evidence, Facts};
use crate::image::{self, Image};
use crate::kernel::{Error as KernelError, Kernel};

/// The images of one device. See the [module](self).
#[derive(Debug)]
pub struct BootSet<'a> {
    names: Vec<String>,
    images: Vec<Image<'a>>,
    pages: Vec<&'a dyn Pages>,
    /// For each file that was given, the index of its image.
    given: Vec<usize>,
    roles: OnceLock<Vec<Role>>,
    ramdisks: Vec<Ramdisk<'a>>,
    command_lines: OnceLock<CommandLines>,
    kernel: OnceLock<SetKernel>,
    evidence: OnceLock<Result<Option<Evidence>, KernelError>>,
    cmdline: OnceLock<EffectiveCmdline>,
    flow: OnceLock<Flow>,
    originals: OnceLock<Vec<Option<Vec<u8>>>>,
}

impl<'a> BootSet<'a> {
    /// The set of these files. A file that is given twice is one image.
    ///
    /// # Errors
    /// [`Error::Image`] for a file that is neither an image nor a kernel.
    pub fn new(files: impl IntoIterator<Item = File<'a>>) -> Result<Self, Error> {
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
            let failed = |source| Error::Image { file: file.name.clone(), source };
            let image = match Image::parse(file.bytes) {
                // A kernel that no boot image would hold.
                Err(image::Error::UnknownMagic { .. }) if Kernel::parse(file.bytes).is_ok() => {
                    Ok(Image::bare_kernel(file.bytes))
                }
                parsed => parsed,
            };
            images.push(image.map_err(failed)?);
        }
        let pages = distinct.iter().filter_map(|file| file.pages).collect();
        let names = distinct.into_iter().map(|file| file.name).collect();
        Ok(BootSet { pages, ..Self::of_images(names, images, given) })
    }

    /// The set of images that are parsed already, each called by its kind.
    pub fn from_images(images: &[Image<'a>]) -> Self {
        let names = images.iter().map(|image| image.kind().to_string()).collect();
        Self::of_images(names, images.to_vec(), (0..images.len()).collect())
    }

    fn of_images(names: Vec<String>, images: Vec<Image<'a>>, given: Vec<usize>) -> Self {
        BootSet {
            ramdisks: ramdisks::of(&images),
            names,
            images,
            pages: Vec::new(),
            given,
            roles: OnceLock::new(),
            command_lines: OnceLock::new(),
            kernel: OnceLock::new(),
            evidence: OnceLock::new(),
            cmdline: OnceLock::new(),
            flow: OnceLock::new(),
            originals: OnceLock::new(),
        }
    }

    /// The images, each once, in the order of the files.
    pub fn images(&self) -> &[Image<'a>] {
        &self.images
    }

    /// What messages call the image of this index.
    pub fn name(&self, image: usize) -> &str {
        self.names.get(image).map_or("", String::as_str)
    }

    /// The index of the image that the file of this number has; files are numbered as they were
    /// given.
    pub fn image_of(&self, file: usize) -> Option<usize> {
        self.given.get(file).copied()
    }

    /// The images with their indices and roles.
    pub fn members(&self) -> impl Iterator<Item = (usize, &Image<'a>, Role)> {
        let roles = self.roles().iter().copied();
        self.images.iter().zip(roles).enumerate().map(|(index, (image, role))| (index, image, role))
    }

    /// What each image is for. Ramdisks are read only where the headers leave a question.
    pub fn roles(&self) -> &[Role] {
        self.roles.get_or_init(|| role::decide(self))
    }

    /// The index of the first image in this role.
    pub fn position(&self, role: Role) -> Option<usize> {
        self.roles().iter().position(|own| *own == role)
    }

    /// The ramdisks of all images, in the order of the images and of their fragments.
    pub fn ramdisks(&self) -> &[Ramdisk<'a>] {
        &self.ramdisks
    }

    /// The ramdisk at this place.
    pub fn ramdisk(&self, spot: Spot) -> Option<&Ramdisk<'a>> {
        self.ramdisks.iter().find(|ramdisk| ramdisk.spot == spot)
    }

    /// The kernel parameters in the images, by where they are.
    pub fn command_lines(&self) -> &CommandLines {
        self.command_lines.get_or_init(|| CommandLines::read(self))
    }

    /// What is known of the kernel and its command line.
    pub fn facts(&self) -> &Facts {
        &self.kernel().facts
    }

    /// The command line that the kernel will act on; without parameters where none is known.
    pub fn cmdline(&self) -> &EffectiveCmdline {
        self.cmdline.get_or_init(|| EffectiveCmdline::new(self.facts()).unwrap_or_default())
    }

    /// Give back the memory of the files, for now.
    pub(crate) fn release_pages(&self) {
        self.pages.iter().for_each(|pages| pages.release());
    }

    /// The originals of patched images, kept as long as the set; None for an image that was not
    /// patched. `restore` is asked once.
    ///
    /// # Errors
    /// Those of `restore`.
    pub(crate) fn originals<E>(
        &self,
        restore: impl FnOnce() -> Result<Vec<Option<Vec<u8>>>, E>,
    ) -> Result<&[Option<Vec<u8>>], E> {
        if let Some(originals) = self.originals.get() {
            return Ok(originals);
        }
        let originals = restore()?;
        Ok(self.originals.get_or_init(|| originals))
    }

    /// How a device with these images boots.
    pub fn flow(&self) -> &Flow {
        self.flow.get_or_init(|| flow::detect(self))
    }
}
