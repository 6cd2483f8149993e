//! Ramdisks and the compressions they come in.

#[path = "../common/mod.rs"]
mod common;

mod append;
mod command;
mod compression;
mod kind;
mod read;
mod robust;
