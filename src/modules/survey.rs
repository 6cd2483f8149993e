//! Finds modules and their lists in directories, ramdisks, images with ramdisks, archives and single
//! `.ko` files.

use std::cell::RefCell;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::depmod;
use super::problem::{ModuleProblem, ProblemCause};
use crate::compression::{self, Decoder, Format};
use crate::image::{self, Image, SectionName};
use crate::kernel::module::Module;
use crate::ramdisk::cpio::FileType;
use crate::ramdisk::{Entries, Limits};

/// Maximum size of a module in its container, in bytes.
pub(super) const MAX_MODULE: u64 = 256 << 20;
/// Maximum number of modules.
pub(super) const MAX_MODULES: usize = 1 << 16;
/// Maximum depth of nested directories.
const MAX_DEPTH: usize = 32;
const ELF: &[u8] = b"\x7fELF";

/// A source of modules.
#[derive(Clone, Debug)]
pub enum ModuleSource<'a> {
    /// A directory and its subdirectories.
    Directory(PathBuf),
    /// A ramdisk, a boot, vendor_boot or init_boot image or a `.ko`.
    Bytes {
        /// Its name in messages, or the path of a single `.ko`.
        name: String,
        /// The whole file.
        bytes: &'a [u8],
    },
    /// An archive: see `container::modules`.
    Archive {
        /// Its name in messages.
        name: String,
        /// Reads it.
        files: Arc<dyn ModuleArchive + 'a>,
    },
}

impl ModuleSource<'_> {
    /// Its name in messages.
    pub fn name(&self) -> String {
        match self {
            ModuleSource::Directory(path) => path.display().to_string(),
            ModuleSource::Bytes { name, .. } | ModuleSource::Archive { name, .. } => name.clone(),
        }
    }
}

/// An archive of files.
pub trait ModuleArchive: fmt::Debug + Send + Sync {
    /// Read the files that `wants` accepts, by path and size in bytes, one after the other: `take` gets
    /// path and contents.
    ///
    /// # Errors
    /// Damage: what comes after it is not known.
    fn read(
        &self,
        wants: &mut dyn FnMut(&str, u64) -> bool,
        take: &mut dyn FnMut(&str, &[u8]),
    ) -> io::Result<()>;
}

/// A module, or a list of depmod or Android's build.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile<'f> {
    /// Its path in the source, without a leading `/`.
    pub path: &'f str,
    /// Its name in messages: the source and the path.
    pub file: &'f str,
    /// Its contents.
    pub bytes: &'f [u8],
}

impl SourceFile<'_> {
    /// Whether it has the name of a module; otherwise it is a list.
    pub(crate) fn is_module(&self) -> bool {
        is_module_name(self.path)
    }
}

/// The modules in one source, and the problems with it.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The modules in the order of the source, each with the file that it comes from.
    pub modules: Vec<Module>,
    /// Files with the name of a module that are not modules, and damage in the source.
    pub problems: Vec<ModuleProblem>,
}

/// Errors of reading a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// The file cannot contain modules.
    #[error(
        "cannot contain modules: expected a directory, a ramdisk, a boot or vendor_boot image, an archive or a .ko file{}",
        .found.as_ref().map(|found| format!(", found {found}")).unwrap_or_default()
    )]
    Unrecognised {
        /// What the file is, where that is known.
        found: Option<String>,
    },
    /// A compressed stream that could not be unpacked.
    #[error(transparent)]
    Compression(#[from] compression::Error),
    /// A directory that could not be listed.
    #[error("{}: {error}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// Too many modules.
    #[error("contains more than {MAX_MODULES} modules")]
    TooMany,
}

/// Find the modules in a source; see [`visit`].
///
/// # Errors
/// [`SurveyError`]. Damage after the first file is reported in [`Survey::problems`] instead.
pub(crate) fn gather(source: &ModuleSource<'_>) -> Result<Survey, SurveyError> {
    let mut gathered = Survey::default();
    let mut problems = Vec::new();
    visit(source, &mut problems, &mut |found| {
        if found.is_module() {
            match Module::parse(found.bytes, found.path) {
                Ok(module) => {
                    gathered.modules.push(Module { file: found.file.to_owned(), ..module });
                }
                Err(error) => {
                    let cause = ProblemCause::Module(Arc::new(error));
                    gathered.problems.push(ModuleProblem::new(found.file, cause));
                }
            }
        }
    })?;
    gathered.problems.extend(problems);
    Ok(gathered)
}

