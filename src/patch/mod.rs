//! Plan a patch, apply it, undo it.
mod cmdline;
pub use cmdline::Cmdline;
