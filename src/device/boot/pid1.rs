//! The process that cannot fail.
//!
//! PID 1 does next to nothing itself: it forks a child for the work, waits for it
//! until the deadline and longer only while it gets on ([`super::watch`]), removes every
//! trace, and executes the real init with the arguments, environment and open files that
//! the kernel meant for it.
//! Whatever happens in the child (an error, a panic, a crash, a driver that never
//! returns from `unbind`) costs time at most.
//!
//! The child mounts proc and sysfs in a mount namespace of its own. They vanish
//! with it, and even where it cannot be killed nobody else ever sees them.

use std::ffi::{CStr, CString, c_char};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::panic;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use rustix::thread::UnshareFlags;

use crate::bootfile::{BOOT_FILE, BootFile, ORIGINAL_INIT, ORIGINAL_INIT_LINK};
use crate::bootlog::Message;
use crate::device::boot::apply;
use crate::device::boot::file;
use crate::device::boot::guard;
use crate::device::boot::original_init;
use crate::device::boot::supervise::{self, Next, Reports, Tasks};
use crate::device::sys::host::{Host, errno_text};
use crate::device::sys::kmsg::{self, Level};

/// Our directory in the ramdisk. Nothing outside it is created or changed.
const HOME: &str = "/vfioboot";
/// Our device nodes in it: there may be no `/dev`.
const KMSG: &str = "/vfioboot/kmsg";
const NULL: &str = "/vfioboot/null";
/// What is executed when the boot file does not say, or says something wrong.
const DEFAULT_INIT: &str = "/init";
/// Where the kernel itself looks when there is no `/init` (`init/main.c`,
/// `kernel_init`).
const KERNEL_INITS: &[&str] = &["/sbin/init", "/etc/init", "/bin/init", "/bin/sh"];
/// What `main` was started with.
#[derive(Clone, Copy)]
struct Start {
    argv: *const *const c_char,
    envp: *const *const c_char,
}

// SAFETY: the promise of `run`: the arrays live as long as the process, and
// there is one thread. (The panic hook, which keeps a copy, asks for these.)
unsafe impl Send for Start {}
// SAFETY: as above.
unsafe impl Sync for Start {}

/// The whole life of `vfiorun` as PID 1. Returns only when there is no program
/// to execute, which the kernel answers with a panic that says so.
///
/// # Safety
/// `argv` and `envp` must be the arrays that `main` was given: ending in a null
/// pointer, of strings that live as long as the process. No other thread may run.
pub unsafe fn run(argv: *const *const c_char, envp: *const *const c_char) {
    let started = Instant::now();
    let start = Start { argv, envp };
    // Where the kernel found us, if that is where another program belongs.
    let hooked = original_init::is_hooked(Path::new("/")).then(|| start.own_path());
    let default_init = hooked.unwrap_or(DEFAULT_INIT);
    // A panic in here would be the kernel's panic: go on to init instead.
    panic::set_hook(Box::new(move |_| {
        say(Level::Warning, &format!("internal error; next program: {default_init}"));
        start.put_back(hooked);
        start.execute(default_init, default_init);
    }));
    let mut next = Next {
        init: default_init.to_owned(),
        deadline: Duration::from_millis(BootFile::DEFAULT_DEADLINE_MS.into()),
        quiet: false,
    };
    let mut log = None;
    let in_initramfs = in_initramfs();
    if in_initramfs {
        make_nodes();
        occupy_standard_fds();
        let tasks = Tasks { work, own: start.own_path(), mend, say, home: HOME };
        supervise::supervise(started, &mut next, tasks);
        if !next.quiet {
            say(Level::Info, &Message::Next { program: &next.init }.to_string());
        }
        log = kmsg::open(Path::new(KMSG)).ok();
    }
    let mut tried: Vec<&str> = Vec::new();
    if start.put_back(hooked) {
        if in_initramfs {
            remove_home();
        }
    } else {
        // Executed where it is kept, under its own name: this program is at that path.
        for file in [ORIGINAL_INIT, ORIGINAL_INIT_LINK] {
            start.execute(file, default_init);
        }
        tried.push(default_init);
    }
    let programs =
        [next.init.as_str(), default_init].into_iter().chain(KERNEL_INITS.iter().copied());
    for program in programs {
        if tried.contains(&program) {
            continue;
        }
        tried.push(program);
        let error = start.execute(program, program);
        if let Some(kmsg) = &mut log {
            let why = errno_text(&error).to_string();
            let text = Message::NotExecuted { program, why: &why }.to_string();
            _ = kmsg::write(kmsg, Level::Warning, &text);
        }
    }
}

