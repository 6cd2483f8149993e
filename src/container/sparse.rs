//! Android sparse images (libsparse's `sparse_format.h`): a header of 28 bytes, then chunks, each with a
//! header of 12 bytes, its number of blocks and its data. All numbers are little-endian.

use std::io::Write;

use super::blocks::{self, Blocks, number};
use super::error::Error;

const MAGIC: [u8; 4] = [0x3a, 0xff, 0x26, 0xed];
const HEADER: usize = 28;
const CHUNK_HEADER: usize = 12;
/// Maximum number of chunks: they are held in memory. The largest real images have thousands.
const MAX_CHUNKS: u64 = 1 << 20;
/// Maximum size of a block in bytes.
const MAX_BLOCK: u64 = 1 << 20;

const RAW: u64 = 0xcac1;
const FILL: u64 = 0xcac2;
const DONT_CARE: u64 = 0xcac3;
const CRC32: u64 = 0xcac4;

/// Whether `bytes` start with the header of a sparse image of version 1.
pub(super) fn starts(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
        && number::<2>(bytes, 4) == 1
        && number::<2>(bytes, 8) >= HEADER as u64
        && number::<2>(bytes, 10) >= CHUNK_HEADER as u64
}

/// A sparse image over borrowed bytes.
#[derive(Debug)]
pub(super) struct SparseImage<'a> {
    bytes: &'a [u8],
    size: u64,
    /// In order and without gaps.
    chunks: Vec<Chunk>,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    /// Where it starts in the image that it stands for.
    start: u64,
    end: u64,
    content: Content,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    /// At this offset in the file.
    Raw(usize),
    /// These four bytes again and again.
    Fill([u8; 4]),
    /// Not written when it is flashed; zeros here.
    Nothing,
}

impl<'a> SparseImage<'a> {
    /// Read the chunk headers.
    ///
    /// # Errors
    /// [`Error::Sparse`].
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let invalid = |offset: usize, message: String| Error::Sparse { offset, message };
        let block = number::<4>(bytes, 12);
        if block == 0 || block > MAX_BLOCK || !block.is_multiple_of(4) {
            let message = format!("blk_sz is {block}, expected a multiple of 4 up to {MAX_BLOCK}");
            return Err(invalid(12, message));
        }
        let (blocks, count) = (number::<4>(bytes, 16), number::<4>(bytes, 20));
        if count > MAX_CHUNKS {
            let message = format!("total_chunks is {count}, expected at most {MAX_CHUNKS}");
            return Err(invalid(20, message));
        }
        let header = number::<2>(bytes, 10) as usize;
        let mut at = number::<2>(bytes, 8) as usize;
        let mut start = 0;
        let mut chunks = Vec::new();
        for _ in 0..count {
            let (chunk, next) = Chunk::parse(bytes, at, header, start, block)?;
            start = chunk.end;
            at = next;
            if chunk.start < chunk.end {
                chunks.push(chunk);
            }
        }
        let size = blocks * block;
        if start != size {
            let message = format!("total_blks is {blocks}, but the chunks have {}", start / block);
            return Err(invalid(16, message));
        }
        Ok(SparseImage { bytes, size, chunks })
    }
}

impl Chunk {
    /// The chunk at `at`, and where the next one is.
    fn parse(
        bytes: &[u8],
        at: usize,
        header: usize,
        start: u64,
        block: u64,
    ) -> Result<(Self, usize), Error> {
        let invalid = |message: String| Error::Sparse { offset: at, message };
        let Some(fields) = bytes.get(at..).and_then(|rest| rest.get(..header)) else {
            return Err(invalid("the file ends within a chunk header".to_owned()));
        };
        let (kind, blocks) = (number::<2>(fields, 0), number::<4>(fields, 4));
        let total = number::<4>(fields, 8) as usize;
        let size = blocks * block;
        let data = at + header;
        let next = at + total;
        if total < header || next > bytes.len() {
            let left = bytes.len() - at;
            return Err(invalid(format!("total_sz is {total}, expected {header} to {left}")));
        }
        let expect = |expected: u64| match (total - header) as u64 == expected {
            true => Ok(()),
            false => {
                let found = total - header;
                Err(invalid(format!("a chunk has {found} bytes of data, expected {expected}")))
            }
        };
        let (content, size) = match kind {
            RAW => {
                expect(size)?;
                (Content::Raw(data), size)
            }
            FILL => {
                expect(4)?;
                let mut fill = [0; 4];
                fill.copy_from_slice(&bytes[data..data + 4]);
                (Content::Fill(fill), size)
            }
            DONT_CARE => {
                expect(0)?;
                (Content::Nothing, size)
            }
            CRC32 => {
                expect(4)?;
                (Content::Nothing, 0)
            }
            _ => {
                let message = format!("chunk_type is {kind:#x}, expected {RAW:#x} to {CRC32:#x}");
                return Err(invalid(message));
            }
        };
        Ok((Chunk { start, end: start + size, content }, next))
    }

    /// Write the bytes `from` to `to` of the image, which are within the chunk.
    fn copy(&self, file: &[u8], from: u64, to: u64, out: &mut dyn Write) -> Result<(), Error> {
        let (skip, size) = (from - self.start, to - from);
        match self.content {
            // The chunk is within the file, so its offsets fit in usize.
            Content::Raw(at) => {
                let start = at + skip as usize;
                Ok(out.write_all(&file[start..start + size as usize])?)
            }
            Content::Fill([0, 0, 0, 0]) | Content::Nothing => blocks::zeros(size, out),
            Content::Fill(fill) => {
                const ROUND: usize = 4096;
                let mut pattern = fill.repeat(ROUND / 4);
                pattern.rotate_left((skip % 4) as usize);
                let mut left = size;
                while left > 0 {
                    let piece = left.min(ROUND as u64);
                    out.write_all(&pattern[..piece as usize])?;
                    left -= piece;
                }
                Ok(())
            }
        }
    }
}

impl Blocks for SparseImage<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn copy(&self, offset: u64, size: u64, out: &mut dyn Write) -> Result<(), Error> {
        let end = offset.saturating_add(size).min(self.size);
        let first = self.chunks.partition_point(|chunk| chunk.end <= offset);
        for chunk in self.chunks[first..].iter().take_while(|chunk| chunk.start < end) {
            let (from, to) = (offset.max(chunk.start), end.min(chunk.end));
            chunk.copy(self.bytes, from, to, out)?;
        }
        Ok(())
    }
}
