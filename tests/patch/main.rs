//! The patch: what it changes, on which boot flow, and how it is undone.

#[path = "../common/mod.rs"]
mod common;

mod by_flow;
mod cmdline;
mod command;
mod flow;
mod hook;
mod modules;
mod promises;
mod rc;
mod rc_check;
mod rc_import;