/// Writes a line to the kernel log. A failure cannot be reported anywhere.
fn say(level: Level, text: &str) {
    if kmsg::log(Path::new(KMSG), level, text).is_err() {
        _ = kmsg::log(Path::new("/dev/kmsg"), level, text);
    }
}

/// Whether `/` is the file system that the kernel unpacks an initramfs into
/// (`init/do_mounts.c`, `init_rootfs`). In a container it is something else, and
/// then nothing is touched.
fn in_initramfs() -> bool {
    const RAMFS_MAGIC: u32 = 0x8584_58f6;
    const TMPFS_MAGIC: u32 = 0x0102_1994;
    rustix::fs::statfs("/").is_ok_and(|fs| [RAMFS_MAGIC, TMPFS_MAGIC].contains(&(fs.f_type as u32)))
}

/// Makes our own kmsg (c 1 11) and null (c 1 3), `Documentation/admin-guide/devices.txt`.
fn make_nodes() {
    for (path, minor) in [(KMSG, 11), (NULL, 3)] {
        _ = fs::remove_file(path);
        let device = rustix::fs::makedev(1, minor);
        // Without it there is no log, or "/" replaces null: both are bearable.
        _ = rustix::fs::mknodat(
            CWD,
            path,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o600),
            device,
        );
    }
}

/// Makes sure that no file opened later lands on 0, 1 or 2.
///
/// Without `/dev/console` the kernel starts PID 1 with these closed
/// (`init/main.c`, `console_on_rootfs`). What is opened here is close-on-exec
/// like everything std opens, so init finds them as the kernel left them.
fn occupy_standard_fds() {
    while let Ok(file) =
        OpenOptions::new().read(true).write(true).open(NULL).or_else(|_| File::open("/"))
    {
        if file.as_raw_fd() > 2 {
            break;
        }
        // Open until exec.
        std::mem::forget(file);
    }
}

/// The child: everything that can go wrong.
fn work(started: Instant, own: &str, reports: &mut Reports) {
    // The boot file first: it names the next program, which is needed also when
    // there is nothing else to do.
    let file = file::read(Path::new(BOOT_FILE));
    if let Ok(file) = &file {
        reports.plan(file.deadline_ms, &file.init);
    }
    let version = env!("CARGO_PKG_VERSION");
    let mounted = mount_all();
    let host = Host::new(HOME);
    if let Some(reason) = apply::mode(&host, Path::new("/")) {
        let reason = reason.to_string();
        say(Level::Info, &Message::Idle { version, reason: &reason }.to_string());
        if let Ok(file) = &file {
            apply::put_back(file, Path::new("/"), &mut say);
        }
        match (mounted, &file) {
            (Err(error), _) => say(Level::Warning, &error.to_string()),
            (Ok(()), Ok(file)) => apply::give_back(file, &host, &mut say),
            (Ok(()), Err(_)) => {}
        }
        return reports.quiet();
    }
    say(Level::Info, &Message::Starts { version }.to_string());
    if let Some(attempt) = guard::attempt(&host) {
        say(Level::Warning, &attempt);
    }
    let file = match file {
        Ok(file) => file,
        Err(error) => return say(Level::Warning, &format!("{BOOT_FILE}: {error}")),
    };
    // Before anything that may take time.
    apply::make_names(&file, own, Path::new("/"), &mut say);
    if let Err(error) = mounted {
        say(Level::Warning, &error.to_string());
    }
    let done = apply::carry_out_steps(&file, &host, Path::new("/"), &mut say, &mut |what| {
        reports.step(what)
    });
    let level = if done.problems == 0 { Level::Info } else { Level::Warning };
    let ms = started.elapsed().as_millis();
    let apply::Summary { bound, problems } = done;
    say(level, &Message::Done { ms, bound, problems }.to_string());
}

/// What is left to do when the child has died: no device stays between two drivers.
fn mend() {
    if let (Ok(file), Ok(())) = (file::read(Path::new(BOOT_FILE)), mount_all()) {
        apply::finish(&file, &Host::new(HOME), &mut say);
    }
}

