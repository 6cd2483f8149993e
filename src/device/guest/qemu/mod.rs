//! QEMU: its command line, its monitor, and where it is.

pub mod argv;
pub mod probe;
pub mod qmp;

mod find;

pub use find::FindError;
pub(crate) use find::{find, in_root};
