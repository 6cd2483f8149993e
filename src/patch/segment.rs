//! The segment that a patch appends to the ramdisk.

use memchr::memmem;

use super::contribution::Contribution;
use super::error::Error;
use super::runtime::Runtime;
use super::undo::UndoRecord;
use crate::bootfile::{BOOT_FILE, BootFile, RUNTIME, UNDO_FILE};
use crate::compression::{self, Format, Known};
use crate::ramdisk::cpio::CpioWriter;
use crate::ramdisk::{AppendPoint, GZIP_NAME, normalise};

/// The contents of the segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'s> {
    /// The vfiorun executable.
    pub runtime: Runtime<'s>,
    /// Its configuration. None for a segment without the runtime and what only that needs.
    pub boot: Option<&'s BootFile>,
    /// How to undo the patch.
    pub undo: &'s UndoRecord,
    /// All other files.
    pub parts: &'s Contribution,
}

impl Segment<'_> {
    /// The segment for `point`, with the zeros that must precede it. The same contents give the
    /// same bytes.
    ///
    /// It has no device nodes and no hard links: vfiorun does not need any, `/init` must find the same
    /// files as without the patch, and tools that rebuild a ramdisk may lose them. For their sake a
    /// name is there twice only where the kernel could not do without.
    ///
    /// # Errors
    /// [`Error::Pack`], [`Error::BootFile`], [`Error::UndoRecord`].
    pub(crate) fn pack(&self, point: &AppendPoint) -> Result<Vec<u8>, Error> {
        let archive = self.archive(point.lead_in)?;
        at_point(point, archive, |format, archive| self.compress(format, archive))
            .map_err(Error::Pack)
    }

    /// The compressed archive. The runtime is nearly all of it, and was compressed when this program
    /// was built.
    fn compress(&self, format: Format, archive: &[u8]) -> std::io::Result<Vec<u8>> {
        let executable = self.runtime.executable();
        let known = match (self.runtime.part(format)?, position(archive, executable)) {
            (Some(part), Some(start)) => Some((start, part)),
            _ => None,
        };
        match &known {
            Some((start, part)) => {
                let known = Known { range: *start..start + executable.len(), part };
                compression::encode_around(format, archive, &known, Some(GZIP_NAME))
            }
            None => compression::encode(format, archive, Some(GZIP_NAME)),
        }
    }

    fn archive(&self, lead_in: usize) -> Result<Vec<u8>, Error> {
        let boot = self.boot.map(toml::to_string).transpose()?;
        let undo = self.undo.to_bytes()?;
        let write = || {
            let mut cpio = CpioWriter::with_lead_in(Vec::new(), lead_in)?;
            cpio.dir(&in_archive("/vfioboot"), 0o755)?;
            for directory in &self.parts.directories {
                cpio.dir(&in_archive(&directory.path), directory.mode)?;
            }
            if self.parts.original.is_none() && boot.is_some() {
                cpio.file(&in_archive(RUNTIME), 0o755, self.runtime.executable())?;
            }
            if let Some(boot) = &boot {
                cpio.file(&in_archive(BOOT_FILE), 0o644, boot.as_bytes())?;
            }
            cpio.file(&in_archive(UNDO_FILE), 0o600, &undo)?;
            self.files(&mut cpio)?;
            for path in &self.parts.runtime_names {
                // PID 1 puts the runtime there. Without it the link leads nowhere.
                cpio.symlink(&in_archive(path), RUNTIME.as_bytes())?;
            }
            if let Some(original) = &self.parts.original {
                original.write(&mut cpio, self.runtime.executable())?;
            }
            cpio.finish()
        };
        write().map_err(Error::Pack)
    }

    fn files<W: std::io::Write>(&self, cpio: &mut CpioWriter<W>) -> std::io::Result<()> {
        let mut made = vec!["/vfioboot"];
        for file in &self.parts.files {
            for directory in file.own_directories() {
                if !made.contains(&directory) {
                    cpio.dir(&in_archive(directory), 0o755)?;
                    made.push(directory);
                }
            }
            let path = in_archive(&file.path);
            if file.replaces {
                make_room(cpio, &path)?;
            }
            cpio.like(&path, &file.header, &file.bytes)?;
        }
        Ok(())
    }
}

/// An archive as a segment for `point`: compressed as it has to be, after the zeros that must precede
/// it.
pub(super) fn at_point(
    point: &AppendPoint,
    archive: Vec<u8>,
    compress: impl FnOnce(Format, &[u8]) -> std::io::Result<Vec<u8>>,
) -> std::io::Result<Vec<u8>> {
    let mut segment = vec![0; point.padding];
    match point.format {
        None => segment.extend(archive),
        Some(format) => segment.extend(point.continuing(compress(format, &archive)?)),
    }
    Ok(segment)
}

/// The offset of `part` in `archive`. The search is for its start only: preparing a search for a
/// long text costs more than the search.
fn position(archive: &[u8], part: &[u8]) -> Option<usize> {
    let start = &part[..part.len().min(64)];
    memmem::find_iter(archive, start).find(|at| archive[*at..].starts_with(part))
}

/// Make the kernel remove the file at `path`: one that is opened for writing keeps its inode and so
/// changes what its other names show (`clean_path` in `init/initramfs.c`).
fn make_room<W: std::io::Write>(cpio: &mut CpioWriter<W>, path: &[u8]) -> std::io::Result<()> {
    cpio.symlink(path, RUNTIME.as_bytes())
}

/// Names in an archive have no leading slash.
fn in_archive(path: &str) -> Vec<u8> {
    normalise(path.as_bytes()).into_owned()
}
