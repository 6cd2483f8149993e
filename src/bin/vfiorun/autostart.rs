//! `vfiorun autostart`.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use vfioboot::device::guest::cgroup;
use vfioboot::device::guest::file;

use crate::cli::{Answer, Global, Outcome};
use crate::output;

/// Where guest files are when nobody says otherwise; the first that is there.
const DIRECTORIES: [&str; 2] = ["data/adb/vfioboot/guests", "etc/vfioboot/guests"];
/// The output of a guest's vfiorun, the console with it.
const LOG: &str = "console.log";

#[derive(clap::Args)]
pub struct Arguments {
    /// The directory of guest files [default: /data/adb/vfioboot/guests, else /etc/vfioboot/guests]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let (host, state) = (global.host(), global.state());
    let usual = || DIRECTORIES.iter().map(|path| host.path(path)).find(|path| path.is_dir());
    let Some(directory) = arguments.directory.clone().or_else(usual) else {
        return Err("there is no directory of guest files: /data/adb/vfioboot/guests or /etc/vfioboot/guests".into());
    };
    let entries =
        fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort_unstable();
    let (mut started, mut failed) = (0, 0);
    for file in &files {
        let guest = match file::read(file) {
            Ok(guest) => guest,
            Err(error) => {
                output::complain(&error.to_string());
                failed += 1;
                continue;
            }
        };
        if !guest.autostart {
            continue;
        }
        let name = &guest.name;
        let log = state.path().join("log").join(format!("{name}.{LOG}"));
        match detached(global, file, &log) {
            Ok(pid) => {
                started += 1;
                output::print(&format!("{name}: pid {pid}, console in {}\n", log.display()))?;
            }
            Err(error) => {
                failed += 1;
                output::complain(&format!("{}: not started: {error}", file.display()));
            }
        }
    }
    if started + failed == 0 {
        output::print(&format!("{}: no guest file has autostart = true\n", directory.display()))?;
    }
    if failed > 0 {
        return Err(format!("{failed} of {} guest files failed", files.len()).into());
    }
    Ok(Answer::Yes)
}

/// A vfiorun of its own for the guest, in a session of its own. Returns its pid.
fn detached(global: &Global, file: &Path, log: &Path) -> io::Result<u32> {
    if let Some(directory) = log.parent() {
        fs::create_dir_all(directory)?;
    }
    let log = File::create(log)?;
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
                // A hierarchy that does not let us go is no reason not to start.
                _ = fs::write(join, "0");
            }
            rustix::process::setsid().map(drop).map_err(io::Error::from)
        });
    }
    Ok(command.spawn()?.id())
}
