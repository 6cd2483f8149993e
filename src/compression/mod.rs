//! Compressed streams as kernels and bootloaders know them: detect, decode, encode.
//!
//! Sits below both [`crate::ramdisk`] and [`crate::kernel`], which share it.

mod budget;
mod codec;
mod error;
mod format;
mod lz4_frame;
pub mod lz4_legacy;
mod parts;
pub(crate) mod xz;

pub use budget::{Budget, BudgetScope, Exhausted};
#[doc(hidden)]
pub use codec::unpacked_in_thread;
pub use codec::{Decoder, decode_all, encode};
pub use error::Error;
pub use format::{Format, LZ4_LEGACY_MAGIC};
pub use parts::{Known, encode_around, part};
