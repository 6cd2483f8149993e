//! SIGINT and SIGTERM, remembered until they are asked for between two steps.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn remember(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP end nothing; [`requested`] says that one came.
pub fn listen() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let handler: extern "C" fn(libc::c_int) = remember;
        // SAFETY: the handler stores to an atomic, which is allowed at any moment.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Whether one came.
pub fn requested() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
