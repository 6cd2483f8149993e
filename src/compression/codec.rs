//! The decoder and the encoder of each format: a bounded [`Read`] that decodes one stream, and an
//! encoder whose streams the kernel unpacks.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::num::NonZeroU64;

use lzma_rust2::{Action, LzmaStream, Status, XzStream};

use super::budget::{Budget, Exhausted};
use super::error::Error;
use super::format::Format;
use super::lz4_frame;
use super::lz4_legacy::{self, Lz4LegacyReader};

/// Windows and dictionaries above 128 MiB are refused: the largest that any kernel build asks
/// for is that of `zstd -22`. The memory is touched only as output arrives.
const MAX_WINDOW_LOG: u32 = 27;
/// The same for the LZMA decoders, in KiB, with room for their tables.
const MAX_LZMA_KIB: u32 = (1 << (MAX_WINDOW_LOG - 10)) + 16 * 1024;

/// A streaming decoder over borrowed bytes. Decodes exactly one stream (gzip: one member; xz:
/// one stream; zstd: one frame) and then reports end of file; `Decoder::consumed` is then where
/// in the input the next thing starts.
///
/// Memory: the format's window plus small buffers, never the whole output.
pub struct Decoder<'a> {
    format: Format,
    input: &'a [u8],
    inner: Inner<'a>,
    produced: u64,
    ended: bool,
}

enum Inner<'a> {
    Gzip(Box<flate2::bufread::GzDecoder<&'a [u8]>>),
    Lz4Legacy(Lz4LegacyReader<'a>),
    Lz4Frame(Box<lz4_flex::frame::FrameDecoder<&'a [u8]>>),
    Xz(Box<XzStream>, usize),
    Lzma(Box<LzmaStream>, usize),
    Zstd(Box<zstd::stream::read::Decoder<'static, &'a [u8]>>),
    Bzip2(bzip2::bufread::BzDecoder<&'a [u8]>),
}

impl<'a> Decoder<'a> {
    /// A decoder for the stream of `format` that `input` starts with.
    pub fn new(format: Format, input: &'a [u8]) -> Result<Self, Error> {
        let inner = match format {
            Format::Gzip => Inner::Gzip(Box::new(flate2::bufread::GzDecoder::new(input))),
            Format::Lz4Legacy => Inner::Lz4Legacy(Lz4LegacyReader::new(input)),
            Format::Lz4Frame => {
                Inner::Lz4Frame(Box::new(lz4_flex::frame::FrameDecoder::new(input)))
            }
            Format::Xz => Inner::Xz(Box::new(XzStream::new_mem_limit(false, MAX_LZMA_KIB)), 0),
            Format::Lzma => Inner::Lzma(Box::new(LzmaStream::new_mem_limit(MAX_LZMA_KIB, None)), 0),
            Format::Zstd => Inner::Zstd(Box::new(zstd_decoder(input)?)),
            Format::Bzip2 => Inner::Bzip2(bzip2::bufread::BzDecoder::new(input)),
        };
        Ok(Decoder { format, input, inner, produced: 0, ended: false })
    }

    /// A decoder for lz4_legacy blocks that continue a stream: there is no magic.
    pub(crate) fn lz4_legacy_blocks(input: &'a [u8]) -> Self {
        let inner = Inner::Lz4Legacy(Lz4LegacyReader::at(input, 0));
        Decoder { format: Format::Lz4Legacy, input, inner, produced: 0, ended: false }
    }

    /// The reader of an lz4_legacy stream.
    pub(crate) fn lz4_legacy(&self) -> Option<&Lz4LegacyReader<'a>> {
        match &self.inner {
            Inner::Lz4Legacy(reader) => Some(reader),
            _ => None,
        }
    }

    /// Compressed bytes used so far; exact once the stream has ended.
    pub(crate) fn consumed(&self) -> usize {
        let left = match &self.inner {
            Inner::Gzip(decoder) => decoder.get_ref().len(),
            Inner::Lz4Legacy(reader) => return reader.consumed(),
            Inner::Lz4Frame(decoder) => decoder.get_ref().len(),
            Inner::Xz(_, position) => return *position,
            Inner::Lzma(stream, position) => return position - stream.unused_input().len(),
            Inner::Zstd(decoder) => decoder.get_ref().len(),
            Inner::Bzip2(decoder) => decoder.get_ref().len(),
        };
        self.input.len() - left
    }

    /// Bytes unpacked so far.
    pub(crate) fn produced(&self) -> u64 {
        self.produced
    }

    /// Unpack everything that is left into a vector of at most `limit` bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the stream is damaged or cut short, [`Error::TooLarge`] past the
    /// limit.
    pub fn read_all(&mut self, limit: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = self.by_ref().take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| self.error(&error))?;
        if bytes.len() as u64 > limit {
            return Err(Error::TooLarge { format: self.format, limit });
        }
        Ok(bytes)
    }

    /// Turn an error of [`Read`] into the typed one, with the position.
    pub fn error(&self, error: &io::Error) -> Error {
        if let Some(exhausted) = error.get_ref().and_then(|cause| cause.downcast_ref()) {
            let exhausted: &Exhausted = exhausted;
            return Error::Budget { format: self.format, source: *exhausted };
        }
        Error::Corrupt {
            format: self.format,
            consumed: self.consumed(),
            produced: self.produced,
            reason: error.to_string(),
        }
    }
}

fn zstd_decoder(input: &[u8]) -> Result<zstd::stream::read::Decoder<'static, &[u8]>, Error> {
    let open = || {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?.single_frame();
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        Ok(decoder)
    };
    open().map_err(|error: io::Error| Error::Corrupt {
        format: Format::Zstd,
        consumed: 0,
        produced: 0,
        reason: error.to_string(),
    })
}

