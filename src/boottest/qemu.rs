//! One boot in QEMU: started, watched, ended.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::board::{Board, Boards, boards};
use super::error::Error;
use super::handover::Handover;
use super::memory::Memory;
use super::{host, log, ring};

/// Parameters for the log of every kernel: all of it, with times, and no second boot after a panic.
const LOG: &str = "ignore_loglevel printk.time=1 printk.devkmsg=on panic=-1";

/// The processor's time that a second of the emulated machine takes at most, and the clock's on a busy
/// host: a boot that says nothing more is ended by these. A machine that waits takes a second for its second.
const PER_SECOND: u32 = 5;
const BUSY: u32 = 10;
/// The processor's time within which a kernel has said its first words on the serial line; then, and again
/// after as much, its log is looked for in memory. What is found there is read at every look.
const QUIET: Duration = Duration::from_millis(500);
/// The same for a machine that waits.
const QUIET_WAIT: Duration = Duration::from_millis(300);
/// The processor's time within which it has said them at all.
const FIRST_WORDS: Duration = Duration::from_secs(20);
/// The processor's time in which a machine that gets on writes something to its memory.
const STUCK: Duration = Duration::from_millis(1500);

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

/// Where the log of a boot was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The serial line.
    Serial,
    /// The memory of the machine: the kernel said nothing on the serial line.
    Memory,
}

/// A boot that is over.
#[derive(Clone, Debug)]
pub(super) struct Boot {
    /// The whole log.
    pub log: String,
    pub source: Source,
    pub end: End,
}

/// The board with its devices.
#[derive(Clone, Copy)]
pub(super) struct Machine<'b> {
    pub board: &'b Board,
    /// QEMU's arguments.
    pub devices: &'b [String],
    /// A device tree instead of its own.
    pub tree: Option<&'b File>,
}

/// Boot, and give every line to `watch`. `time` is that of the machine, which counts instructions.
///
/// Nothing has a name in the file system, and QEMU ends with this process: whatever happens, nothing is
/// left.
///
/// # Errors
/// [`Error::Start`], [`Error::Refused`].
pub(super) fn boot(
    Machine { board, devices, tree }: Machine<'_>,
    handover: &Handover,
    time: Duration,
    watch: &mut dyn FnMut(&str) -> Watch,
) -> Result<Boot, Error> {
    let start = |error| Error::Start { program: board.qemu.clone(), error };
    let kernel = in_memory("kernel", &handover.kernel).map_err(start)?;
    let initrd = in_memory("initrd", &handover.initrd).map_err(start)?;
    let memory = Memory::new().map_err(start)?;
    let mut command = Command::new(&board.qemu);
    command.args(arguments(board, &memory, devices));
    command.arg("-kernel").arg(host::path(&kernel));
    if !handover.initrd.is_empty() {
        command.arg("-initrd").arg(host::path(&initrd));
    }
    if let Some(tree) = tree {
        command.arg("-dtb").arg(host::path(tree));
    }
    let Board { console, early, .. } = board;
    command.arg("-append").arg(format!("{console} {early} {LOG} {}", handover.cmdline));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Running::start(&mut command).map_err(start)?;
    let boot = child.watch(&memory, time, watch);
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

/// QEMU's arguments for a board with its devices.
pub(super) fn arguments(board: &Board, memory: &Memory, devices: &[String]) -> Vec<String> {
    let Boards { always, clock, .. } = boards();
    let words = [&board.machine, &board.iommu, always, clock];
    let words = words.into_iter().flatten().cloned().chain(memory.arguments());
    words.chain(devices.iter().cloned()).collect()
}

/// A file without a name, which QEMU inherits.
pub(super) fn in_memory(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = host::unnamed(name)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// The lines of QEMU's output. The thread ends with QEMU.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
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
    lines
}

/// A log that is being read.
struct Reading<'w> {
    /// Its end is [`End::Stopped`] until something else is known.
    boot: Boot,
    time: Duration,
    watch: &'w mut dyn FnMut(&str) -> Watch,
    /// When everything is decided: what the machine may wait, the processor's time, and since when.
    last: Option<(Duration, Duration, Instant)>,
    /// Where the log is in memory, and the processor's time at which it is looked for again.
    found: ring::Found,
    find_at: Duration,
    /// What is in memory, and the processor's time since when.
    still: Option<(u64, Duration)>,
}

