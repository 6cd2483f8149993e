//! Files added to the ramdisk, the originals kept.

use crate::bootfile::ORIGINALS;
use crate::patch::contribution::Contribution;
use crate::patch::edit::PlannedFile;
use crate::patch::error::Error;
use crate::patch::initramfs_files::InitramfsFiles;
use crate::patch::segment_file::SegmentFile;
use crate::ramdisk::cpio::{FileType, Header};

/// Files that are added to a ramdisk.
pub(crate) struct Overlay<'o, 's, 'a> {
    /// The ramdisk.
    pub files: &'o InitramfsFiles<'s, 'a>,
    /// For the patch.
    pub contribution: Contribution,
    /// For the plan.
    pub planned: Vec<PlannedFile>,
}

impl<'o, 's, 'a> Overlay<'o, 's, 'a> {
    /// An empty overlay.
    pub(crate) fn new(files: &'o InitramfsFiles<'s, 'a>) -> Self {
        Overlay { files, contribution: Contribution::default(), planned: Vec::new() }
    }

    /// Another name for the runtime.
    ///
    /// # Errors
    /// [`Error::RcTaken`].
    pub(crate) fn add_runtime(&mut self, path: &str) -> Result<(), Error> {
        self.shadow(path, "vfiorun, which PID 1 puts there")?;
        self.contribution.runtime_names.push(path.to_owned());
        Ok(())
    }

    /// Add a file with mode and owner `like` another.
    ///
    /// # Errors
    /// [`Error::RcTaken`].
    pub(crate) fn add(
        &mut self,
        path: &str,
        like: Header,
        bytes: Vec<u8>,
        what: &str,
    ) -> Result<(), Error> {
        let other_names = self.shadow(path, what)?;
        let file = SegmentFile::like(path, like, bytes);
        self.contribution.files.push(if other_names { file.replacing() } else { file });
        Ok(())
    }

    /// Keep the file at `path`, which PID 1 restores. Whether it has other names.
    fn shadow(&mut self, path: &str, what: &str) -> Result<bool, Error> {
        let found = self.files.find(path.as_bytes(), false)?;
        let shadows = found.is_some();
        let other_names = found.as_ref().is_some_and(|found| found.nlink > 1);
        if let Some(found) = found {
            let original = match found.file_type {
                FileType::Regular | FileType::Symlink => self.files.entry(&found)?,
                _ => None,
            };
            let Some((header, bytes)) = original else {
                return Err(Error::RcTaken { path: path.to_owned() });
            };
            let kept = format!("{ORIGINALS}{path}");
            self.contribution.files.push(SegmentFile::like(&kept, header, bytes));
        }
        self.contribution.shadows.push(path.to_owned());
        self.planned.push(PlannedFile { path: path.to_owned(), what: what.to_owned(), shadows });
        Ok(other_names)
    }
}
