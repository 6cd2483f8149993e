//! Starts QEMU: what is set up between fork and exec.

use std::ffi::{CStr, CString};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Pid, Resource, Rlimit};
use rustix::thread::{CpuSet, UnshareFlags};

use super::signals;
use crate::device::sys::descriptors;
use crate::device::sys::host::errno_text;

/// Where a guest's directory is visible inside a chroot.
pub(crate) const CHROOT_DIRECTORY: &str = "/run/vfiorun";

/// The weight of QEMU for the kernel's memory killer: its memory is pinned and does not come back by
/// swapping (`oom_score_adj` in `proc(5)`): nearly last.
const OOM_SCORE_ADJ: &str = "-800";

/// What QEMU gets of our environment: whatever else is there is nobody's business in the process that a
/// guest may take over.
const ENVIRONMENT: &[&str] = &["LANG", "PATH", "TERM", "TMPDIR"];
/// What programs of the user's own arguments may need besides: a screen, and sound.
const ENVIRONMENT_OF_SESSION: &[&str] =
    &["DISPLAY", "HOME", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR"];

/// QEMU, about to be started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its path, in the chroot if there is one.
    pub program: String,
    /// Its arguments, without the program.
    pub argv: Vec<String>,
    /// The directory that becomes its root.
    pub chroot: Option<PathBuf>,
    /// The guest's directory, outside.
    pub directory: PathBuf,
    /// The processors that it may use; all when `None`.
    pub cpus: Option<Vec<u32>>,
    /// The files that it writes `0` to, to join control groups.
    pub cgroups: Vec<PathBuf>,
    /// In a chroot: the nodes below `/dev` that it gets besides the usual ones.
    pub nodes: Vec<String>,
    /// Whether it pins memory.
    pub pins_memory: bool,
    /// Whether it may have to later.
    pub may_pin_memory: bool,
}

/// QEMU that could not be started.
#[derive(Debug, thiserror::Error)]
#[error("QEMU was not started: {step}: {}", errno_text(.error))]
pub struct LaunchError {
    /// What was tried.
    pub step: String,
    /// Why it failed.
    #[source]
    pub error: io::Error,
}

impl Launch {
    /// Starts it, in a session of its own, with pipes for its input, its output and its errors.
    ///
    /// When this process ends, whatever the reason, QEMU gets a SIGTERM, on which it closes its
    /// disks in order: a guest without a supervisor would keep the devices forever.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn start(&self) -> Result<Child, LaunchError> {
        let failed = |step: &str, error| LaunchError { step: step.to_owned(), error };
        let (mut reader, mut writer) = io::pipe().map_err(|error| failed("pipe", error))?;
        let mut command = Command::new(&self.program);
        command.args(&self.argv).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let session = ENVIRONMENT_OF_SESSION.iter().filter(|_| self.chroot.is_none());
        for name in ENVIRONMENT.iter().chain(session) {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let this = self.clone();
        let parent = rustix::process::getpid();
        // SAFETY: the process has one thread, so that the child may do whatever it likes.
        unsafe {
            command.pre_exec(move || {
                this.prepare(parent).map_err(|LaunchError { step, error }| {
                    _ = writer.write_all(step.as_bytes());
                    error
                })
            });
        }
        let started = command.spawn();
        // With it goes our end for writing.
        drop(command);
        started.map_err(|error| {
            let mut step = String::new();
            _ = reader.read_to_string(&mut step);
            let step = if step.is_empty() { format!("execute {}", self.program) } else { step };
            LaunchError { step, error }
        })
    }

