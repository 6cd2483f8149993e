//! Kernels: containers, config, symbols, modules.

#![allow(clippy::disallowed_macros, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod config;
mod config_command;
mod containers;
mod dtb;
mod exports;
mod headers;
mod kallsyms;
mod module;
mod module_fit;
mod module_trees;
mod scan;
mod symbols;
