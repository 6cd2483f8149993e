//! One process at a time changes a device.

use std::io::{self, Read};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use crate::device::sys::bounded::{Claim, STUCK};
use crate::device::sys::host::errno_text;
use crate::device::sys::state::StateDir;

/// How often a lock that another process holds is tried again.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Whether a lock is waited for any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It is.
    On,
    /// It is not.
    Stop,
}

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
    #[error("another vfiorun is at it: {holder}")]
    Held {
        /// Who, and what for.
        holder: String,
        /// Whether the kernel has not come back from what was asked of it: waiting may take for ever.
        stuck: bool,
    },
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
                let mut text = String::new();
                _ = file.take(1024).read_to_string(&mut text);
                let mut lines = text.lines();
                let holder = lines.next().unwrap_or_default().to_owned();
                return Err(LockError::Held { holder, stuck: lines.next() == Some(STUCK) });
            }
            Err(error) => return Err(io(error.into())),
        }
        let holder = format!("pid {}, {what}", std::process::id());
        Ok(Self { claim: Claim::new(subject, file, holder) })
    }

    /// As [`acquire`](Self::acquire), but waits for a holder: up to `limit`, until `waiting` says to stop. It
    /// hears who that is: again each time that it is somebody else, else nobody. One whose write the kernel
    /// does not come back from is not waited for.
    ///
    /// # Errors
    /// See [`LockError`].
    pub(crate) fn wait(
        state: &StateDir,
        subject: &str,
        what: &str,
        limit: Duration,
        waiting: &mut dyn FnMut(Option<&str>) -> Wait,
    ) -> Result<Self, LockError> {
        let started = Instant::now();
        let mut known = String::new();
        loop {
            match Self::acquire(state, subject, what) {
                Err(LockError::Held { holder, stuck: false }) if started.elapsed() < limit => {
                    let new = (holder != known && !holder.is_empty()).then_some(holder.as_str());
                    if waiting(new) == Wait::Stop {
                        return Err(LockError::Held { holder, stuck: false });
                    }
                    known = holder;
                    thread::sleep(RETRY_INTERVAL);
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
