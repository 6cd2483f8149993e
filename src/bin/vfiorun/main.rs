//! `vfiorun`: the on-device companion.
//!
//! It has a `main` of its own instead of std's: PID 1 of an Android ramdisk often
//! has no `/dev/console` and so starts without file descriptors 0–2, on which
//! std's start-up code aborts, and that is a kernel panic.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]
#![no_main]

mod autostart;
#[cfg(all(target_env = "musl", panic = "abort"))]
mod backtrace;
mod bind;
mod cli;
mod console;
mod devices;
mod doctor;
mod global;
mod guest;
mod guests;
mod interrupt;
mod log;
mod monitor;
mod outcome;
mod output;
mod recover;
mod release;
mod remedy;
mod rom;
mod run;
mod service;
mod status;
mod stop;
mod vf;
mod writes;

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use vfioboot::bootfile::{RUNTIME, RUNTIME_MARK};
use vfioboot::device::boot::original_init;
use vfioboot::device::boot::pid1;

/// The desktop knows the program by it.
static MARK: [u8; RUNTIME_MARK.len()] = *RUNTIME_MARK;

/// The entry point, called by the C library.
///
/// # Safety
/// The C library's contract: `argv` has `argc` strings and a null pointer, `envp`
/// ends in a null pointer, and all live as long as the process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(
    argc: c_int,
    argv: *const *const c_char,
    envp: *const *const c_char,
) -> c_int {
    // The linker leaves out what nothing refers to.
    std::hint::black_box(&MARK);
    let arguments: Vec<&CStr> = (0..usize::try_from(argc).unwrap_or(0))
        // SAFETY: `argv` has `argc` strings.
        .map(|i| unsafe { CStr::from_ptr(*argv.add(i)) })
        .collect();
    // As PID 1 of a container under any other name it is a command like others.
    if rustix::process::getpid().is_init()
        && (arguments.first().is_some_and(|name| name.to_bytes() == RUNTIME.as_bytes())
            || original_init::is_hooked(Path::new("/")))
    {
        // SAFETY: the contract of `main`, and no thread was started.
        unsafe { pid1::run(argv, envp) };
        return 1;
    }
    start_as_command();
    // Not from `std::env`: with musl std knows them only if its own `main` ran.
    let arguments: Vec<OsString> =
        arguments.iter().map(|text| OsStr::from_bytes(text.to_bytes()).to_owned()).collect();
    cli::run(&arguments)
}

/// What std's start-up code does for a command: no file opened later lands on
/// 0, 1 or 2, and a reader that went away is an error, not the end of a process
/// that has half of a device moved.
fn start_as_command() {
    use std::os::fd::AsRawFd;
    while let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        if null.as_raw_fd() > 2 {
            break;
        }
        // Stays open until the end.
        std::mem::forget(null);
    }
    // SAFETY: sets a disposition; no handler is installed.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