impl Survey {
    /// Add the modules and problems of another source.
    pub(crate) fn extend(&mut self, other: Survey) {
        self.modules.extend(other.modules);
        self.problems.extend(other.problems);
    }
}

/// Call `look` for each module and each list (see [`depmod::LISTS`]) of a source, in the order of the
/// source. In a ramdisk a later file of a path replaces an earlier one; `look` is called for both.
/// Damage after the first file ends the search and is added to `problems`.
///
/// Compressed containers are read as a stream, with one file in memory at a time.
///
/// # Errors
/// [`SurveyError`].
pub(crate) fn visit(
    source: &ModuleSource<'_>,
    problems: &mut Vec<ModuleProblem>,
    look: &mut dyn FnMut(&SourceFile<'_>),
) -> Result<(), SurveyError> {
    visit_some(source, problems, &mut |_| true, look)
}

/// Like [`visit`], and only those files are read whose path `wants` accepts; it is asked once for
/// each, also in a directory before the file is opened.
///
/// # Errors
/// [`SurveyError`].
pub(crate) fn visit_some(
    source: &ModuleSource<'_>,
    problems: &mut Vec<ModuleProblem>,
    wants: &mut dyn FnMut(&str) -> bool,
    look: &mut dyn FnMut(&SourceFile<'_>),
) -> Result<(), SurveyError> {
    let mut survey = Visitor { problems, wants, look, modules: 0 };
    let (name, bytes) = match source {
        ModuleSource::Directory(path) => return survey.directory(path, path, 0),
        ModuleSource::Archive { name, files } => return survey.archive(&**files, name),
        ModuleSource::Bytes { name, bytes } => (name.as_str(), *bytes),
    };
    if bytes.starts_with(ELF) || starts_compressed(bytes)? {
        survey.single(name, bytes);
        return Ok(());
    }
    let image = Image::parse(bytes).map_err(|error| SurveyError::Unrecognised {
        found: match error {
            image::Error::UnknownMagic { found, hint } => Some(format!("{found}{hint}")),
            error => Some(error.to_string()),
        },
    })?;
    let ramdisks = ramdisks(&image);
    if ramdisks.is_empty() && image.section(SectionName::Kernel).is_none() {
        return Err(SurveyError::Unrecognised { found: Some(format!("a {} image", image.kind())) });
    }
    for (part, ramdisk) in ramdisks {
        survey.ramdisk(ramdisk, &join(name, &part))?;
    }
    Ok(())
}

/// Whether there is an ELF file in a compressed stream.
fn starts_compressed(bytes: &[u8]) -> Result<bool, SurveyError> {
    let Some(format) = Format::detect(bytes) else { return Ok(false) };
    let mut head = [0; ELF.len()];
    Ok(Decoder::new(format, bytes)?.read_exact(&mut head).is_ok() && head == *ELF)
}

/// The ramdisks of an image, each with its name in messages.
fn ramdisks<'a>(image: &Image<'a>) -> Vec<(String, &'a [u8])> {
    let mut found = Vec::new();
    if let Some(bytes) = image.section(SectionName::Ramdisk) {
        found.push((String::new(), bytes));
    }
    for fragment in image.fragments() {
        found.push((String::from_utf8_lossy(fragment.name).into_owned(), fragment.bytes));
    }
    found
}

fn join(name: &str, part: &str) -> String {
    if part.is_empty() { name.to_owned() } else { format!("{name}, fragment {part}") }
}

/// Whether this is the name of a module: `vfio.ko`, `vfio.ko.xz`.
pub fn is_module_name(name: &str) -> bool {
    is_module_file(file_name(name))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn is_module_file(file: &str) -> bool {
    let packed =
        Format::all().find_map(|format| file.strip_suffix(format.suffix())?.strip_suffix('.'));
    packed.unwrap_or(file).strip_suffix(".ko").is_some_and(|stem| !stem.is_empty())
}

/// Whether this is the path of a module or a list.
pub(super) fn is_wanted(path: &str) -> bool {
    let file = file_name(path);
    is_module_file(file) || depmod::LISTS.contains(&file)
}

/// The state of a search.
struct Visitor<'s> {
    problems: &'s mut Vec<ModuleProblem>,
    wants: &'s mut dyn FnMut(&str) -> bool,
    look: &'s mut dyn FnMut(&SourceFile<'_>),
    modules: usize,
}

