//! A guest under supervision: how it is ended, what comes of each way to end, and that everything
//! is given back. QEMU is a script, and its monitor a thread.

use crate::common::device_tree;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use device_tree::Tree;
use vfioboot::device::guest::file::{Guest, Restart, Shutdown, parse};
use vfioboot::device::guest::qemu::qmp::ShutdownCause;
use vfioboot::device::guest::run::launch::Launch;
use vfioboot::device::guest::run::preflight::{Options, Start};
use vfioboot::device::guest::run::restart::Restarts;
use vfioboot::device::guest::run::session::{Addition, PlugError, Plugs};
use vfioboot::device::guest::run::signals::Signals;
use vfioboot::device::guest::run::supervise::{
    Escalation, GuestExit, Notice, Supervised, supervise,
};
use vfioboot::device::guest::run::{self, Context, Progress};
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::state::StateDir;

/// Sends SIGTERM to the thread that supervises, as the kernel does to a process that has but one.
struct Stopper(libc::pid_t);

impl Stopper {
    /// For the calling thread.
    fn new() -> Self {
        // SAFETY: takes nothing.
        Self(unsafe { libc::gettid() })
    }

    fn stop(&self) {
        // SAFETY: three numbers.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), self.0, libc::SIGTERM) };
    }
}

/// What the monitor of a fake QEMU does.
#[derive(Clone, Copy, PartialEq)]
enum Manners {
    /// Powers down when asked.
    PowersDown,
    /// Only quits.
    Quits,
    /// Does nothing.
    Ignores,
    /// Panics at once.
    Panics,
}

