//! The two programs agree: what `vfioboot` says of a kernel, `vfiorun` says of it when it runs.

#![cfg(all(feature = "desktop", feature = "device"))]
#![allow(clippy::disallowed_macros, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod rules;
