//! Archives as a stream of entries.

use std::io::{self, BufRead, Read};

use super::{Entry, Error, HEADER_LEN, Header, TRAILER, align4, lossy};

/// Reads entries one after the other, over TRAILERs and the zero padding between entries, the
/// way `init/initramfs.c` does. Memory: the entry's header and name.
///
/// [`Read`] gives the data of the entry that [`Reader::next_entry`] gave last; what is not read
/// is skipped.
pub(crate) struct Reader<R> {
    inner: R,
    /// Bytes taken from `inner`.
    position: u64,
    /// What to add to `position` to get the number whose multiples of 4 headers start at.
    phase: u64,
    current: Option<Current>,
    /// The name of the current entry; empty for one that the kernel skips.
    name: Vec<u8>,
    /// The start of the name of the last entry that the kernel skips.
    skipped_name: Vec<u8>,
    /// The end of the last entry with its padding.
    entry_end: u64,
}

/// The entry whose data is being read.
struct Current {
    offset: u64,
    header: Header,
    left: u64,
    sum: u32,
}

impl<R: BufRead> Reader<R> {
    /// Read archives from `inner`, whose first byte is at a multiple of 4.
    pub(crate) fn new(inner: R) -> Self {
        Self::with_phase(inner, 0)
    }

    /// As [`Reader::new`], for bytes that the kernel sees at an offset of `phase` modulo 4:
    /// what follows an lz4_legacy stream of that length directly.
    pub(crate) fn with_phase(inner: R, phase: u64) -> Self {
        Reader {
            inner,
            position: 0,
            phase,
            current: None,
            name: Vec::new(),
            skipped_name: Vec::new(),
            entry_end: 0,
        }
    }

    /// The source.
    pub(crate) fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Bytes of data of the current entry that are not read yet.
    pub(in crate::ramdisk) fn left(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.left)
    }

    /// Where the last entry ends with its padding, in bytes from the start.
    pub(crate) fn entry_end(&self) -> u64 {
        self.entry_end
    }

    /// The next entry, TRAILERs included, also one that the kernel skips
    /// ([`Entry::is_unpacked`]), which has no name here; none at the end.
    ///
    /// # Errors
    /// Every [`Error`]; which entry, which field and where.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        match self.peek()? {
            None => return Ok(None),
            Some(b'0') => {}
            Some(byte) => return Err(Error::Junk { offset: self.position, byte }),
        }
        let offset = self.position;
        if !(offset + self.phase).is_multiple_of(4) {
            return Err(Error::BrokenPadding { offset });
        }
        let mut raw = [0; HEADER_LEN];
        self.fill(&mut raw).map_err(|error| cut(error, offset, "header"))?;
        let header = Header::parse(&raw, offset)?;
        match header.is_unpacked() {
            true => self.read_name(header.namesize as usize, offset)?,
            false => self.skip_name(header.namesize.into(), offset)?,
        }
        // Without all of the name the kernel makes nothing, but for a TRAILER there is nothing to make.
        if !self.skip_padding()? && self.name != TRAILER {
            return Err(Error::Truncated { entry: lossy(&self.name), offset, what: "name" });
        }
        let entry = Entry { offset, header, raw, name: self.name.clone() };
        self.entry_end = entry.end();
        let left = u64::from(header.filesize);
        let header = Header { crc: header.crc && entry.is_unpacked(), ..header };
        self.current = Some(Current { offset, header, left, sum: 0 });
        Ok(Some(entry))
    }

    /// The start of the name of the last entry that the kernel skips.
    pub(in crate::ramdisk) fn skipped_name(&self) -> &[u8] {
        &self.skipped_name
    }

    /// Skip a name of `size` bytes that the kernel does not read.
    fn skip_name(&mut self, size: u64, offset: u64) -> Result<(), Error> {
        /// What is kept of it.
        const SHOWN: usize = 256;
        self.name.clear();
        self.skipped_name.clear();
        let mut left = size;
        while left > 0 {
            let buffer = self.inner.fill_buf()?;
            if buffer.is_empty() {
                return Err(Error::Truncated { entry: String::new(), offset, what: "name" });
            }
            let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let kept = count.min(SHOWN - self.skipped_name.len());
            self.skipped_name.extend_from_slice(&buffer[..kept]);
            self.consume(count);
            left -= count as u64;
        }
        Ok(())
    }

    /// Read the name of the entry at `offset`, `size` bytes with its NUL.
    fn read_name(&mut self, size: usize, offset: u64) -> Result<(), Error> {
        self.name.resize(size, 0);
        let read = self.inner.read_exact(&mut self.name);
        read.map_err(|error| cut(error, offset, "name"))?;
        self.position += size as u64;
        if self.name.pop() != Some(0) {
            return Err(Error::Field {
                entry: lossy(&self.name),
                field: "name",
                offset: offset + HEADER_LEN as u64,
                found: lossy(&self.name),
                expected: "a NUL at its end",
            });
        }
        Ok(())
    }

    /// The kernel skips zeros only after an entry.
    ///
    /// # Errors
    /// [`Error::Junk`] for a zero before the first one.
    pub(in crate::ramdisk) fn begins_with_header(&mut self) -> Result<(), Error> {
        match self.inner.fill_buf()?.first() {
            Some(0) => Err(Error::Junk { offset: self.position, byte: 0 }),
            _ => Ok(()),
        }
    }

    /// Skip what is left of the entry and zero padding; the byte that comes then, none
    /// at the end.
    ///
    /// # Errors
    /// As [`Reader::next_entry`] for the data that is skipped.
    pub(crate) fn peek(&mut self) -> Result<Option<u8>, Error> {
        self.skip_data()?;
        loop {
            let buffer = self.inner.fill_buf()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            let (zeros, next) = (leading_zeros(buffer), buffer.len());
            let byte = buffer.get(zeros).copied();
            let count = zeros.min(next);
            self.consume(count);
            if byte.is_some() {
                return Ok(byte);
            }
        }
    }

    fn skip_data(&mut self) -> Result<(), Error> {
        while let Some(current) = &mut self.current {
            if current.left == 0 {
                let Some(current) = self.current.take() else { break };
                current.verify(&self.name)?;
                // It may be missing after the last entry.
                self.skip_padding()?;
                break;
            }
            let buffer = self.inner.fill_buf()?;
            if buffer.is_empty() {
                return Err(current.truncated(&self.name));
            }
            let count = current.take(buffer);
            self.consume(count);
        }
        Ok(())
    }

    /// Skip to a multiple of 4. False where the source ends before.
    fn skip_padding(&mut self) -> Result<bool, Error> {
        // A header starts at a multiple of 4 plus the phase, and so must what follows.
        let at = self.position + self.phase;
        let mut left = (align4(at) - at) as usize;
        while left > 0 {
            let available = self.inner.fill_buf()?.len();
            if available == 0 {
                break;
            }
            let count = available.min(left);
            self.consume(count);
            left -= count;
        }
        Ok(left == 0)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.position += count as u64;
    }
}

