//! Boot images: read, taken apart, edited and written.

#![allow(clippy::disallowed_macros, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod bootconfig;
mod bootconfig_command;
mod commands;
mod identity;
mod sony;
mod vendor_forms;
mod wrappers;
