//! Finds modules and their lists in directories, ramdisks, images with ramdisks, tar archives and
//! single `.ko` files.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::depmod;
use super::problem::{ModuleProblem, ProblemCause};
use crate::compression::{self, Decoder, Format};
use crate::image::{Image, SectionName};
use crate::kernel::module::Module;
use crate::ramdisk::cpio::FileType;
use crate::ramdisk::{Entries, Limits};

/// Maximum size of a module in its container, in bytes.
pub(super) const MAX_MODULE: u64 = 256 << 20;
/// Maximum decompressed size of a tar archive in bytes.
const MAX_TAR: u64 = 8 << 30;
/// Maximum length of a path in a tar archive in bytes.
const MAX_PATH: u64 = 64 << 10;
/// Maximum number of modules.
pub(super) const MAX_MODULES: usize = 1 << 16;
/// Maximum depth of nested directories.
const MAX_DEPTH: usize = 32;
/// Size of a block of a tar archive in bytes.
const TAR_BLOCK: usize = 512;

/// A source of modules.
#[derive(Clone, Debug)]
pub enum ModuleSource<'a> {
    /// A directory and its subdirectories.
    Directory(PathBuf),
    /// A ramdisk, a boot, vendor_boot or init_boot image, a tar archive (also compressed) or a
    /// `.ko`.
    Bytes {
        /// Its name in messages, or the path of a single `.ko`.
        name: String,
        /// The whole file.
        bytes: &'a [u8],
    },
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
        "cannot contain modules: expected a directory, a ramdisk, a boot or vendor_boot image, a tar archive or a .ko file"
    )]
    Unrecognised,
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
        ModuleSource::Bytes { name, bytes } => (name.as_str(), *bytes),
    };
    if bytes.starts_with(b"\x7fELF") {
        survey.single(name, bytes);
        return Ok(());
    }
    if is_tar(bytes) {
        return survey.tar_archive(bytes, name);
    }
    if let Some(format) = Format::detect(bytes) {
        let mut head = [0; TAR_BLOCK];
        let filled = fill(&mut Decoder::new(format, bytes)?, &mut head);
        if head[..filled].starts_with(b"\x7fELF") {
            survey.single(name, bytes);
            return Ok(());
        }
        if is_tar(&head[..filled]) {
            return survey.tar_archive(Decoder::new(format, bytes)?, name);
        }
    }
    let Ok(image) = Image::parse(bytes) else { return Err(SurveyError::Unrecognised) };
    let ramdisks = ramdisks(&image);
    if ramdisks.is_empty() && image.section(SectionName::Kernel).is_none() {
        return Err(SurveyError::Unrecognised);
    }
    for (part, ramdisk) in ramdisks {
        survey.ramdisk(ramdisk, &join(name, &part))?;
    }
    Ok(())
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

/// Read until `buffer` is full; damage ends the read.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    filled
}

/// Whether `bytes` start with a POSIX or GNU tar header.
fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
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

/// The value of `path` in a pax header: lines of `LENGTH KEY=VALUE`.
fn pax_path(bytes: &[u8]) -> Option<&[u8]> {
    bytes.split(|byte| *byte == b'\n').find_map(|line| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        line[space + 1..].strip_prefix(b"path=")
    })
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

    fn tar_archive(&mut self, reader: impl Read, name: &str) -> Result<(), SurveyError> {
        let mut archive = tar::Archive::new(reader.take(MAX_TAR));
        let mut long_path = None;
        let done: io::Result<Result<(), SurveyError>> = (|| {
            // Raw entries, so that a false length of a name costs no memory.
            for entry in archive.entries()?.raw(true) {
                if let Err(error) = self.tar_entry(entry?, name, &mut long_path)? {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        })();
        done.unwrap_or_else(|error| {
            let cause = ProblemCause::Archive(Arc::new(error));
            self.problems.push(ModuleProblem::new(name, cause));
            Ok(())
        })
    }

    /// `long_path` is the name of this entry if a previous entry contains it.
    fn tar_entry(
        &mut self,
        mut entry: tar::Entry<'_, impl Read>,
        name: &str,
        long_path: &mut Option<String>,
    ) -> io::Result<Result<(), SurveyError>> {
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
            let mut bytes = Vec::new();
            entry.by_ref().take(MAX_PATH).read_to_end(&mut bytes)?;
            let path = if kind.is_gnu_longname() { Some(&bytes[..]) } else { pax_path(&bytes) };
            if let Some(path) = path {
                *long_path = Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned());
            }
            return Ok(Ok(()));
        }
        let short = || String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = long_path.take().unwrap_or_else(short);
        if !kind.is_file() || entry.size() > MAX_MODULE {
            return Ok(Ok(()));
        }
        let inside = path.trim_start_matches("./");
        match self.wants(inside) {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        self.show(inside, &format!("{name}: {path}"), &bytes);
        Ok(Ok(()))
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
