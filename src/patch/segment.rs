//! The segment that a patch appends to the ramdisk.

use memchr::memmem;

use super::hook::Original;
use super::runtime::Runtime;
use super::{Error, UndoRecord};
use crate::bootfile::{BOOT_FILE, BootFile, RUNTIME, UNDO_FILE};
use crate::compression::{self, Format, Known};
use crate::ramdisk::append::GZIP_NAME;
use crate::ramdisk::cpio::{CpioWriter, Header};
use crate::ramdisk::{AppendPoint, normalise};

/// Where modules that `patch` adds stand in the ramdisk.
pub const MODULE_DIR: &str = "/vfioboot/modules";

/// What goes into the segment.
#[derive(Clone, Debug)]
pub struct Payload<'a> {
    /// The vfiorun executable.
    pub runtime: Runtime<'a>,
    /// What it is to do.
    pub boot: BootFile,
    /// The program that the runtime stands in for; None where `rdinit=` starts it.
    pub original: Option<Original>,
    /// Modules, lists and rc files to add.
    pub files: Vec<SegmentFile>,
    /// Directories to make for them outside of `/vfioboot`: absolute path and mode.
    pub directories: Vec<(String, u32)>,
    /// More names for the runtime: hard links, so that it costs nothing and stays when PID 1
    /// removes `/vfioboot`. Absolute.
    pub runtime_names: Vec<String>,
    /// How to undo the patch.
    pub undo: UndoRecord,
}

/// A file that a patch puts into the ramdisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Absolute.
    path: String,
    /// Type, mode, owner and time.
    header: Header,
    bytes: Vec<u8>,
    /// The file that may stand there goes first.
    replaces: bool,
}

impl SegmentFile {
    /// A new one.
    pub fn new(path: &str, mode: u32, bytes: Vec<u8>) -> Self {
        let header = Header { mode: 0o100_000 | mode & 0o7777, ..Header::default() };
        SegmentFile::like(path, header, bytes)
    }

    /// One with the type, mode, owner and time of another.
    pub fn like(path: &str, header: Header, bytes: Vec<u8>) -> Self {
        SegmentFile { path: path.to_owned(), header, bytes, replaces: false }
    }

    /// The same in place of a file that may have other names, which keep its data.
    pub fn replacing(self) -> Self {
        SegmentFile { replaces: true, ..self }
    }

    /// Directories on the way to it that are ours to make: one that is called after us, and what
    /// is below. To make one that is there already would change its mode.
    fn directories(&self) -> Vec<&str> {
        let ends = self.path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        let parents = ends.map(|at| &self.path[..at]);
        parents.filter(|path| path.split('/').any(|part| part == "vfioboot")).collect()
    }
}

impl Payload<'_> {
    /// The segment for `point`, with the zeros that must stand before it. The same payload gives
    /// the same bytes.
    ///
    /// No device nodes are in it: vfiorun does without, and `/init` is to find what it would
    /// have found.
    pub fn to_segment(&self, point: &AppendPoint) -> Result<Vec<u8>, Error> {
        let archive = self.archive(point.lead_in)?;
        let mut segment = vec![0; point.padding];
        match point.format {
            None => segment.extend(archive),
            Some(format) => segment.extend(self.pack(format, &archive).map_err(Error::Pack)?),
        }
        Ok(segment)
    }

    /// The archive compressed; of the runtime, which is nearly all of it, the part that was
    /// compressed when this program was built.
    fn pack(&self, format: Format, archive: &[u8]) -> std::io::Result<Vec<u8>> {
        let executable = self.runtime.executable();
        let known = match (self.runtime.part(format)?, memmem::find(archive, executable)) {
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
        let boot = toml::to_string(&self.boot).map_err(|e| Error::BootFile(e.to_string()))?;
        let undo = self.undo.to_bytes()?;
        let write = || {
            let mut cpio = CpioWriter::with_lead_in(Vec::new(), lead_in)?;
            cpio.dir(&in_archive("/vfioboot"), 0o755)?;
            for (path, mode) in &self.directories {
                cpio.dir(&in_archive(path), *mode)?;
            }
            let also: Vec<Vec<u8>> = self.runtime_names.iter().map(|p| in_archive(p)).collect();
            for name in &also {
                make_room(&mut cpio, name)?;
            }
            if self.original.is_none() {
                let home = in_archive(RUNTIME);
                let names: Vec<&[u8]> =
                    std::iter::once(&home).chain(&also).map(Vec::as_slice).collect();
                cpio.linked(&names, 0o755, self.runtime.executable())?;
            }
            cpio.file(&in_archive(BOOT_FILE), 0o644, boot.as_bytes())?;
            cpio.file(&in_archive(UNDO_FILE), 0o600, &undo)?;
            let mut made = vec!["/vfioboot"];
            for file in &self.files {
                for directory in file.directories() {
                    if !made.contains(&directory) {
                        cpio.dir(&in_archive(directory), 0o755)?;
                        made.push(directory);
                    }
                }
                let path = in_archive(&file.path);
                if file.replaces {
                    make_room(&mut cpio, &path)?;
                }
                cpio.like(&path, &file.header, &file.bytes)?;
            }
            if let Some(original) = &self.original {
                original.write(&mut cpio, self.runtime.executable(), &also)?;
            }
            cpio.finish()
        };
        write().map_err(Error::Pack)
    }
}

/// Make the kernel remove the file that may stand at `path`: one that is opened for writing keeps
/// its inode and so changes what its other names show, and older kernels make no link over a file
/// (`clean_path` and `maybe_link` in `init/initramfs.c`).
fn make_room<W: std::io::Write>(cpio: &mut CpioWriter<W>, path: &[u8]) -> std::io::Result<()> {
    cpio.symlink(path, RUNTIME.as_bytes())
}

/// Names in an archive have no leading slash.
fn in_archive(path: &str) -> Vec<u8> {
    normalise(path.as_bytes())
}