/// Why proc and sysfs are not mounted.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {}", errno_text(.error))]
struct MountError {
    step: MountStep,
    #[source]
    error: io::Error,
}

#[derive(Debug, thiserror::Error)]
enum MountStep {
    #[error("no mount namespace")]
    Unshare,
    #[error("mount {0}")]
    Mount(&'static str),
}

/// Mounts proc and sysfs below [`HOME`], for this process alone.
fn mount_all() -> Result<(), MountError> {
    let failed = |step, error: Errno| MountError { step, error: error.into() };
    // SAFETY: only the mount namespace is unshared; unsharing file descriptors is
    // what would need care.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
        .map_err(|error| failed(MountStep::Unshare, error))?;
    for kind in ["proc", "sysfs"] {
        let place = Path::new(HOME).join(kind.trim_end_matches("fs"));
        _ = fs::create_dir(&place);
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount(kind, &place, kind, flags, None::<&CStr>)
            .map_err(|error| failed(MountStep::Mount(kind), error))?;
    }
    // What earlier boots left; not every kernel has it.
    let pstore = Path::new(HOME).join("sys/fs/pstore");
    _ = rustix::mount::mount("pstore", pstore, "pstore", MountFlags::NOSUID, None::<&CStr>);
    Ok(())
}

/// Removes [`HOME`] and what is in it, this program's own file included.
///
/// That loses nothing: the rootfs is the unpacked copy of the ramdisk, made
/// by every boot, and the running program keeps its inode until the exec. It
/// leaves init the ramdisk that its makers built, and the memory.
fn remove_home() {
    let home = Path::new(HOME);
    let removed = home.symlink_metadata().and_then(|meta| remove(home, meta.dev()));
    if let Err(error) = removed {
        say(Level::Warning, &format!("{HOME} not removed: {}", errno_text(&error)));
    }
}

/// Removes a tree, never crossing into another file system.
fn remove(path: &Path, device: u64) -> io::Result<()> {
    let meta = path.symlink_metadata()?;
    if meta.dev() != device {
        return Err(Errno::BUSY.into());
    }
    if !meta.is_dir() {
        return fs::remove_file(path);
    }
    for entry in fs::read_dir(path)? {
        remove(&entry?.path(), device)?;
    }
    fs::remove_dir(path)
}

impl Start {
    /// The path under which the kernel executed us: it is `argv[0]` (`init/main.c`,
    /// `run_init_process`).
    fn own_path(self) -> &'static str {
        // SAFETY: `argv` has one element at least, the null pointer at its end.
        let first = unsafe { *self.argv };
        if first.is_null() {
            return DEFAULT_INIT;
        }
        // SAFETY: the strings of `argv` end in NUL and live as long as the process.
        let name = unsafe { CStr::from_ptr(first) };
        name.to_str().ok().filter(|path| path.starts_with('/')).unwrap_or(DEFAULT_INIT)
    }

    /// Puts the original init back at `hooked`. `false` when that failed and was logged.
    fn put_back(self, hooked: Option<&str>) -> bool {
        let Some(hooked) = hooked else { return true };
        match original_init::put_back(Path::new("/"), hooked) {
            Ok(()) => true,
            Err(error) => {
                say(Level::Warning, &error.to_string());
                false
            }
        }
    }

    /// Becomes the program in `file`, with `name` as `argv[0]` and our other arguments.
    /// Returns only when that fails, and then with the reason.
    fn execute(self, file: &str, name: &str) -> io::Error {
        let (path, name) = match (CString::new(file), CString::new(name)) {
            (Ok(path), Ok(name)) => (path, name),
            (Err(error), _) | (_, Err(error)) => return error.into(),
        };
        let mut arguments = vec![name.as_ptr()];
        // SAFETY: `argv` ends in a null pointer, and reading stops there.
        unsafe {
            let mut next = self.argv;
            if !(*next).is_null() {
                next = next.add(1);
                while !(*next).is_null() {
                    arguments.push(*next);
                    next = next.add(1);
                }
            }
        }
        arguments.push(std::ptr::null());
        // SAFETY: all three are valid, null-terminated, and alive during the call.
        unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), self.envp) };
        io::Error::last_os_error()
    }
}
