//! Whether the process that does the work of PID 1 gets on.
//!
//! Time alone says little: on a slow machine, or under an emulator on a busy one, everything takes
//! longer. So a process that still computes, or has reported another step, gets more time than the
//! deadline, and one that does neither is stuck. There is a limit that nothing gets past.

use std::time::Duration;

/// How many times the deadline a process may take that gets on.
const PATIENCE: u32 = 6;
/// No boot waits longer than this.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);
/// The shortest and the longest time without progress after which a process is stuck; between them
/// it is half of the deadline.
const QUIET: core::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(5);

/// What is seen of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// The CPU time it has used; `None` where the kernel does not say.
    pub cpu: Option<Duration>,
    /// How much it has reported.
    pub reported: usize,
    /// Its state in `/proc/PID/stat`, where that was read.
    pub state: Option<char>,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Wait on: it is in time.
    InTime,
    /// Wait on: the deadline is over, but it gets on.
    GetsOn,
    /// It has made no progress for this long, and the deadline is over.
    Stuck(Duration),
    /// It still gets on, and that has taken too long.
    TooLong,
}

/// The progress of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    last: Sight,
    /// When it last made progress, from the start.
    progress: Duration,
}

impl Watch {
    /// Judge what is seen `elapsed` after the start.
    pub fn judge(&mut self, elapsed: Duration, deadline: Duration, sight: Sight) -> Judgement {
        let deadline = deadline.min(LONGEST);
        let computed = sight.cpu > self.last.cpu;
        if computed || sight.reported > self.last.reported || sight.state == Some('R') {
            self.progress = elapsed;
        }
        self.last = sight;
        if elapsed < deadline {
            return Judgement::InTime;
        }
        let quiet = elapsed.saturating_sub(self.progress);
        // Where the kernel does not say what it does, time is all there is.
        let unknown = sight.cpu.is_none() && sight.state.is_none();
        if unknown || quiet >= (deadline / 2).clamp(*QUIET.start(), *QUIET.end()) {
            Judgement::Stuck(quiet)
        } else if elapsed >= (deadline * PATIENCE).min(LONGEST) {
            Judgement::TooLong
        } else {
            Judgement::GetsOn
        }
    }
}
