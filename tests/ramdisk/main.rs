//! Ramdisks and the compressions they come in.

#![allow(clippy::disallowed_macros, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod append;
mod command;
mod compression;
mod kernel;
mod kind;
mod read;
mod robust;
mod tree;
