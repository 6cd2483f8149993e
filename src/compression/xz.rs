//! xz streams by their footers and indexes, without unpacking them (`xz-file-format.txt`,
//! sections 2 to 4): where they end, and several as one.

/// Length of a stream's header and of its footer.
const EDGE: usize = 12;
const MAGIC: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const FOOTER_MAGIC: &[u8] = b"YZ";
/// Where a header has the flags, which the footer repeats.
const FLAGS: std::ops::Range<usize> = 6..8;
/// Streams that are walked over; with more of them, unpacking is left to find the ends.
const MAX_STREAMS: usize = 64;

/// The length of the first stream in `bytes`, when nothing but xz streams and zero padding goes
/// to the end. None when that is not so: it must be unpacked then.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
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
    Some(bytes.len() - Stream::last(bytes)?.length)
}

/// The streams' blocks in one stream; None where a part is not one whole stream, or its flags (what
/// check its blocks carry) are not those of the others.
pub(super) fn join(parts: &[&[u8]]) -> Option<Vec<u8>> {
    let header = parts.first()?.first_chunk::<EDGE>()?;
    let mut out = header.to_vec();
    let (mut count, mut records) = (0, Vec::new());
    for part in parts {
        let stream = Stream::last(part).filter(|stream| stream.length == part.len())?;
        if !part.starts_with(header) {
            return None;
        }
        out.extend_from_slice(stream.blocks);
        count += stream.count;
        records.extend_from_slice(stream.records);
    }
    let mut index = vec![0];
    put_number(&mut index, count);
    index.extend(records);
    index.resize(index.len().next_multiple_of(4), 0);
    let crc = crc32(&index);
    index.extend(crc.to_le_bytes());
    let backward = u32::try_from(index.len() / 4 - 1).ok()?;
    out.extend(index);
    let footer = [&backward.to_le_bytes()[..], &header[FLAGS]].concat();
    out.extend(crc32(&footer).to_le_bytes());
    out.extend(footer);
    out.extend(FOOTER_MAGIC);
    Some(out)
}

/// A stream, taken apart by its index.
struct Stream<'a> {
    /// All of it, in bytes.
    length: usize,
    blocks: &'a [u8],
    /// How many blocks there are.
    count: u64,
    /// Their records in the index.
    records: &'a [u8],
}

impl<'a> Stream<'a> {
    /// The one that `bytes` end with.
    fn last(bytes: &'a [u8]) -> Option<Self> {
        let (rest, footer) = bytes.split_last_chunk::<EDGE>()?;
        let [c0, c1, c2, c3, s0, s1, s2, s3, flags @ .., b'Y', b'Z'] = footer else { return None };
        let backward = u32::from_le_bytes([*s0, *s1, *s2, *s3]);
        let index_size = (backward as usize).checked_add(1)?.checked_mul(4)?;
        let (rest, index) = rest.split_at_checked(rest.len().checked_sub(index_size)?)?;
        let (index, index_crc) = index.split_last_chunk::<4>()?;
        let intact = crc32(&footer[4..10]) == u32::from_le_bytes([*c0, *c1, *c2, *c3])
            && crc32(index) == u32::from_le_bytes(*index_crc);
        if !intact {
            return None;
        }
        let Records { count, bytes: records, blocks_size } = Records::read(index)?;
        let (rest, blocks) = rest.split_at_checked(rest.len().checked_sub(blocks_size)?)?;
        let header = rest.last_chunk::<EDGE>()?;
        let whole = header.starts_with(MAGIC) && header[FLAGS] == *flags;
        whole.then_some(Stream { length: bytes.len() - rest.len() + EDGE, blocks, count, records })
    }
}

/// The records of an index.
struct Records<'a> {
    count: u64,
    bytes: &'a [u8],
    /// What the blocks take, with their padding.
    blocks_size: usize,
}

impl<'a> Records<'a> {
    fn read(index: &'a [u8]) -> Option<Self> {
        let [0, rest @ ..] = index else { return None };
        let mut left = rest;
        let count = number(&mut left)?;
        let records = left;
        let mut blocks_size = 0usize;
        for _ in 0..count {
            let unpadded = usize::try_from(number(&mut left)?).ok()?;
            number(&mut left)?;
            blocks_size = blocks_size.checked_add(unpadded.checked_next_multiple_of(4)?)?;
        }
        let bytes = &records[..records.len() - left.len()];
        Some(Records { count, bytes, blocks_size })
    }
}

fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
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
