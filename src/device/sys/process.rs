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

/// A process as `/proc` shows it.
struct Found {
    process: Process,
    state: char,
    threads: u32,
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
        Self::read(host, "self").map(|found| found.process)
    }

    /// The process that has `pid` now.
    pub(crate) fn with_pid(host: &Host, pid: u32) -> Option<Self> {
        Self::read(host, &pid.to_string()).map(|found| found.process)
    }

    /// Whether it still runs: no zombie, and no other process with its pid. The first thread may be a zombie
    /// while others still have its files open and are in its control groups: then it runs.
    pub fn is_alive(&self, host: &Host) -> bool {
        let ended = |found: &Found| matches!(found.state, 'Z' | 'X') && found.threads <= 1;
        Self::read(host, &self.pid.to_string())
            .is_some_and(|found| found.process == *self && !ended(&found))
    }

    /// A process as it is. The name in brackets may hold anything, brackets too.
    fn read(host: &Host, entry: &str) -> Option<Found> {
        let stat = host.read(&format!("proc/{entry}/stat")).ok()?;
        let pid = stat.split(' ').next()?.parse().ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        // Field 3 is the state, and it was taken; 20 is the number of threads.
        let threads = fields.nth(20 - 4)?.parse().ok()?;
        let start_time = fields.nth(22 - 21)?.parse().ok()?;
        Some(Found { process: Self { pid, start_time }, state, threads })
    }

    /// The memory that it has, huge pages too, in KiB (`/proc/PID/status`, `proc(5)`).
    pub fn memory_kib(&self, host: &Host) -> Option<u64> {
        let text = host.read(&format!("proc/{}/status", self.pid)).ok()?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        Some(number("VmRSS")? + number("HugetlbPages").unwrap_or(0))
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
