//! SIGINT and SIGTERM end the program between two lines of its output, not within one.

use std::sync::{Arc, Mutex, MutexGuard};

/// Ends the program between two lines.
pub struct Interrupt {
    writing: Arc<Mutex<()>>,
}

impl Interrupt {
    /// From now on the signals wait while a line is written. Call it before any other thread is started:
    /// these take over that they do not get the signals.
    pub fn watch() -> Self {
        let writing = Arc::new(Mutex::new(()));
        signals::end_between_lines(Arc::clone(&writing));
        Interrupt { writing }
    }

    /// Held while a line is written.
    pub fn line(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(|held| held.into_inner())
    }
}

#[cfg(unix)]
mod signals {
    use std::process::abort;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    /// How long a line may take that nobody reads.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// From now on the signals wait for the lock.
    pub(super) fn end_between_lines(writing: Arc<Mutex<()>>) {
        // What the one who started this program ignores stays ignored: a blocked signal would not.
        let signals =
            [libc::SIGINT, libc::SIGTERM].into_iter().filter(|signal| !is_ignored(*signal));
        let set = set_of(signals);
        // SAFETY: the set is initialised, and nothing is written to a null pointer.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
        std::thread::spawn(move || {
            let mut signal = 0;
            // SAFETY: the set is initialised, and `signal` is where the number goes.
            if unsafe { libc::sigwait(&set, &mut signal) } == 0 {
                end(&writing, signal);
            }
        });
    }

    /// End as the signal would have, so that a shell sees it.
    fn end(writing: &Mutex<()>, signal: libc::c_int) {
        let since = Instant::now();
        let _line = loop {
            match writing.try_lock() {
                Ok(line) => break Some(line),
                Err(_) if since.elapsed() > PATIENCE => break None,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let set = set_of([signal]);
        // SAFETY: the set is initialised; the default action of the signal ends the process.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
            libc::raise(signal);
        }
        abort();
    }

    fn set_of(signals: impl IntoIterator<Item = libc::c_int>) -> libc::sigset_t {
        // SAFETY: a signal set is plain data for which zeros are valid, and the pointers are to it.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in signals {
                libc::sigaddset(&mut set, signal);
            }
            set
        }
    }

    fn is_ignored(signal: libc::c_int) -> bool {
        // SAFETY: `sigaction` is plain data for which zeros are valid; with a null pointer nothing is changed.
        let action = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut action);
            action
        };
        action.sa_sigaction == libc::SIG_IGN
    }
}

/// Other systems end the program where it is: a later `--resume` cuts off a line without an end.
#[cfg(not(unix))]
mod signals {
    use std::sync::{Arc, Mutex};

    pub(super) fn end_between_lines(_: Arc<Mutex<()>>) {}
}
