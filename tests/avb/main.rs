//! Android Verified Boot: what is kept, signed and verified.

#[path = "../common/mod.rs"]
mod common;

mod cmdline;
mod patched;
mod signed;
mod verify;
mod wrapped;
