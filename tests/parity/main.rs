//! Places that know the same agree: what `vfioboot` says of a kernel, `vfiorun` says of it when it
//! runs; every command sees the same set of images; the library gives what the commands do.

#![cfg(all(feature = "desktop", feature = "device"))]
#![allow(clippy::disallowed_macros, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod initramfs;
mod library;
mod roles;
mod rules;
