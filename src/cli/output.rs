//! Output files: written atomically, and never over an input.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tempfile::NamedTempFile;
use vfioboot::bootset::Identity;

use super::platform;

/// Write `path` so that at any kill point either the old file or the complete new one exists. `-` is
/// standard output; a pipe or a device cannot be replaced and is written directly.
pub fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    publish(vec![stage(path, Links::Follow, write)?])
}

/// The same for text, which may go to a terminal.
pub fn write_text(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    if !is_stdout(path) {
        return write_file(path, write);
    }
    let mut stdout = io::stdout().lock();
    write(&mut stdout).and_then(|()| stdout.flush()).with_context(|| name(path))
}

/// Whether `path` means standard output.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// What to do with an output that is a symbolic link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// The link stays, its target is replaced.
    Follow,
    /// It is an error: nothing outside the directory is written to.
    Refuse,
}

/// A complete output that has no name yet, or one that was written directly.
pub struct Staged {
    path: PathBuf,
    file: Option<Unnamed>,
}

/// Write everything for `path` and sync it, without a change to what is there. [`publish`] does the
/// rest.
pub fn stage(
    path: &Path,
    links: Links,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<Staged> {
    stage_at(path, links, write).with_context(|| name(path))
}

fn name(path: &Path) -> String {
    match is_stdout(path) {
        true => "standard output".to_owned(),
        false => path.display().to_string(),
    }
}

fn stage_at(
    path: &Path,
    links: Links,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<Staged> {
    let direct = Staged { path: path.into(), file: None };
    if is_stdout(path) {
        let mut stdout = io::stdout().lock();
        if stdout.is_terminal() {
            bail!("is a terminal, which an image is not for: name a file, or send it to a program");
        }
        write(&mut stdout)?;
        stdout.flush()?;
        return Ok(direct);
    }
    let is_link = fs::symlink_metadata(path).is_ok_and(|own| own.file_type().is_symlink());
    if is_link && links == Links::Refuse {
        bail!("is a symbolic link, expected a file or nothing: remove it");
    }
    let target = match fs::metadata(path) {
        Ok(there) if there.is_dir() => bail!("is a directory, expected a file"),
        Ok(there) if !there.is_file() => {
            write_directly(path, write)?;
            return Ok(direct);
        }
        // A symbolic link stays one: its target is replaced.
        Ok(_) => fs::canonicalize(path)?,
        Err(_) if is_link => bail!("is a symbolic link to a file that does not exist: remove it"),
        Err(_) => path.into(),
    };
    let directory = parent(&target);
    if !directory.is_dir() {
        bail!("the directory {} does not exist: make it first", directory.display());
    }
    let file = Unnamed::write(&directory, &target, write)?;
    Ok(Staged { path: target, file: Some(file) })
}

fn write_directly(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let mut buffered = BufWriter::new(&file);
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    // A pipe or a terminal has nothing to sync.
    file.sync_all().or_else(|error| match error.kind() {
        io::ErrorKind::InvalidInput => Ok(()),
        _ => Err(error),
    })
}

/// Give staged outputs their names: all of them, or on an error none that did not exist before.
pub fn publish(staged: Vec<Staged>) -> anyhow::Result<()> {
    let mut made: Vec<PathBuf> = Vec::new();
    for Staged { path, file } in staged {
        let Some(file) = file else { continue };
        let is_new = fs::symlink_metadata(&path).is_err();
        if let Err(error) = file.publish(&path) {
            for path in made {
                // The error that counts is the first one.
                _ = fs::remove_file(path);
            }
            return Err(error).with_context(|| name(&path));
        }
        if is_new {
            made.push(path);
        }
    }
    Ok(())
}

/// A complete file in the directory of its target. It has no name where the system can do that, so
/// that nothing is left of it however the process ends.
enum Unnamed {
    Unlinked(File),
    Temporary(NamedTempFile),
}

impl Unnamed {
    fn write(
        directory: &Path,
        target: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut unnamed = match unlinked(directory) {
            Some(file) => Unnamed::Unlinked(file),
            None => Unnamed::Temporary(
                platform::temporary().prefix(".vfioboot-").tempfile_in(directory)?,
            ),
        };
        let file = match &mut unnamed {
            Unnamed::Unlinked(file) => file,
            Unnamed::Temporary(file) => file.as_file_mut(),
        };
        let sparse = Sparse { file, size: 0 };
        // Large, so that runs of zeros arrive in one piece.
        let mut buffered = BufWriter::with_capacity(256 * HOLE, sparse);
        write(&mut buffered)?;
        buffered.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
        copy_mode(target, file)?;
        file.sync_all()?;
        Ok(unnamed)
    }

    fn publish(self, path: &Path) -> io::Result<()> {
        let directory = parent(path);
        match self {
            Unnamed::Temporary(file) => drop(file.persist(path)?),
            Unnamed::Unlinked(file) => match link(&file, path) {
                // A link replaces nothing: it gets another name first.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let between = unused_name(&directory, &file)?;
                    fs::rename(&between, path).inspect_err(|_| {
                        _ = fs::remove_file(&between);
                    })?;
                }
                linked => linked?,
            },
        }
        platform::sync_directory(&directory)
    }
}

/// A new file without a name in `directory`; None where the system or the file system has none.
#[cfg(target_os = "linux")]
fn unlinked(directory: &Path) -> Option<File> {
    use rustix::fs::{CWD, Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let linkable = Path::new("/proc/self/fd").exists();
    let open =
        || rustix::fs::openat(CWD, directory, flags, Mode::from_raw_mode(platform::NEW_MODE)).ok();
    linkable.then(open).flatten().map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn unlinked(_: &Path) -> Option<File> {
    None
}

/// Give a file without a name the name `path`.
#[cfg(target_os = "linux")]
fn link(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{AtFlags, CWD};
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, own, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Link a file without a name to an unused name in `directory`, for the moment before it is renamed.
fn unused_name(directory: &Path, file: &File) -> io::Result<PathBuf> {
    let names = (0u32..).map(|n| directory.join(format!(".vfioboot-{}-{n}", std::process::id())));
    for name in names {
        match link(file, &name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => return linked.map(|()| name),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
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

/// A file that is replaced keeps its permissions, but gives new contents no set-user-ID and no
/// set-group-ID bit.
fn copy_mode(path: &Path, file: &File) -> io::Result<()> {
    match fs::metadata(path).ok().and_then(|old| platform::mode(&old)) {
        Some(mode) => platform::set_mode(file, mode & 0o777),
        None => Ok(()),
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
        if there.is_file() {
            return platform::identity(path, &there);
        }
        let device = platform::block_device(&there)?;
        Some(Identity { device, inode: 0 })
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