impl Reading<'_> {
    fn serial(&mut self, line: &str, used: Duration) {
        // A console that comes late says everything again.
        if self.boot.source == Source::Memory && !line.trim().is_empty() {
            self.boot.log.clear();
            self.boot.source = Source::Serial;
        }
        self.line(line, used);
    }

    fn line(&mut self, line: &str, used: Duration) {
        self.boot.log.push_str(line);
        match (self.watch)(line) {
            Watch::On => {}
            Watch::Last(more) => self.last = Some((more, used + more, Instant::now())),
            Watch::More => self.last = None,
            Watch::End => self.boot.end = End::Decided,
        }
        let over = log::time(line).0.is_some_and(|seconds| seconds > self.time.as_secs_f64());
        if over && self.boot.end == End::Stopped {
            self.boot.end = End::Time;
        }
    }

    /// Look at the log in memory, if there is none on the serial line. `idle` is how long the machine waits.
    fn look(&mut self, memory: &Memory, used: Duration, idle: Duration) {
        let silent = self.boot.log.trim().is_empty();
        if !silent && self.boot.source == Source::Serial {
            return;
        }
        let waits = idle == QUIET_WAIT
            || (!idle.is_zero() && idle.as_millis().is_multiple_of(IDLE.as_millis()));
        if used >= self.find_at || waits {
            self.find_at = used + QUIET;
            self.found = memory.find_log();
            if silent {
                self.is_stuck(memory, used, idle);
            }
        }
        let lines = memory.log(&self.found);
        if lines.is_empty() {
            return;
        }
        if silent {
            self.boot.log.clear();
            self.boot.source = Source::Memory;
        }
        let known = self.boot.log.lines().count();
        for line in lines.iter().skip(known) {
            if self.boot.end == End::Stopped {
                self.line(line, used);
            }
        }
    }

    /// End a machine that has never said anything, and changes nothing in its memory any more.
    fn is_stuck(&mut self, memory: &Memory, used: Duration, idle: Duration) {
        let digest = memory.digest();
        match self.still {
            Some((before, since)) if before == digest => {
                if used >= since + STUCK || idle >= IDLE {
                    self.boot.end = End::Time;
                }
            }
            _ => self.still = Some((digest, used)),
        }
    }

    /// End what says no more.
    fn wait(&mut self, used: Duration, idle: Duration, since_start: Duration) {
        let decided = self.last.is_some_and(|(more, until, since)| {
            used >= until || idle >= IDLE.min(more) || since.elapsed() > IDLE.max(more * BUSY)
        });
        let silent = self.boot.log.trim().is_empty() && used > FIRST_WORDS;
        if decided {
            self.boot.end = End::Decided;
        } else if silent
            || idle > self.time
            || used > self.time * PER_SECOND
            || since_start > self.time * BUSY
        {
            self.boot.end = End::Time;
        }
    }
}

/// QEMU, which is ended with this value.
pub(super) struct Running(Child);

impl Running {
    /// Start it so that it ends with this process.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        host::end_with_this_process(command);
        command.spawn().map(Running)
    }

    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    fn watch(
        &mut self,
        memory: &Memory,
        time: Duration,
        watch: &mut dyn FnMut(&str) -> Watch,
    ) -> Boot {
        let boot = Boot { log: String::new(), source: Source::Serial, end: End::Stopped };
        let Some(stdout) = self.0.stdout.take() else { return boot };
        let lines = lines_of(stdout);
        let started = Instant::now();
        let found = ring::Found::default();
        let mut read =
            Reading { boot, time, watch, last: None, found, find_at: QUIET, still: None };
        let mut idle = Duration::ZERO;
        loop {
            let used = self.used();
            match lines.recv_timeout(LOOK) {
                Ok(line) => {
                    idle = Duration::ZERO;
                    read.serial(&line, used);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    read.find_at = used;
                    read.look(memory, used, Duration::ZERO);
                    return read.boot;
                }
                Err(RecvTimeoutError::Timeout) => {
                    idle = if self.waits() { idle + LOOK } else { Duration::ZERO };
                    read.look(memory, used, idle);
                    read.wait(used, idle, started.elapsed());
                }
            }
            if read.boot.end != End::Stopped {
                return read.boot;
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

    /// Whether no thread of QEMU runs, or would run if it had a processor or what it reads from a disk.
    fn waits(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.0.id()));
        let mut tasks = tasks.into_iter().flatten().flatten();
        tasks.all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            !stat.rsplit(") ").next().unwrap_or_default().starts_with(['R', 'D'])
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
