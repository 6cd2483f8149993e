//! xz streams by their footers and indexes, without unpacking them (`xz-file-format.txt`,
//! sections 2 to 4).

/// Length of a stream's header and of its footer.
const EDGE: usize = 12;
const MAGIC: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
/// Streams that are walked over; with more of them, unpacking is left to find the ends.
const MAX_STREAMS: usize = 64;

/// The length of the first stream in `bytes`, when nothing but xz streams and zero padding goes
/// to the end. None when that is not so: it must be unpacked then.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let mut end = bytes.len();
    for _ in 0..MAX_STREAMS {
        let zeros = bytes[..end].iter().rev().take_while(|byte| **byte == 0).count();
        end -= zeros;
        let start = stream_start(&bytes[..end])?;
        if start == 0 {
            return Some(end);
        }
        end = start;
    }
    None
}

/// Where the stream starts that `bytes` end with.
fn stream_start(bytes: &[u8]) -> Option<usize> {
    let (rest, footer) = bytes.split_last_chunk::<EDGE>()?;
    let [c0, c1, c2, c3, s0, s1, s2, s3, flags @ .., b'Y', b'Z'] = footer else { return None };
    let backward = u32::from_le_bytes([*s0, *s1, *s2, *s3]);
    let index_size = (backward as usize).checked_add(1)?.checked_mul(4)?;
    let index_start = rest.len().checked_sub(index_size)?;
    let (rest, index) = rest.split_at(index_start);
    let (index, index_crc) = index.split_last_chunk::<4>()?;
    let intact = crc32(&footer[4..10]) == u32::from_le_bytes([*c0, *c1, *c2, *c3])
        && crc32(index) == u32::from_le_bytes(*index_crc);
    if !intact {
        return None;
    }
    let start = rest.len().checked_sub(blocks_size(index)?)?.checked_sub(EDGE)?;
    let header = rest.get(start..start + EDGE)?;
    (header.starts_with(MAGIC) && header[6..8] == *flags).then_some(start)
}

/// What the blocks take that `index` lists, with their padding.
fn blocks_size(index: &[u8]) -> Option<usize> {
    let (0, mut records) = index.split_first().map(|(first, rest)| (*first, rest))? else {
        return None;
    };
    let count = number(&mut records)?;
    let mut size = 0usize;
    for _ in 0..count {
        let unpadded = usize::try_from(number(&mut records)?).ok()?;
        number(&mut records)?;
        size = size.checked_add(unpadded.checked_next_multiple_of(4)?)?;
    }
    Some(size)
}

/// A variable-length integer: seven bits a byte, the lowest first, at most nine bytes.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
