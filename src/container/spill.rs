//! Where what is unpacked is kept.

use std::io::{self, Write};

use super::error::Error;

/// Bytes that were kept.
pub type Kept = Box<dyn AsRef<[u8]> + Send + Sync>;

/// Keeps what is unpacked while it is used: containers within others have gigabytes.
pub trait Spill: Sync {
    /// Keep what `fill` writes.
    ///
    /// # Errors
    /// That of `fill`, [`Error::Io`].
    fn keep(
        &self,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<(), Error>,
    ) -> Result<Kept, Error>;
}

/// Keeps up to 1 GiB at once in memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

/// What [`Memory`] keeps at once.
const MAX_MEMORY: usize = 1 << 30;

impl Spill for Memory {
    fn keep(
        &self,
        fill: &mut dyn FnMut(&mut dyn Write) -> Result<(), Error>,
    ) -> Result<Kept, Error> {
        let mut bounded = Bounded(Vec::new());
        fill(&mut bounded)?;
        Ok(Box::new(bounded.0))
    }
}

struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_MEMORY {
            return Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                format!("takes more than {MAX_MEMORY} bytes of memory"),
            ));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
