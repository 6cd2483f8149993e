//! The patch: what it changes, on which boot flow, and how it is undone.

#![allow(clippy::disallowed_macros, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod by_flow;
mod cmdline;
mod command;
mod flow;
mod hook;
mod initramfs;
mod install;
mod modules;
mod next;
mod parameters;
mod passes;
mod peers;
mod promises;
mod proof;
mod rc;
mod rc_check;
mod rc_import;
mod unfit;
