//! lz4_legacy streams by their block headers, without unpacking them.

use crate::compression::Format;
use crate::compression::lz4_legacy::{self, BLOCK_SIZE, Next, next_block};

/// The length of the stream that `bytes` starts with: its magic and blocks. None when the last
/// block is cut short.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let mut position = FIRST_BLOCK;
    loop {
        let rest = bytes.get(position..).unwrap_or_default();
        match next_block(rest) {
            Next::End => return Some(position.min(bytes.len())),
            next if is_gzip(rest, &next) => return Some(position),
            Next::Block(block) => position += 4 + block.len(),
            Next::Truncated => return None,
        }
    }
}

/// The start of a gzip member without a name, `1f 8b 08 00`, passes for the size of a block of
/// 559,903 bytes. The kernel takes it for one and fails; we look whether it is.
fn is_gzip(rest: &[u8], next: &Next<'_>) -> bool {
    Format::detect(rest) == Some(Format::Gzip)
        && match next {
            Next::Block(block) => {
                lz4_flex::block::decompress_into(block, &mut vec![0; BLOCK_SIZE]).is_err()
            }
            _ => true,
        }
}

/// What a stream unpacks to, in bytes, without unpacking it.
pub(super) fn unpacked(stream: &[u8]) -> u64 {
    let mut position = FIRST_BLOCK;
    let mut blocks = Vec::new();
    while let Next::Block(block) = next_block(stream.get(position..).unwrap_or_default()) {
        position += 4 + block.len();
        blocks.push(block);
    }
    lz4_legacy::unpacked_len(&blocks)
}

/// Where the first block of a stream is.
pub(super) const FIRST_BLOCK: usize = 4;

/// Where the blocks of a stream are.
pub(super) fn blocks(stream: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut position = FIRST_BLOCK;
    std::iter::from_fn(move || {
        let Next::Block(block) = next_block(stream.get(position..)?) else { return None };
        let at = position;
        position += 4 + block.len();
        Some(at)
    })
}

/// What the block at `at` of a stream unpacks to at first.
pub(super) fn start_of_block<'o>(stream: &[u8], at: usize, out: &'o mut [u8]) -> Option<&'o [u8]> {
    let Next::Block(block) = next_block(stream.get(at..)?) else { return None };
    Some(lz4_legacy::start_of(block, out))
}
