//! Carries out the boot file, in a process that cannot fail.
//!
//! | module | subject |
//! |---|---|
//! | [`mode`] | whether to do anything in this boot |
//! | [`mod@file`] | the boot file read and checked |
//! | [`guard`] | when devices are left alone although the boot file names them |
//! | `modules` | kernel modules, in the order that the boot file gives |
//! | `late` | devices that appear only after PID 1 has started |
//! | [`apply`] | carries out the boot file: all of the above, in order |
//! | [`original_init`] | the program that the runtime replaces, put back |
//! | `supervise` | the process that does the work, and the one that waits for it |
//! | [`watch`] | whether that work gets on |
//! | [`pid1`] | fork, deadline, cleanup, exec of the real init |

pub mod apply;
pub mod file;
pub mod guard;
pub(crate) mod late;
pub mod mode;
pub(crate) mod modules;
pub mod original_init;
pub mod pid1;
mod supervise;
pub mod watch;
