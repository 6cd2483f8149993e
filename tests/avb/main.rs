//! Android Verified Boot: what is kept, signed and verified.

#![allow(clippy::disallowed_macros, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod built;
mod cmdline;
mod edited;
mod judged;
mod keys;
mod patched;
mod signed;
mod structure;
mod verify;
mod wrapped;
