//! Talking to a guest that runs, and giving it devices: the console, the monitor, the agent. QEMU is a script,
//! its monitor a thread.

use crate::common::device_tree;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use device_tree::Tree;
use serde_json::{Value, json};
use vfioboot::device::guest::file::{Shutdown, parse};
use vfioboot::device::guest::qemu::{agent, qmp::QmpError};
use vfioboot::device::guest::run::ask;
use vfioboot::device::guest::run::preflight::{Options, Start};
use vfioboot::device::guest::run::requests::{ATTACH, DETACH};
use vfioboot::device::guest::run::restart::Restarts;
use vfioboot::device::guest::run::session::{Addition, PlugError, Plugs};
use vfioboot::device::guest::run::signals::Signals;
use vfioboot::device::guest::run::supervise::{GuestExit, Notice, Supervised, supervise};
use vfioboot::device::guest::run::{self, Context};
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::state::StateDir;

const LONG: Duration = Duration::from_secs(20);

/// Devices that are always there, and what was done with them.
#[derive(Default)]
struct Fake(Vec<String>);

impl Plugs for Fake {
    fn running(&mut self) -> Vec<Result<Addition, PlugError>> {
        Vec::new()
    }

    fn prepare(
        &mut self,
        device: &str,
        _: bool,
        log: &mut dyn FnMut(&str),
    ) -> Result<Addition, PlugError> {
        log("a step");
        let properties = json!({ "driver": "usb-host", "id": device });
        let file = Some((7, fs::File::open("/dev/null").unwrap().into()));
        Ok(Addition { id: device.into(), properties, file })
    }

    fn added(&mut self, id: &str, refused: Option<&str>) -> Result<String, PlugError> {
        self.0.push(format!("{id} {refused:?}"));
        refused.map_or(Ok(format!("{id} is in")), |text| Err(PlugError(text.into())))
    }

    fn id_of(&mut self, device: &str) -> Result<String, PlugError> {
        Ok(device.into())
    }

    fn removed(&mut self, id: &str) -> Option<Result<String, PlugError>> {
        self.0.push(format!("{id} removed"));
        Some(Ok(format!("{id} is back")))
    }
}

fn shell(script: &str) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

fn supervised(directory: &Path, child: Child) -> (GuestExit, Vec<String>, Vec<Notice>) {
    let signals = Signals::hold().unwrap();
    let shutdown = Shutdown { timeout: 30, quit_timeout: 30 };
    let mut plugs = Fake::default();
    let mut notices = Vec::new();
    let guest = Supervised {
        directory,
        shutdown: &shutdown,
        signals: &signals,
        plugs: &mut plugs,
        here: false,
    };
    let ended = supervise(child, guest, &mut |one| notices.push(one.clone())).unwrap();
    (ended, plugs.0, notices)
}

/// What `attempt` gives once it succeeds: the other side takes a moment.
fn soon<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        match attempt() {
            Some(value) => return value,
            None if started.elapsed() < LONG => thread::sleep(Duration::from_millis(5)),
            None => panic!("it does not come"),
        }
    }
}

/// The monitor of a QEMU with `pid`, which ends when it is told to quit; `answer` has the other answers and
/// events.
fn monitor(
    path: PathBuf,
    pid: u32,
    answer: impl Fn(&str, &Value) -> Vec<Value> + Send + 'static,
) -> Arc<Mutex<Vec<Value>>> {
    let listener = UnixListener::bind(path).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let commands = Arc::clone(&seen);
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut say = |message: &Value| _ = stream.write_all(format!("{message}\r\n").as_bytes());
        say(&json!({ "QMP": { "version": { "qemu": { "major": 7, "minor": 2, "micro": 0 } } } }));
        for line in lines.map_while(Result::ok) {
            let request: Value = serde_json::from_str(&line).unwrap();
            commands.lock().unwrap().push(request.clone());
            let command = request["execute"].as_str().unwrap().to_owned();
            let id = request.get("id");
            for mut message in answer(&command, &request) {
                if let Some(id) = id.filter(|_| message.get("event").is_none()) {
                    message["id"] = id.clone();
                }
                say(&message);
            }
            if command == "quit" {
                let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
                _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    });
    seen
}

