//! One compressed stream as a bounded [`Read`].

use std::io::{self, BufRead, Read};

use super::lz4_legacy::Lz4LegacyReader;
use super::{Error, Format};

/// Dictionaries and windows above this are refused: the largest that any kernel build asks
/// for is zstd -22's 128 MiB. Memory is touched only as output arrives.
const MAX_WINDOW_LOG: u32 = 27;
const MAX_DICTIONARY_KIB: u32 = (1 << (MAX_WINDOW_LOG - 10)) + 64 * 1024;

/// A streaming decoder over borrowed bytes. Decodes exactly one stream (gzip: one member; xz:
/// one stream; zstd: one frame) and then reports end of file; [`Decoder::consumed`] then tells
/// where in the input the next thing starts.
///
/// Memory: the format's window plus small buffers, never the whole output.
pub struct Decoder<'a> {
    format: Format,
    input: &'a [u8],
    inner: Inner<'a>,
    produced: u64,
}

enum Inner<'a> {
    Gzip(flate2::bufread::GzDecoder<&'a [u8]>),
    Lz4Legacy(Lz4LegacyReader<'a>),
    Lz4Frame(lz4_flex::frame::FrameDecoder<&'a [u8]>),
    Xz(Box<lzma_rust2::XzReader<&'a [u8]>>),
    Lzma(Box<LzmaStreamReader<'a>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, &'a [u8]>>),
    Bzip2(bzip2::bufread::BzDecoder<&'a [u8]>),
}

struct LzmaStreamReader<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// A decoder for the stream of `format` that `input` starts with.
    pub fn new(format: Format, input: &'a [u8]) -> Result<Self, Error> {
        let _ = (format, input);
        todo!()
    }

    /// Compressed bytes used so far; exact once the stream has ended.
    pub fn consumed(&self) -> usize {
        0
    }

    /// Bytes unpacked so far.
    pub fn produced(&self) -> u64 {
        self.produced
    }

    /// Unpack everything that is left into a vector of at most `limit` bytes.
    pub fn read_all(&mut self, limit: u64) -> Result<Vec<u8>, Error> {
        let _ = limit;
        todo!()
    }

    /// Turn an error of [`Read`] into the typed one, with the position.
    pub fn error(&self, error: &io::Error) -> Error {
        Error::Corrupt {
            format: self.format,
            consumed: self.consumed(),
            produced: self.produced,
            reason: error.to_string(),
        }
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let _ = buffer;
        todo!()
    }
}

/// Unpack the one stream that `input` starts with; gives the bytes and how much of `input` it
/// took.
pub fn decode_all(format: Format, input: &[u8], limit: u64) -> Result<(Vec<u8>, usize), Error> {
    let mut decoder = Decoder::new(format, input)?;
    let bytes = decoder.read_all(limit)?;
    Ok((bytes, decoder.consumed()))
}
