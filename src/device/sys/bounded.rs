//! Reads and writes that the kernel may never come back from, made by a child that can be left behind.
//!
//! A driver that waits in its `remove` for whoever has the device open keeps the writer of `unbind` for
//! as long, in a sleep that no signal ends, and with it the lock of the device, which reading some
//! attributes takes as well (`driver_override_show` in `drivers/pci/pci-sysfs.c`). So a child does it, and
//! the parent stops waiting when its time is over.
//!
//! The child keeps no file of its parent but one: that of the [`Claim`]. So the device stays locked for
//! other commands exactly as long as the kernel is at it, and nobody waits for the child's output.

use std::ffi::CString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::device::sys::descriptors;

/// How often it is looked whether there is a signal.
const TICK: Duration = Duration::from_millis(20);
/// What is left to a write when a signal comes.
const AFTER_SIGNAL: Duration = Duration::from_millis(1500);
/// What the kernel is given to end the child after SIGKILL.
const AFTER_KILL: Duration = Duration::from_millis(200);
/// How long reading an attribute may take: it has nothing to wait for but a lock.
const READ_LIMIT: Duration = Duration::from_secs(1);
/// The largest attribute that is read: sysfs has one page for each.
const ATTRIBUTE_SIZE: usize = 4096;

/// How long the kernel is waited for.
#[derive(Clone)]
pub struct Patience {
    /// The longest that a write may take.
    pub limit: Duration,
    /// Hears what is about to be done, before it is.
    pub tell: Arc<dyn Fn(&str) + Send + Sync>,
    /// How many signals to end have arrived so far.
    pub signals: Arc<dyn Fn() -> usize + Send + Sync>,
}

impl Patience {
    /// What a driver is given where nobody says otherwise, in seconds: the slowest take some ten.
    pub const DEFAULT_SECONDS: u32 = 60;
}

/// Something that the kernel has not come back from.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: not back from the kernel after {} s{}{}", .after.as_secs(), place_text(.place), end_text(.gone, .pid))]
pub struct Stuck {
    /// What it is: `unbinding 0000:01:00.0 from nvidia`.
    pub doing: String,
    /// How long it was waited for.
    pub after: Duration,
    /// The kernel's function that waits, and its module: `nv_pci_remove [nvidia]`.
    pub place: Option<String>,
    /// The process that makes it.
    pub pid: u32,
    /// Whether that process could be ended. If not, the kernel is still at it.
    pub gone: bool,
}

fn place_text(place: &Option<String>) -> String {
    place.as_ref().map(|place| format!(", it waits in {place}")).unwrap_or_default()
}

fn end_text(gone: &bool, pid: &u32) -> String {
    if *gone { String::new() } else { format!(" (pid {pid} goes on with it)") }
}

impl Stuck {
    /// The one that an error is, if it is one.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// The second line of a lock's file while the kernel has not come back from what its holder asked.
pub(super) const STUCK: &str = "stuck";

/// The lock of something that a write is about, which stays locked while the write has not come back.
#[derive(Clone)]
pub struct Claim(Arc<Claimed>);

struct Claimed {
    /// What it is the lock of: `0000:01:00.0`.
    subject: String,
    file: File,
    /// Who has it and what for.
    holder: String,
    stuck: AtomicBool,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.0.subject).finish()
    }
}

impl Claim {
    /// `file` is locked, and says so to others from now on.
    pub(super) fn new(subject: &str, file: File, holder: String) -> Self {
        let subject = subject.to_owned();
        let claim =
            Self(Arc::new(Claimed { subject, file, holder, stuck: AtomicBool::new(false) }));
        claim.note("");
        claim
    }

    /// Whether an attribute, or what is written to it, is about its subject.
    pub(super) fn is_about(&self, path: &str, value: &str) -> bool {
        value == self.0.subject || path.split('/').any(|part| part == self.0.subject)
    }

    /// Whether the kernel has not come back from something about its subject.
    pub(super) fn is_stuck(&self) -> bool {
        self.0.stuck.load(Ordering::Relaxed)
    }

    pub(super) fn set_stuck(&self) {
        self.0.stuck.store(true, Ordering::Relaxed);
    }

    /// Says to others what is being done. Only for people: the lock is held in any case.
    pub(super) fn note(&self, doing: &str) {
        let mut file = &self.0.file;
        let comma = if doing.is_empty() { "" } else { ", " };
        _ = file.set_len(0);
        _ = file.rewind();
        _ = writeln!(file, "{}{comma}{doing}", self.0.holder);
        if self.is_stuck() {
            _ = writeln!(file, "{}", STUCK);
        }
    }
}

