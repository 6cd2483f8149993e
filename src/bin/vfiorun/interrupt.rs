//! SIGINT and SIGTERM, counted until they are asked for between two steps.

use std::sync::atomic::{AtomicUsize, Ordering};

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn remember(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP end nothing; [`requested`] says that one came. A SIGHUP that was
/// ignored, as `nohup` has it, stays so.
pub fn listen() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let handler: extern "C" fn(libc::c_int) = remember;
        // SAFETY: the handler counts in an atomic, which is allowed at any moment.
        unsafe {
            let before = libc::signal(signal, handler as libc::sighandler_t);
            if signal == libc::SIGHUP && before == libc::SIG_IGN {
                libc::signal(signal, libc::SIG_IGN);
            }
        }
    }
}

/// How many came.
pub fn count() -> usize {
    SIGNALS.load(Ordering::Relaxed)
}

/// Whether one came.
pub fn requested() -> bool {
    count() > 0
}