fn ask(directory: &Path, command: &str, arguments: Value) -> Result<Value, QmpError> {
    let request = json!({ "execute": command, "arguments": arguments });
    ask::ask(directory, &request, LONG, &mut |_| {})
}

fn read_until(stream: &mut UnixStream, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 64];
    while !text.ends_with(end) {
        let length = stream.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "{text}");
        text.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    text
}

#[test]
fn a_console_has_one_writer_and_any_number_of_viewers() {
    let tree = Tree::new("talk-console");
    let directory = tree.root.clone();
    let child =
        shell("printf 'login: '; read name; read more; printf \"hello $name, $more.\"; read end");
    let other = thread::spawn(move || {
        let connect = |write, take| {
            let (stream, writes) = soon(|| ask::console(&directory, write, take).ok());
            (stream, writes)
        };
        let (mut first, writes) = connect(true, false);
        assert!(writes);
        // Who comes later sees what was written before.
        assert_eq!(read_until(&mut first, "login: "), "login: ");
        let (mut second, writes) = connect(true, false);
        assert!(!writes, "somebody writes already");
        assert_eq!(read_until(&mut second, "login: "), "login: ");
        second.write_all(b"nobody\n").unwrap();
        first.write_all(b"root\n").unwrap();
        let (mut third, writes) = connect(true, true);
        assert!(writes, "it is taken");
        third.write_all(b"third\n").unwrap();
        for stream in [&mut first, &mut second, &mut third] {
            assert!(read_until(stream, ".").ends_with("hello root, third."));
        }
        first.write_all(b"no longer\n").unwrap();
        third.write_all(b"end\n").unwrap();
        assert_eq!(second.read(&mut [0; 8]).unwrap(), 0, "it ends with the guest");
    });
    let (ended, _, notices) = supervised(&tree.root, child);
    other.join().unwrap();
    assert!(ended.status.success());
    let console: Vec<u8> = notices
        .iter()
        .filter_map(|notice| if let Notice::Console(bytes) = notice { Some(bytes) } else { None })
        .flatten()
        .copied()
        .collect();
    assert_eq!(console, b"login: hello root, third.");
    assert!(!tree.path("vfiorun.sock").exists());
}

#[test]
fn commands_of_several_are_passed_on_and_each_has_its_answer() {
    let tree = Tree::new("talk-monitor");
    let child = shell("exec sleep 60");
    let seen = monitor(tree.path("qmp.sock"), child.id(), |command, request| match command {
        "echo" => vec![json!({ "event": "STOP" }), json!({ "return": request["arguments"] })],
        "nonsense" => vec![json!({ "error": { "class": "CommandNotFound", "desc": "unknown" } })],
        _ => vec![json!({ "return": {} })],
    });
    let directory = tree.root.clone();
    let others = thread::spawn(move || {
        soon(|| ask(&directory, "query-x", json!({})).ok());
        let many: Vec<_> = (0..8)
            .map(|number| {
                let directory = directory.clone();
                thread::spawn(move || ask(&directory, "echo", json!({ "n": number })).unwrap())
            })
            .collect();
        for (number, thread) in many.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), json!({ "n": number }));
        }
        let error = ask(&directory, "nonsense", json!({})).unwrap_err().to_string();
        assert_eq!(error, "QEMU refuses nonsense: unknown");
        // What is no request ends the connection, and nothing else.
        let mut stream = UnixStream::connect(directory.join("vfiorun.sock")).unwrap();
        stream.write_all(b"hello\n").unwrap();
        assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
        ask(&directory, "quit", json!({})).unwrap();
    });
    let (ended, ..) = supervised(&tree.root, child);
    others.join().unwrap();
    assert!(ended.ran);
    // The first is the supervisor's own.
    assert_eq!(seen.lock().unwrap()[0]["execute"], "qmp_capabilities");
}

