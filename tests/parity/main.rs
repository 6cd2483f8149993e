//! The two programs agree: what `vfioboot` says of a kernel, `vfiorun` says of it when it runs.

#![cfg(all(feature = "desktop", feature = "device"))]

#[path = "../common/mod.rs"]
mod common;

mod rules;
