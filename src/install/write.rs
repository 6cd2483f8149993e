//! Write, sync, read back, compare; and the original again when that fails.

use std::io;

use super::error::{Error, Failure, Refusal};

/// Bytes that are written or compared at once: erase blocks of flash are not larger.
const BLOCK: usize = 1 << 20;

/// A partition, by offset. The real one is [`super::device::Node`].
pub trait Partition {
    /// Its size in bytes.
    fn size(&self) -> u64;
    /// Fill `bytes` from `offset`.
    ///
    /// # Errors
    /// The system's.
    fn read(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
    /// Write all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The system's.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Everything is on the medium after this, and what is read comes from it.
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self) -> io::Result<()>;
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes that were written; blocks that have their bytes already are left alone.
    pub bytes: u64,
}

/// Replace `original`, which the partition must have at its start, by `new`, and read it back.
///
/// # Errors
/// [`Error`] says what is in the partition: everything but [`Error::Broken`] leaves the original.
pub fn write(partition: &mut dyn Partition, original: &[u8], new: &[u8]) -> Result<Written, Error> {
    let (size, needed) = (partition.size(), new.len().max(original.len()) as u64);
    if needed > size {
        return Err(Refusal::TooSmall { size, needed }.into());
    }
    // Bytes after the original that the result covers come back, too.
    let mut before = vec![0; new.len().max(original.len())];
    read(partition, &mut before).map_err(Error::Unread)?;
    if before[..original.len()] != *original {
        return Err(Refusal::Changed.into());
    }
    let failure = match replace(partition, &before, new) {
        Ok(bytes) => return Ok(Written { bytes }),
        Err(failure) => failure,
    };
    match restore(partition, &before[..new.len()]) {
        Ok(()) => Err(Error::Restored(failure)),
        Err(restore) => Err(Error::Broken { failure, restore }),
    }
}

/// Write what differs, and prove it.
fn replace(partition: &mut dyn Partition, before: &[u8], new: &[u8]) -> Result<u64, Failure> {
    let mut written = 0;
    for (offset, block) in blocks(new) {
        let start = offset as usize;
        if before[start..start + block.len()] != *block {
            put(partition, offset, block)?;
            written += block.len() as u64;
        }
    }
    prove(partition, new)?;
    Ok(written)
}

/// Write all of it: after an error nobody knows which blocks arrived.
fn restore(partition: &mut dyn Partition, original: &[u8]) -> Result<(), Failure> {
    let mut failed = None;
    for (offset, block) in blocks(original) {
        // The others may still arrive.
        let own = put(partition, offset, block).err();
        failed = failed.or(own);
    }
    match failed {
        Some(failure) => Err(failure),
        None => prove(partition, original),
    }
}

fn prove(partition: &mut dyn Partition, expected: &[u8]) -> Result<(), Failure> {
    let sync = partition.sync();
    sync.map_err(|error| Failure::Io { what: "sync", offset: 0, error })?;
    let mut back = vec![0; BLOCK];
    for (offset, block) in blocks(expected) {
        let back = &mut back[..block.len()];
        get(partition, offset, back)?;
        let pairs = std::iter::zip(&*back, block);
        if let Some(at) = pairs.into_iter().position(|(one, other)| one != other) {
            return Err(Failure::Differs { offset: offset + at as u64 });
        }
    }
    Ok(())
}

fn read(partition: &mut dyn Partition, bytes: &mut [u8]) -> Result<(), Failure> {
    let mut offset = 0;
    for block in bytes.chunks_mut(BLOCK) {
        get(partition, offset, block)?;
        offset += block.len() as u64;
    }
    Ok(())
}

fn get(partition: &mut dyn Partition, offset: u64, bytes: &mut [u8]) -> Result<(), Failure> {
    let got = partition.read(offset, bytes);
    got.map_err(|error| Failure::Io { what: "read", offset, error })
}

fn put(partition: &mut dyn Partition, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
    let put = partition.write(offset, bytes);
    put.map_err(|error| Failure::Io { what: "write", offset, error })
}

fn blocks(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    bytes.chunks(BLOCK).enumerate().map(|(index, block)| ((index * BLOCK) as u64, block))
}
