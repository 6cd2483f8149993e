//! `vfiorun autostart`.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vfioboot::bootfile;
use vfioboot::cmdline::Cmdline;
use vfioboot::device::guest::cgroup;
use vfioboot::device::guest::file::{self, GuestError};
use vfioboot::device::sys::host::{Host, errno_text};
use vfioboot::device::sys::state::{self, StateDir};

use crate::global::Global;
use crate::outcome::{Answer, Failure, Outcome};
use crate::output::{self, StepWriter};

/// Where guest files are by default; the first that exists.
const DIRECTORIES: &[&str] = &["data/adb/vfioboot/guests", "etc/vfioboot/guests"];
/// The output of a guest's vfiorun, the console with it.
const LOG: &str = "console.log";

#[derive(clap::Args)]
pub struct Arguments {
    /// The directory of guest files [default: /data/adb/vfioboot/guests, else /etc/vfioboot/guests]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Start nothing when vfioboot.disable is on the kernel command line: for a boot script
    #[arg(long)]
    at_boot: bool,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let (host, state) = (global.host(), global.state());
    if arguments.at_boot
        && bootfile::is_disabled(&Cmdline::new(host.read("proc/cmdline").unwrap_or_default()))
    {
        let name = bootfile::DISABLE_PARAMETER;
        output::print(&format!("{name} is on the kernel command line: nothing is started\n"))?;
        return Ok(Answer::Yes);
    }
    let directory = directory(&host, arguments.directory.as_deref())?;
    let files = guest_files(&directory)?;
    let (mut started, mut failed) = (0, 0);
    let mut writer = StepWriter::new();
    for file in &files {
        match start(global, &state, file) {
            Ok(None) => {}
            Ok(Some(line)) => {
                started += 1;
                writer.print(&line);
            }
            Err(error) => {
                failed += 1;
                output::complain(&error.to_string());
            }
        }
    }
    if started + failed == 0 {
        writer.print(&format!("{}: no guest file has autostart = true\n", directory.display()));
    }
    writer.finish()?;
    if failed > 0 {
        return Err(Failure::new(format!("{failed} of {} guest files failed", files.len())));
    }
    Ok(Answer::Yes)
}

/// The directory that is given, else the usual one.
fn directory(host: &Host, given: Option<&Path>) -> Result<PathBuf, Failure> {
    let usual = || DIRECTORIES.iter().map(|path| host.path(path)).find(|path| path.is_dir());
    given.map(Path::to_owned).or_else(usual).ok_or_else(|| {
        let usual = DIRECTORIES.iter().map(|path| format!("/{path}")).collect::<Vec<_>>();
        Failure::new(format!("there is no directory of guest files: {}", usual.join(" or ")))
    })
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

/// Starts the guest of a file, if it wants that; the result is a line about it.
fn start(global: &Global, state: &StateDir, file: &Path) -> Result<Option<String>, AutostartError> {
    let guest = file::read(file)?;
    if !guest.autostart {
        return Ok(None);
    }
    let name = &guest.name;
    match detached(global, state, file, &format!("{name}.{LOG}")) {
        Ok((pid, log)) => Ok(Some(format!("{name}: pid {pid}, console in {}\n", log.display()))),
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

/// Starts a vfiorun for the guest, in a session of its own. Returns its pid and its log.
fn detached(
    global: &Global,
    state: &StateDir,
    file: &Path,
    log: &str,
) -> io::Result<(u32, PathBuf)> {
    let path = state.directory("log")?.join(log);
    let log = state::create_anew(&path)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("vfiorun").arg("run").arg(file);
    command.arg("--sysroot").arg(&global.sysroot);
    if let Some(state) = &global.state {
        command.arg("--state").arg(state);
    }
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let host = global.host();
    let leave: Vec<PathBuf> =
        cgroup::leave_service(&host).iter().map(|join| host.path(join)).collect();
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
    Ok((command.spawn()?.id(), path))
}
