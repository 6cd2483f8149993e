//! Tar archives, also those with a digest after their end (Samsung's `.tar.md5`).

use std::io::{self, Read, Seek};

use md5::{Digest, Md5};

use super::error::Error;
use crate::compression::Budget;

/// Size of a header in bytes.
const HEADER: usize = 512;
/// The checksum of a header: its field, with spaces in it while it is computed.
const CHECKSUM: std::ops::Range<usize> = 148..156;
/// Maximum length of a path in bytes.
const MAX_PATH: u64 = 64 << 10;
/// Maximum length of what is behind an archive in bytes.
const MAX_DIGEST_LINE: usize = 4 << 10;
/// Digits of an MD5.
const MD5_DIGITS: usize = 32;
/// The MD5 of no bytes, which packers write that hash a stream after its end: it says nothing.
const MD5_OF_NOTHING: &str = "d41d8cd98f00b204e9800998ecf8427e";
/// Maximum number of files.
const MAX_FILES: usize = 1 << 16;

/// Whether `bytes` start with a POSIX or GNU tar header whose checksum is right.
pub(super) fn starts(bytes: &[u8]) -> bool {
    let Some(header) = bytes.get(..HEADER) else { return false };
    let stated = &header[CHECKSUM];
    let digits = stated.iter().copied().skip_while(|byte| matches!(byte, b' ' | b'0'));
    let digits: Vec<u8> = digits.take_while(|byte| (b'0'..=b'7').contains(byte)).collect();
    let stated = digits.iter().fold(0u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    let computed = sum(header) - sum(&header[CHECKSUM]) + 8 * u32::from(b' ');
    header[257..262] == *b"ustar" && stated == computed
}

/// Compare an archive with the MD5 behind it, if it has one: a line of `md5sum`, as Odin wants it.
///
/// # Errors
/// [`Error::TarDigest`], [`Error::Budget`].
pub(super) fn check_digest(file: &[u8]) -> Result<(), Error> {
    let Some((archive, stated)) = split_digest(file) else { return Ok(()) };
    // What is hashed is read, too.
    Budget::take(archive.len() as u64)?;
    let found = base16ct::lower::encode_string(&Md5::digest(archive));
    match stated.eq_ignore_ascii_case(&found) {
        true => Ok(()),
        false => Err(Error::TarDigest { stated: stated.to_owned(), found }),
    }
}

/// The archive, which ends with zeros, and the MD5 of a line behind it.
fn split_digest(file: &[u8]) -> Option<(&[u8], &str)> {
    let tail = &file[file.len().saturating_sub(MAX_DIGEST_LINE)..];
    let line = tail.len() - 1 - tail.iter().rposition(|byte| *byte == 0)?;
    let (archive, line) = file.split_at(file.len() - line);
    let (digits, name) = std::str::from_utf8(line).ok()?.split_at_checked(MD5_DIGITS)?;
    let is_digest = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    // Before the name comes a space, or an asterisk for binary mode.
    let says_something = is_digest && !digits.eq_ignore_ascii_case(MD5_OF_NOTHING);
    (says_something && name.starts_with(' ')).then_some((archive, digits))
}

/// A regular file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TarFile {
    pub path: String,
    pub size: u64,
    /// The offset of its contents in the archive.
    pub offset: u64,
}

/// Call `look` for each regular file of the archive, in its order, until it gives false.
///
/// # Errors
/// [`Error::Tar`], [`Error::TooMany`], those of `look`.
pub(super) fn walk<E: From<Error>>(
    reader: impl Read,
    look: &mut dyn FnMut(TarFile, &mut dyn Read) -> Result<bool, E>,
) -> Result<(), E> {
    let mut archive = tar::Archive::new(reader);
    let entries = archive.entries().map_err(error)?;
    visit(entries, look)
}

/// The regular files of an archive in memory; only its headers are read.
///
/// # Errors
/// As [`walk`].
pub(super) fn files(archive: impl Read + Seek) -> Result<Vec<TarFile>, Error> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries_with_seek().map_err(error)?;
    let mut files = Vec::new();
    visit::<_, Error>(entries, &mut |file, _| {
        files.push(file);
        Ok(true)
    })?;
    Ok(files)
}

fn visit<R: Read, E: From<Error>>(
    entries: tar::Entries<'_, R>,
    look: &mut dyn FnMut(TarFile, &mut dyn Read) -> Result<bool, E>,
) -> Result<(), E> {
    let mut long_path = None;
    let mut count = 0;
    // Raw entries, so that a false length of a name costs no memory.
    for entry in entries.raw(true) {
        let mut entry = entry.map_err(error)?;
        let kind = entry.header().entry_type();
        if kind.is_gnu_longname() || kind.is_pax_local_extensions() {
            let mut bytes = Vec::new();
            entry.by_ref().take(MAX_PATH).read_to_end(&mut bytes).map_err(error)?;
            let path = if kind.is_gnu_longname() { Some(&bytes[..]) } else { pax_path(&bytes) };
            if let Some(path) = path {
                long_path = Some(String::from_utf8_lossy(path).trim_end_matches('\0').to_owned());
            }
            continue;
        }
        let short = || String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = long_path.take().unwrap_or_else(short);
        if !kind.is_file() {
            continue;
        }
        count += 1;
        if count > MAX_FILES {
            return Err(Error::TooMany { limit: MAX_FILES }.into());
        }
        let file = TarFile { path, size: entry.size(), offset: entry.raw_file_position() };
        if !look(file, &mut entry)? {
            return Ok(());
        }
    }
    Ok(())
}

/// The value of `path` in a pax header: lines of `LENGTH KEY=VALUE`.
fn pax_path(bytes: &[u8]) -> Option<&[u8]> {
    bytes.split(|byte| *byte == b'\n').find_map(|line| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        line[space + 1..].strip_prefix(b"path=")
    })
}

/// The error of reading a stream that an archive comes from.
pub(super) fn error(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::Tar(error),
    }
}
