//! Processes, distinguished even when a pid is used again.

use core::fmt;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::device::sys::host::Host;

/// What a process is given to end by itself after SIGTERM: QEMU flushes its disks.
const GRACE: Duration = Duration::from_secs(3);
/// What the kernel is given to end a process after SIGKILL: it gives pinned memory back.
const REAP: Duration = Duration::from_secs(10);

/// A process, by its pid and the time it was started, in clock ticks since boot (field 22 of
/// `/proc/PID/stat`, `proc(5)`). No later process has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// When it was started.
    pub start_time: u64,
}

impl fmt::Display for Process {
    /// `pid 1234`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)
    }
}

impl Process {
    /// The calling process. `None` without a `/proc`.
    pub fn current(host: &Host) -> Option<Self> {
        Self::read(host, "self").map(|(process, _)| process)
    }

    /// The process that has `pid` now.
    pub(crate) fn with_pid(host: &Host, pid: u32) -> Option<Self> {
        Self::read(host, &pid.to_string()).map(|(process, _)| process)
    }

    /// Whether it still runs: no zombie, and no other process with its pid.
    pub fn is_alive(&self, host: &Host) -> bool {
        Self::read(host, &self.pid.to_string())
            .is_some_and(|(found, state)| found == *self && !matches!(state, 'Z' | 'X'))
    }

    /// A process and its state. The name in brackets may hold anything, brackets too.
    fn read(host: &Host, entry: &str) -> Option<(Self, char)> {
        let stat = host.read(&format!("proc/{entry}/stat")).ok()?;
        let pid = stat.split(' ').next()?.parse().ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        // Field 3 is the state, and it was taken.
        let start_time = fields.nth(22 - 4)?.parse().ok()?;
        Some((Self { pid, start_time }, state))
    }

    /// Ends it: SIGTERM, some time, SIGKILL, and waits until it is gone. `true` when it is.
    ///
    /// Without a pidfd (Linux 5.3) there is a moment between the look and the signal in which a
    /// pid could be used again; pids are given in a circle, so that takes 32768 new processes.
    pub(crate) fn end(&self, host: &Host) -> bool {
        for (signal, time) in [(Signal::TERM, GRACE), (Signal::KILL, REAP)] {
            let started = Instant::now();
            if !self.is_alive(host) || self.signal(signal) {
                return true;
            }
            while started.elapsed() < time {
                if !self.is_alive(host) || self.is_gone() {
                    return true;
                }
                thread::sleep(Duration::from_millis(10));
            }
        }
        false
    }

    /// Sends a signal. `true` when there is no such process.
    fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = self.raw() else { return true };
        rustix::process::kill_process(pid, signal) == Err(Errno::SRCH)
    }

    fn is_gone(&self) -> bool {
        let Some(pid) = self.raw() else { return true };
        rustix::process::test_kill_process(pid) == Err(Errno::SRCH)
    }

    fn raw(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.pid).ok()?)
    }
}
