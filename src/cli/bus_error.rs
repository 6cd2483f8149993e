//! A mapped input that another process cuts off while it is read: an error, not a signal.

#[cfg(unix)]
mod unix {
    use std::sync::Once;

    use crate::cli::exit::EXIT_FAILURE;

    const MESSAGE: &[u8] = b"vfioboot: an input became shorter while it was read\n";

    /// From now on end with a message and the exit status of an error where the kernel finds no page
    /// for a mapping.
    pub fn report() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: `sigaction` is plain data for which zeros are valid, and is filled in before it
            // is used; the handler is async-signal-safe.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_bus_error as *const () as usize;
                libc::sigemptyset(&mut action.sa_mask);
                libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
            }
        });
    }

    extern "C" fn on_bus_error(_: libc::c_int) {
        // SAFETY: write and _exit may be called in a signal handler; the message is static.
        unsafe {
            libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len());
            libc::_exit(i32::from(EXIT_FAILURE));
        }
    }
}

#[cfg(unix)]
pub use unix::report;

/// Other systems do not let a mapped file become shorter.
#[cfg(not(unix))]
pub fn report() {}