#[test]
fn a_device_is_given_and_taken_and_each_answer_comes_when_qemu_has_done_it() {
    let tree = Tree::new("talk-devices");
    let child = shell("exec sleep 60");
    let seen = monitor(tree.path("qmp.sock"), child.id(), |command, request| {
        let id = &request["arguments"]["id"];
        match (command, id.as_str()) {
            ("device_add", Some("bad")) => vec![json!({ "error": { "desc": "no" } })],
            ("device_del", Some("kept")) => vec![json!({ "return": {} })],
            ("device_del", _) => {
                let event = json!({ "event": "DEVICE_DELETED", "data": { "device": id } });
                vec![json!({ "return": {} }), event]
            }
            _ => vec![json!({ "return": {} })],
        }
    });
    let directory = tree.root.clone();
    let others = thread::spawn(move || {
        soon(|| ask(&directory, "query-x", json!({})).ok());
        let mut steps = Vec::new();
        let request = json!({ "execute": ATTACH, "arguments": { "device": "good" } });
        let done = ask::ask(&directory, &request, LONG, &mut |step| steps.push(step.to_owned()));
        assert_eq!((done.unwrap(), steps), (json!("good is in"), vec!["a step".to_owned()]));
        let error = ask(&directory, ATTACH, json!({ "device": "bad" })).unwrap_err();
        assert!(matches!(error, QmpError::Refused { reason, .. } if reason == "no"));
        let done = ask(&directory, DETACH, json!({ "device": "good" }));
        assert_eq!(done.unwrap(), "good is back");
        let error = ask(&directory, DETACH, json!({ "device": "kept", "timeout": 0 })).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("the guest has not let go of the device in time"), "{text}");
        ask(&directory, "quit", json!({})).unwrap();
    });
    let (_, done, _) = supervised(&tree.root, child);
    others.join().unwrap();
    assert_eq!(done, ["good None", "bad Some(\"no\")", "good removed"]);
    let commands: Vec<String> = seen
        .lock()
        .unwrap()
        .iter()
        .map(|request| request["execute"].as_str().unwrap().to_owned())
        .collect();
    let added = commands.iter().position(|command| command == "device_add").unwrap();
    assert_eq!(commands[added - 1..=added + 1], ["add-fd", "device_add", "remove-fd"]);
}

#[test]
fn a_guest_whose_agent_listens_is_shut_down_by_it_and_by_the_button_later() {
    let tree = Tree::new("talk-agent");
    let child = shell("exec sleep 60");
    let (pid, listener) = (child.id(), UnixListener::bind(tree.path("agent.sock")).unwrap());
    // SAFETY: takes nothing.
    let (process, thread_id) = unsafe { (libc::getpid(), libc::gettid()) };
    let seen = monitor(tree.path("qmp.sock"), pid, move |command, _| {
        if command == "qmp_capabilities" {
            let data = json!({ "id": "agent", "open": true });
            return vec![json!({ "event": "VSERPORT_CHANGE", "data": data })];
        }
        vec![json!({ "return": {} })]
    });
    let directory = tree.root.clone();
    let other = thread::spawn(move || {
        soon(|| ask(&directory, "query-x", json!({})).ok());
        // SAFETY: three numbers.
        unsafe { libc::syscall(libc::SYS_tgkill, process, thread_id, libc::SIGTERM) };
        let (stream, _) = listener.accept().unwrap();
        let mut line = Vec::new();
        BufReader::new(stream).read_until(b'\n', &mut line).unwrap();
        let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
        _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        line
    });
    supervised(&tree.root, child);
    assert_eq!(other.join().unwrap(), b"\xff{\"execute\": \"guest-shutdown\"}\n");
    let pressed = seen.lock().unwrap().iter().any(|one| one["execute"] == "system_powerdown");
    assert!(!pressed, "it has half of its time first");
}

