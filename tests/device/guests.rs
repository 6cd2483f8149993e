//! `vfiorun status`, `stop` and `autostart`: the supervisor is a shell, QEMU's monitor a thread.

use crate::common::device_tree;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::thread;

use device_tree::Tree;
use serde_json::{Value, json};

/// An empty machine with the `/proc` of the real one.
fn tree(name: &str) -> Tree {
    let tree = Tree::new(&format!("guests-{name}"));
    std::fs::remove_dir_all(tree.path("proc")).unwrap();
    symlink("/proc", tree.path("proc")).unwrap();
    tree
}

/// What a vfiorun would be. It is ready when it has said a line.
fn supervisor(script: &str) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{script}\necho ready; while :; do sleep 0.02; done")]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child
}

fn start_time(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

/// The record of a guest that `child` supervises, and is the QEMU of.
fn record(tree: &Tree, name: &str, child: &Child) {
    let process = json!({ "pid": child.id(), "start_time": start_time(child.id()) });
    let record = json!({
        "format": 1, "name": name, "file": tree.path("g.toml"), "supervisor": process,
        "qemu": process, "since": 1, "devices": ["0000:00:02.0"], "ready": true,
    });
    tree.file(&format!("run/vfioboot/guests/{name}/guest.json"), record.to_string());
}

/// The monitor that `status` asks: of a guest that does `what`.
fn monitor(tree: &Tree, name: &str, what: &'static str) {
    let path = tree.path(&format!("run/vfioboot/guests/{name}/control.sock"));
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let commands = BufReader::new(stream.try_clone().unwrap()).lines();
            let mut say = |text: String| _ = stream.write_all(format!("{text}\r\n").as_bytes());
            say(r#"{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}}}"#.into());
            for command in commands.map_while(Result::ok) {
                let asked = command.contains("query-status");
                let status = if asked { format!(r#""status": "{what}""#) } else { String::new() };
                say(format!(r#"{{"return": {{{status}}}}}"#));
            }
        }
    });
}

fn vfiorun(tree: &Tree, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfiorun"));
    let output = command.arg("--sysroot").arg(&tree.root).args(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn said(text: &str) -> (i32, String, String) {
    (0, text.to_owned(), String::new())
}

fn refused(text: &str) -> (i32, String, String) {
    (2, String::new(), text.to_owned())
}

#[test]
fn status_says_what_qemu_says() {
    let tree = tree("status");
    assert_eq!(vfiorun(&tree, &["status"]), said("no guest is running\n"));
    tree.device("0000:00:02.0", ("1b36", "0010"), Some("vfio-pci"));
    let mut child = supervisor("");
    record(&tree, "one", &child);
    monitor(&tree, "one", "paused");
    let (status, text, _) = vfiorun(&tree, &["status"]);
    let pid = child.id();
    let begin = format!("one: paused, pid {pid}, QEMU pid {pid}, for ");
    assert!(text.starts_with(&begin) && text.ends_with(" MiB, 0000:00:02.0\n"), "{text}");
    assert_eq!(status, 0);
    let (_, text, _) = vfiorun(&tree, &["status", "--json"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["guests"][0]["status"], "paused");
    assert_eq!(document["guests"][0]["qemu_pid"], pid);
    assert_eq!(document["guests"][0]["qmp"], true);
    assert!(document["guests"][0]["memory_kib"].as_u64().unwrap() > 100);
    // One that is started again.
    let file = "run/vfioboot/guests/one/guest.json";
    let mut record: Value = serde_json::from_str(&tree.read(file)).unwrap();
    record["qemu"] = Value::Null;
    record["again"] = u64::MAX.into();
    record["restarts"] = 3.into();
    record["last_exit"] = json!({ "when": 1, "status": 1, "reason": "the guest panicked" });
    tree.file(file, record.to_string());
    let (_, text, _) = vfiorun(&tree, &["status"]);
    assert!(text.starts_with("one: starts again in "), "{text}");
    assert!(
        text.contains("; restarts: 3, the last ") && text.ends_with(" ago: the guest panicked\n"),
        "{text}"
    );
    let (_, text, _) = vfiorun(&tree, &["status", "--json"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["guests"][0]["last_exit"]["reason"], "the guest panicked");
    assert_eq!(document["guests"][0]["qmp"], Value::Null);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(vfiorun(&tree, &["status"]), said("no guest is running\n"));
}

#[test]
fn status_shows_a_device_that_is_lost_or_has_errors() {
    let tree = tree("device-health");
    let mut child = supervisor("");
    record(&tree, "one", &child);
    monitor(&tree, "one", "running");
    let file = "run/vfioboot/guests/one/guest.json";
    let mut record: Value = serde_json::from_str(&tree.read(file)).unwrap();
    let before = json!({ "correctable": 2, "nonfatal": 1, "fatal": 0 });
    record["errors"] = json!([["0000:00:02.0", before]]);
    tree.file(file, record.to_string());
    let shown = || {
        let (_, text, _) = vfiorun(&tree, &["status"]);
        text.trim_end().rsplit_once(" MiB, ").unwrap().1.to_owned()
    };
    assert_eq!(shown(), "0000:00:02.0 (gone)");
    tree.device("0000:00:02.0", ("1b36", "0010"), Some("vfio-pci"));
    let place = "sys/devices/pci0000:00/0000:00:02.0";
    let counted = |kind: &str, total: &str| {
        let text = format!("Undefined 0\nTOTAL_ERR_X {total}\n");
        tree.file(&format!("{place}/aer_dev_{kind}"), text);
    };
    counted("correctable", "2");
    counted("nonfatal", "1");
    counted("fatal", "0");
    // Those of before the guest.
    assert_eq!(shown(), "0000:00:02.0");
    counted("nonfatal", "4");
    counted("fatal", "1");
    assert_eq!(shown(), "0000:00:02.0 (PCIe errors: 1 fatal, 3 non-fatal)");
    tree.file(&format!("{place}/config"), [0xff; 64]);
    assert_eq!(shown(), "0000:00:02.0 (does not answer)");
    let (_, text, _) = vfiorun(&tree, &["status", "--json"]);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        document["guests"][0]["device_health"],
        json!([{
            "device": "0000:00:02.0", "present": true, "answers": false,
            "pcie_errors": { "correctable": 0, "nonfatal": 3, "fatal": 1 },
        }])
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_dead_monitor_is_an_unknown_status() {
    let tree = tree("no-monitor");
    let mut child = supervisor("");
    record(&tree, "one", &child);
    let (status, text, _) = vfiorun(&tree, &["status"]);
    assert!(text.starts_with("one: unknown: QEMU's monitor: "), "{text}");
    assert_eq!(status, 0);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn stop_waits_until_the_supervisor_has_ended() {
    let tree = tree("stop");
    let done = tree.path("done");
    let mut child = supervisor(&format!("trap 'sleep 0.3; : > {}; exit' TERM", done.display()));
    record(&tree, "one", &child);
    assert_eq!(vfiorun(&tree, &["stop"]), said("guest one has ended\n"));
    assert!(done.exists());
    child.wait().unwrap();
}

/// Runs it with a full disk for its standard output.
fn on_a_full_disk(tree: &Tree, words: &[&str]) -> (i32, String) {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfiorun"));
    command.arg("--sysroot").arg(&tree.root).args(words).stdout(full);
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

const FULL: &str = "vfiorun: standard output: no space left\n";

#[test]
fn on_a_full_disk_guests_are_started_and_stopped() {
    let tree = tree("full");
    let mut child = supervisor("trap exit TERM");
    record(&tree, "one", &child);
    assert_eq!(on_a_full_disk(&tree, &["stop"]), (2, FULL.into()));
    child.wait().unwrap();
    for name in ["a", "b"] {
        let guest = "autostart = true\nqemu = \"/no/qemu\"\n";
        tree.file(&format!("etc/vfioboot/guests/{name}.toml"), guest);
    }
    let (status, errors) = on_a_full_disk(&tree, &["autostart"]);
    assert_eq!(status, 2, "{errors}");
    for name in ["a", "b"] {
        let log = format!("run/vfioboot/log/{name}.console.log");
        while !tree.read(&log).contains("is not started, nothing was changed") {
            thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

#[test]
fn a_timeout_of_ones_own_is_followed_by_a_further_signal() {
    let tree = tree("stop-timeout");
    let signals = tree.path("signals");
    let script =
        format!("trap 'echo >> {0}; [ $(wc -l < {0}) -lt 3 ] || exit' TERM", signals.display());
    let mut child = supervisor(&script);
    record(&tree, "one", &child);
    tree.file("g.toml", "[shutdown]\ntimeout = 3000\nquit_timeout = 1\n");
    assert_eq!(vfiorun(&tree, &["stop", "--timeout", "1"]), said("guest one has ended\n"));
    assert_eq!(tree.read("signals").lines().count(), 3);
    child.wait().unwrap();
}

#[test]
fn stop_names_who_runs_when_it_cannot_tell() {
    let tree = tree("which");
    assert_eq!(vfiorun(&tree, &["stop"]), refused("vfiorun: no guest is running\n"));
    let mut child = supervisor("");
    record(&tree, "one", &child);
    record(&tree, "two", &child);
    assert_eq!(
        vfiorun(&tree, &["stop"]),
        refused("vfiorun: name one of the guests that are running: one, two\n")
    );
    assert_eq!(
        vfiorun(&tree, &["stop", "three"]),
        refused("vfiorun: guest three is not running; running: one, two\n")
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_guest_whose_supervisor_was_killed_is_for_recover() {
    let tree = tree("left-behind");
    let mut child = supervisor("");
    record(&tree, "one", &child);
    // Another process has the pid by now.
    let file = "run/vfioboot/guests/one/guest.json";
    let mut record: Value = serde_json::from_str(&tree.read(file)).unwrap();
    record["supervisor"]["start_time"] = 1.into();
    tree.file(file, record.to_string());
    assert_eq!(
        vfiorun(&tree, &["stop"]),
        refused(
            "vfiorun: guest one was left behind when its vfiorun was killed: vfiorun recover ends it\n"
        )
    );
    let (_, text, _) = vfiorun(&tree, &["status"]);
    assert!(
        text.starts_with("one: left behind, its vfiorun was killed: vfiorun recover"),
        "{text}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn autostart_starts_those_that_want_it_and_names_those_that_are_broken() {
    let tree = tree("autostart");
    assert_eq!(
        vfiorun(&tree, &["autostart"]),
        refused(
            "vfiorun: a directory of guest files does not exist: /data/adb/vfioboot/guests or /etc/vfioboot/guests\n"
        )
    );
    let guests = "etc/vfioboot/guests";
    tree.file(&format!("{guests}/a.toml"), "");
    tree.file(&format!("{guests}/notes.txt"), "autostart = true");
    let (status, text, _) = vfiorun(&tree, &["autostart"]);
    assert_eq!(status, 0);
    assert!(text.ends_with("/guests: no guest has to be started\n"), "{text}");
    tree.file(&format!("{guests}/b.toml"), "autostart = true\nqemu = \"/no/qemu\"\n");
    tree.file(&format!("{guests}/c.toml"), "nonsense = 1\n");
    let (status, text, errors) = vfiorun(&tree, &["autostart"]);
    assert_eq!((status, text.as_str()), (2, ""));
    assert!(errors.contains("c.toml:1: nonsense: unknown field"), "{errors}");
    // Why it does not run is said, and in the file that is named.
    let log = "run/vfioboot/log/b.console.log";
    assert!(errors.contains(&format!("vfiorun: b: not started: {}\n", tree.path(log).display())));
    assert!(
        errors.contains("  vfiorun: guest b is not started, nothing was changed\n"),
        "{errors}"
    );
    assert!(errors.ends_with("2 of 3 guest files failed\n"), "{errors}");
    assert!(tree.read(log).contains("qemu: /no/qemu is not a program"), "{}", tree.read(log));
    let mode = std::os::unix::fs::MetadataExt::mode(&tree.path(log).metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

/// A boot script leaves the decision to the program, which knows the kernel's grammar.
#[test]
fn at_boot_the_command_line_can_turn_autostart_off() {
    let tree = Tree::new("guests-at-boot");
    let guests = "etc/vfioboot/guests";
    tree.file(&format!("{guests}/a.toml"), "");
    let off = "vfioboot.disable is on the kernel command line: nothing is started\n";
    for (line, disabled) in [
        ("quiet vfioboot.disable", true),
        ("vfioboot.disable=1 quiet", true),
        ("vfioboot.disable=0", false),
        ("vfioboot.disabled", false),
    ] {
        tree.file("proc/cmdline", format!("{line}\n"));
        let (status, text, _) = vfiorun(&tree, &["autostart", "--at-boot"]);
        assert_eq!((status, text == off), (0, disabled), "{line}: {text}");
        let (_, text, _) = vfiorun(&tree, &["autostart"]);
        assert_ne!(text, off, "{line}");
    }
}

/// A guest that runs is left alone, and nobody waits for it.
#[test]
fn autostart_starts_no_guest_twice() {
    let tree = tree("autostart-twice");
    tree.file("etc/vfioboot/guests/one.toml", "autostart = true\n");
    let mut child = supervisor("");
    record(&tree, "one", &child);
    let pid = child.id();
    assert_eq!(vfiorun(&tree, &["autostart"]), said(&format!("one: runs already, pid {pid}\n")));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What a killed vfiorun has left of a guest goes with `recover`, and what runs stays.
#[test]
fn recover_removes_what_a_guest_that_is_gone_has_left() {
    let tree = tree("sweep");
    let (mut gone, mut there) = (supervisor(""), supervisor(""));
    record(&tree, "gone", &gone);
    record(&tree, "there", &there);
    gone.kill().unwrap();
    gone.wait().unwrap();
    assert_eq!(vfiorun(&tree, &["recover"]), said("nothing to recover\n"));
    assert!(!tree.path("run/vfioboot/guests/gone").exists());
    assert!(tree.path("run/vfioboot/guests/there/guest.json").exists());
    there.kill().unwrap();
    there.wait().unwrap();
}
