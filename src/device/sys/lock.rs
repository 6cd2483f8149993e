//! One process at a time changes devices.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use crate::device::sys::host::errno_text;
use crate::device::sys::state::StateDir;

/// How often a lock that another process holds is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The right to change devices, until it is dropped. The kernel gives it back when the process
/// ends, however that comes about (`flock(2)`).
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the lock is not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another vfiorun is running: {0}")]
    Held(String),
    /// The file cannot be made or locked.
    #[error("lock {}: {}", path.display(), errno_text(error))]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
}

impl Lock {
    /// Takes the lock of `state`, or says who has it. `what` is shown to the others:
    /// `bind 0000:00:02.0`.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn acquire(state: &StateDir, what: &str) -> Result<Self, LockError> {
        let path = state.path().join("lock");
        let io = |error| LockError::Io { path: path.clone(), error };
        state.create().map_err(io)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                _ = file.take(256).read_to_string(&mut holder);
                return Err(LockError::Held(holder.trim_end().to_owned()));
            }
            Err(error) => return Err(io(error.into())),
        }
        // Only for people: the lock is held even when this cannot be written.
        _ = file.set_len(0);
        _ = writeln!(file, "pid {}, {what}", std::process::id());
        Ok(Self { _file: file })
    }

    /// As [`acquire`](Self::acquire), but waits for a holder up to `limit`.
    ///
    /// # Errors
    /// See [`LockError`].
    pub(crate) fn wait(state: &StateDir, what: &str, limit: Duration) -> Result<Self, LockError> {
        let started = Instant::now();
        loop {
            match Self::acquire(state, what) {
                Err(LockError::Held(_)) if started.elapsed() < limit => {
                    thread::sleep(RETRY_INTERVAL)
                }
                result => return result,
            }
        }
    }
}