/// Drive one of the sans-I/O decoders of `lzma-rust2` until it returns output or ends.
macro_rules! pump {
    ($stream:expr, $input:expr, $position:expr, $buffer:expr) => {
        loop {
            let rest = &$input[*$position..];
            let step = $stream.process(rest, $buffer, Action::Finish)?;
            *$position += step.bytes_consumed;
            let ended = step.status == Status::StreamEnd;
            if step.bytes_produced > 0 || ended {
                break Ok(step.bytes_produced);
            }
            if step.bytes_consumed == 0 {
                break Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends early"));
            }
        }
    };
}

thread_local! {
    static UNPACKED: Cell<u64> = const { Cell::new(0) };
}

/// The bytes that the decoders of this thread have given so far: tests count by it how often
/// something is unpacked.
#[doc(hidden)]
pub fn unpacked_in_thread() -> u64 {
    UNPACKED.get()
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let count = match &mut self.inner {
            Inner::Gzip(decoder) => decoder.read(buffer),
            Inner::Lz4Legacy(reader) => reader.read(buffer),
            Inner::Lz4Frame(decoder) => decoder.read(buffer),
            Inner::Xz(stream, position) => pump!(stream, self.input, position, buffer),
            Inner::Lzma(stream, position) => pump!(stream, self.input, position, buffer),
            Inner::Zstd(decoder) => decoder.read(buffer),
            Inner::Bzip2(decoder) => decoder.read(buffer),
        }?;
        self.ended = count == 0;
        if self.ended && self.format == Format::Lz4Frame && !lz4_frame::is_whole(self.input) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends early"));
        }
        self.produced += count as u64;
        UNPACKED.set(UNPACKED.get() + count as u64);
        Budget::take_unpacked(self.format, count as u64).map_err(io::Error::other)?;
        Ok(count)
    }
}

/// Unpack the one stream that `input` starts with: the bytes, and the length of the stream in
/// `input`.
///
/// # Errors
/// As [`Decoder::read_all`].
pub fn decode_all(format: Format, input: &[u8], limit: u64) -> Result<(Vec<u8>, usize), Error> {
    let mut decoder = Decoder::new(format, input)?;
    let bytes = decoder.read_all(limit)?;
    Ok((bytes, decoder.consumed()))
}

/// Compress `bytes` into one stream that the kernel unpacks: xz with CRC32 (the only
/// check `lib/xz` knows), lz4_legacy in blocks of 8 MiB, zstd with a window of at most 8 MiB.
/// The same input gives the same output.
///
/// `name` goes into the gzip header as the file name (FNAME, the one optional field that
/// `lib/decompress_inflate.c` skips); other formats have no place for it.
///
/// # Errors
/// None that input can cause; writing to memory does not fail.
pub fn encode(format: Format, bytes: &[u8], name: Option<&str>) -> io::Result<Vec<u8>> {
    match format {
        Format::Gzip => {
            let mut builder = flate2::GzBuilder::new().mtime(0);
            if let Some(name) = name {
                builder = builder.filename(name);
            }
            let mut encoder = builder.write(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Format::Lz4Legacy => Ok(lz4_legacy::encode(bytes)),
        Format::Lz4Frame => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(bytes)?;
            encoder.finish().map_err(io::Error::other)
        }
        Format::Xz => {
            let mut options = lzma_rust2::XzOptions::with_preset(6);
            options.lzma_options.dict_size = dictionary(bytes.len());
            options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
            // The kernel's initramfs unpacker takes any number of blocks; one is plainest.
            options.set_block_size(None::<NonZeroU64>);
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options)?;
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Format::Lzma => {
            // Its dictionary of 8 MiB is part of what others take for the magic.
            let options = lzma_rust2::LzmaOptions::with_preset(6);
            let size = Some(bytes.len() as u64);
            let mut encoder = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, size)?;
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Format::Zstd => zstd::bulk::compress(bytes, 12),
        Format::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
    }
}

/// A dictionary as large as the input is all an encoder can use, and the unpacker must have
/// that much memory; 8 MiB at most, as `xz -6`.
fn dictionary(length: usize) -> u32 {
    (length.clamp(4096, 8 << 20) as u32).next_power_of_two()
}