    /// In the child.
    fn prepare(&self, parent: Pid) -> Result<(), LaunchError> {
        let step = |step: &str, error: io::Error| LaunchError { step: step.to_owned(), error };
        rustix::process::setsid().map_err(|error| step("setsid", error.into()))?;
        let term = Some(rustix::process::Signal::TERM);
        rustix::process::set_parent_process_death_signal(term)
            .map_err(|error| step("PR_SET_PDEATHSIG", error.into()))?;
        if rustix::process::getppid() != Some(parent) {
            return Err(step("vfiorun is gone", io::ErrorKind::Interrupted.into()));
        }
        for join in &self.cgroups {
            // The guest works without a group that refuses it.
            _ = write_existing(join, "0");
        }
        if let Some(cpus) = &self.cpus {
            let mut set = CpuSet::new();
            cpus.iter()
                .filter(|cpu| (**cpu as usize) < CpuSet::MAX_CPU)
                .for_each(|cpu| set.set(*cpu as usize));
            rustix::thread::sched_setaffinity(None, &set)
                .map_err(|error| step("sched_setaffinity", error.into()))?;
        }
        // Not everybody may; then it is as likely to be killed as others.
        _ = write_existing(Path::new("/proc/self/oom_score_adj"), OOM_SCORE_ADJ);
        if self.pins_memory || self.may_pin_memory {
            let unlimited = Rlimit { current: None, maximum: None };
            match rustix::process::setrlimit(Resource::Memlock, unlimited) {
                Err(error) if self.pins_memory => {
                    return Err(step("raise RLIMIT_MEMLOCK", error.into()));
                }
                _ => {}
            }
        }
        if let Some(chroot) = &self.chroot {
            enter(chroot, &self.directory, &self.nodes)?;
        }
        // std's own pipe, by which a failure to execute is reported, is among them.
        descriptors::close_at_exec(3);
        signals::release().map_err(|error| step("sigprocmask", error))
    }
}

fn write_existing(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// The nodes below `/dev` that every QEMU gets in a chroot, as far as the host has them.
const NODES: &[&str] =
    &["null", "zero", "full", "random", "urandom", "kvm", "vfio", "iommu", "net", "ptmx", "pts"];

/// Makes `root` the root directory, with the host's devices, `/sys`, `/proc` and the guest's
/// directory in it. All mounts are in a namespace that goes away with QEMU.
fn enter(root: &Path, directory: &Path, nodes: &[String]) -> Result<(), LaunchError> {
    let step = |text: String| {
        move |error: rustix::io::Errno| LaunchError { step: text, error: error.into() }
    };
    // SAFETY: nothing here shares the mount namespace's file descriptors with another thread.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .map_err(step("unshare the mount namespace".to_owned()))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(step("make mounts private".to_owned()))?;
    for source in ["/sys", "/proc"] {
        bind(Path::new(source), &root.join(&source[1..]))?;
    }
    // A /dev of its own: a chroot rarely has the nodes or a directory for them.
    let dev = root.join("dev");
    let none: Option<&CStr> = None;
    rustix::mount::mount("vfiorun", &dev, "tmpfs", MountFlags::NOSUID, none)
        .map_err(step(format!("mount a tmpfs on {}", dev.display())))?;
    let named = nodes.iter().filter_map(|node| node.strip_prefix("/dev/"));
    for node in NODES.iter().copied().chain(named) {
        let source = Path::new("/dev").join(node);
        let Ok(meta) = fs::metadata(&source) else { continue };
        let target = dev.join(node);
        // In a directory that is there whole.
        if target.exists() {
            continue;
        }
        let parent = target.parent().unwrap_or(&dev);
        let made = fs::create_dir_all(parent).and_then(|()| match meta.is_dir() {
            true => fs::create_dir(&target),
            false => fs::File::create(&target).map(drop),
        });
        made.map_err(|error| LaunchError { step: format!("make {}", target.display()), error })?;
        bind(&source, &target)?;
    }
    let run = root.join("run");
    rustix::mount::mount("vfiorun", &run, "tmpfs", MountFlags::NOSUID, none)
        .map_err(step(format!("mount a tmpfs on {}", run.display())))?;
    let inside = root.join(&CHROOT_DIRECTORY[1..]);
    fs::create_dir(&inside)
        .map_err(|error| LaunchError { step: format!("make {}", inside.display()), error })?;
    bind(directory, &inside)?;
    rustix::process::chroot(root).map_err(step(format!("chroot to {}", root.display())))?;
    rustix::process::chdir("/").map_err(step("chdir".to_owned()))
}

fn bind(source: &Path, target: &Path) -> Result<(), LaunchError> {
    let failed = |error| LaunchError {
        step: format!("bind {} to {}", source.display(), target.display()),
        error,
    };
    let text = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes());
    let (from, to) = (text(source), text(target));
    match (from, to) {
        (Ok(from), Ok(to)) => {
            rustix::mount::mount_bind_recursive(&from, &to).map_err(|error| failed(error.into()))
        }
        _ => Err(failed(io::ErrorKind::InvalidInput.into())),
    }
}
