//! One process at a time changes a device.

use std::io::{self, Read};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use crate::device::sys::bounded::Claim;
use crate::device::sys::host::errno_text;
use crate::device::sys::state::StateDir;

/// How often a lock that another process holds is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The right to change a device, until it is dropped. The kernel gives it back when the process
/// ends, however that comes about (`flock(2)`), and when it has come back from what it was asked for.
#[derive(Debug)]
pub struct Lock {
    claim: Claim,
}

/// Why the lock is not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another vfiorun is at it: {0}")]
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
    /// Takes the lock of `subject`, a device, or says who has it. `what` is shown to the others:
    /// `bind 0000:00:02.0`.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn acquire(state: &StateDir, subject: &str, what: &str) -> Result<Self, LockError> {
        let name = format!("{subject}.lock");
        let io = |error| LockError::Io { path: state.path().join(&name), error };
        state.create().map_err(io)?;
        let file = state.open_or_create(&name).map_err(io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                _ = file.take(1024).read_to_string(&mut holder);
                return Err(LockError::Held(holder.trim_end().to_owned()));
            }
            Err(error) => return Err(io(error.into())),
        }
        let holder = format!("pid {}, {what}", std::process::id());
        Ok(Self { claim: Claim::new(subject, file, holder) })
    }

    /// As [`acquire`](Self::acquire), but waits for a holder up to `limit`.
    ///
    /// # Errors
    /// See [`LockError`].
    pub(crate) fn wait(
        state: &StateDir,
        subject: &str,
        what: &str,
        limit: Duration,
    ) -> Result<Self, LockError> {
        let started = Instant::now();
        loop {
            match Self::acquire(state, subject, what) {
                Err(LockError::Held(_)) if started.elapsed() < limit => {
                    thread::sleep(RETRY_INTERVAL)
                }
                result => return result,
            }
        }
    }

    /// What a write to the subject keeps locked while the kernel has not come back from it.
    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }
}
