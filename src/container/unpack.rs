//! Files of archives, copied with the size that the archive says.

use std::io::{self, Read, Write};

use super::entry::{file_name, suffix_format};
use super::error::Error;
use super::form::Form;
use super::recognise::recognise;
use super::spill::Spill;
use super::stream;
use super::tar::TarFile;
use crate::compression::Format;

/// The contents of a file in a tar archive.
pub(super) fn within<'a>(archive: &'a [u8], file: &TarFile) -> Result<&'a [u8], Error> {
    let start = usize::try_from(file.offset).ok();
    let range = start.zip(usize::try_from(file.size).ok());
    let range = range.and_then(|(start, size)| Some(start..start.checked_add(size)?));
    range.and_then(|range| archive.get(range)).ok_or_else(|| Error::EntrySize {
        name: file.path.clone(),
        found: (archive.len() as u64).saturating_sub(file.offset),
        expected: file.size,
    })
}

pub(super) fn require_size(what: &str, size: u64, limit: u64) -> Result<(), Error> {
    match size <= limit {
        true => Ok(()),
        false => Err(Error::TooLarge { what: what.to_owned(), limit }),
    }
}

/// The error of copying out of an archive: the typed one within it, or that of the system.
fn copy_error(error: io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(Error::Io)
}

/// Copy a file of an archive, which has `size` bytes.
pub(super) fn copy(
    reader: &mut dyn Read,
    name: &str,
    size: u64,
    out: &mut dyn Write,
) -> Result<(), Error> {
    // At most one byte more, to detect a longer stream.
    let mut bounded = reader.take(size.saturating_add(1));
    let found = io::copy(&mut bounded, out).map_err(copy_error)?;
    match found == size {
        true => Ok(()),
        false => Err(Error::EntrySize { name: name.to_owned(), found, expected: size }),
    }
}

/// Write a file of an archive without its compression. A file that is not compressed is copied as a
/// stream.
pub(super) fn unpack(
    mut reader: &mut dyn Read,
    name: &str,
    size: u64,
    limit: u64,
    spill: &dyn Spill,
    out: &mut dyn Write,
) -> Result<(), Error> {
    /// Enough to detect every format.
    const MAGIC: u64 = 64;
    let mut head = Vec::new();
    Read::by_ref(&mut reader).take(MAGIC).read_to_end(&mut head).map_err(copy_error)?;
    let mut whole = (&head[..]).chain(reader);
    if Format::detect(&head).is_none() {
        return copy(&mut whole, name, size, out);
    }
    let kept = spill.keep(&mut |out| copy(&mut whole, name, size, out))?;
    content((*kept).as_ref(), name, limit, out)
}

/// Write a file of an archive without the compression around it: where its contents are an image, and
/// where its name says so and its contents do not contradict.
pub(super) fn content(
    bytes: &[u8],
    name: &str,
    limit: u64,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let named = suffix_format(file_name(name)).and_then(|_| Format::detect(bytes));
    match (recognise(bytes), named) {
        (Form::Compressed(format), _) | (_, Some(format)) => {
            stream::copy(format, bytes, limit, out)
        }
        _ => Ok(out.write_all(bytes)?),
    }
}
