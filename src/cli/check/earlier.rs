//! `--resume FILE`: lines that an earlier run wrote, and the file that the next ones go into.

use std::fs::{File, TryLockError};
use std::io::{BufReader, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, bail};
use vfioboot::audit::resume::Earlier;
use vfioboot::audit::run::Settings;

/// Open the file, or make it, read its lines, and cut off one without an end.
pub fn open(path: &Path, settings: &Settings) -> anyhow::Result<(Earlier, File)> {
    let open = || -> anyhow::Result<(Earlier, File)> {
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        if !file.metadata()?.is_file() {
            bail!("is not a file: --resume reads it and writes more into it");
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
            Err(TryLockError::WouldBlock) => {
                bail!("another run writes into it: wait until that has ended")
            }
        }
        let earlier = Earlier::read(&mut BufReader::new(&file), settings)?;
        file.set_len(earlier.length())?;
        file.seek(SeekFrom::End(0))?;
        Ok((earlier, file))
    };
    open().with_context(|| path.display().to_string())
}
