//! Android Verified Boot: what is kept, signed and verified.

#![allow(clippy::disallowed_macros, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod cmdline;
mod judged;
mod patched;
mod signed;
mod verify;
mod wrapped;
