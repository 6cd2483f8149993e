//! Output files: written atomically, and never over an input.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Write `path` through a temporary file in the same directory that is synced and then renamed: if
/// the process is killed, either the old file or the complete new one exists. `-` is standard output;
/// a pipe or a device cannot be replaced and is written directly.
pub fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    write_to(path, write).with_context(|| match is_stdout(path) {
        true => "standard output".to_owned(),
        false => path.display().to_string(),
    })
}

/// Whether `path` means standard output.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn write_to(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    if is_stdout(path) {
        let mut stdout = io::stdout().lock();
        write(&mut stdout)?;
        return Ok(stdout.flush()?);
    }
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => bail!("is a directory, expected a file"),
        Ok(there) if !there.is_file() => {
            let file = File::options().write(true).open(path)?;
            let mut buffered = BufWriter::new(&file);
            write(&mut buffered)?;
            buffered.flush()?;
            drop(buffered);
            // A pipe or a terminal has nothing to sync.
            file.sync_all().or_else(|error| match error.kind() {
                io::ErrorKind::InvalidInput => Ok(()),
                _ => Err(error),
            })?;
            Ok(())
        }
        // A symbolic link stays one: its target is replaced.
        Ok(_) => Ok(write_then_rename(&fs::canonicalize(path)?, write)?),
        Err(_) => Ok(write_then_rename(path, write)?),
    }
}

fn write_then_rename(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let dir = parent(path);
    let mut temporary = tempfile::Builder::new()
        .prefix(".vfioboot-")
        // What `open` gives a new file; the umask takes its part.
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(&dir)?;
    let sparse = Sparse { file: temporary.as_file_mut(), size: 0 };
    // Large, so that runs of zeros arrive in one piece.
    let mut buffered = BufWriter::with_capacity(256 * HOLE, sparse);
    write(&mut buffered)?;
    buffered.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    copy_mode(path, temporary.as_file())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    // The rename itself must survive a power cut, too.
    File::open(&dir)?.sync_all()
}

/// A page of zeros at a multiple of this many bytes becomes a hole.
const HOLE: usize = 4096;

/// A new file in which long runs of zeros take no space.
struct Sparse<'f> {
    file: &'f mut File,
    size: u64,
}

impl Sparse<'_> {
    /// A hole at the end exists only after the file has its size.
    fn finish(self) -> io::Result<()> {
        self.file.set_len(self.size)
    }
}

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_hole = |block: &&[u8]| block.len() == HOLE && block.iter().all(|byte| *byte == 0);
        let into_block = (self.size % HOLE as u64) as usize;
        let count = if into_block > 0 {
            let rest = bytes.len().min(HOLE - into_block);
            self.file.write(&bytes[..rest])?
        } else {
            match bytes.chunks(HOLE).take_while(is_hole).count() {
                0 => {
                    let data = bytes.chunks(HOLE).take_while(|block| !is_hole(block));
                    self.file.write(&bytes[..data.map(<[u8]>::len).sum()])?
                }
                holes => {
                    self.file.seek(SeekFrom::Current((holes * HOLE) as i64))?;
                    holes * HOLE
                }
            }
        };
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.into(),
        _ => PathBuf::from("."),
    }
}

/// A file that is replaced keeps its mode.
fn copy_mode(path: &Path, file: &File) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(old) => {
            let mode = old.permissions().mode() & 0o7777;
            file.set_permissions(fs::Permissions::from_mode(mode))
        }
        Err(_) => Ok(()),
    }
}

/// Refuse `output` if it is one of `inputs` under any name: another spelling, a symbolic
/// link, a hard link, another node of the same block device.
pub fn refuse_inputs<'a>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> anyhow::Result<()> {
    let identity = |path: &Path| {
        let there = fs::metadata(path).ok()?;
        match there.file_type() {
            kind if kind.is_file() => Some((there.dev(), there.ino())),
            kind if kind.is_block_device() => Some((there.rdev(), 0)),
            _ => None,
        }
    };
    if is_stdout(output) {
        return Ok(());
    }
    let Some(target) = identity(output) else { return Ok(()) };
    if inputs.into_iter().any(|input| identity(input) == Some(target)) {
        bail!(
            "{}: is an input file, which is never written to; choose another output",
            output.display()
        );
    }
    Ok(())
}
