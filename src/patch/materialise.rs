//! The bytes of a result in memory.

use std::io::{self, Write};

use crate::bootset::BootSet;
use crate::image::Output;

/// The part of an image that is in memory twice, in bytes.
pub(super) const STEP: usize = 4 << 20;

/// The bytes of `output`, made from the images of `set`. These are released meanwhile, so that the
/// same bytes are not in memory twice.
pub(super) fn copy(set: &BootSet<'_>, output: &Output<'_>) -> Vec<u8> {
    let mut copy = Copy { set, bytes: Vec::with_capacity(output.size() as usize) };
    // Writing to a vector does not fail.
    let written = output.write_to(&mut copy);
    debug_assert!(written.is_ok());
    copy.bytes
}

/// Whether bytes of an image of `set` are equal to others. The images are released meanwhile.
pub(super) fn equal(set: &BootSet<'_>, own: &[u8], other: &[u8]) -> bool {
    own.len() == other.len()
        && std::iter::zip(own.chunks(STEP), other.chunks(STEP)).all(|(own, other)| {
            let same = own == other;
            if own.len() == STEP {
                set.release_pages();
            }
            same
        })
}

struct Copy<'c, 'a> {
    set: &'c BootSet<'a>,
    bytes: Vec<u8>,
}

impl Write for Copy<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let step = &bytes[..bytes.len().min(STEP)];
        if step.len() == STEP {
            self.set.release_pages();
        }
        self.bytes.extend_from_slice(step);
        Ok(step.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
