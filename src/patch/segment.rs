//! The segment that a patch appends to the ramdisk.

use super::{Error, UndoRecord};
use crate::bootfile::{BOOT_FILE, BootFile, RUNTIME, UNDO_FILE};
use crate::compression::{self, Format};
use crate::ramdisk::CpioWriter;

/// The name in the gzip header of the segment, by which it is found again.
pub const GZIP_NAME: &str = "vfioboot";

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
    /// How to undo the patch.
    pub undo: UndoRecord,
}

impl Payload<'_> {
    /// The segment, compressed as `format`, or raw cpio for None. The same payload gives the same
    /// bytes.
    ///
    /// No device nodes are in it: vfiorun does without, and `/init` is to find what it would
    /// have found.
    pub fn to_segment(&self, format: Option<Format>) -> Result<Vec<u8>, Error> {
        let boot = toml::to_string(&self.boot).map_err(|e| Error::BootFile(e.to_string()))?;
        let mut cpio = CpioWriter::new();
        cpio.directory("vfioboot", 0o755);
        cpio.file(relative(RUNTIME), 0o755, self.runtime);
        cpio.file(relative(BOOT_FILE), 0o644, boot.as_bytes());
        cpio.file(relative(UNDO_FILE), 0o600, &self.undo.to_bytes()?);
        if !self.modules.is_empty() {
            cpio.directory(relative(MODULE_DIR), 0o755);
        }
        for (name, bytes) in &self.modules {
            cpio.file(&format!("{}/{name}", relative(MODULE_DIR)), 0o644, bytes);
        }
        let archive = cpio.finish();
        match format {
            None => Ok(archive),
            Some(format) => {
                compression::encode(format, &archive, Some(GZIP_NAME)).map_err(Error::Encode)
            }
        }
    }
}

/// Names in a cpio have no leading slash.
fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}
