//! The process that does the work, and the one that waits for it.
//!
//! The end of the pipe between them is the sign that the work is over, however that came about. A
//! process that does not get on is asked to stop: it ends the step that it is at, so that no device
//! stays between two drivers, and begins no other. In the kernel, where nothing reaches it, it is left
//! behind and does that when the kernel lets it go.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::device::boot::watch::{Judgement, Sight, Watch};
use crate::device::sys::host::errno_text;
use crate::device::sys::kmsg::Level;

/// How long the process may take to end when it is done, or was asked to.
const END_TIME: Duration = Duration::from_millis(500);
/// The longest time between two looks at the process.
const TICK: Duration = Duration::from_millis(100);
/// How long mending what a dead process left may take.
const MEND_TIME: Duration = Duration::from_secs(1);

/// The messages of the child to its parent through the pipe, one line each.
mod message {
    /// Followed by the deadline in milliseconds.
    pub(super) const DEADLINE: char = 'd';
    /// Followed by the path of the next program.
    pub(super) const INIT: char = 'i';
    /// Nothing was done and the reason was logged: no more lines in the log.
    pub(super) const QUIET: char = 'q';
    /// Followed by what is done next.
    pub(super) const STEP: char = 's';
    /// All work is done.
    pub(super) const END: char = 'e';
}

/// What PID 1 does next.
pub(super) struct Next {
    pub init: String,
    pub deadline: Duration,
    pub quiet: bool,
}

/// Set by SIGTERM in the process that does the work.
static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// The reports of the process that does the work.
pub(super) struct Reports(File);

impl Reports {
    fn send(&mut self, kind: char, text: &str) {
        // A dead parent is a dead kernel; nothing to do about a write error.
        _ = self.0.write_all(format!("{kind}{}\n", text.replace('\n', " ")).as_bytes());
    }

    pub(super) fn plan(&mut self, deadline_ms: u32, init: &str) {
        self.send(message::DEADLINE, &deadline_ms.to_string());
        self.send(message::INIT, init);
    }

    pub(super) fn quiet(&mut self) {
        self.send(message::QUIET, "");
    }

    /// The next step; `false` when it is not to be begun.
    pub(super) fn step(&mut self, what: &str) -> bool {
        self.send(message::STEP, what);
        !STOP.load(Ordering::Relaxed)
    }
}

