//! Bytes at offsets.

use std::io::Write;

use super::error::Error;

/// A file, or what a sparse image stands for.
pub(super) trait Blocks {
    /// The size in bytes.
    fn size(&self) -> u64;

    /// Write `size` bytes from `offset` on; fewer at the end.
    fn copy(&self, offset: u64, size: u64, out: &mut dyn Write) -> Result<(), Error>;
}

impl Blocks for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn copy(&self, offset: u64, size: u64, out: &mut dyn Write) -> Result<(), Error> {
        let all = self.len() as u64;
        let (start, end) = (offset.min(all), offset.saturating_add(size).min(all));
        // Both are within the slice, so they fit in usize.
        Ok(out.write_all(&self[start as usize..end as usize])?)
    }
}

/// The first bytes, at most `size`; fewer if they cannot be read.
pub(super) fn head_of(blocks: &dyn Blocks, size: u64) -> Vec<u8> {
    read(blocks, 0, size).unwrap_or_default()
}

/// `size` bytes from `offset` on; fewer at the end.
pub(super) fn read(blocks: &dyn Blocks, offset: u64, size: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    blocks.copy(offset, size, &mut bytes)?;
    Ok(bytes)
}

/// Write zeros.
pub(super) fn zeros(mut count: u64, out: &mut dyn Write) -> Result<(), Error> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while count > 0 {
        let piece = count.min(ZEROS.len() as u64);
        out.write_all(&ZEROS[..piece as usize])?;
        count -= piece;
    }
    Ok(())
}

/// A little-endian number of `N` bytes at `offset`; zero past the end.
pub(super) fn number<const N: usize>(bytes: &[u8], offset: usize) -> u64 {
    let mut wide = [0; 8];
    if let Some(field) = bytes.get(offset..).and_then(|rest| rest.get(..N)) {
        wide[..N].copy_from_slice(field);
    }
    u64::from_le_bytes(wide)
}
