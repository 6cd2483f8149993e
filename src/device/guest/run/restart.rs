//! Whether a guest that has ended is started again, and when.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::signals::Signals;
use crate::device::guest::file::Restart;

/// The pause before the first start again; each one after it is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);
/// A guest that ran for so long is well: the next pause is the first again.
const WELL: Duration = Duration::from_secs(60);

/// How a guest ended that was started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// When, in seconds since 1970.
    pub when: u64,
    /// The exit status that `run` would have had.
    pub status: i32,
    /// Why.
    pub reason: String,
}

/// The starts of a guest under one vfiorun.
#[derive(Debug)]
pub struct Restarts {
    policy: Restart,
    pause: Duration,
    started: Instant,
    /// How often it was started again.
    pub count: u32,
    /// How it ended last.
    pub last_exit: Option<LastExit>,
}

impl Restarts {
    /// Nothing was started yet.
    pub fn new(policy: Restart) -> Self {
        Self { policy, pause: FIRST, started: Instant::now(), count: 0, last_exit: None }
    }

    /// A start begins.
    pub fn begin(&mut self) {
        self.started = Instant::now();
    }

    /// The guest has ended with `status`, or could not be started. Returns after which pause it is started
    /// again, if it is. One that somebody has ended stays ended, and so does one whose first start failed:
    /// what is wrong with that, no pause changes.
    pub fn ended(
        &mut self,
        status: i32,
        reason: &str,
        ran: bool,
        signals: &Signals,
    ) -> Option<Duration> {
        let wanted = match self.policy {
            Restart::Never => false,
            Restart::OnFailure => status != 0,
            Restart::Always => true,
        };
        if !wanted || signals.stops() > 0 || (self.count == 0 && !ran) {
            return None;
        }
        if ran && self.started.elapsed() >= WELL {
            self.pause = FIRST;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST);
        self.count += 1;
        let when = now();
        self.last_exit = Some(LastExit { when, status, reason: reason.to_owned() });
        Some(pause)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Waits; `false` when a signal to end came.
pub fn pause(signals: &Signals, time: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let until = Instant::now() + time;
    loop {
        if signals.stops() > 0 {
            return false;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        let limit = Timespec::try_from(left).ok();
        _ = poll(&mut [PollFd::new(signals, PollFlags::IN)], limit.as_ref());
    }
}
