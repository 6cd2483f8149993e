//! `vfiorun`: the on-device companion.
//!
//! It has a `main` of its own instead of std's: PID 1 of an Android ramdisk often
//! has no `/dev/console` and so starts without file descriptors 0–2, on which
//! std's start-up code aborts, and that is a kernel panic.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]
#![no_main]

use std::ffi::{CStr, c_char, c_int};
use std::io::Write;

use vfioboot::bootfile::RUNTIME;
use vfioboot::device::pid1;

const HELP: &str = "\
vfiorun finishes on the device what vfioboot began on the desktop.

As PID 1, started by the kernel with rdinit=/vfioboot/init, it loads the modules
and puts the devices on vfio-pci that /vfioboot/boot.toml names, and executes the
real init. vfioboot.disable on the kernel command line turns that off.

Usage: vfiorun --help | --version
";

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
    let arguments: Vec<&CStr> = (0..usize::try_from(argc).unwrap_or(0))
        // SAFETY: `argv` has `argc` strings.
        .map(|i| unsafe { CStr::from_ptr(*argv.add(i)) })
        .collect();
    // As PID 1 of a container under any other name it is a command like others.
    if rustix::process::getpid().is_init()
        && arguments.first().is_some_and(|name| name.to_bytes() == RUNTIME.as_bytes())
    {
        // SAFETY: the contract of `main`, and no thread was started.
        unsafe { pid1::run(argv, envp) };
        return 1;
    }
    let words: Vec<&[u8]> = arguments.iter().skip(1).map(|word| word.to_bytes()).collect();
    let written = match words.as_slice() {
        [b"--version" | b"-V"] => {
            writeln!(std::io::stdout(), "vfiorun {}", env!("CARGO_PKG_VERSION"))
        }
        [b"--help" | b"-h"] => write!(std::io::stdout(), "{HELP}"),
        _ => {
            _ = match words.first() {
                None => writeln!(std::io::stderr(), "vfiorun: nothing to do"),
                Some(word) => writeln!(
                    std::io::stderr(),
                    "vfiorun: unknown arguments, from \"{}\" on",
                    String::from_utf8_lossy(word)
                ),
            };
            _ = writeln!(std::io::stderr(), "Usage: vfiorun --help | --version");
            return 2;
        }
    };
    if written.and_then(|()| std::io::stdout().flush()).is_ok() { 0 } else { 2 }
}
