//! `vfiorun autostart`.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use vfioboot::bootfile;
use vfioboot::cmdline::Cmdline;
use vfioboot::device::guest::cgroup;
use vfioboot::device::guest::file::{self, GuestError};
use vfioboot::device::guest::run::record::{self, Record};
use vfioboot::device::sys::host::{Host, errno_text};
use vfioboot::device::sys::notify::{self, Manager};
use vfioboot::device::sys::state::{self, StateDir};
use vfioboot::usage::Matches;

use crate::global::Global;
use crate::interrupt;
use crate::outcome::{Answer, Failure, Outcome};
use crate::output::{self, StepWriter};

/// Where guest files are by default; the first that exists.
const DIRECTORIES: &[&str] = &["data/adb/vfioboot/guests", "etc/vfioboot/guests"];
/// The output of a guest's vfiorun, the console with it.
pub const LOG: &str = "console.log";

/// How long a guest has until it runs: a machine with many of them is slow when it boots, and huge pages
/// take long to be put together.
const TIMEOUT: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// What is shown of the log of a guest that does not run.
const LAST_LINES: usize = 3;

pub struct Arguments {
    directory: Option<PathBuf>,
    at_boot: bool,
    stay: bool,
}

impl Arguments {
    pub fn of(given: &Matches) -> Self {
        Self {
            directory: given.value("DIR").map(PathBuf::from),
            at_boot: given.has("at-boot"),
            stay: given.has("stay"),
        }
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let host = global.host();
    if arguments.at_boot
        && bootfile::is_disabled(&Cmdline::new(host.read("proc/cmdline").unwrap_or_default()))
    {
        let name = bootfile::DISABLE_PARAMETER;
        output::print(&format!("{name} is on the kernel command line: nothing is started\n"))?;
        if arguments.stay {
            // Ended before it is ready, it would have failed.
            Manager::find().inspect(|manager| manager.tell("READY=1\n"));
        }
        return Ok(Answer::Yes);
    }
    let manager = if arguments.stay { Manager::find() } else { None };
    if arguments.stay {
        interrupt::listen();
    }
    let directory = directory(&host, arguments.directory.as_deref())?;
    let files = guest_files(&directory)?;
    let mut writer = StepWriter::new();
    let (mut guests, mut failed, mut wanted) = (Vec::new(), 0, false);
    for file in &files {
        let outcome = start(global, file, arguments.stay);
        wanted |= !matches!(outcome, Ok(None));
        match outcome {
            Ok(None) => {}
            Ok(Some(Started::Already(line))) => writer.print(&line),
            Ok(Some(Started::Child(guest))) => guests.push(guest),
            Err(error) => {
                failed += 1;
                output::complain(&error.to_string());
            }
        }
    }
    if !wanted {
        writer.print(&format!("{}: no guest has to be started\n", directory.display()));
    }
    failed += wait_for_all(global, &mut guests, &mut writer);
    writer.finish()?;
    if arguments.stay {
        stay(manager.as_ref(), &mut guests, failed);
        return Ok(Answer::Yes);
    }
    if failed > 0 {
        return Err(Failure::new(format!("{failed} of {} guest files failed", files.len())));
    }
    Ok(Answer::Yes)
}

/// Waits until each guest runs, or is known not to. Returns how many do not.
fn wait_for_all(global: &Global, guests: &mut [Child], writer: &mut StepWriter) -> usize {
    let (host, state) = (global.host(), global.state());
    let started = Instant::now();
    let (mut failed, mut waiting) = (0, guests.len());
    while waiting > 0 && !interrupt::requested() {
        let records = record::running(&host, &state);
        for guest in guests.iter_mut().filter(|guest| guest.fate == Fate::Starting) {
            let runs = records
                .iter()
                .any(|record| record.ready && record.supervisor.pid == guest.process.id());
            guest.fate = match guest.process.try_wait() {
                Ok(None) if runs => Fate::Runs,
                Ok(None) if started.elapsed() < TIMEOUT => continue,
                Ok(None) => Fate::Late,
                Ok(Some(status)) if status.success() => Fate::Done,
                Ok(Some(_)) | Err(_) => Fate::Failed,
            };
            waiting -= 1;
            let Child { name, log, process, fate } = guest;
            let (pid, path) = (process.id(), log.display());
            match fate {
                Fate::Runs => {
                    writer.print(&format!("{name}: runs, pid {pid}, console in {path}\n"))
                }
                Fate::Done => writer.print(&format!("{name}: has ended, console in {path}\n")),
                Fate::Late => output::complain(&format!(
                    "{name}: does not run after {} s, pid {pid} goes on with it: {path}",
                    TIMEOUT.as_secs()
                )),
                Fate::Failed | Fate::Starting => {
                    output::complain(&format!("{name}: not started: {path}"));
                    last_lines(log).iter().for_each(|line| output::pass_on(&format!("  {line}")));
                }
            }
            failed += usize::from(matches!(fate, Fate::Late | Fate::Failed));
        }
        if waiting > 0 {
            thread::sleep(POLL_INTERVAL);
        }
    }
    failed
}

/// Tells a service manager that the guests run, and stays until it is ended; then so are they.
fn stay(manager: Option<&Manager>, guests: &mut [Child], failed: usize) {
    let tell = |text: &str| manager.into_iter().for_each(|manager| manager.tell(text));
    let running = guests.iter().filter(|guest| guest.fate == Fate::Runs).count();
    let failed = if failed > 0 { format!(", {failed} not started") } else { String::new() };
    tell(&format!("READY=1\nSTATUS=guests that run: {running}{failed}\n"));
    while !interrupt::requested() {
        // Those that ended are no zombies for ever.
        for guest in guests.iter_mut() {
            _ = guest.process.try_wait();
        }
        thread::sleep(STAY_INTERVAL);
    }
    tell("STOPPING=1\nSTATUS=powering guests down\n");
    for guest in guests.iter_mut() {
        if let (Ok(None), Ok(pid)) = (guest.process.try_wait(), i32::try_from(guest.process.id())) {
            _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::TERM));
        }
    }
    for guest in guests.iter_mut() {
        _ = guest.process.wait();
    }
}

