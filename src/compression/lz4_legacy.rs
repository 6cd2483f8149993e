//! lz4_legacy as `lz4 -l` writes it and `lib/decompress_unlz4.c` reads it: the magic, then
//! blocks of a 32-bit little-endian size and LZ4 data that unpacks to at most 8 MiB. There is
//! no end mark.

use std::io;

use super::Format;
pub use super::format::LZ4_LEGACY_MAGIC as MAGIC;

/// What one block unpacks to at most, in bytes (`LZ4_DEFAULT_UNCOMPRESSED_CHUNK_SIZE`).
pub(crate) const BLOCK_SIZE: usize = 8 << 20;
/// `LZ4_compressBound(BLOCK_SIZE)`: a larger size field is not a block.
const MAX_COMPRESSED: usize = BLOCK_SIZE + BLOCK_SIZE / 255 + 16;

/// What is where a block's size field is expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// A block's compressed bytes.
    Block(&'a [u8]),
    /// The stream is over: end of input, zero padding, another stream's magic, or bytes that
    /// cannot be a block (kernel images have a 4-byte size after the stream).
    End,
    /// A block that ends past the end of the input.
    Truncated,
}

/// Look at `bytes`, where the next block's size field is expected.
pub(crate) fn next_block(bytes: &[u8]) -> Next<'_> {
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else { return Next::End };
    let size = u32::from_le_bytes(*size);
    if size == 0 || size == MAGIC || size as usize > MAX_COMPRESSED {
        return Next::End;
    }
    match rest.get(..size as usize) {
        Some(block) => Next::Block(block),
        // `size_append` in scripts/Makefile.lib: the unpacked size, alone after the stream.
        None if rest.iter().all(|byte| *byte == 0) => Next::End,
        // The start of another stream, or padding and then one, can be read as a size: that of
        // gzip without flags, that of lzma. It ends this one, whatever the kernel makes of it.
        None if Format::detect(behind_zeros(bytes)).is_some() => Next::End,
        None => Next::Truncated,
    }
}

/// `bytes` without the up to three zeros that they start with.
fn behind_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take(3).take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// What blocks unpack to together, in bytes, without unpacking them: the sum of their literal and
/// match lengths (`lz4_Block_format.md`). Of a damaged block, some number.
pub(crate) fn unpacked_len(blocks: &[&[u8]]) -> u64 {
    // Each sequence waits for the one before it, so several blocks are walked side by side.
    const LANES: usize = 3;
    let group = |blocks: &[&[u8]]| -> u64 {
        let mut lanes = [Walk::default(); LANES];
        for (lane, block) in lanes.iter_mut().zip(blocks) {
            lane.block = block;
        }
        while lanes.iter_mut().fold(false, |any, lane| lane.step() | any) {}
        lanes.iter().map(|lane| lane.unpacked).sum()
    };
    blocks.chunks(LANES).map(group).sum()
}

/// A walk over the sequences of a block.
#[derive(Clone, Copy, Default)]
struct Walk<'a> {
    block: &'a [u8],
    at: usize,
    unpacked: u64,
}

impl Walk<'_> {
    /// Walk over one sequence. False at the end of the block.
    #[inline(always)]
    fn step(&mut self) -> bool {
        self.short().is_some() || self.long()
    }

    /// Walk over one sequence that is not near the end and whose lengths take one more byte at
    /// most. Which ones do is as good as random, so there is no branch on that.
    #[inline(always)]
    fn short(&mut self) -> Option<()> {
        let token = *self.block.get(self.at)?;
        let more = *self.block.get(self.at + 1)?;
        let (literals, matched) = (usize::from(token >> 4), usize::from(token & 15));
        let extended = usize::from(literals == 15);
        let literals = literals + extended * usize::from(more);
        // The token, the literals and the distance.
        let at = self.at + 1 + extended + literals + 2;
        let last = *self.block.get(at)?;
        let extended = usize::from(matched == 15);
        let matched = matched + extended * usize::from(last);
        // 15 and a byte of 255, which is not the last one.
        if (literals == 15 + 255) | (matched == 15 + 255) {
            return None;
        }
        self.at = at + extended;
        self.unpacked += (literals + matched + MIN_MATCH) as u64;
        Some(())
    }

    /// Walk over any sequence.
    #[cold]
    fn long(&mut self) -> bool {
        let Some(token) = self.block.get(self.at) else { return false };
        self.at += 1;
        let literals = length(self.block, &mut self.at, token >> 4);
        self.unpacked += literals as u64;
        self.at += literals + 2;
        // The last sequence has no match.
        if self.at <= self.block.len() {
            self.unpacked += (length(self.block, &mut self.at, token & 15) + MIN_MATCH) as u64;
        }
        true
    }
}

