//! The program `vfioboot` as a whole, and the files that it reads and writes.

#![allow(clippy::disallowed_macros, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod boot_test;
mod containers;
mod containers_refused;
mod examples;
mod extract;
mod files;
mod limits;
mod manual;
mod ota;
mod output;
mod picture;
mod program;
mod root_module;
mod terminal;