impl Visitor<'_> {
    /// Whether to read the file.
    fn wants(&mut self, path: &str) -> Result<bool, SurveyError> {
        if !is_wanted(path) {
            return Ok(false);
        }
        self.modules += 1;
        if self.modules > MAX_MODULES {
            return Err(SurveyError::TooMany);
        }
        Ok((self.wants)(path.trim_start_matches('/')))
    }

    fn show(&mut self, path: &str, file: &str, bytes: &[u8]) {
        (self.look)(&SourceFile { path: path.trim_start_matches('/'), file, bytes });
    }

    /// A file that is a module whatever its name is.
    fn single(&mut self, name: &str, bytes: &[u8]) {
        if (self.wants)(name.trim_start_matches('/')) {
            self.show(name, name, bytes);
        }
    }

    /// Symbolic links to directories (`build` and `source` of a modules tree) are not followed.
    fn directory(&mut self, root: &Path, path: &Path, depth: usize) -> Result<(), SurveyError> {
        let failed = |error| SurveyError::Directory { path: path.to_owned(), error };
        let entries = fs::read_dir(path).map_err(failed)?;
        let mut entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if entry.file_type().map_err(failed)?.is_dir() {
                if depth < MAX_DEPTH {
                    self.directory(root, &path, depth + 1)?;
                }
                continue;
            }
            let inside = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if !is_wanted(&inside) || !path.is_file() || !self.wants(&inside)? {
                continue;
            }
            let file = path.display().to_string();
            match fs::read(&path) {
                Ok(bytes) => self.show(&inside, &file, &bytes),
                Err(error) => {
                    let cause = ProblemCause::Read(Arc::new(error));
                    self.problems.push(ModuleProblem::new(file, cause));
                }
            }
        }
        Ok(())
    }

    fn archive(&mut self, files: &dyn ModuleArchive, name: &str) -> Result<(), SurveyError> {
        let mut failed = None;
        // Both closures use the visitor, and one after the other.
        let visitor = RefCell::new(&mut *self);
        let read = files.read(
            &mut |path, size| {
                let wanted = || visitor.borrow_mut().wants(path.trim_start_matches("./"));
                let fits = failed.is_none() && size <= MAX_MODULE;
                fits && wanted().unwrap_or_else(|error| {
                    failed = Some(error);
                    false
                })
            },
            &mut |path, bytes| {
                let inside = path.trim_start_matches("./");
                visitor.borrow_mut().show(inside, &format!("{name}: {path}"), bytes);
            },
        );
        if let Err(error) = read {
            let cause = ProblemCause::Archive(Arc::new(error));
            self.problems.push(ModuleProblem::new(name, cause));
        }
        failed.map_or(Ok(()), Err)
    }

    fn ramdisk(&mut self, ramdisk: &[u8], name: &str) -> Result<(), SurveyError> {
        let mut entries = Entries::new(ramdisk, Limits::default());
        let damaged = |error| ModuleProblem::new(name, ProblemCause::Ramdisk(Arc::new(error)));
        loop {
            let entry = match entries.next_entry() {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.problems.push(damaged(error));
                    return Ok(());
                }
            };
            let path = String::from_utf8_lossy(entry.path()).into_owned();
            if entry.file_type() != FileType::Regular
                || u64::from(entry.header.filesize) > MAX_MODULE
                || !self.wants(path.trim_start_matches("./"))?
            {
                continue;
            }
            let mut bytes = Vec::new();
            if let Err(error) = entries.copy_data(&mut bytes) {
                self.problems.push(damaged(error));
                return Ok(());
            }
            self.show(path.trim_start_matches("./"), &format!("{name}: {path}"), &bytes);
        }
    }
}