/// What the two processes do.
#[derive(Clone, Copy)]
pub(super) struct Tasks {
    pub work: fn(Instant, &'static str, &mut Reports),
    /// The path of this program, for the work.
    pub own: &'static str,
    /// What is left to do when the process that worked has died.
    pub mend: fn(),
    pub say: fn(Level, &str),
    /// A directory for mount points.
    pub home: &'static str,
}

/// Does the work in a process of its own and returns when it is done, dead, or has not got on.
pub(super) fn supervise(started: Instant, next: &mut Next, tasks: Tasks) {
    let Tasks { work, own, say, .. } = tasks;
    match Child::fork(tasks, move |reports| work(started, own, reports)) {
        Ok(mut child) => child.attend(started, next),
        Err(error) => say(Level::Warning, &format!("fork: {}", errno_text(&error))),
    }
}

/// The process that does the work, as its parent sees it.
struct Child {
    pid: Pid,
    tasks: Tasks,
    reports: File,
    /// The start of a message that is not whole yet.
    pending: Vec<u8>,
    reported: usize,
    /// What it does.
    step: String,
    /// It has done all its work.
    done: bool,
    /// The pipe has ended.
    ended: bool,
}

impl Child {
    fn fork(tasks: Tasks, work: impl FnOnce(&mut Reports)) -> io::Result<Self> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let say = tasks.say;
        // SAFETY: this process has one thread (std's runtime is not even started), so
        // the child is a full copy in which everything, allocation too, is allowed.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(reader);
                panic::set_hook(Box::new(move |info| {
                    say(Level::Warning, &format!("internal error: {info}"));
                }));
                // SAFETY: the handler stores to an atomic, and nothing else.
                unsafe { libc::signal(libc::SIGTERM, stop as *const () as libc::sighandler_t) };
                let mut reports = Reports(File::from(writer));
                work(&mut reports);
                reports.send(message::END, "");
                // SAFETY: ends the process; nothing of it is used afterwards.
                unsafe { libc::_exit(0) }
            }
            raw => {
                // The child's must be the only end for writing.
                drop(writer);
                let pid = Pid::from_raw(raw).ok_or(io::ErrorKind::InvalidData)?;
                Ok(Child {
                    pid,
                    tasks,
                    reports: File::from(reader),
                    pending: Vec::new(),
                    reported: 0,
                    step: "start".to_owned(),
                    done: false,
                    ended: false,
                })
            }
        }
    }

    /// Waits for the end of the work, or for a reason to wait no longer.
    fn attend(&mut self, started: Instant, next: &mut Next) {
        let (mut watch, mut told) = (Watch::default(), false);
        let mut proc = None;
        while !self.done && !self.ended {
            let left = next.deadline.saturating_sub(started.elapsed());
            if self.listen(if left.is_zero() { TICK } else { left.min(TICK) }, next) {
                continue;
            }
            if left.is_zero() && proc.is_none() {
                proc = Some(Proc::mount(self.tasks.home));
            }
            let state = proc.as_ref().and_then(|proc| proc.state(self.pid));
            let sight = Sight { cpu: cpu_time(self.pid), reported: self.reported, state };
            let judgement = watch.judge(started.elapsed(), next.deadline, sight);
            let (ms, step) = (started.elapsed().as_millis(), self.step.clone());
            let what = match judgement {
                Judgement::InTime => continue,
                Judgement::GetsOn => {
                    if !std::mem::replace(&mut told, true) {
                        let text =
                            format!("{ms} ms are over, and the work gets on ({step}): waiting");
                        (self.tasks.say)(Level::Info, &text);
                    }
                    continue;
                }
                Judgement::Stuck(quiet) => {
                    let place = proc.as_ref().and_then(|proc| proc.place(self.pid));
                    let state = state.map(|state| format!(", state {state}")).unwrap_or_default();
                    let place = place.map(|place| format!(" in {place}")).unwrap_or_default();
                    format!("{step}: no progress for {} ms{state}{place}", quiet.as_millis())
                }
                Judgement::TooLong => format!("{step}: not done after {ms} ms"),
            };
            return self.stop(&what, proc, next);
        }
        drop(proc);
        match self.end() {
            Some(status) if status.exited() => {}
            Some(_) => {
                (self.tasks.say)(Level::Warning, &format!("the work crashed ({})", self.step));
                self.mend();
            }
            // Only its end is left, which the next program waits for.
            None => (self.tasks.say)(Level::Info, "the process of the work has not ended yet"),
        }
    }

    /// Has the process end what it is at; `what` says why.
    fn stop(&mut self, what: &str, proc: Option<Proc>, next: &mut Next) {
        let say = self.tasks.say;
        _ = rustix::process::kill_process(self.pid, Signal::TERM);
        let asked = Instant::now();
        while !self.done && !self.ended && asked.elapsed() < END_TIME {
            self.listen(END_TIME.saturating_sub(asked.elapsed()), next);
        }
        if self.done {
            drop(proc);
            _ = self.end();
            return say(Level::Warning, &format!("{what}: it ended when it was asked to stop"));
        }
        let in_kernel = proc.as_ref().and_then(|proc| proc.state(self.pid)) == Some('D');
        drop(proc);
        if in_kernel && !self.ended {
            // Killed, it would die as soon as the kernel lets it go, and leave the device as it is.
            return say(Level::Warning, &format!("{what}: left behind in the kernel"));
        }
        _ = rustix::process::kill_process(self.pid, Signal::KILL);
        let end = if self.end().is_some() { "killed" } else { "killed, and not gone yet" };
        say(Level::Warning, &format!("{what}: {end}"));
        self.mend();
    }

    /// Does what a dead process has left to do.
    fn mend(&self) {
        let mend = self.tasks.mend;
        let Ok(mut child) = Child::fork(self.tasks, move |_| mend()) else { return };
        let started = Instant::now();
        let mut next = Next { init: String::new(), deadline: MEND_TIME, quiet: false };
        while !child.ended && started.elapsed() < MEND_TIME {
            child.listen(MEND_TIME.saturating_sub(started.elapsed()), &mut next);
        }
        if child.end().is_none() {
            _ = rustix::process::kill_process(child.pid, Signal::KILL);
        }
    }

    /// Reads messages for at most `time`; whether there were any, or the pipe has ended.
    fn listen(&mut self, time: Duration, next: &mut Next) -> bool {
        let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos() as _ };
        let mut watched = [PollFd::new(&self.reports, PollFlags::IN)];
        match rustix::event::poll(&mut watched, Some(&timeout)) {
            Ok(1..) => {}
            Ok(0) => return false,
            // No way to wait.
            Err(_) => {
                thread::sleep(time.min(TICK));
                return false;
            }
        }
        let mut buffer = [0; 512];
        match self.reports.read(&mut buffer) {
            Ok(0) | Err(_) => self.ended = true,
            Ok(n) => self.pending.extend_from_slice(buffer.get(..n).unwrap_or_default()),
        }
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            self.take(String::from_utf8_lossy(&line).trim_end_matches('\n'), next);
        }
        true
    }

    /// Takes one message into account.
    fn take(&mut self, line: &str, next: &mut Next) {
        self.reported += 1;
        let mut chars = line.chars();
        match (chars.next(), chars.as_str()) {
            (Some(message::DEADLINE), ms) => {
                if let Ok(ms) = ms.parse() {
                    next.deadline = Duration::from_millis(ms);
                }
            }
            (Some(message::INIT), path) => path.clone_into(&mut next.init),
            (Some(message::QUIET), _) => next.quiet = true,
            (Some(message::STEP), what) => what.clone_into(&mut self.step),
            (Some(message::END), _) => self.done = true,
            _ => {}
        }
    }

    /// Waits for the end of the process, but not long.
    fn end(&self) -> Option<WaitStatus> {
        let started = Instant::now();
        loop {
            let ended = rustix::process::waitpid(Some(self.pid), WaitOptions::NOHANG);
            if let Ok(Some((_, status))) = ended {
                return Some(status);
            }
            if started.elapsed() > END_TIME {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The CPU time that a process has used, which needs no `/proc`.
fn cpu_time(pid: Pid) -> Option<Duration> {
    let mut clock = 0;
    // SAFETY: writes the id of a clock to `clock`, and nothing else.
    if unsafe { libc::clock_getcpuclockid(pid.as_raw_nonzero().get(), &raw mut clock) } != 0 {
        return None;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the time to `time`, and nothing else.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    Some(Duration::new(time.tv_sec.try_into().ok()?, time.tv_nsec.try_into().ok()?))
}

/// A `/proc` of our own, mounted only while a process is overdue.
struct Proc {
    at: PathBuf,
}

impl Proc {
    /// Without it nothing is known of a process but its CPU time.
    fn mount(home: &str) -> Self {
        let at = Path::new(home).join("watch");
        _ = fs::create_dir(&at);
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        _ = rustix::mount::mount("proc", &at, "proc", flags, None::<&CStr>);
        Proc { at }
    }

    fn read(&self, pid: Pid, name: &str) -> Option<String> {
        fs::read_to_string(self.at.join(pid.as_raw_nonzero().to_string()).join(name)).ok()
    }

    /// The state of a process (`proc(5)`): the name before it may hold anything.
    fn state(&self, pid: Pid) -> Option<char> {
        let stat = self.read(pid, "stat")?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    }

    /// The function of the kernel that it waits in.
    fn place(&self, pid: Pid) -> Option<String> {
        self.read(pid, "wchan").filter(|place| !matches!(place.as_str(), "" | "0"))
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        _ = rustix::mount::unmount(&self.at, UnmountFlags::DETACH);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const DEADLINE: Duration = Duration::from_millis(300);

    /// Supervise `work` and give back how long that took.
    fn took(work: fn(Instant, &'static str, &mut Reports), say: fn(Level, &str)) -> Duration {
        fn mend() {}
        let mut next = Next { init: String::new(), deadline: DEADLINE, quiet: false };
        let started = Instant::now();
        supervise(started, &mut next, Tasks { work, own: "", mend, say, home: "/nonexistent" });
        started.elapsed()
    }

    /// Computes for this long; `false` when it was asked to stop.
    fn compute(time: Duration, reports: &mut Reports) -> bool {
        let started = Instant::now();
        while started.elapsed() < time {
            if STOP.load(Ordering::Relaxed) {
                return reports.step("last");
            }
        }
        true
    }

    #[test]
    fn work_that_hangs_is_ended_at_the_deadline() {
        static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
        fn say(_: Level, text: &str) {
            SAID.lock().unwrap().push(text.to_owned());
        }
        fn work(_: Instant, _: &str, reports: &mut Reports) {
            reports.step("0000:00:02.0");
            thread::sleep(Duration::from_secs(60));
        }
        let time = took(work, say);
        assert!((DEADLINE..DEADLINE * 10).contains(&time), "{time:?}");
        let said = SAID.lock().unwrap();
        assert!(said.len() == 1 && said[0].starts_with("0000:00:02.0: no progress"), "{said:?}");
        assert!(said[0].ends_with("killed"), "{said:?}");
    }

    #[test]
    fn work_that_gets_on_is_waited_for() {
        static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
        fn say(_: Level, text: &str) {
            SAID.lock().unwrap().push(text.to_owned());
        }
        fn work(_: Instant, _: &str, reports: &mut Reports) {
            compute(DEADLINE * 2, reports);
        }
        let time = took(work, say);
        assert!(time >= DEADLINE * 2, "{time:?}");
        let said = SAID.lock().unwrap();
        assert!(said.len() == 1 && said[0].contains("gets on"), "{said:?}");
    }

    #[test]
    fn work_without_end_is_asked_to_stop() {
        static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
        fn say(_: Level, text: &str) {
            SAID.lock().unwrap().push(text.to_owned());
        }
        fn work(_: Instant, _: &str, reports: &mut Reports) {
            compute(Duration::from_secs(60), reports);
        }
        let time = took(work, say);
        assert!((DEADLINE * 6..DEADLINE * 12).contains(&time), "{time:?}");
        let said = SAID.lock().unwrap();
        assert!(said.last().unwrap().ends_with("asked to stop"), "{said:?}");
    }

    #[test]
    fn work_in_time_is_not_mentioned() {
        fn say(_: Level, text: &str) {
            panic!("{text}");
        }
        fn work(_: Instant, _: &str, _: &mut Reports) {}
        assert!(took(work, say) < DEADLINE);
    }
}
