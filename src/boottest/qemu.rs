//! One boot in QEMU: started, watched, ended.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;

use super::board::Board;
use super::error::Error;
use super::handover::Handover;
use super::log;

/// Parameters for the log of every kernel: all of it, with times, and no second boot after a panic.
const LOG: &str = "ignore_loglevel printk.time=1 printk.devkmsg=on panic=-1";

/// The board without anything that a test does not need. Memory is taken when it is used.
const ALWAYS: [&str; 15] = [
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-serial",
    "stdio",
    "-monitor",
    "none",
    "-no-reboot",
    "-m",
    "2G",
    "-accel",
    "tcg,thread=single",
    "-icount",
    "shift=1",
];

/// The processor's time that a second of the emulated machine takes at most, and the clock's on a busy
/// host: a boot that says nothing more is ended by these.
const PER_SECOND: u32 = 5;
const BUSY: u32 = 10;
/// The processor's time within which a kernel has said its first words.
const FIRST_WORDS: Duration = Duration::from_secs(20);

/// A tick of `/proc/PID/stat`: 1/`USER_HZ`, which is 100 on all of Linux's ports that run here.
const TICK_MS: u64 = 10;
/// The time between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// A machine that waits uses no time of the processor; and the clock's time for which it is waited for at
/// most.
const IDLE: Duration = Duration::from_secs(3);

/// What to do after a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    /// Read on.
    On,
    /// Everything is decided, unless something comes within this much of the processor's time, or before
    /// the machine has waited for it without any.
    Last(Duration),
    /// Nothing is decided any more: read on.
    More,
    /// Everything is decided.
    End,
}

/// Why a boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// It was decided.
    Decided,
    /// The machine stopped by itself.
    Stopped,
    /// The time was over.
    Time,
}

/// A boot that is over.
#[derive(Clone, Debug)]
pub(super) struct Boot {
    /// The whole log.
    pub log: String,
    pub end: End,
}

/// Boot, and give every line to `watch`. `time` is that of the machine, which counts instructions.
///
/// Nothing has a name in the file system, and QEMU ends with this process: whatever happens, nothing is
/// left.
///
/// # Errors
/// [`Error::Start`], [`Error::Refused`].
pub(super) fn boot(
    board: &Board,
    handover: &Handover,
    devices: &[String],
    time: Duration,
    watch: &mut dyn FnMut(&str) -> Watch,
) -> Result<Boot, Error> {
    let start = |error| Error::Start { program: board.qemu.clone(), error };
    let kernel = in_memory("kernel", &handover.kernel).map_err(start)?;
    let initrd = in_memory("initrd", &handover.initrd).map_err(start)?;
    let path = |file: &File| format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut command = Command::new(&board.qemu);
    command.args(&board.machine).args(ALWAYS).args(devices);
    command.arg("-kernel").arg(path(&kernel));
    if !handover.initrd.is_empty() {
        command.arg("-initrd").arg(path(&initrd));
    }
    command.arg("-append").arg(format!("{} {LOG} {}", board.cmdline, handover.cmdline));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: only one system call, which is safe after a fork.
    unsafe {
        command.pre_exec(|| {
            let kill = Some(rustix::process::Signal::KILL);
            rustix::process::set_parent_process_death_signal(kill).map_err(io::Error::from)
        });
    }
    let mut child = Running(command.spawn().map_err(start)?);
    let boot = child.watch(time, watch);
    child.stop();
    let mut said = String::new();
    if let Some(mut stderr) = child.0.stderr.take() {
        // What cannot be read is not shown.
        let _ = stderr.read_to_string(&mut said);
    }
    match boot.log.is_empty() && boot.end == End::Stopped && !said.is_empty() {
        true => Err(Error::Refused { program: board.qemu.clone(), said: said.trim().to_owned() }),
        false => Ok(boot),
    }
}

/// A file without a name, which QEMU inherits.
fn in_memory(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create(name, MemfdFlags::empty())?);
    file.write_all(bytes)?;
    Ok(file)
}

/// QEMU, which is ended with this value.
struct Running(Child);

impl Running {
    fn watch(&mut self, time: Duration, watch: &mut dyn FnMut(&str) -> Watch) -> Boot {
        let mut boot = Boot { log: String::new(), end: End::Stopped };
        let Some(stdout) = self.0.stdout.take() else { return boot };
        let (sender, lines) = mpsc::channel();
        // It ends with QEMU.
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).into_owned();
                if sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
        let started = Instant::now();
        let mut last: Option<(Duration, Duration, Instant)> = None;
        let mut idle = Duration::ZERO;
        loop {
            let line = match lines.recv_timeout(LOOK) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return boot,
                Err(RecvTimeoutError::Timeout) => {
                    idle = if self.waits() { idle + LOOK } else { Duration::ZERO };
                    let over = |(more, until, since): (Duration, Duration, Instant)| {
                        self.used() >= until || idle >= more || since.elapsed() > IDLE
                    };
                    if last.is_some_and(over) {
                        boot.end = End::Decided;
                        return boot;
                    }
                    let used = self.used();
                    let silent = boot.log.trim().is_empty() && used > FIRST_WORDS;
                    if silent || used > time * PER_SECOND || started.elapsed() > time * BUSY {
                        boot.end = End::Time;
                        return boot;
                    }
                    continue;
                }
            };
            idle = Duration::ZERO;
            boot.log.push_str(&line);
            match watch(&line) {
                Watch::On => {}
                Watch::Last(more) => last = Some((more, self.used() + more, Instant::now())),
                Watch::More => last = None,
                Watch::End => {
                    boot.end = End::Decided;
                    return boot;
                }
            }
            if log::time(&line).0.is_some_and(|seconds| seconds > time.as_secs_f64()) {
                boot.end = End::Time;
                return boot;
            }
        }
    }

    /// The processor's time that QEMU has used: a busy host changes nothing.
    fn used(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()));
        let stat = stat.unwrap_or_default();
        // After the name, which may contain anything: utime and stime are the 12th and 13th.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * TICK_MS)
    }

    /// Whether no thread of QEMU runs or would run if it had a processor.
    fn waits(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0.id()));
        let mut tasks = tasks.into_iter().flatten().flatten();
        tasks.all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            !stat.rsplit(") ").next().unwrap_or_default().starts_with('R')
        })
    }

    fn stop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}
