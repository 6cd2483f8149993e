//! Writes an image to the partition of the running device that it was read from.
//!
//! Everything that can be known is asked before the first byte: whether the partition is in use
//! ([`device::Node::open`]), which one it is and whether the bootloader would start the result
//! ([`running::Running`]). The write is read back; when it fails, the original is written again.

pub mod device;
mod error;
pub mod running;
mod write;

pub use error::{Error, Failure, Refusal};
pub use write::{Partition, Written, write};