/// What a child does. All of it is made before the fork, because the child must not allocate: the
/// process may have other threads.
enum Work<'w> {
    Write(&'w [u8]),
    Read,
    /// Opens it for reading, with these flags as well, and closes it.
    Open(rustix::fs::OFlags),
}

/// Writes `value` to the file at `path`, with one `write(2)`, and waits no longer than `patience` says.
pub(super) fn write(
    path: &Path,
    value: &str,
    doing: &str,
    patience: &Patience,
    claim: Option<&Claim>,
) -> io::Result<()> {
    let paths = [text_of(path)?];
    let keep = claim.map_or(-1, |claim| claim.0.file.as_raw_fd());
    let child = Child::start(&paths, &Work::Write(value.as_bytes()), keep)?;
    let answers = child.wait(patience.limit, Some(patience), 1);
    match answers.into_iter().next() {
        Some(result) => result.map(drop),
        None => {
            let stuck = child.abandon(doing, patience);
            if let Some(claim) = claim.filter(|_| !stuck.gone) {
                claim.set_stuck();
            }
            Err(io::Error::other(stuck))
        }
    }
}

/// Reads attributes that the kernel may be keeping locked, each at most a page. What is locked gives
/// [`io::ErrorKind::WouldBlock`].
pub(super) fn read(paths: &[std::path::PathBuf]) -> io::Result<Vec<io::Result<Vec<u8>>>> {
    let paths: Vec<CString> = paths.iter().map(|path| text_of(path)).collect::<Result<_, _>>()?;
    let mut all = Vec::new();
    while let Some(rest) = paths.get(all.len()..).filter(|rest| !rest.is_empty()) {
        let child = Child::start(rest, &Work::Read, -1)?;
        all.extend(child.wait(READ_LIMIT, None, rest.len()));
        if all.len() < paths.len() {
            child.kill();
            all.push(Err(io::ErrorKind::WouldBlock.into()));
        }
    }
    Ok(all)
}

/// The error of opening a node for reading with `flags`; `None` when it can be opened. What is locked gives
/// [`io::ErrorKind::WouldBlock`].
pub(super) fn refuses_to_open(
    path: &Path,
    flags: rustix::fs::OFlags,
) -> io::Result<Option<io::Error>> {
    let child = Child::start(&[text_of(path)?], &Work::Open(flags), -1)?;
    match child.wait(READ_LIMIT, None, 1).into_iter().next() {
        Some(answer) => Ok(answer.err()),
        None => {
            child.kill();
            Ok(Some(io::ErrorKind::WouldBlock.into()))
        }
    }
}

fn text_of(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_encoded_bytes())?)
}

/// A child at work, and the pipe that its answers come through: for each file an error number, a length,
/// and as many bytes.
struct Child {
    pid: Pid,
    answers: File,
    started: Instant,
}

impl Child {
    fn start(paths: &[CString], work: &Work<'_>, keep: RawFd) -> io::Result<Self> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        // SAFETY: the child makes system calls alone, which is allowed whatever other threads do.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                child(paths, work, writer.as_raw_fd(), keep);
                // SAFETY: ends the process; nothing of it is used afterwards.
                unsafe { libc::_exit(0) }
            }
            pid => {
                drop(writer);
                let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
                Ok(Self { pid, answers: File::from(reader), started: Instant::now() })
            }
        }
    }

    /// The answers that have come when all have, or time is over.
    fn wait(
        &self,
        limit: Duration,
        patience: Option<&Patience>,
        count: usize,
    ) -> Vec<io::Result<Vec<u8>>> {
        let signals = || patience.map_or(0, |patience| (patience.signals)());
        let (before, mut until) = (signals(), self.started + limit);
        let (mut received, mut all, mut told) = (Vec::new(), Vec::new(), false);
        while all.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return all;
            }
            let tick = Timespec::try_from(left.min(TICK)).ok();
            let mut fds = [PollFd::new(&self.answers, PollFlags::IN)];
            if matches!(rustix::event::poll(&mut fds, tick.as_ref()), Ok(1..)) {
                let mut buffer = [0; ATTRIBUTE_SIZE];
                match (&self.answers).read(&mut buffer) {
                    Ok(0) => all.push(Err(io::ErrorKind::Interrupted.into())),
                    Ok(n) => received.extend_from_slice(buffer.get(..n).unwrap_or_default()),
                    Err(_) => {}
                }
                while let Some(answer) = take_answer(&mut received) {
                    all.push(answer);
                }
            } else if !told && signals() > before {
                told = true;
                until = until.min(Instant::now() + AFTER_SIGNAL);
            }
        }
        // It has said all and ends.
        _ = rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
        all
    }

    /// Ends it, if the kernel lets it end. `true` when it has.
    fn kill(&self) -> bool {
        _ = rustix::process::kill_process(self.pid, Signal::KILL);
        let started = Instant::now();
        loop {
            match rustix::process::waitpid(Some(self.pid), WaitOptions::NOHANG) {
                Ok(None) if started.elapsed() < AFTER_KILL => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                result => return !matches!(result, Ok(None)),
            }
        }
    }

    fn abandon(&self, doing: &str, patience: &Patience) -> Stuck {
        let pid = self.pid.as_raw_nonzero().get();
        let place = waiting_in(pid);
        let after = self.started.elapsed().min(patience.limit);
        let pid = pid.unsigned_abs();
        Stuck { doing: doing.to_owned(), after, place, pid, gone: self.kill() }
    }
}

