//! QEMU: its command line, its monitor, and where it is.

pub mod agent;
pub mod argv;
pub mod probe;
pub mod qmp;

mod find;
pub(crate) mod sandbox;

pub(crate) use find::in_root;
pub use find::{FindError, find};