/// A length of 15 goes on in the following bytes, until one below 255. Stops at the end of the
/// block.
#[inline(always)]
fn length(block: &[u8], at: &mut usize, nibble: u8) -> usize {
    let mut length = usize::from(nibble);
    if nibble == 15 {
        while let Some(byte) = block.get(*at) {
            *at += 1;
            length += usize::from(*byte);
            if *byte != 255 {
                break;
            }
        }
    }
    length
}

/// What the length of a match counts from.
const MIN_MATCH: usize = 4;
/// The farthest that a match looks back is one byte less.
const HISTORY: usize = 64 << 10;
/// Unpacked bytes held at a time, [`HISTORY`] of them to look back at. Small enough to stay in the
/// processor's cache; and who needs only the first bytes does not pay for a block of 8 MiB.
const BUFFER: usize = 256 << 10;

/// The blocks of one stream, unpacked piece by piece. Memory: one buffer of a fixed size.
pub(crate) struct Lz4LegacyReader<'a> {
    input: &'a [u8],
    /// Where the next block's size field stands.
    position: usize,
    /// What is left of the block at hand; none between blocks.
    block: Option<Block<'a>>,
    buffer: Vec<u8>,
    given: usize,
    filled: usize,
    /// Where the block at hand, or the last one, has its size field, and what came before it unpacks to.
    begun: (usize, u64),
    /// Bytes unpacked so far, also those that are not given yet.
    unpacked: u64,
}

/// A block being unpacked.
struct Block<'a> {
    bytes: &'a [u8],
    at: usize,
    unpacked: usize,
    /// Literals to copy, then the match whose length's low bits are this; or no token read yet.
    literals: Option<(usize, u8)>,
    /// Bytes of a match to copy, and how far back they are.
    matched: usize,
    distance: usize,
}

impl<'a> Lz4LegacyReader<'a> {
    /// A reader of the stream that `input` starts with, its magic included.
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self::at(input, 4)
    }

    /// A reader of the blocks from `position` of `input` on.
    pub(crate) fn at(input: &'a [u8], position: usize) -> Self {
        Lz4LegacyReader {
            input,
            position,
            block: None,
            buffer: Vec::new(),
            given: 0,
            filled: 0,
            begun: (position, 0),
            unpacked: 0,
        }
    }

    /// Where the block that was begun last has its size field, and the bytes that those before it
    /// unpack to.
    pub(crate) fn begun(&self) -> (usize, u64) {
        self.begun
    }

    /// The end of the last block and the bytes that all blocks up to there unpack to; None within a
    /// block.
    pub(crate) fn ended(&self) -> Option<(usize, u64)> {
        self.block.is_none().then_some((self.position, self.unpacked))
    }

    /// Compressed bytes used so far, in whole blocks.
    pub(crate) fn consumed(&self) -> usize {
        self.position.min(self.input.len())
    }

    /// Unpack more. False at the end of the stream.
    fn refill(&mut self) -> io::Result<bool> {
        if self.block.is_none() {
            match next_block(self.input.get(self.position..).unwrap_or_default()) {
                Next::End => return Ok(false),
                Next::Truncated => {
                    let message = "the last block is cut short";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                }
                Next::Block(bytes) => {
                    self.begun = (self.position, self.unpacked);
                    self.position += 4 + bytes.len();
                    self.block = Some(Block::new(bytes));
                }
            }
        }
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER];
        }
        if self.filled > HISTORY {
            self.buffer.copy_within(self.filled - HISTORY..self.filled, 0);
            self.filled = HISTORY;
        }
        self.given = self.filled;
        if let Some(block) = &mut self.block {
            let ended = block.unpack(&mut self.buffer, &mut self.filled);
            let ended = ended.map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?;
            self.unpacked += (self.filled - self.given) as u64;
            if ended {
                self.block = None;
            }
        }
        Ok(true)
    }
}

