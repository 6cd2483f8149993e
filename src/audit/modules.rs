//! Kernel modules out of whatever holds them: ramdisks, images with ramdisks, tar archives.

use std::io::{self, Read};

use super::Facts;
use crate::compression::{self, Decoder, Format};
use crate::image::{Image, SectionName};
use crate::kernel::module::Module;
use crate::ramdisk::cpio::FileType;
use crate::ramdisk::{self, Entries, Limits};

/// The largest module that is read, in bytes, as it stands in its container.
const MAX_MODULE: u64 = 256 << 20;
/// The most that a tar archive may unpack to, in bytes.
const MAX_TAR: u64 = 8 << 30;
/// The longest path in a tar archive that is looked at, in bytes.
const MAX_PATH: u64 = 64 << 10;
/// The most modules that are kept.
const MAX_MODULES: usize = 1 << 16;
/// A tar archive's block, in bytes.
const TAR_BLOCK: usize = 512;

/// The modules in one container, and what could not be read there.
#[derive(Debug, Default)]
pub struct Gathered {
    /// In the container's order, each with the file it came from.
    pub modules: Vec<Module>,
    /// Files that are called modules and are none, damaged rest.
    pub problems: Vec<String>,
}

/// Why nothing could be gathered.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// Nothing that can hold modules.
    #[error(
        "holds no modules: expected a directory, a ramdisk, a boot or vendor_boot image, a tar archive or a .ko file"
    )]
    Unrecognised,
    /// A compressed stream that could not be unpacked.
    #[error(transparent)]
    Compression(#[from] compression::Error),
    /// More modules than anyone has.
    #[error("holds more than {MAX_MODULES} modules")]
    TooMany,
}

/// Find the modules in a ramdisk, an image with ramdisks, a tar archive (also compressed), or
/// in a single `.ko`. `name` is for messages.
///
/// Reads through compressed containers as a stream; only one module is held at a time.
///
/// # Errors
/// [`GatherError`]. Damage behind the first file is told by [`Gathered::problems`] instead.
pub fn gather(bytes: &[u8], name: &str) -> Result<Gathered, GatherError> {
    let mut gathered = Gathered::default();
    if bytes.starts_with(b"\x7fELF") {
        gathered.take(bytes, name, name)?;
        return Ok(gathered);
    }
    if is_tar(bytes) {
        tar_archive(bytes, name, &mut gathered)?;
        return Ok(gathered);
    }
    if let Some(format) = Format::detect(bytes) {
        let mut head = [0; TAR_BLOCK];
        let filled = fill(&mut Decoder::new(format, bytes)?, &mut head);
        if head[..filled].starts_with(b"\x7fELF") {
            gathered.take(bytes, name, name)?;
            return Ok(gathered);
        }
        if is_tar(&head[..filled]) {
            tar_archive(Decoder::new(format, bytes)?, name, &mut gathered)?;
            return Ok(gathered);
        }
    }
    let Ok(image) = Image::parse(bytes) else { return Err(GatherError::Unrecognised) };
    let ramdisks = ramdisks(&image);
    if ramdisks.is_empty() && image.section(SectionName::Kernel).is_none() {
        return Err(GatherError::Unrecognised);
    }
    for (part, ramdisk) in ramdisks {
        gathered.ramdisk(ramdisk, &join(name, &part))?;
    }
    Ok(gathered)
}

/// The ramdisks of an image with what each is called.
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

/// Read until `buffer` is full; damage just ends it.
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

/// A POSIX or GNU tar header.
fn is_tar(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// `vfio.ko`, `vfio.ko.xz`.
pub fn is_module_name(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or_default();
    let endings = [".ko", ".ko.gz", ".ko.xz", ".ko.zst", ".ko.bz2", ".ko.lz4", ".ko.lzma"];
    endings.iter().any(|ending| file.len() > ending.len() && file.ends_with(ending))
}

/// Raw entries, so that a lie about the length of a name costs no memory.
fn tar_archive(reader: impl Read, name: &str, gathered: &mut Gathered) -> Result<(), GatherError> {
    let mut archive = tar::Archive::new(reader.take(MAX_TAR));
    let mut long_path: Option<String> = None;
    let mut next = |gathered: &mut Gathered,
                    entry: io::Result<tar::Entry<'_, _>>|
     -> io::Result<Result<(), GatherError>> {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
            let mut bytes = Vec::new();
            entry.by_ref().take(MAX_PATH).read_to_end(&mut bytes)?;
            let path = if kind.is_gnu_longname() { Some(&bytes[..]) } else { pax_path(&bytes) };
            if let Some(path) = path {
                long_path = Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned());
            }
            return Ok(Ok(()));
        }
        let short = || String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = long_path.take().unwrap_or_else(short);
        if !kind.is_file() || !is_module_name(&path) || entry.size() > MAX_MODULE {
            return Ok(Ok(()));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        Ok(gathered.take(&bytes, &path, &format!("{name}: {path}")))
    };
    let done: io::Result<Result<(), GatherError>> = (|| {
        for entry in archive.entries()?.raw(true) {
            if let Err(error) = next(gathered, entry)? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    })();
    done.unwrap_or_else(|error| {
        gathered.problems.push(format!("{name}: the rest is damaged: {error}"));
        Ok(())
    })
}

/// The value of `path` in a pax header: lines of `LENGTH KEY=VALUE`.
fn pax_path(bytes: &[u8]) -> Option<&[u8]> {
    bytes.split(|byte| *byte == b'\n').find_map(|line| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        line[space + 1..].strip_prefix(b"path=")
    })
}

impl Gathered {
    /// Add one `.ko`; what is no module becomes a problem. `path` names the module when it does
    /// not name itself, `file` is what messages call it.
    ///
    /// # Errors
    /// [`GatherError::TooMany`].
    pub fn take(&mut self, bytes: &[u8], path: &str, file: &str) -> Result<(), GatherError> {
        if self.modules.len() >= MAX_MODULES {
            return Err(GatherError::TooMany);
        }
        match Module::parse(bytes, path) {
            Ok(module) => self.modules.push(Module { file: file.to_owned(), ..module }),
            Err(error) => self.problems.push(format!("{file}: {error}")),
        }
        Ok(())
    }

    /// Add everything that another container gave.
    pub fn extend(&mut self, other: Gathered) {
        self.modules.extend(other.modules);
        self.problems.extend(other.problems);
    }

    fn ramdisk(&mut self, ramdisk: &[u8], name: &str) -> Result<(), GatherError> {
        let mut entries = Entries::new(ramdisk, Limits::default());
        let damaged = |error: ramdisk::Error| format!("{name}: the rest is damaged: {error}");
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
                || !is_module_name(&path)
                || u64::from(entry.header.filesize) > MAX_MODULE
            {
                continue;
            }
            let mut bytes = Vec::new();
            if let Err(error) = entries.copy_data(&mut bytes) {
                self.problems.push(damaged(error));
                return Ok(());
            }
            self.take(&bytes, &path, &format!("{name}: {path}"))?;
        }
    }
}

impl Facts {
    /// The module of that name (with `_`); of several the one that fits the kernel.
    pub(super) fn module(&self, name: &str) -> Option<&Module> {
        let mut named = self.modules.iter().flatten().filter(|module| module.name == name);
        let first = named.clone().next();
        let fits = |module: &&Module| {
            self.release.as_deref().is_some_and(|release| module.vermagic_matches(release))
        };
        named.find(fits).or(first)
    }
}
