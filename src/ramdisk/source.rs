//! The bytes of one segment, unpacked, as the cpio reader wants them.

use std::io::{self, BufRead, BufReader, Read};

use super::{Error, Limits, cpio, lz4};
use crate::compression::lz4_legacy::Lz4LegacyReader;
use crate::compression::{self, Decoder, Format};

/// What is read at a time from a decoder.
const BUFFER: usize = 64 << 10;

/// A segment's unpacked bytes. A raw one is borrowed: skipping its data costs nothing.
pub(super) enum SegmentSource<'a> {
    /// From the start of a raw archive to the end of the ramdisk.
    Raw(&'a [u8]),
    /// From one compressed stream.
    Compressed(Box<BufReader<Budgeted<'a>>>),
}

impl<'a> SegmentSource<'a> {
    /// The stream that `bytes` start with, of which `budget` bytes may come out.
    pub(crate) fn compressed(
        format: Format,
        bytes: &'a [u8],
        budget: u64,
    ) -> Result<Self, compression::Error> {
        let end = (format == Format::Lz4Legacy).then(|| lz4::length(bytes)).flatten();
        let decoder = Decoder::new(format, &bytes[..end.unwrap_or(bytes.len())])?;
        Ok(Self::of(decoder, budget))
    }

    /// lz4_legacy blocks that continue a stream.
    pub(crate) fn lz4_legacy_blocks(bytes: &'a [u8], budget: u64) -> Self {
        Self::of(Decoder::lz4_legacy_blocks(bytes), budget)
    }

    fn of(decoder: Decoder<'a>, budget: u64) -> Self {
        let budgeted = Budgeted { decoder, budget };
        SegmentSource::Compressed(Box::new(BufReader::with_capacity(BUFFER, budgeted)))
    }

    /// The reader of an lz4_legacy stream.
    pub(crate) fn lz4_legacy(&self) -> Option<&Lz4LegacyReader<'a>> {
        match self {
            SegmentSource::Raw(_) => None,
            SegmentSource::Compressed(reader) => reader.get_ref().decoder.lz4_legacy(),
        }
    }
}

impl Read for SegmentSource<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            SegmentSource::Raw(bytes) => bytes.read(out),
            SegmentSource::Compressed(reader) => reader.read(out),
        }
    }
}

impl BufRead for SegmentSource<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            SegmentSource::Raw(bytes) => Ok(bytes),
            SegmentSource::Compressed(reader) => reader.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            SegmentSource::Raw(bytes) => bytes.consume(count),
            SegmentSource::Compressed(reader) => reader.consume(count),
        }
    }
}

/// A decoder that stops when too much comes out of it. Its errors carry the typed one.
pub(super) struct Budgeted<'a> {
    decoder: Decoder<'a>,
    budget: u64,
}

/// More came out than [`Limits::unpacked`] allows.
#[derive(Debug, thiserror::Error)]
#[error("unpacks to more than the limit")]
struct OverBudget;

impl Budgeted<'_> {
    pub(crate) fn produced(&self) -> u64 {
        self.decoder.produced()
    }

    pub(crate) fn consumed(&self) -> usize {
        self.decoder.consumed()
    }
}

impl Read for Budgeted<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.decoder.read(out) {
            Ok(_) if self.decoder.produced() > self.budget => Err(io::Error::other(OverBudget)),
            Ok(count) => Ok(count),
            Err(error) => Err(io::Error::new(error.kind(), self.decoder.error(&error))),
        }
    }
}

/// The error of a ramdisk for an error of the cpio reader over a [`SegmentSource`]: an error of the
/// decoder, or a fault of the archive.
pub(super) fn lift(error: cpio::Error, offset: usize, limits: &Limits) -> Error {
    let cpio::Error::Io(error) = error else { return Error::Cpio { offset, source: error } };
    if error.get_ref().is_some_and(|inner| inner.is::<OverBudget>()) {
        return Error::TooLarge { offset, limit: limits.unpacked };
    }
    match error.downcast::<compression::Error>() {
        Ok(source) => Error::Compressed { offset, source },
        Err(error) => match error.downcast::<cpio::Error>() {
            Ok(source) => Error::Cpio { offset, source },
            Err(error) => Error::Cpio { offset, source: cpio::Error::Io(error) },
        },
    }
}
