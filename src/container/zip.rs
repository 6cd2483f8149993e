//! Zip files.

use std::io::{self, Cursor, Read};

use zip::{CompressionMethod, ZipArchive};

use super::error::Error;
use crate::compression::Budget;

const MAGIC: &[u8] = b"PK\x03\x04";
/// Maximum number of files.
const MAX_FILES: usize = 1 << 16;

/// Whether `bytes` start with the header of a file in a zip file, which has a name.
pub(super) fn starts(bytes: &[u8]) -> bool {
    let version = bytes.get(4..6).map_or(u8::MAX, |field| field[0]);
    let name = bytes.get(26..28).map_or(0, |field| u16::from_le_bytes([field[0], field[1]]));
    let name = bytes.get(30..30 + usize::from(name)).unwrap_or_default();
    let is_text = !name.is_empty() && name.iter().all(|byte| *byte >= b' ');
    bytes.starts_with(MAGIC) && version < 100 && is_text
}

/// A zip file over borrowed bytes.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    zip: ZipArchive<Cursor<&'a [u8]>>,
    members: Vec<Member>,
}

/// A file in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name, with directories.
    pub name: String,
    /// Its decompressed size in bytes.
    pub size: u64,
    index: usize,
}

/// A file in a zip file, whose decompressed bytes count.
struct Counted<R> {
    file: R,
    is_stored: bool,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        if !self.is_stored {
            Budget::take(count as u64).map_err(|error| io::Error::other(Error::Budget(error)))?;
        }
        Ok(count)
    }
}

impl<'a> Archive<'a> {
    /// Read the directory of a zip file.
    ///
    /// # Errors
    /// [`Error::Zip`], [`Error::TooMany`].
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut zip = ZipArchive::new(Cursor::new(bytes))?;
        if zip.len() > MAX_FILES {
            return Err(Error::TooMany { limit: MAX_FILES });
        }
        let mut members = Vec::new();
        for index in 0..zip.len() {
            let file = zip.by_index_raw(index)?;
            if file.is_file() {
                members.push(Member { name: file.name()?.into_owned(), size: file.size(), index });
            }
        }
        Ok(Archive { bytes, zip, members })
    }

    /// The files in it.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The bytes of a file that is stored without compression, such as payload.bin; None for a
    /// compressed file.
    ///
    /// # Errors
    /// [`Error::Zip`], [`Error::Truncated`].
    pub(super) fn stored(&mut self, member: &Member) -> Result<Option<&'a [u8]>, Error> {
        let file = self.zip.by_index(member.index)?;
        if file.compression() != CompressionMethod::Stored {
            return Ok(None);
        }
        let Some(offset) = file.data_start() else { return Ok(None) };
        let range = usize::try_from(offset).ok().zip(usize::try_from(member.size).ok());
        let range = range.and_then(|(start, size)| Some(start..start.checked_add(size)?));
        let bytes = range.and_then(|range| self.bytes.get(range));
        bytes.map(Some).ok_or_else(|| Error::Truncated {
            name: member.name.clone(),
            offset,
            size: member.size,
            end: self.bytes.len() as u64,
        })
    }

    /// Read a file. The reader compares its CRC at the end.
    ///
    /// # Errors
    /// [`Error::Zip`].
    pub(super) fn reader(&mut self, member: &Member) -> Result<impl Read, Error> {
        let file = self.zip.by_index(member.index)?;
        let is_stored = file.compression() == CompressionMethod::Stored;
        Ok(Counted { file, is_stored })
    }

    /// The first bytes of a file, as far as they can be read.
    pub(super) fn head(&mut self, member: &Member, size: u64) -> Vec<u8> {
        let mut head = Vec::new();
        if let Ok(reader) = self.reader(member) {
            // The reader of the whole file reports damage.
            let _ = io::copy(&mut reader.take(size), &mut head);
        }
        head
    }
}
