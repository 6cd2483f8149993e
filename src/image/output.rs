//! An image about to be written: borrowed and new bytes in order.

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

    /// Bytes made anew.
    pub fn owned(bytes: Vec<u8>) -> Self {
        Chunk::Bytes(Cow::Owned(bytes))
    }

    /// How many bytes it stands for.
    pub fn len(&self) -> u64 {
        match self {
            Chunk::Bytes(bytes) => bytes.len() as u64,
            Chunk::Zeros(count) => *count,
        }
    }

    /// Whether it stands for no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Give the bytes to `sink`, in pieces.
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

    /// The chunks in order, taken out.
    pub fn into_chunks(self) -> Vec<Chunk<'a>> {
        self.chunks
    }

    /// Append a chunk.
    pub fn push(&mut self, chunk: Chunk<'a>) {
        if !chunk.is_empty() {
            self.chunks.push(chunk);
        }
    }

    /// The chunks in order.
    pub fn chunks(&self) -> &[Chunk<'a>] {
        &self.chunks
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.chunks.iter().map(Chunk::len).sum()
    }

    /// Write it all.
    ///
    /// # Errors
    /// What the writer says.
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

    /// Give all the bytes to `sink`, in pieces.
    pub(super) fn each(&self, mut sink: impl FnMut(&[u8])) {
        for chunk in &self.chunks {
            let taken: Result<(), std::convert::Infallible> = chunk.each(|bytes| {
                sink(bytes);
                Ok(())
            });
            let Ok(()) = taken;
        }
    }

    /// Whether these are the bytes.
    pub(super) fn is(&self, bytes: &[u8]) -> bool {
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
