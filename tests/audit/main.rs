//! The audit of a kernel: rules, verdicts, reports.

#[path = "../common/mod.rs"]
mod common;

mod action;
mod bad_inputs;
mod check;
mod fragment;
mod inputs;
mod profile;
mod reports;
mod verdicts;
