//! A compressed stream: all streams of its format that follow each other in a file.

use std::io::{self, Read, Write};

use super::error::Error;
use crate::compression::{Decoder, Format};

/// The decompressed bytes.
pub(super) struct Streams<'a> {
    format: Format,
    file: &'a [u8],
    /// Where the current stream starts.
    start: usize,
    decoder: Decoder<'a>,
    /// Bytes that may still come.
    left: u64,
    limit: u64,
}

impl<'a> Streams<'a> {
    /// The streams of `format` in `file`, at most `limit` bytes.
    pub(super) fn new(format: Format, file: &'a [u8], limit: u64) -> Result<Self, Error> {
        let decoder = Decoder::new(format, file)?;
        Ok(Streams { format, file, start: 0, decoder, left: limit, limit })
    }

    /// Go to the next stream; false at the end of the file, which zeros may fill.
    fn next(&mut self) -> Result<bool, Error> {
        let end = self.start + self.decoder.consumed();
        let rest = self.file.get(end..).unwrap_or_default();
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        let rest = &rest[zeros..];
        if rest.is_empty() {
            return Ok(false);
        }
        let (format, offset) = (self.format, end + zeros);
        if offset == self.start || Format::detect(rest) != Some(format) {
            return Err(Error::Trailing { format, offset, size: rest.len() });
        }
        self.start = offset;
        self.decoder = Decoder::new(format, rest)?;
        Ok(true)
    }

    /// The typed error of a read.
    pub(super) fn error(&self, error: io::Error) -> Error {
        match error.downcast::<Error>() {
            Ok(own) => own,
            Err(error) => Error::Compression(self.decoder.error(&error)),
        }
    }
}

impl Read for Streams<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.decoder.read(buffer)?;
            let Some(left) = self.left.checked_sub(count as u64) else {
                let what = format!("the {} stream", self.format);
                return Err(io::Error::other(Error::TooLarge { what, limit: self.limit }));
            };
            self.left = left;
            if count > 0 || buffer.is_empty() || !self.next().map_err(io::Error::other)? {
                return Ok(count);
            }
        }
    }
}

/// Write the decompressed bytes, at most `limit`.
///
/// # Errors
/// [`Error::Compression`], [`Error::Trailing`], [`Error::TooLarge`], [`Error::Io`].
pub(super) fn copy(
    format: Format,
    file: &[u8],
    limit: u64,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut streams = Streams::new(format, file, limit)?;
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = match streams.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(streams.error(error)),
        };
        out.write_all(&buffer[..count])?;
    }
}
