//! New archives.

use std::io::{self, Write};

use super::{Entry, HEADER_LEN, Header, NAME_MAX, TRAILER};

/// The inode number of a writer's first entry. Any would do: `nlink` is 1 (2 for directories,
/// which the kernel never links), so no entry is taken for a link of another, but for the names
/// of [`CpioWriter::linked`].
pub(crate) const FIRST_INO: u32 = 0x0076_0001;

/// Writes one archive: the same calls give the same bytes. Times are 0, owner and group root,
/// inode numbers count up.
///
/// Parent directories are the caller's to write, before what is in them: the kernel drops
/// entries whose directory is missing.
pub struct CpioWriter<W> {
    inner: W,
    ino: u32,
}

impl<W: Write> CpioWriter<W> {
    /// An archive at the start of `inner`, which is at a multiple of 4 bytes.
    pub fn new(inner: W) -> Self {
        CpioWriter { inner, ino: FIRST_INO }
    }

    /// As [`CpioWriter::new`] with `zeros` zero bytes before the first header: see
    /// [`crate::ramdisk::AppendPoint::lead_in`].
    ///
    /// # Errors
    /// Those of `inner`.
    pub fn with_lead_in(mut inner: W, zeros: usize) -> io::Result<Self> {
        inner.write_all(&vec![0; zeros])?;
        Ok(Self::new(inner))
    }

    /// A directory with the permission bits `mode`.
    ///
    /// # Errors
    /// Those of `inner`; [`io::ErrorKind::InvalidInput`] for a name of more than 4095 bytes or
    /// with a NUL. The same holds for the other methods.
    pub fn dir(&mut self, path: &[u8], mode: u32) -> io::Result<()> {
        self.new_entry(path, 0o040_000 | mode & 0o7777, 2, (0, 0), b"")
    }

    /// A regular file with the permission bits `mode`.
    ///
    /// # Errors
    /// As [`CpioWriter::dir`], and for more than 2^32 - 1 bytes.
    pub fn file(&mut self, path: &[u8], mode: u32, data: &[u8]) -> io::Result<()> {
        self.new_entry(path, 0o100_000 | mode & 0o7777, 1, (0, 0), data)
    }

    /// A regular file with several names (hard links), the first of which has the data.
    /// Nothing of one of the others may be there: not every kernel removes it first.
    ///
    /// # Errors
    /// As [`CpioWriter::file`].
    pub fn linked(&mut self, paths: &[&[u8]], mode: u32, data: &[u8]) -> io::Result<()> {
        let ino = self.ino;
        let header = Header {
            mode: 0o100_000 | mode & 0o7777,
            nlink: u32::try_from(paths.len()).map_err(|_| invalid("too many names"))?,
            ..Header::default()
        };
        for (number, path) in paths.iter().enumerate() {
            self.ino = ino;
            self.numbered(path, header, if number == 0 { data } else { b"" })?;
        }
        Ok(())
    }

    /// A symbolic link to `target`.
    ///
    /// # Errors
    /// As [`CpioWriter::dir`].
    pub fn symlink(&mut self, path: &[u8], target: &[u8]) -> io::Result<()> {
        self.new_entry(path, 0o120_777, 1, (0, 0), target)
    }

    /// A device node, pipe or socket: `mode` with its type bits (`0o020_600` is a character
    /// device), `rdev` its major and minor number.
    ///
    /// # Errors
    /// As [`CpioWriter::dir`].
    pub fn node(&mut self, path: &[u8], mode: u32, rdev: (u32, u32)) -> io::Result<()> {
        self.new_entry(path, mode, 1, rdev, b"")
    }

    /// A file or symbolic link with the mode, owner and time of `header`, and one name.
    ///
    /// # Errors
    /// As [`CpioWriter::file`].
    pub fn like(&mut self, path: &[u8], header: &Header, data: &[u8]) -> io::Result<()> {
        let Header { mode, uid, gid, mtime, .. } = *header;
        let kept = Header { mode, uid, gid, mtime, nlink: 1, ..Header::default() };
        self.numbered(path, kept, data)
    }

    /// An entry as it was read: its header and name byte for byte.
    ///
    /// # Errors
    /// As [`CpioWriter::dir`]; [`io::ErrorKind::InvalidInput`] when the header says other
    /// lengths than the name and `data` have.
    pub fn entry(&mut self, entry: &Entry, data: &[u8]) -> io::Result<()> {
        let lengths = (entry.header.namesize as usize, entry.header.filesize as usize);
        if lengths != (entry.name.len() + 1, data.len()) {
            return Err(invalid("the header says other lengths"));
        }
        self.put(&entry.raw, &entry.name, data)
    }

    /// `data` with the type, mode, owner and time of `like` instead of the entry `old`, whose name, inode
    /// number and form of header it keeps.
    ///
    /// # Errors
    /// As [`CpioWriter::file`].
    pub(crate) fn instead_of(&mut self, old: &Entry, like: &Header, data: &[u8]) -> io::Result<()> {
        let filesize = u32::try_from(data.len())
            .map_err(|_| invalid("a file in an archive is smaller than 4 GiB"))?;
        let Header { mode, uid, gid, mtime, .. } = *like;
        let sum = data.iter().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        let check = if old.header.crc { sum } else { old.header.check };
        let header = Header { mode, uid, gid, mtime, nlink: 1, filesize, check, ..old.header };
        self.put(&header.to_bytes(), &old.name, data)
    }

    /// End the archive with its TRAILER.
    ///
    /// # Errors
    /// Those of `inner`.
    pub fn finish(mut self) -> io::Result<W> {
        let namesize = TRAILER.len() as u32 + 1;
        let header = Header { nlink: 1, namesize, ..Header::default() };
        self.put(&header.to_bytes(), TRAILER, b"")?;
        Ok(self.inner)
    }

    fn new_entry(
        &mut self,
        path: &[u8],
        mode: u32,
        nlink: u32,
        (rdevmajor, rdevminor): (u32, u32),
        data: &[u8],
    ) -> io::Result<()> {
        self.numbered(path, Header { mode, nlink, rdevmajor, rdevminor, ..Header::default() }, data)
    }

    /// An entry whose inode number, lengths and name are still to be put into `header`.
    fn numbered(&mut self, path: &[u8], header: Header, data: &[u8]) -> io::Result<()> {
        if path.is_empty() || path.contains(&0) || path.len() >= NAME_MAX as usize {
            return Err(invalid("a name in an archive has 1 to 4095 bytes and no NUL"));
        }
        let filesize = u32::try_from(data.len())
            .map_err(|_| invalid("a file in an archive is smaller than 4 GiB"))?;
        let header = Header { ino: self.ino, filesize, namesize: path.len() as u32 + 1, ..header };
        self.ino = self.ino.wrapping_add(1);
        self.put(&header.to_bytes(), path, data)
    }

    fn put(&mut self, header: &[u8; HEADER_LEN], name: &[u8], data: &[u8]) -> io::Result<()> {
        self.inner.write_all(header)?;
        self.inner.write_all(name)?;
        self.inner.write_all(&[0])?;
        self.pad(HEADER_LEN + name.len() + 1)?;
        self.inner.write_all(data)?;
        self.pad(data.len())
    }

    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.inner.write_all(&[0; 3][..length.next_multiple_of(4) - length])
    }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}
