//! lz4_legacy as `lz4 -l` writes it and `lib/decompress_unlz4.c` reads it: the magic, then
//! blocks of a 32-bit little-endian size and LZ4 data that unpacks to at most 8 MiB. There is
//! no end mark.

use std::io;

/// The magic, little-endian in the file.
pub const MAGIC: u32 = 0x184c_2102;
/// What one block unpacks to at most, in bytes (`LZ4_DEFAULT_UNCOMPRESSED_CHUNK_SIZE`).
pub const BLOCK_SIZE: usize = 8 << 20;
/// `LZ4_compressBound(BLOCK_SIZE)`: a larger size field is no block.
const MAX_COMPRESSED: usize = BLOCK_SIZE + BLOCK_SIZE / 255 + 16;

/// What stands where a block's size field is expected.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A block's compressed bytes.
    Block(&'a [u8]),
    /// The stream is over: end of input, zero padding, another stream's magic, or bytes that
    /// can be no block (kernel images carry a 4-byte size behind the stream).
    End,
    /// A block that ends past the end of the input.
    Truncated,
}

/// Look at `rest`, the bytes where the next block's size field is expected.
pub fn next_block(rest: &[u8]) -> Next<'_> {
    let Some((size, rest)) = rest.split_first_chunk::<4>() else { return Next::End };
    let size = u32::from_le_bytes(*size);
    if size == 0 || size == MAGIC || size as usize > MAX_COMPRESSED {
        return Next::End;
    }
    match rest.get(..size as usize) {
        Some(block) => Next::Block(block),
        // `size_append` in scripts/Makefile.lib: the unpacked size, alone behind the stream.
        None if rest.is_empty() => Next::End,
        None => Next::Truncated,
    }
}

/// The blocks of one stream, unpacked one at a time. Memory: 8 MiB for the block at hand.
pub struct Lz4LegacyReader<'a> {
    input: &'a [u8],
    position: usize,
    block: Vec<u8>,
    given: usize,
    filled: usize,
}

impl<'a> Lz4LegacyReader<'a> {
    /// A reader of the stream that `input` starts with, its magic included.
    pub fn new(input: &'a [u8]) -> Self {
        Lz4LegacyReader { input, position: 4, block: Vec::new(), given: 0, filled: 0 }
    }

    /// Compressed bytes used so far.
    pub fn consumed(&self) -> usize {
        self.position.min(self.input.len())
    }

    /// Unpack the next block. False at the end of the stream.
    fn refill(&mut self) -> io::Result<bool> {
        match next_block(self.input.get(self.position..).unwrap_or_default()) {
            Next::End => Ok(false),
            Next::Truncated => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the last block is cut short"))
            }
            Next::Block(compressed) => {
                self.block.resize(BLOCK_SIZE, 0);
                self.filled = lz4_flex::block::decompress_into(compressed, &mut self.block)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                self.given = 0;
                self.position += 4 + compressed.len();
                Ok(true)
            }
        }
    }
}

impl io::Read for Lz4LegacyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.filled && !buffer.is_empty() {
            if !self.refill()? {
                return Ok(0);
            }
        }
        let ready = &self.block[self.given..self.filled];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.given += count;
        Ok(count)
    }
}

/// Compress `bytes` into one stream.
pub fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_le_bytes().to_vec();
    for block in bytes.chunks(BLOCK_SIZE) {
        let compressed = lz4_flex::block::compress(block);
        out.extend_from_slice(&(compressed.len() as u32).to_le_bytes());
        out.extend_from_slice(&compressed);
    }
    out
}