impl Current {
    /// How much of `buffer` is this entry's data; counts it as read.
    fn take(&mut self, buffer: &[u8]) -> usize {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if self.header.crc {
            self.sum =
                buffer[..count].iter().fold(self.sum, |sum, b| sum.wrapping_add((*b).into()));
        }
        self.left -= count as u64;
        count
    }

    /// The kernel checks the sum of regular files only.
    fn verify(&self, name: &[u8]) -> Result<(), Error> {
        let header = &self.header;
        let checked = header.crc && header.file_type() == super::FileType::Regular;
        if checked && header.filesize > 0 && self.sum != header.check {
            return Err(Error::Checksum {
                entry: lossy(name),
                offset: self.offset,
                expected: header.check,
                found: self.sum,
            });
        }
        Ok(())
    }

    fn truncated(&self, name: &[u8]) -> Error {
        Error::Truncated { entry: lossy(name), offset: self.offset, what: "data" }
    }
}

/// The data of the current entry.
impl<R: BufRead> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(current) = &mut self.current else { return Ok(0) };
        if current.left == 0 || out.is_empty() {
            return Ok(0);
        }
        let buffer = self.inner.fill_buf()?;
        if buffer.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                current.truncated(&self.name),
            ));
        }
        let room = out.len().min(buffer.len());
        let count = current.take(&buffer[..room]);
        out[..count].copy_from_slice(&buffer[..count]);
        self.consume(count);
        Ok(count)
    }
}

fn cut(error: io::Error, offset: u64, what: &'static str) -> Error {
    match error.kind() {
        // `read_exact` says so when the source ends; a decoder's own words are kept.
        io::ErrorKind::UnexpectedEof if error.get_ref().is_none() => {
            Error::Truncated { entry: String::new(), offset, what }
        }
        _ => Error::Io(error),
    }
}

/// How many zeros `bytes` starts with, compared a block at a time.
pub(crate) fn leading_zeros(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let whole = bytes.chunks_exact(ZEROS.len()).take_while(|chunk| **chunk == ZEROS).count();
    let start = whole * ZEROS.len();
    let rest = bytes[start..].iter().take_while(|byte| **byte == 0).count();
    start + rest
}