/// The function of a module that a process waits in, else the innermost one (`/proc/PID/stack`, for root;
/// `proc(5)`).
fn waiting_in(pid: i32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stack")).ok()?;
    // [<0>] nv_pci_remove+0x1b0/0x4c0 [nvidia]
    let name = |line: &str| -> Option<String> {
        let (function, module) = line.split_once("] ")?.1.split_once('+')?;
        let module = module.split_once(" [").map(|(_, module)| format!(" [{module}"));
        Some(format!("{function}{}", module.unwrap_or_default()))
    };
    let of_module = text.lines().find(|line| line.ends_with(']'));
    of_module.or_else(|| text.lines().next()).and_then(name)
}

fn take_answer(received: &mut Vec<u8>) -> Option<io::Result<Vec<u8>>> {
    let number = |at: usize| {
        let bytes = received.get(at..at + 4)?.try_into().ok()?;
        Some(i32::from_ne_bytes(bytes))
    };
    let (errno, length) = (number(0)?, usize::try_from(number(4)?).ok()?);
    if received.len() < 8 + length {
        return None;
    }
    let bytes = received.drain(..8 + length).skip(8).collect();
    Some(if errno == 0 { Ok(bytes) } else { Err(io::Error::from_raw_os_error(errno)) })
}

/// In the child. No allocation, no lock: nothing but system calls.
fn child(paths: &[CString], work: &Work<'_>, answers: RawFd, keep: RawFd) {
    // Not in the terminal's group: it may outlive the command, if the kernel does not let it end with it.
    _ = rustix::process::setsid();
    _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    close_all_but(answers, keep);
    for path in paths {
        let mut bytes = [0; ATTRIBUTE_SIZE];
        let (errno, length) = match access(path, work, &mut bytes) {
            Ok(length) => (0, length),
            Err(errno) => (errno.raw_os_error(), 0),
        };
        let mut answer = [0; 8 + ATTRIBUTE_SIZE];
        answer[..4].copy_from_slice(&errno.to_ne_bytes());
        answer[4..8].copy_from_slice(&(length as i32).to_ne_bytes());
        answer[8..].copy_from_slice(&bytes);
        // SAFETY: the buffer has as many bytes; a parent that is gone needs no answer.
        unsafe { libc::write(answers, answer.as_ptr().cast(), 8 + length) };
    }
}

fn access(path: &CString, work: &Work<'_>, bytes: &mut [u8]) -> Result<usize, rustix::io::Errno> {
    use rustix::fs::{Mode, OFlags};
    let flags = match work {
        // Truncation means nothing to sysfs and makes a fake tree readable.
        Work::Write(_) => OFlags::WRONLY | OFlags::TRUNC,
        Work::Read => OFlags::RDONLY | OFlags::NONBLOCK,
        Work::Open(flags) => OFlags::RDONLY | *flags,
    };
    let file = rustix::fs::open(path.as_c_str(), flags | OFlags::CLOEXEC, Mode::empty())?;
    match work {
        Work::Write(value) if rustix::io::write(&file, value)? == value.len() => Ok(0),
        Work::Write(_) => Err(rustix::io::Errno::IO),
        Work::Read => rustix::io::read(&file, bytes),
        Work::Open(_) => Ok(0),
    }
}

/// Closes every descriptor of this process but these two.
fn close_all_but(first: RawFd, second: RawFd) {
    let (low, high) = (first.min(second), first.max(second));
    let limits = [(0, low - 1), (low + 1, high - 1), (high + 1, RawFd::MAX)];
    for (from, to) in limits.into_iter().filter(|(from, to)| *from >= 0 && from <= to) {
        descriptors::close_range(from, to);
    }
}
