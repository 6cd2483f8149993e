//! The bytes of an image to write: borrowed and new chunks in order.

use std::borrow::Cow;
use std::io::{self, Write};

use sha2::{Digest, Sha256};

/// A run of bytes of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// These bytes.
    Bytes(Cow<'a, [u8]>),
    /// This many zero bytes.
    Zeros(u64),
}

impl<'a> Chunk<'a> {
    /// Bytes taken from the input.
    pub fn borrowed(bytes: &'a [u8]) -> Self {
        Chunk::Bytes(Cow::Borrowed(bytes))
    }

    /// New bytes.
    pub fn owned(bytes: Vec<u8>) -> Self {
        Chunk::Bytes(Cow::Owned(bytes))
    }

    /// Its size in bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Chunk::Bytes(bytes) => bytes.len() as u64,
            Chunk::Zeros(count) => *count,
        }
    }

    /// Whether it has no bytes.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pass the bytes to `sink`, in pieces.
    pub(super) fn each<E>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        match self {
            Chunk::Bytes(bytes) => sink(bytes),
            Chunk::Zeros(count) => {
                let mut left = *count;
                while left > 0 {
                    let piece = left.min(ZEROS.len() as u64);
                    sink(&ZEROS[..piece as usize])?;
                    left -= piece;
                }
                Ok(())
            }
        }
    }
}

/// The bytes of a file to write, as chunks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output<'a> {
    chunks: Vec<Chunk<'a>>,
}

impl<'a> Output<'a> {
    /// The file that these chunks make.
    pub fn from_chunks(chunks: Vec<Chunk<'a>>) -> Self {
        let mut output = Output::default();
        chunks.into_iter().for_each(|chunk| output.push(chunk));
        output
    }

    /// The chunks in order, by value.
    pub(crate) fn into_chunks(self) -> Vec<Chunk<'a>> {
        self.chunks
    }

    /// Append a chunk.
    pub fn push(&mut self, chunk: Chunk<'a>) {
        if !chunk.is_empty() {
            self.chunks.push(chunk);
        }
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.chunks.iter().map(Chunk::len).sum()
    }

    /// Write all bytes.
    ///
    /// # Errors
    /// An error of the writer.
    pub fn write_to(&self, writer: &mut (impl Write + ?Sized)) -> io::Result<()> {
        self.chunks.iter().try_for_each(|chunk| chunk.each(|bytes| writer.write_all(bytes)))
    }

    /// All the bytes in memory.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size()).unwrap_or(0));
        // Writing to a vector does not fail.
        let written = self.write_to(&mut bytes);
        debug_assert!(written.is_ok());
        bytes
    }

    /// The `size` bytes at `offset`, fewer at the end of the file.
    pub(crate) fn slice(&self, offset: u64, size: u64) -> Vec<u8> {
        let (mut skip, mut bytes) = (offset, Vec::new());
        self.each_of_first(offset.saturating_add(size), &mut |piece| {
            let skipped = piece.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            skip -= skipped as u64;
            bytes.extend_from_slice(&piece[skipped..]);
        });
        bytes
    }

    /// Pass the first `size` bytes to `sink`, in pieces.
    pub(super) fn each_of_first(&self, size: u64, sink: &mut dyn FnMut(&[u8])) {
        let mut left = size;
        for chunk in &self.chunks {
            let taken: Result<(), std::convert::Infallible> = chunk.each(|bytes| {
                let piece = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                left -= piece as u64;
                sink(&bytes[..piece]);
                Ok(())
            });
            let Ok(()) = taken;
            if left == 0 {
                return;
            }
        }
    }

    /// Pass all bytes to `sink`, in pieces.
    pub(crate) fn each(&self, mut sink: impl FnMut(&[u8])) {
        for chunk in &self.chunks {
            let taken: Result<(), std::convert::Infallible> = chunk.each(|bytes| {
                sink(bytes);
                Ok(())
            });
            let Ok(()) = taken;
        }
    }

    /// Whether the file has these bytes.
    pub(super) fn equals(&self, bytes: &[u8]) -> bool {
        let mut left = Some(bytes);
        self.each(|piece| left = left.and_then(|left| left.strip_prefix(piece)));
        left.is_some_and(<[u8]>::is_empty)
    }

    /// SHA-256 of the file.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        self.each(|bytes| hasher.update(bytes));
        hasher.finalize().into()
    }
}
