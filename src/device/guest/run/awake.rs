//! Keeps the machine awake while a guest has devices of it: those do not come back as they were from a sleep
//! that their guest does not know of.
//!
//! Who decides whether the machine sleeps is asked: the kernel where programs hold wake locks, as on Android
//! (`Documentation/ABI/testing/sysfs-power`), and logind where it runs, which has the program that holds its
//! lock. That one ends with us, however we end, because its standard input does.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::device::bind::journal::Journal;
use crate::device::bind::undo::{Undo, WAKE_LOCK};
use crate::device::guest::qemu;
use crate::device::sys::host::{Host, Write};

/// logind makes it, elogind too.
const LOGIND: &str = "run/systemd/seats";
/// Their programs.
const PROGRAMS: [&str; 2] = ["systemd-inhibit", "elogind-inhibit"];

/// A way to keep the machine awake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// A lock of the kernel's.
    WakeLock(Write),
    /// A program that holds logind's lock, with its arguments.
    Inhibitor(Vec<String>),
}

impl std::fmt::Display for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WakeLock(write) => write!(f, "{write}"),
            Self::Inhibitor(words) => write!(f, "{} &", words.join(" ")),
        }
    }
}

/// The ways there are for a guest of this name; `path` is `PATH`.
pub fn means(host: &Host, guest: &str, path: Option<&str>) -> Vec<Means> {
    let mut means = Vec::new();
    if host.exists(WAKE_LOCK) {
        let value = format!("vfiorun-{guest}");
        means.push(Means::WakeLock(Write { path: WAKE_LOCK.to_owned(), value }));
    }
    let program = || PROGRAMS.iter().find_map(|name| qemu::in_root(&host.path(""), name, path));
    if let Some(program) = host.exists(LOGIND).then(program).flatten() {
        let program = host.path(program.trim_start_matches('/')).display().to_string();
        let why = format!("--why=guest-{guest}-has-devices");
        let words =
            [program.as_str(), "--what=sleep", "--mode=block", "--who=vfiorun", &why, "cat"];
        means.push(Means::Inhibitor(words.map(str::to_owned).to_vec()));
    }
    means
}

/// Programs that keep the machine awake as long as this is there.
#[derive(Debug, Default)]
pub struct Awake(Vec<Child>);

impl Awake {
    /// Keeps the machine awake by all of these means. `failed` hears which do not work: the guest runs anyway.
    pub fn new(
        host: &Host,
        means: &[Means],
        journal: &mut Journal,
        failed: &mut dyn FnMut(String),
    ) -> Self {
        let mut awake = Self::default();
        for one in means {
            let held: Result<(), String> = match one {
                Means::WakeLock(write) => {
                    let undo = Undo::WakeLock { name: write.value.clone() };
                    let recorded = journal.record(undo).map_err(|error| error.to_string());
                    recorded.and_then(|()| host.carry_out(write).map_err(|error| error.to_string()))
                }
                Means::Inhibitor(words) => {
                    let started = inhibit(words).map(|child| awake.0.push(child));
                    started.map_err(|error| format!("{}: {error}", words.join(" ")))
                }
            };
            if let Err(reason) = held {
                failed(format!("{reason}: nothing keeps this machine from sleeping"));
            }
        }
        awake
    }
}

fn inhibit(words: &[String]) -> io::Result<Child> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // What a terminal signals to us is not for it.
    command.process_group(0).spawn()
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It ends with its standard input.
            drop(child.stdin.take());
            _ = child.wait();
        }
    }
}
