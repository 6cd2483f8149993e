//! Output files: whole or not at all, and never onto an input.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Write `path` through a temporary file beside it that is synced and then renamed: at any
/// kill point there is the old file or the whole new one.
pub fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    write_then_rename(path, write).with_context(|| path.display().to_string())
}

fn write_then_rename(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    if path == Path::new("-") {
        let mut stdout = io::stdout().lock();
        write(&mut stdout)?;
        return Ok(stdout.flush()?);
    }
    let dir = parent(path);
    let mut temporary = tempfile::Builder::new().prefix(".vfioboot-").tempfile_in(&dir)?;
    let mut buffered = BufWriter::new(temporary.as_file_mut());
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    copy_mode(path, temporary.as_file())?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    // The rename itself must survive a power cut too.
    File::open(&dir)?.sync_all()?;
    Ok(())
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.into(),
        _ => PathBuf::from("."),
    }
}

/// A temporary file is 0600; give it what the old file had, or what `open` would give.
fn copy_mode(path: &Path, file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = match fs::metadata(path) {
        Ok(old) => old.permissions().mode() & 0o7777,
        Err(_) => 0o644,
    };
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Refuse `output` when it is one of `inputs`, by whatever name.
pub fn refuse_inputs<'a>(
    output: &Path,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> anyhow::Result<()> {
    let Ok(target) = fs::canonicalize(output) else { return Ok(()) };
    for input in inputs {
        if fs::canonicalize(input).is_ok_and(|path| path == target) {
            bail!(
                "{}: is an input file, which is never written to; name another output",
                output.display()
            );
        }
    }
    Ok(())
}

/// Write `bytes` to standard output.
pub fn to_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