impl<'a> Block<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Block { bytes, at: 0, unpacked: 0, literals: None, matched: 0, distance: 0 }
    }

    /// Unpack into `out` from `filled` on, until it is full. True at the end of the block.
    fn unpack(&mut self, out: &mut [u8], filled: &mut usize) -> Result<bool, &'static str> {
        const CUT: &str = "a block ends within a sequence";
        loop {
            if self.literals.is_none() && self.matched == 0 {
                self.short_sequences(out, filled);
            }
            if self.unpacked > BLOCK_SIZE {
                return Err("a block unpacks to more than 8 MiB");
            }
            let room = out.len() - *filled;
            if room == 0 {
                return Ok(false);
            }
            if self.matched > 0 {
                let count = self.matched.min(room);
                repeat(out, *filled, self.distance, count);
                *filled += count;
                self.unpacked += count;
                self.matched -= count;
                continue;
            }
            let Some((literals, nibble)) = self.literals else {
                let token = *self.bytes.get(self.at).ok_or(CUT)?;
                self.at += 1;
                let literals = length(self.bytes, &mut self.at, token >> 4);
                self.literals = Some((literals, token & 15));
                continue;
            };
            let count = literals.min(room);
            let from = self.bytes[self.at..].get(..count).ok_or(CUT)?;
            out[*filled..*filled + count].copy_from_slice(from);
            *filled += count;
            self.unpacked += count;
            self.at += count;
            if count < literals {
                self.literals = Some((literals - count, nibble));
                continue;
            }
            self.literals = None;
            match self.bytes[self.at..] {
                [] if self.unpacked > BLOCK_SIZE => {}
                [] => return Ok(true),
                [low, high, ..] => {
                    self.at += 2;
                    self.distance = usize::from(u16::from_le_bytes([low, high]));
                    if self.distance == 0 || self.distance > self.unpacked {
                        return Err("a match starts before its block");
                    }
                    self.matched = length(self.bytes, &mut self.at, nibble) + MIN_MATCH;
                }
                _ => return Err(CUT),
            }
        }
    }

    /// The sequences of fewer than 15 literals and a match of less than 19 bytes that is no
    /// overlap: most of them, and copied without looking at how long they are. Stops at any
    /// other, and near the end of the block and of `out`.
    #[inline]
    fn short_sequences(&mut self, out: &mut [u8], filled: &mut usize) {
        /// The literals' 16, the distance, a token.
        const IN: usize = 20;
        const LITERALS: usize = 16;
        const MATCH: usize = 18;
        let (mut at, mut to) = (self.at, *filled);
        // Where this block's bytes start, as far as `out` still has them.
        let start = to.saturating_sub(self.unpacked);
        while let (Some(from), true) =
            (self.bytes[at..].first_chunk::<IN>(), out.len() - to >= LITERALS + MATCH)
        {
            let literals = usize::from(from[0] >> 4);
            let matched = usize::from(from[0] & 15) + MIN_MATCH;
            if literals == 15 || matched == 15 + MIN_MATCH {
                break;
            }
            let distance = u16::from_le_bytes([from[1 + literals], from[2 + literals]]);
            let distance = usize::from(distance);
            let behind = to + literals;
            if distance < MATCH || distance > behind - start {
                break;
            }
            out[to..to + LITERALS].copy_from_slice(&from[1..1 + LITERALS]);
            let (head, tail) = out.split_at_mut(behind);
            tail[..MATCH].copy_from_slice(&head[behind - distance..][..MATCH]);
            at += 1 + literals + 2;
            to = behind + matched;
        }
        self.unpacked += to - *filled;
        self.at = at;
        *filled = to;
    }
}

