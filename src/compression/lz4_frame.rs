//! Where an LZ4 frame ends (`lz4_Frame_format.md`): the decoder takes the end of its input for that of
//! the frame.

const BLOCK_CHECKSUM: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const DICTIONARY: u8 = 1;

/// Whether the frame that `input` starts with has its end mark, and the checksum after it.
pub(super) fn is_whole(input: &[u8]) -> bool {
    let Some(flags) = input.get(4) else { return false };
    let size = |flag: u8, size: usize| if flags & flag == 0 { 0 } else { size };
    // Magic, flags, block descriptor, optional fields, checksum of the header.
    let mut at = 7 + size(CONTENT_SIZE, 8) + size(DICTIONARY, 4);
    loop {
        let header = input.get(at..).and_then(|rest| rest.first_chunk());
        let Some(header) = header else { return false };
        at += 4;
        // The highest bit marks a block that is not compressed.
        match u32::from_le_bytes(*header) & !(1 << 31) {
            0 => return input.len() - at >= size(CONTENT_CHECKSUM, 4),
            block => at += block as usize + size(BLOCK_CHECKSUM, 4),
        }
    }
}
