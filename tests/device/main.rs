//! What runs on the device.

#![allow(clippy::disallowed_macros, reason = "a test may panic")]
#![cfg(feature = "device")]

#[path = "../common/mod.rs"]
mod common;

mod awake;
mod bind;
mod boot;
mod boot_file;
mod boot_mode;
mod cgroup;
mod commands;
mod doctor;
mod doctor_device;
mod functions;
mod guard;
mod guest;
mod guest_keys;
mod guest_log;
mod guest_new;
mod guest_process;
mod guests;
mod in_use;
mod journal;
mod lease;
mod original_init;
mod parity;
mod pci;
mod qemu;
mod reasons;
mod rom;
mod run;
mod service;
mod shared;
mod start;
mod state;
mod stuck;
mod talk;
mod undone;
mod usage;
mod watch;
mod words;
