//! The vfiorun of a guest, in a session of its own.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use vfioboot::device::guest::cgroup;
use vfioboot::device::guest::file::{self, GuestError};
use vfioboot::device::guest::run::record::{self, Record};
use vfioboot::device::sys::host::errno_text;
use vfioboot::device::sys::notify;
use vfioboot::device::sys::state::{self, StateDir};

use crate::global::Global;

/// The output of a guest's vfiorun, the console with it.
pub const LOG: &str = "console.log";

/// A guest that was to be started.
pub enum Started {
    /// It runs already: a line about it.
    Already(String),
    /// By a vfiorun of its own.
    Child(Child),
}

/// A vfiorun that starts a guest.
pub struct Child {
    pub name: String,
    pub log: PathBuf,
    pub process: process::Child,
    pub fate: Fate,
}

/// What has become of a guest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Starting,
    Runs,
    /// It ended well before it was looked at.
    Done,
    Failed,
    /// It takes too long.
    Late,
}

/// Starts the guest of a file, if it wants that.
pub fn start(global: &Global, file: &Path, stay: bool) -> Result<Option<Started>, StartError> {
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
        Err(error) => Err(StartError::Start { file: file.to_owned(), error }),
    }
}

/// A guest that is not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
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
