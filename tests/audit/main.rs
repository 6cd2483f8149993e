//! The audit of a kernel: rules, verdicts, reports.

#![allow(clippy::disallowed_macros, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod action;
mod bad_inputs;
mod boards;
mod check;
mod evaluator;
mod fleet;
mod fragment;
mod golden;
mod inputs;
mod linked;
mod parts;
mod profile;
mod reports;
mod stand;
mod verdicts;
mod words;