/// Copy `count` bytes from `distance` before `at` to `at`; they may overlap, and then repeat.
fn repeat(out: &mut [u8], at: usize, distance: usize, count: usize) {
    let start = at - distance;
    let mut done = 0;
    while done < count {
        // All from `start` to here is one period or several of them.
        let step = (distance + done).min(count - done);
        out.copy_within(start..start + step, at + done);
        done += step;
    }
}

impl io::Read for Lz4LegacyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.filled && !buffer.is_empty() {
            if !self.refill()? {
                return Ok(0);
            }
        }
        let ready = &self.buffer[self.given..self.filled];
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.given += count;
        Ok(count)
    }
}

/// Unpack the start of a block into `out`; gives what there is of it, up to damage.
pub(crate) fn start_of<'o>(block: &[u8], out: &'o mut [u8]) -> &'o [u8] {
    let mut filled = 0;
    let _ = Block::new(block).unpack(out, &mut filled);
    &out[..filled]
}

/// Compress `bytes` into one stream.
pub(crate) fn encode(bytes: &[u8]) -> Vec<u8> {
    [&MAGIC.to_le_bytes()[..], &encode_blocks(bytes)].concat()
}

/// Compress `bytes` into the blocks of a stream, to which others can be added.
pub(super) fn encode_blocks(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for block in bytes.chunks(BLOCK_SIZE) {
        let compressed = lz4_flex::block::compress(block);
        out.extend_from_slice(&(compressed.len() as u32).to_le_bytes());
        out.extend_from_slice(&compressed);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Deterministic bytes with matches of all lengths and distances in them.
    fn sample(size: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) as usize % below.max(1)
        };
        let mut bytes: Vec<u8> = Vec::with_capacity(size);
        while bytes.len() < size {
            let length = match random(8) {
                0 => random(100_000),
                1..4 => random(300),
                _ => random(20),
            };
            let distance = [1, 3, 17, 70_000][random(4)].min(bytes.len());
            let distance = 1 + random(distance);
            for _ in 0..length {
                let byte = match bytes.len().checked_sub(distance) {
                    Some(from) if length % 2 == 0 => bytes[from],
                    _ => random(256) as u8,
                };
                bytes.push(byte);
            }
        }
        bytes.truncate(size);
        bytes
    }

    fn decode(stream: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Lz4LegacyReader::new(stream).read_to_end(&mut bytes).map(|_| bytes)
    }

    #[test]
    fn what_the_encoder_wrote_comes_back() {
        for (i, size) in [0, 1, 13, 4_000, 300_000, 3 << 20, BLOCK_SIZE + 70_001].iter().enumerate()
        {
            let bytes = sample(*size, 7 + i as u64);
            let stream = encode(&bytes);
            assert!(decode(&stream).unwrap() == bytes, "{size} bytes");
            let mut at = 4;
            let mut blocks = Vec::new();
            while let Next::Block(block) = next_block(&stream[at..]) {
                at += 4 + block.len();
                blocks.push(block);
            }
            assert_eq!(unpacked_len(&blocks), bytes.len() as u64);
        }
    }

    #[test]
    fn a_damaged_block_is_judged_as_lz4_flex_does() {
        let bytes = sample(5_000, 3);
        let block = lz4_flex::block::compress(&bytes);
        let mut out = vec![0; BLOCK_SIZE];
        let mut differing = 0;
        for i in 0..block.len() {
            let mut block = block.clone();
            block[i] ^= 1 << (i % 8);
            let stream = [&MAGIC.to_le_bytes()[..], &(block.len() as u32).to_le_bytes(), &block];
            let (ours, theirs) =
                (decode(&stream.concat()), lz4_flex::block::decompress_into(&block, &mut out));
            match (ours, theirs) {
                (Ok(ours), Ok(size)) => assert!(ours == out[..size], "byte {i}"),
                (Err(_), Err(_)) => {}
                _ => differing += 1,
            }
        }
        assert_eq!(differing, 0);
    }

    #[test]
    fn a_block_of_more_than_8_mib_is_refused() {
        let zeros = vec![0; BLOCK_SIZE + 1];
        let block = lz4_flex::block::compress(&zeros);
        let stream = [&MAGIC.to_le_bytes()[..], &(block.len() as u32).to_le_bytes(), &block];
        assert!(decode(&stream.concat()).is_err());
    }
}