#[test]
fn the_addresses_of_a_guest_come_from_its_agent() {
    let tree = Tree::new("talk-addresses");
    let path = tree.path("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // What somebody else did not wait for.
        stream.write_all(b"{\"return\": {}}\n").unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            let request: Value = serde_json::from_str(&line).unwrap();
            let address = |text: &str| json!({ "ip-address-type": "x", "ip-address": text });
            let answer = match request["execute"].as_str().unwrap() {
                "guest-sync" => request["arguments"]["id"].clone(),
                "guest-network-get-interfaces" => json!([
                    { "name": "lo", "ip-addresses": [address("127.0.0.1")] },
                    { "name": "eth0", "ip-addresses": [address("10.0.2.15"), address("fe80::1")] },
                    { "name": "eth1" },
                ]),
                _ => json!({}),
            };
            stream.write_all(format!("{}\n", json!({ "return": answer })).as_bytes()).unwrap();
        }
    });
    assert_eq!(agent::addresses(&path, LONG).unwrap(), ["10.0.2.15"]);
}

/// A machine whose kernel moves devices, with a USB device.
fn machine(name: &str) -> (Tree, Host) {
    let tree = Tree::new(&format!("talk-{name}"));
    tree.file("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\n");
    tree.file("sys/devices/system/cpu/online", "0\n");
    tree.device("0000:00:02.0", ("1b36", "0010"), Some("nvme"));
    tree.iommu_group(7, &["0000:00:02.0"]);
    tree.driver("vfio-pci");
    let usb = "sys/bus/usb/devices";
    for (file, value) in [
        ("idVendor", "046d"),
        ("idProduct", "c52b"),
        ("busnum", "1"),
        ("devnum", "5"),
        ("dev", "1:3"),
        ("bDeviceClass", "00"),
    ] {
        tree.file(&format!("{usb}/1-2/{file}"), value);
    }
    tree.file(&format!("{usb}/1-2:1.0/bInterfaceClass"), "08");
    tree.file("sys/bus/usb/drivers_probe", "");
    fs::create_dir_all(tree.path("dev/bus/usb/001")).unwrap();
    symlink("/dev/null", tree.path("dev/bus/usb/001/005")).unwrap();
    fs::remove_dir_all(tree.path("proc")).unwrap();
    symlink("/proc", tree.path("proc")).unwrap();
    let (host, _) = tree.kernel();
    (tree, host)
}

