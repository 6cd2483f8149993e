//! The program `vfioboot` as a whole, and the files that it reads and writes.

#[path = "../common/mod.rs"]
mod common;

mod extract;
mod files;
mod ota;
mod program;
mod root_module;
