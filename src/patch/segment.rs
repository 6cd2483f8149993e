//! The segment that a patch appends to the ramdisk.

use super::hook::Original;
use super::{Error, UndoRecord};
use crate::bootfile::{BOOT_FILE, BootFile, RUNTIME, UNDO_FILE};
use crate::compression;
use crate::ramdisk::append::GZIP_NAME;
use crate::ramdisk::cpio::CpioWriter;
use crate::ramdisk::{AppendPoint, normalise};

/// Where modules that `patch` adds stand in the ramdisk.
pub const MODULE_DIR: &str = "/vfioboot/modules";

/// What goes into the segment.
#[derive(Clone, Debug)]
pub struct Payload<'a> {
    /// The vfiorun executable.
    pub runtime: &'a [u8],
    /// What it is to do.
    pub boot: BootFile,
    /// The program that the runtime stands in for; None where `rdinit=` starts it.
    pub original: Option<Original>,
    /// Modules and lists to add.
    pub files: Vec<SegmentFile>,
    /// How to undo the patch.
    pub undo: UndoRecord,
}

/// A file that a patch puts into the ramdisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Absolute.
    path: String,
    mode: u32,
    bytes: Vec<u8>,
}

impl SegmentFile {
    /// A new one.
    pub fn new(path: &str, mode: u32, bytes: Vec<u8>) -> Self {
        SegmentFile { path: path.to_owned(), mode, bytes }
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
            Some(format) => {
                let packed = compression::encode(format, &archive, Some(GZIP_NAME));
                segment.extend(packed.map_err(Error::Pack)?);
            }
        }
        Ok(segment)
    }

    fn archive(&self, lead_in: usize) -> Result<Vec<u8>, Error> {
        let boot = toml::to_string(&self.boot).map_err(|e| Error::BootFile(e.to_string()))?;
        let undo = self.undo.to_bytes()?;
        let write = || {
            let mut cpio = CpioWriter::with_lead_in(Vec::new(), lead_in)?;
            cpio.dir(&in_archive("/vfioboot"), 0o755)?;
            if self.original.is_none() {
                cpio.file(&in_archive(RUNTIME), 0o755, self.runtime)?;
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
                cpio.file(&in_archive(&file.path), file.mode, &file.bytes)?;
            }
            if let Some(original) = &self.original {
                original.write(&mut cpio, self.runtime)?;
            }
            cpio.finish()
        };
        write().map_err(Error::Pack)
    }
}

/// Names in an archive have no leading slash.
fn in_archive(path: &str) -> Vec<u8> {
    normalise(path.as_bytes())
}
