//! The modules that are there beside a kernel: those that the user names, and those in the
//! ramdisks of the images.

use super::kernel::KernelFile;
use crate::audit::error::{CheckError, Problem};
use crate::audit::files::{File, Files};
use crate::audit::{Facts, Profile, links};
use crate::image::{Image, SectionName};
use crate::modules::{Gathered, Source, SurveyError, gather};

/// All modules that there are, as far as the user knows.
#[derive(Debug, Default)]
pub struct GivenModules<'a> {
    sources: Vec<Source<'a>>,
    gathered: Gathered,
}

/// Why a source of modules could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ModulesError {
    /// It could not be read.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// There is none in it.
    #[error("there is no kernel module{}", .0.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default())]
    None(Option<String>),
}

impl<'a> GivenModules<'a> {
    /// Read the modules of one more source.
    ///
    /// # Errors
    /// [`ModulesError`].
    pub fn add(&mut self, source: Source<'a>) -> Result<(), ModulesError> {
        let found = gather(&source)?;
        if found.modules.is_empty() {
            return Err(ModulesError::None(found.problems.into_iter().next()));
        }
        self.gathered.extend(found);
        self.sources.push(source);
        Ok(())
    }

    pub(super) fn tell(&self, facts: &mut Facts, problems: &mut Vec<Problem>) {
        facts.modules = Some(self.gathered.modules.clone());
        problems.extend(self.gathered.problems.iter().cloned().map(Problem::Module));
    }
}

/// Add the modules in the ramdisks of the images.
pub(super) fn add_from_images(
    facts: &mut Facts,
    problems: &mut Vec<Problem>,
    files: &Files<'_>,
) -> Result<(), CheckError> {
    let mut found = Gathered::default();
    let mut ramdisks = false;
    for file in files.all().filter(carries_ramdisk) {
        ramdisks = true;
        found.extend(gather(&source(file)).map_err(|error| unreadable(file, error))?);
    }
    if ramdisks {
        facts.modules_partial = facts.modules.is_none();
        facts.modules.get_or_insert_default().extend(found.modules);
        problems.extend(found.problems.into_iter().map(Problem::Module));
    }
    Ok(())
}

/// Compare the symbols of the modules that decide something with what the kernel exports, where
/// that can be read.
pub(super) fn link(
    facts: &mut Facts,
    profile: &Profile,
    given: Option<&GivenModules<'_>>,
    files: &Files<'_>,
) -> Result<(), CheckError> {
    let exports = KernelFile::locate(files.main.bytes)?.parse()?.exports();
    // The search of the kernel has reported its damage.
    let Ok(Some(exports)) = exports else { return Ok(()) };
    let given = given.iter().flat_map(|modules| modules.sources.iter().cloned());
    let carried = files.all().filter(carries_ramdisk).map(source);
    let sources: Vec<Source<'_>> = given.chain(carried).collect();
    let modules = facts.modules.as_deref().unwrap_or_default();
    let linked =
        links::read(profile, modules, &sources).map_err(|error| unreadable(files.main, error))?;
    facts.link(&linked, &exports);
    Ok(())
}

fn unreadable(file: File<'_>, error: SurveyError) -> CheckError {
    CheckError::Modules { file: file.name.to_owned(), error }
}

fn source(file: File<'_>) -> Source<'_> {
    Source::Bytes { name: file.name.to_owned(), bytes: file.bytes }
}

fn carries_ramdisk(file: &File<'_>) -> bool {
    let Ok(image) = Image::parse(file.bytes) else { return false };
    [SectionName::Ramdisk, SectionName::VendorRamdisk]
        .into_iter()
        .any(|name| image.section(name).is_some_and(|bytes| !bytes.is_empty()))
}