/// What is asked of a guest with ports that are kept free and a USB device, and what was written.
fn asked(
    name: &str,
    file: &str,
    questions: impl FnOnce(&Path) + Send + 'static,
) -> (Tree, Host, Vec<Value>) {
    let (tree, host) = machine(name);
    let script = tree.path("qemu.sh");
    fs::write(&script, "#!/bin/sh\nexec sleep 60\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).unwrap();
    let text = format!("name = \"g\"\nqemu = \"{}\"\n{file}", script.display());
    let guest = parse(&text, "g.toml").unwrap();
    let state = StateDir::new(tree.path("state"));
    let directory = tree.path("state/guests/g");
    let other = thread::spawn(move || {
        let pid = soon(|| {
            let record = fs::read(directory.join("guest.json")).ok()?;
            let record: Value = serde_json::from_slice(&record).ok()?;
            record["qemu"]["pid"].as_u64()
        });
        let seen = monitor(directory.join("qmp.sock"), pid as u32, |command, request| {
            let id = &request["arguments"]["id"];
            let event = json!({ "event": "DEVICE_DELETED", "data": { "device": id } });
            let done = json!({ "return": {} });
            if command == "device_del" { vec![done, event] } else { vec![done] }
        });
        soon(|| ask(&directory, "query-x", json!({})).ok());
        questions(&directory);
        ask(&directory, "quit", json!({})).unwrap();
        seen.lock().unwrap().clone()
    });
    let signals = Signals::hold().unwrap();
    let mut start = Start::new(&host, &state, &guest, &Options::default());
    start.refusals.clear();
    let given = "# USB 1-2 (046d:c52b): given to the guest when it runs".to_owned();
    assert_eq!(start.steps(None).contains(&given), !guest.usb.is_empty());
    let restarts = Restarts::new(guest.restart);
    let context =
        Context { host: &host, state: &state, signals: &signals, restarts: &restarts, log: None };
    let report = run::run(context, &guest, Path::new("g.toml"), &start, &mut |_| {}).unwrap();
    assert!(report.report.is_clean(), "{}", report.report);
    assert_eq!(state.journals().unwrap(), Vec::<String>::new());
    let seen = other.join().unwrap();
    (tree, host, seen)
}

fn devices(directory: &Path) -> Value {
    let record = fs::read(directory.join("guest.json")).unwrap();
    serde_json::from_slice::<Value>(&record).unwrap()["devices"].clone()
}

#[test]
fn a_usb_device_is_opened_here_and_its_drivers_are_found_again() {
    let (tree, _, seen) = asked("usb", "usb = [\"046d:c52b\"]", |directory| {
        soon(|| (devices(directory) == json!(["1-2"])).then_some(()));
        let error = ask(directory, ATTACH, json!({ "device": "1-2" })).unwrap_err().to_string();
        assert!(error.contains("1-2: the guest has it already"), "{error}");
        let done = ask(directory, DETACH, json!({ "device": "046d:c52b" })).unwrap();
        assert_eq!(done, "USB 1-2: back to its drivers: done");
        assert_eq!(devices(directory), json!([]));
        ask(directory, ATTACH, json!({ "device": "046d:c52b" })).unwrap();
        let error = ask(directory, ATTACH, json!({ "device": "1-9" })).unwrap_err().to_string();
        assert!(error.contains("1-9: no such USB device"), "{error}");
    });
    assert_eq!(tree.read("sys/bus/usb/drivers_probe"), "1-2:1.0");
    let added: Vec<&Value> = seen
        .iter()
        .filter(|one| one["execute"] == "device_add")
        .map(|one| &one["arguments"])
        .collect();
    assert_eq!(added.len(), 2);
    assert_eq!((&added[0]["driver"], &added[0]["bus"]), (&json!("usb-host"), &json!("usb.0")));
    assert_eq!(added[0]["hostdevice"], "/dev/fdset/1001");
}

#[test]
fn a_device_that_vfio_does_not_hand_out_goes_back_while_the_guest_runs_on() {
    let (tree, host, seen) = asked("attach", "hotplug = 1", |directory| {
        let error =
            ask(directory, ATTACH, json!({ "device": "1b36:0010" })).unwrap_err().to_string();
        assert!(error.contains("/dev/vfio/vfio: no such file"), "{error}");
        let error = ask(directory, DETACH, json!({ "device": "0000:00:02.0" })).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("0000:00:02.0: the guest does not have it"), "{text}");
    });
    let driver = vfioboot::device::bus::pci::driver(&host, device_tree::at("0000:00:02.0"));
    assert_eq!(driver.unwrap().as_deref(), Some("nvme"));
    assert_eq!(tree.get_override("0000:00:02.0").trim(), "(null)");
    assert!(!seen.iter().any(|one| one["execute"] == "device_add"));
}

#[test]
fn a_guest_without_free_ports_says_which_key_gives_it_some() {
    asked("no-ports", "", |directory| {
        for (device, key) in
            [("0000:00:02.0", "hotplug = N in its file"), ("1-2", "hotplug = N, or usb")]
        {
            let error = ask(directory, ATTACH, json!({ "device": device })).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(key), "{text}");
        }
    });
}