/// How often it is looked whether to end.
const STAY_INTERVAL: Duration = Duration::from_millis(200);

/// The last lines of a log, without those that only say what follows.
fn last_lines(log: &Path) -> Vec<String> {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(LAST_LINES);
    lines.into_iter().skip(first).map(str::to_owned).collect()
}

/// The directory that is given, else the usual one.
fn directory(host: &Host, given: Option<&Path>) -> Result<PathBuf, Failure> {
    let usual = || DIRECTORIES.iter().map(|path| host.path(path)).find(|path| path.is_dir());
    given.map(Path::to_owned).or_else(usual).ok_or_else(|| {
        let usual = DIRECTORIES.iter().map(|path| format!("/{path}")).collect::<Vec<_>>();
        Failure::new(format!("there is no directory of guest files: {}", usual.join(" or ")))
    })
}

/// Where guest files are if nobody says otherwise: in a directory that is there, else where one is made.
pub fn usual_directory(host: &Host) -> PathBuf {
    let there = DIRECTORIES.iter().find(|path| host.path(path).is_dir());
    Path::new("/").join(there.or(DIRECTORIES.last()).unwrap_or(&""))
}

/// The guest files in a directory, by name.
fn guest_files(directory: &Path) -> Result<Vec<PathBuf>, DirectoryError> {
    let entries = fs::read_dir(directory)
        .map_err(|error| DirectoryError { directory: directory.to_owned(), error })?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort_unstable();
    Ok(files)
}

/// A guest that was to be started.
enum Started {
    /// It runs already: a line about it.
    Already(String),
    /// By a vfiorun of its own.
    Child(Child),
}

/// A vfiorun that starts a guest.
struct Child {
    name: String,
    log: PathBuf,
    process: process::Child,
    fate: Fate,
}

/// What has become of a guest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Starting,
    Runs,
    /// It ended well before it was looked at.
    Done,
    Failed,
    /// It takes too long.
    Late,
}

/// Starts the guest of a file, if it wants that.
fn start(global: &Global, file: &Path, stay: bool) -> Result<Option<Started>, AutostartError> {
    let guest = file::read(file)?;
    if !guest.autostart {
        return Ok(None);
    }
    let (host, state) = (global.host(), global.state());
    let name = guest.name.to_string();
    let running = record::running(&host, &state);
    let own = |record: &&Record| record.name == name && record.supervisor.is_alive(&host);
    if let Some(record) = running.iter().find(own) {
        let supervisor = record.supervisor;
        return Ok(Some(Started::Already(format!("{name}: runs already, {supervisor}\n"))));
    }
    match detached(global, &state, file, &format!("{name}.{LOG}"), stay) {
        Ok((process, log)) => {
            Ok(Some(Started::Child(Child { name, log, process, fate: Fate::Starting })))
        }
        Err(error) => Err(AutostartError::Start { file: file.to_owned(), error }),
    }
}

/// A guest that is not started.
#[derive(Debug, thiserror::Error)]
enum AutostartError {
    /// Its file cannot be used.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// No process could be started for it.
    #[error("{}: not started: {}", file.display(), errno_text(.error))]
    Start {
        file: PathBuf,
        #[source]
        error: io::Error,
    },
}

/// A directory that cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {}", directory.display(), errno_text(.error))]
struct DirectoryError {
    directory: PathBuf,
    #[source]
    error: io::Error,
}

/// Starts a vfiorun for the guest, in a session of its own. Returns it and its log. One that `stay`s with it is
/// in the same control groups.
fn detached(
    global: &Global,
    state: &StateDir,
    file: &Path,
    log: &str,
    stay: bool,
) -> io::Result<(process::Child, PathBuf)> {
    let path = state.directory("log")?.join(log);
    // What it says before it has its log, and when it panics.
    let stderr = state::open(&path, OpenOptions::new().append(true).create(true))?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("vfiorun").arg("run").arg(file).arg("--log").arg(&path);
    command.arg("--sysroot").arg(&global.sysroot);
    if let Some(state) = &global.state {
        command.arg("--state").arg(state);
    }
    command.stdin(Stdio::null()).stdout(stderr.try_clone()?).stderr(stderr);
    command.env_remove(notify::SOCKET);
    let host = global.host();
    let leave: Vec<PathBuf> = match stay {
        true => Vec::new(),
        false => cgroup::leave_service(&host).iter().map(|join| host.path(join)).collect(),
    };
    // SAFETY: this process has one thread, so any call is allowed between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for join in &leave {
                // A guest is started even in a hierarchy that cannot be left.
                _ = fs::write(join, "0");
            }
            rustix::process::setsid().map(drop).map_err(io::Error::from)
        });
    }
    Ok((command.spawn()?, path))
}
