//! What is unpacked is kept in files without a name, mapped into memory.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use vfioboot::container::{Error, Kept, Spill};

/// Keeps what is unpacked in files of a directory, which no other program sees and no kill leaves
/// behind.
#[derive(Debug, Default)]
pub struct Files {
    /// The directory; None for the one for temporary files.
    pub dir: Option<PathBuf>,
}

impl Spill for Files {
    fn keep(
        &self,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<(), Error>,
    ) -> Result<Kept, Error> {
        let file = match &self.dir {
            Some(dir) => {
                std::fs::create_dir_all(dir)?;
                tempfile::tempfile_in(dir)?
            }
            None => tempfile::tempfile()?,
        };
        let mut buffered = BufWriter::new(&file);
        fill(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        if file.metadata()?.len() == 0 {
            return Ok(Box::new(Vec::new()));
        }
        // SAFETY: the mapping is private and read-only, and no other process can open the file.
        let map = unsafe { memmap2::Mmap::map(&file) }?;
        Ok(Box::new(map))
    }
}
