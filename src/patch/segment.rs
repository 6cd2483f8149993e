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
    /// Modules to add: file name and bytes.
    pub modules: Vec<(&'a str, &'a [u8])>,
    /// The program that the runtime stands in for; None where `rdinit=` starts it.
    pub original: Option<Original>,
    /// How to undo the patch.
    pub undo: UndoRecord,
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
            if !self.modules.is_empty() {
                cpio.dir(&in_archive(MODULE_DIR), 0o755)?;
            }
            for (name, bytes) in &self.modules {
                cpio.file(&in_archive(&format!("{MODULE_DIR}/{name}")), 0o644, bytes)?;
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