fn qemu(tree: &Tree, manners: Manners) -> (Child, PathBuf) {
    let path = tree.path("qmp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let child = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let commands = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut say = |text: &str| _ = stream.write_all(format!("{text}\r\n").as_bytes());
        say(r#"{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}}}"#);
        for command in commands.map_while(Result::ok) {
            say(r#"{"return": {}}"#);
            let reason = match manners {
                Manners::Panics => "guest-panic",
                Manners::PowersDown if command.contains("system_powerdown") => "guest-shutdown",
                Manners::Quits if command.contains("\"quit\"") => "host-qmp-quit",
                _ => continue,
            };
            say(&format!(r#"{{"event": "SHUTDOWN", "data": {{"reason": "{reason}"}}}}"#));
            // It has inherited that SIGTERM is held back.
            _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            return;
        }
    });
    (child, path)
}

/// Nothing comes while the guest runs.
struct Nothing;

impl Plugs for Nothing {
    fn running(&mut self) -> Vec<Result<Addition, PlugError>> {
        Vec::new()
    }
    fn prepare(
        &mut self,
        device: &str,
        _: bool,
        _: &mut dyn FnMut(&str),
    ) -> Result<Addition, PlugError> {
        Err(PlugError(device.to_owned()))
    }
    fn added(&mut self, id: &str, _: Option<&str>) -> Result<String, PlugError> {
        Err(PlugError(id.to_owned()))
    }
    fn id_of(&mut self, device: &str) -> Result<String, PlugError> {
        Err(PlugError(device.to_owned()))
    }
    fn removed(&mut self, _: &str) -> Option<Result<String, PlugError>> {
        None
    }
}

fn supervised_in(
    directory: &Path,
    child: Child,
    shutdown: &Shutdown,
    signals: &Signals,
    notify: &mut dyn FnMut(&Notice),
) -> std::io::Result<GuestExit> {
    let plugs = &mut Nothing;
    let guest = Supervised { directory, shutdown, signals, plugs, here: false };
    supervise(child, guest, notify)
}

/// Supervises a fake QEMU; `stops` times SIGTERM once the guest runs and after each escalation.
fn supervised(
    name: &str,
    manners: Manners,
    shutdown: Shutdown,
    stops: usize,
) -> (GuestExit, Vec<Notice>) {
    let tree = Tree::new(&format!("run-{name}"));
    let signals = Signals::hold().unwrap();
    let (child, path) = qemu(&tree, manners);
    let stopper = Stopper::new();
    let mut notices = Vec::new();
    let mut left = stops;
    let directory = path.parent().unwrap();
    let ended = supervised_in(directory, child, &shutdown, &signals, &mut |one| {
        notices.push(one.clone());
        if left > 0 && !matches!(one, Notice::Event(_)) {
            left -= 1;
            stopper.stop();
        }
    });
    (ended.unwrap(), notices)
}

const LONG: Shutdown = Shutdown { timeout: 30, quit_timeout: 30 };

#[test]
fn a_guest_that_is_asked_powers_down() {
    let (ended, notices) = supervised("powerdown", Manners::PowersDown, LONG, 1);
    assert_eq!(ended.escalation, Some(Escalation::PowerDown));
    assert_eq!(ended.reason, Some(ShutdownCause::GuestShutdown));
    assert_eq!(notices[0], Notice::Running("7.2.0".into()));
    assert_eq!(notices[1], Notice::PoweringDown(Duration::from_secs(30)));
    assert!(ended.to_string().starts_with("the guest powered down"), "{ended}");
}

#[test]
fn a_guest_that_does_not_power_down_in_time_is_quit() {
    let shutdown = Shutdown { timeout: 0, quit_timeout: 30 };
    let (ended, _) = supervised("quit", Manners::Quits, shutdown, 1);
    assert_eq!(ended.escalation, Some(Escalation::Quit));
    assert_eq!(ended.code(), 1);
    assert_eq!(ended.to_string(), "the guest did not power down, QEMU had to quit");
}

#[test]
fn a_qemu_that_does_not_quit_in_time_is_killed() {
    let shutdown = Shutdown { timeout: 0, quit_timeout: 0 };
    let (ended, notices) = supervised("kill", Manners::Ignores, shutdown, 1);
    assert_eq!(ended.escalation, Some(Escalation::Kill));
    assert_eq!(ended.status.signal(), Some(libc::SIGKILL));
    assert_eq!(ended.code(), 1);
    assert!(notices.contains(&Notice::Killing));
}

#[test]
fn each_further_signal_goes_a_step_further_at_once() {
    let started = Instant::now();
    let (ended, _) = supervised("impatient", Manners::Ignores, LONG, 3);
    assert_eq!(ended.escalation, Some(Escalation::Kill));
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_panic_differs_from_a_normal_end() {
    let (ended, _) = supervised("panic", Manners::Panics, LONG, 0);
    assert!(ended.panicked);
    assert_eq!((ended.code(), ended.to_string().as_str()), (1, "the guest panicked"));
}

#[test]
fn a_qemu_that_ends_by_itself_has_its_own_result() {
    let tree = Tree::new("run-own-result");
    let signals = Signals::hold().unwrap();
    let child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
    let ended = supervised_in(&tree.path("none"), child, &LONG, &signals, &mut |_| {}).unwrap();
    assert!(!ended.ran);
    assert_eq!(ended.code(), 7);
    assert_eq!(ended.to_string(), "QEMU ended before the guest ran, with status 7");
}

#[test]
fn a_qemu_without_a_monitor_is_stopped_by_signal() {
    let tree = Tree::new("run-no-monitor");
    // Before, so that it does not inherit that SIGTERM is held back.
    let child = Command::new("sleep").arg("60").spawn().unwrap();
    let signals = Signals::hold().unwrap();
    Stopper::new().stop();
    let ended = supervised_in(&tree.path("none"), child, &LONG, &signals, &mut |_| {}).unwrap();
    assert_eq!(ended.status.signal(), Some(libc::SIGTERM));
    assert_eq!(ended.escalation, Some(Escalation::Quit));
}

/// Starts `script` as QEMU is started, with what `change` makes of it, and gives what it wrote.
fn launched(name: &str, script: &str, change: impl FnOnce(&mut Launch)) -> String {
    let tree = Tree::new(&format!("run-{name}"));
    let out = tree.path("out");
    let mut launch = Launch {
        program: "/bin/sh".into(),
        argv: vec!["-c".into(), format!("({script}) > {}", out.display())],
        chroot: None,
        directory: tree.root.clone(),
        cpus: None,
        cgroups: Vec::new(),
        nodes: Vec::new(),
        pins_memory: false,
        may_pin_memory: false,
    };
    change(&mut launch);
    let mut child = launch.start().unwrap();
    assert!(child.wait().unwrap().success());
    std::fs::read_to_string(out).unwrap()
}

#[test]
fn qemu_runs_on_the_processors_that_were_chosen() {
    let allowed = "grep Cpus_allowed_list: /proc/self/status";
    let before = launched("cpus-all", allowed, |_| {});
    let list = before.split_whitespace().nth(1).unwrap();
    let first: u32 = vfioboot::device::sys::cpu_list::parse(list)[0];
    let after = launched("cpus", allowed, |launch| launch.cpus = Some(vec![first]));
    assert_eq!(after.split_whitespace().nth(1).unwrap(), first.to_string());
}

#[test]
fn qemu_has_a_session_of_its_own() {
    let ids = launched("session", "cut -d' ' -f1,6 /proc/$$/stat", |_| {});
    let (pid, session) = ids.trim().split_once(' ').unwrap();
    assert_eq!(pid, session);
}

/// What is open here, and what is in our environment, is not for a process that a guest may take over.
#[test]
fn qemu_has_neither_our_descriptors_nor_our_environment() {
    use std::os::fd::AsRawFd;
    let secret = std::fs::File::open("/dev/null").unwrap();
    // As a shell or a service manager leaves one open.
    rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
    let number = secret.as_raw_fd();
    let there = format!("test -e /proc/self/fd/{number} && echo open || echo closed");
    assert_eq!(launched("descriptors", &there, |_| {}).trim(), "closed");
    let environment = launched("environment", "tr '\\0' '\\n' < /proc/$$/environ", |_| {});
    assert!(environment.lines().any(|line| line.starts_with("PATH=")), "{environment}");
    // cargo's are here.
    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")));
    assert!(!environment.contains("CARGO"), "{environment}");
}

#[test]
fn qemu_receives_the_signals_that_vfiorun_blocks() {
    let _signals = Signals::hold().unwrap();
    let blocked = launched("unblocked", "grep SigBlk: /proc/self/status", |_| {});
    let mask = u64::from_str_radix(blocked.split_whitespace().nth(1).unwrap(), 16).unwrap();
    assert_eq!(mask & (1 << (libc::SIGTERM - 1)), 0);
}

#[test]
fn qemu_joins_the_control_groups() {
    let tree = Tree::new("run-join");
    tree.file("cgroup.procs", "");
    launched("joined", "true", |launch| launch.cgroups = vec![tree.path("cgroup.procs")]);
    assert_eq!(tree.read("cgroup.procs"), "0");
}

#[test]
fn a_program_that_cannot_be_executed_is_named() {
    let tree = Tree::new("run-no-program");
    let launch = Launch {
        program: "/no/qemu".into(),
        argv: Vec::new(),
        chroot: None,
        directory: tree.root.clone(),
        cpus: None,
        cgroups: Vec::new(),
        nodes: Vec::new(),
        pins_memory: false,
        may_pin_memory: false,
    };
    let error = launch.start().unwrap_err().to_string();
    assert_eq!(error, "QEMU was not started: execute /no/qemu: no such file");
}

/// A machine whose kernel moves devices between drivers, with the real `/proc`.
fn machine(name: &str) -> (Tree, Host) {
    let tree = Tree::new(&format!("run-{name}"));
    std::fs::remove_dir_all(tree.path("proc")).unwrap();
    std::os::unix::fs::symlink("/proc", tree.path("proc")).unwrap();
    tree.file("sys/devices/system/cpu/online", "0\n");
    tree.device("0000:00:02.0", ("1b36", "0010"), Some("nvme"));
    tree.group("0000:00:02.0", 7);
    let members = tree.path("sys/kernel/iommu_groups/7/devices");
    std::fs::create_dir_all(&members).unwrap();
    let device = "../../../../devices/pci0000:00/0000:00:02.0";
    std::os::unix::fs::symlink(device, members.join("0000:00:02.0")).unwrap();
    tree.driver("vfio-pci");
    let root = tree.root.clone();
    let host = Host::with_kernel(
        &tree.root,
        Arc::new(move |path: &str, value: &str| {
            kernel(&root, path, value);
            Ok(())
        }),
    );
    (tree, host)
}

/// Does what a kernel does when an attribute is written.
fn kernel(root: &Path, path: &str, value: &str) {
    let device = root.join("sys/devices/pci0000:00/0000:00:02.0");
    let link = device.join("driver");
    let bind = |driver: &str| {
        _ = std::os::unix::fs::symlink(format!("../../../bus/pci/drivers/{driver}"), &link);
    };
    match path.rsplit('/').next().unwrap() {
        "driver_override" => {
            let text = if value.trim().is_empty() { "(null)" } else { value };
            std::fs::write(device.join("driver_override"), text).unwrap();
        }
        "unbind" => std::fs::remove_file(&link).unwrap(),
        "bind" => bind(path.rsplit('/').nth(1).unwrap()),
        "drivers_probe" => {
            let wanted = std::fs::read_to_string(device.join("driver_override")).unwrap();
            bind(if wanted.trim() == "vfio-pci" { "vfio-pci" } else { "nvme" });
        }
        _ => std::fs::write(root.join(path), value).unwrap(),
    }
}

fn guest(text: &str) -> Guest {
    let common =
        "name = \"g\"\n[memory]\nsize = \"1M\"\nhugepages = \"none\"\n[network]\nmode = \"none\"\n";
    parse(&format!("{text}\n{common}"), "guest.toml").unwrap()
}

/// Runs a guest as far as possible on a machine without KVM.
fn ran(
    tree: &Tree,
    host: &Host,
    guest: &Guest,
) -> (Result<run::RunReport, run::RunError>, Vec<Progress>) {
    let state = StateDir::new(tree.path("state"));
    let signals = Signals::hold().unwrap();
    let mut start = Start::new(host, &state, guest, &Options::default());
    start.refusals.clear();
    let progress = Mutex::new(Vec::new());
    let restarts = Restarts::new(guest.restart);
    let context =
        Context { host, state: &state, signals: &signals, restarts: &restarts, log: None };
    let result = run::run(context, guest, Path::new("g.toml"), &start, &mut |one| {
        progress.lock().unwrap().push(one.clone());
    });
    (result, progress.into_inner().unwrap())
}

fn driver(host: &Host) -> Option<String> {
    vfioboot::device::bus::pci::driver(host, device_tree::at("0000:00:02.0")).unwrap()
}

#[test]
fn devices_that_vfio_does_not_hand_out_are_given_back() {
    let (tree, host) = machine("vfio-refuses");
    let (result, progress) =
        ran(&tree, &host, &guest("devices = [\"1b36:0010\"]\nqemu = \"/bin/true\""));
    let error = result.unwrap_err().to_string();
    assert_eq!(error, "/dev/vfio/vfio: no such file; everything is as it was");
    // It was taken, and it is back.
    assert!(
        progress.iter().any(|one| matches!(one, Progress::Step(text) if text.contains("vfio-pci"))),
        "{progress:?}"
    );
    assert_eq!(driver(&host).as_deref(), Some("nvme"));
    assert_eq!(tree.get_override("0000:00:02.0").trim(), "(null)");
    assert_eq!(StateDir::new(tree.path("state")).journals().unwrap(), Vec::<String>::new());
}

/// What QEMU writes to its standard error is passed on while it runs, and the reason is found in it.
#[test]
fn what_qemu_says_when_it_ends_is_put_down_to_a_cause() {
    let (tree, host) = machine("run-said");
    let line = "qemu-system-x86_64: VFIO_MAP_DMA failed: Cannot allocate memory";
    let script = |text: &str| {
        let path = tree.path("qemu.sh");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        guest(&format!("qemu = \"{}\"\n", path.display()))
    };
    // The last line has no end, and a helper keeps the pipe open.
    let quoted = format!("printf 'first\\n{line}' >&2; sleep 3 & exit 1");
    let (report, notices) = ran(&tree, &host, &script(&quoted));
    let report = report.unwrap();
    assert_eq!(report.reason.map(|reason| reason.cause.id), Some("qemu-memlock"));
    let said = notices.iter().any(|one| *one == Progress::Notice(Notice::Said("first".into())));
    assert!(said, "{notices:?}");
    let (report, _) = ran(&tree, &host, &script("echo nothing that is known >&2; exit 1"));
    assert_eq!(report.unwrap().reason, None);
}

#[test]
fn a_guest_ends_with_the_result_of_qemu() {
    let (tree, host) = machine("result");
    let guest = guest("qemu = \"/bin/false\"");
    let (result, _) = ran(&tree, &host, &guest);
    let finished = result.unwrap();
    assert_eq!(finished.ended.code(), 1);
    assert!(finished.report.is_clean());
    assert!(!tree.path("state/guests/g").exists());
}

#[test]
fn a_qemu_that_cannot_be_started_leaves_no_state() {
    let (tree, host) = machine("no-start");
    let (result, _) = ran(&tree, &host, &guest("qemu = \"/no/qemu\""));
    assert_eq!(
        result.unwrap_err().to_string(),
        "QEMU was not started: execute /no/qemu: no such file; everything is as it was"
    );
    assert_eq!(StateDir::new(tree.path("state")).journals().unwrap(), Vec::<String>::new());
}

#[test]
fn a_signal_before_the_start_starts_nothing() {
    let (tree, host) = machine("interrupted");
    _ = Signals::hold().unwrap();
    Stopper::new().stop();
    let (result, _) = ran(&tree, &host, &guest("qemu = \"/bin/true\""));
    assert!(result.unwrap_err().to_string().starts_with("interrupted"));
}

/// What the guest writes to its console is passed on, to its last byte.
#[test]
fn a_console_that_is_piped_is_passed_on() {
    let tree = Tree::new("run-console");
    let signals = Signals::hold().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "printf 'login: '; sleep 0.1; printf 'bye'"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut console = Vec::new();
    supervised_in(&tree.path("none"), child, &LONG, &signals, &mut |notice| {
        if let Notice::Console(bytes) = notice {
            console.extend_from_slice(bytes);
        }
    })
    .unwrap();
    assert_eq!(console, b"login: bye");
}

#[test]
fn a_guest_is_started_again_as_its_file_says_with_a_growing_pause() {
    let signals = Signals::hold().unwrap();
    let ended = |restarts: &mut Restarts, status, ran| {
        restarts.ended(status, "why", ran, &signals).map(|pause| pause.as_secs())
    };
    let mut never = Restarts::new(Restart::Never);
    assert_eq!(ended(&mut never, 1, true), None);
    let mut on_failure = Restarts::new(Restart::OnFailure);
    assert_eq!(ended(&mut on_failure, 0, true), None);
    // What is wrong with the first start, no pause changes.
    assert_eq!(ended(&mut on_failure, 2, false), None);
    let pauses: Vec<_> = (0..8).map(|_| ended(&mut on_failure, 1, true).unwrap()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    // But one that ran before is tried again.
    assert_eq!(ended(&mut on_failure, 2, false), Some(60));
    assert_eq!((on_failure.count, on_failure.last_exit.unwrap().status), (9, 2));
    let mut always = Restarts::new(Restart::Always);
    assert_eq!(ended(&mut always, 0, true), Some(1));
    // Somebody ended it.
    Stopper::new().stop();
    assert_eq!(ended(&mut always, 0, true), None);
}
