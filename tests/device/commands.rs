//! The commands of vfiorun, as a person or a script meets them.

use crate::common::device_tree;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use assert_cmd::Command;
use device_tree::{Tree, fifo};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const DISK: &str = "0000:00:02.0";
const CARD: &str = "0000:00:03.0";

fn tree(name: &str) -> Tree {
    let tree = Tree::new(&format!("cli-{name}"));
    tree.device(DISK, ("1b36", "0010"), Some("nvme"));
    let device = format!("sys/devices/pci0000:00/{DISK}");
    tree.file(&format!("{device}/class"), "0x010802\n");
    tree.file(&format!("{device}/reset_method"), "flr bus\n");
    tree.driver("vfio-pci");
    tree.iommu_group(3, &[DISK]);
    tree.running_as(100, 7, "boot-one");
    tree
}

fn vfiorun(tree: &Tree, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfiorun"));
    command.arg("--sysroot").arg(&tree.root).args(words);
    command
}

fn stdout(mut command: Command, status: i32) -> String {
    String::from_utf8(command.assert().code(status).get_output().stdout.clone()).unwrap()
}

fn json(command: Command, status: i32) -> Value {
    let document: Value = serde_json::from_str(&stdout(command, status)).unwrap();
    assert_eq!(document["format"], 1);
    document
}

#[test]
fn devices_are_shown_by_group() {
    let tree = tree("devices");
    tree.device("0000:00:03.0", ("8086", "10d3"), Some("e1000e"));
    let text = stdout(vfiorun(&tree, &["devices"]), 0);
    assert_eq!(
        text,
        "IOMMU group 3 (DMA)\n  \
         0000:00:02.0 Non-Volatile memory controller: Red Hat (QEMU) NVMe controller [1b36:0010]\n    \
         driver: nvme  reset: flr, bus  passthrough: yes\n\
         in no IOMMU group\n  \
         0000:00:03.0 Intel 82574L Gigabit Ethernet controller [8086:10d3]\n    \
         driver: e1000e  passthrough: no, it is not in an IOMMU group: no IOMMU translates its DMA \
         (e1000e has probed it, which would have given it its group)\n    \
         warning: it cannot be reset\n"
    );
    let document = json(vfiorun(&tree, &["devices", "--json"]), 0);
    let disk = &document["groups"][0]["devices"][0];
    assert_eq!((&disk["passthrough"], &disk["class"]), (&true.into(), &"010802".into()));
    assert_eq!(document["groups"][1]["group"], Value::Null);
}

#[test]
fn the_picture_has_every_group_with_its_devices() {
    let tree = tree("picture");
    tree.device("0000:00:03.0", ("8086", "10d3"), Some("e1000e"));
    tree.file("usr/share/misc/pci.ids", "8086  <script>\"&\x1b[31m\n\t10d3  A name\n");
    let svg = stdout(vfiorun(&tree, &["devices", "--svg"]), 0);
    let parse = "import sys, xml.etree.ElementTree as e; e.fromstring(sys.stdin.read())";
    let mut python = Command::new("python3");
    python.args(["-c", parse]).write_stdin(svg.clone()).assert().success();
    for text in
        [">IOMMU group 3<", ">in no IOMMU group<", "0000:00:02.0 1b36:0010", "&lt;script&gt;"]
    {
        assert!(svg.contains(text), "{text}: {svg}");
    }
    assert!(svg.contains("class=\"d no\"") && svg.contains("class=\"d yes\""), "{svg}");
}

#[test]
fn names_come_from_the_database_of_the_system() {
    let tree = tree("names");
    let text = "# c\n1b36  Red Hat, Inc.\n\t0010  QEMU NVM Express Controller\n\t\t1af4 1100  Sub\n\
                ffff  Nobody\n\nC 01  Mass\n\t08  NVM\n\t\t02  NVMe\n";
    tree.file("usr/share/misc/pci.ids", text);
    let text = stdout(vfiorun(&tree, &["devices"]), 0);
    assert!(text.contains(" NVM: Red Hat, Inc. QEMU NVM Express Controller [1b36:0010]"), "{text}");
}

#[test]
fn a_system_without_pci_is_an_answer() {
    let tree = tree("no-pci");
    std::fs::remove_dir_all(tree.path("sys/bus")).unwrap();
    let text = stdout(vfiorun(&tree, &["devices"]), 1);
    assert_eq!(text, "no PCI devices on this system (list /sys/bus/pci/devices: no such file)\n");
    assert_eq!(json(vfiorun(&tree, &["devices", "--json"]), 1)["pci"], false);
}

#[test]
fn a_dry_run_shows_every_write_and_makes_none() {
    let tree = tree("dry-run");
    let text = stdout(vfiorun(&tree, &["bind", DISK, "--dry-run"]), 0);
    assert_eq!(
        text,
        "# 0000:00:02.0 (1b36:0010)\n\
         echo vfio-pci > /sys/bus/pci/devices/0000:00:02.0/driver_override\n\
         echo 0000:00:02.0 > /sys/bus/pci/devices/0000:00:02.0/driver/unbind\n\
         echo 0000:00:02.0 > /sys/bus/pci/drivers_probe\n"
    );
    assert_eq!(tree.get_override(DISK), "(null)\n");
    assert!(!tree.path("run").exists());
    let document = json(vfiorun(&tree, &["bind", DISK, "--dry-run", "--json"]), 0);
    assert_eq!(document["devices"][0]["writes"][0]["value"], "vfio-pci");
}

#[test]
fn a_refusal_is_a_negative_answer() {
    let tree = tree("refusal");
    let mut command = vfiorun(&tree, &["bind", "dead:beef"]);
    command
        .assert()
        .code(1)
        .stderr("vfiorun: dead:beef: no such device (vfiorun devices lists them)\n");
    let document = json(vfiorun(&tree, &["bind", "dead:beef", "--json"]), 1);
    assert_eq!(document["refusals"][0], "dead:beef: no such device (vfiorun devices lists them)");
}

/// In a tree nobody answers, so vfio-pci does not take it, and the attributes show what was
/// written, last what undoes it.
#[test]
fn a_failure_is_reported_and_undone() {
    let tree = tree("failure");
    let failed = vfiorun(&tree, &["bind", DISK]).assert().code(2);
    let said = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert_eq!(
        said.lines().last(),
        Some(
            "vfiorun: 0000:00:02.0 (1b36:0010): vfio-pci did not take it; it is on nvme now; everything is as it was"
        )
    );
    assert!(said.starts_with("vfiorun: unbinding 0000:00:02.0 from nvme"), "before: {said}");
    assert_eq!(tree.get_override(DISK), "\n");
    assert_eq!(tree.read("sys/bus/pci/drivers/nvme/unbind"), DISK);
}

/// Runs `bind` and kills it where it waits in the write to `unbind`: the device is in the journal,
/// and its override is set.
fn killed_while_it_binds(name: &str) -> Tree {
    let tree = tree(name);
    let unbind = tree.path("sys/bus/pci/drivers/nvme/unbind");
    fifo(&unbind);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_vfiorun"))
        .arg("--sysroot")
        .arg(&tree.root)
        .args(["bind", DISK])
        .spawn()
        .unwrap();
    while tree.get_override(DISK) != "vfio-pci" {
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    std::fs::remove_file(&unbind).unwrap();
    tree.file("sys/bus/pci/drivers/nvme/unbind", "");
    tree
}

#[test]
fn what_a_killed_process_began_is_recovered() {
    let tree = killed_while_it_binds("killed");
    tree.process("100", 100, 8);
    let text = stdout(vfiorun(&tree, &["recover", "--dry-run"]), 0);
    assert_eq!(
        text,
        "\"bind 0000:00:02.0\" did not finish; to be undone:\n  0000:00:02.0: back to nvme\n"
    );
    assert_eq!(tree.get_override(DISK), "vfio-pci");
    let text = stdout(vfiorun(&tree, &["recover"]), 0);
    assert_eq!(
        text,
        "\"bind 0000:00:02.0\" did not finish; undone:\n  0000:00:02.0: back to nvme: done\n"
    );
    assert_eq!(tree.get_override(DISK), "\n");
    assert_eq!(stdout(vfiorun(&tree, &["recover"]), 0), "nothing to recover\n");
}

#[test]
fn an_owner_at_work_is_not_recovered() {
    let tree = killed_while_it_binds("at-work");
    // In this tree process 100 is its owner, and alive.
    let text = stdout(vfiorun(&tree, &["recover"]), 1);
    assert_eq!(
        text,
        "\"bind 0000:00:02.0\" is still running (pid 100): left alone (--force ends it)\n"
    );
    let document = json(vfiorun(&tree, &["recover", "--json"]), 1);
    assert_eq!(document["journals"][0]["verdict"], "alive");
}

/// A tree with the real `/proc`, in which nobody reads what is written to nvme's `unbind`: whoever
/// writes it is stuck there, as in a kernel whose driver does not let go.
fn stuck(name: &str) -> (Tree, std::process::Child) {
    let tree = tree(name);
    std::fs::remove_dir_all(tree.path("proc")).unwrap();
    std::os::unix::fs::symlink("/proc", tree.path("proc")).unwrap();
    tree.device(CARD, ("8086", "10d3"), Some("e1000e"));
    tree.iommu_group(4, &[CARD]);
    for attribute in
        ["drivers/nvme/unbind", "drivers_probe", "drivers/vfio-pci/unbind", "drivers/nvme/bind"]
    {
        fifo(&tree.path(&format!("sys/bus/pci/{attribute}")));
    }
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_vfiorun"))
        .arg("--sysroot")
        .arg(&tree.root)
        .args(["bind", DISK, CARD])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while tree.get_override(DISK) != "vfio-pci" {
        thread::sleep(Duration::from_millis(5));
    }
    (tree, child)
}

/// The kernel's part in moving the device from `driver` to `next`, for which `attribute` is written.
fn moved(tree: &Tree, driver: &str, next: &str, attribute: &str) {
    let written = |attribute: &str| {
        std::fs::read_to_string(tree.path(&format!("sys/bus/pci/{attribute}"))).unwrap()
    };
    assert_eq!(written(&format!("drivers/{driver}/unbind")), DISK);
    tree.unlink_driver(DISK);
    tree.link_driver(DISK, next);
    assert_eq!(written(attribute), DISK);
}

#[test]
fn a_signal_in_the_middle_of_bind_undoes_it() {
    for signal in [Signal::INT, Signal::TERM] {
        let (tree, child) = stuck(&format!("signal-{}", signal.as_raw()));
        kill_process(Pid::from_child(&child), signal).unwrap();
        moved(&tree, "nvme", "vfio-pci", "drivers_probe");
        moved(&tree, "vfio-pci", "nvme", "drivers/nvme/bind");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        // Before it there may be warnings: this tree has the interrupts of the real system.
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.ends_with("vfiorun: interrupted; everything is as it was\n"), "{said}");
        assert_eq!(tree.driver_of(DISK).as_deref(), Some("nvme"));
        assert_eq!(tree.get_override(DISK), "\n");
        assert_eq!(tree.get_override(CARD), "(null)\n", "the second was not begun");
        assert_eq!(stdout(vfiorun(&tree, &["recover"]), 0), "nothing to recover\n");
    }
}

#[test]
fn by_force_an_owner_at_work_is_ended_and_undone() {
    let (tree, mut child) = stuck("force");
    let pid = child.id();
    // It is reaped, as by whoever started it.
    let reaper = thread::spawn(move || child.wait().unwrap());
    let text = stdout(vfiorun(&tree, &["recover", "--force"]), 0);
    let ended = format!(
        "\"bind {DISK} {CARD}\" did not finish; undone:\n  \
         vfiorun, \"bind {DISK} {CARD}\" (pid {pid}): ended: done\n"
    );
    // What it had no time to undo itself is undone then.
    let rest = text.strip_prefix(&ended);
    let undone = format!("  {DISK}: back to nvme: done\n");
    assert!(rest.is_some_and(|rest| rest.is_empty() || rest == undone), "{text}");
    assert!(!reaper.join().unwrap().success());
    assert_eq!(tree.get_override(DISK), "\n");
    assert_eq!(stdout(vfiorun(&tree, &["recover"]), 0), "nothing to recover\n");
}

/// Plays the kernel's part in a bind of the disk, which has no driver: vfio-pci takes it when it is
/// probed.
fn probed(tree: &Tree) -> thread::JoinHandle<()> {
    tree.unlink_driver(DISK);
    let probe = tree.path("sys/bus/pci/drivers_probe");
    fifo(&probe);
    let tree = Tree { root: tree.root.clone() };
    thread::spawn(move || {
        while tree.get_override(DISK) != "vfio-pci" {
            thread::sleep(Duration::from_millis(5));
        }
        // It waits for a reader of its probe.
        tree.link_driver(DISK, "vfio-pci");
        assert_eq!(std::fs::read_to_string(probe).unwrap(), DISK);
    })
}

#[test]
fn a_kill_after_a_bind_has_finished_leaves_it() {
    let tree = tree("finished");
    let (probed, state) = (probed(&tree), tree.path("run/vfioboot"));
    vfiorun(&tree, &["bind", DISK]).assert().success();
    probed.join().unwrap();
    tree.process("100", 100, 8);
    let text = stdout(vfiorun(&tree, &["recover"]), 0);
    assert_eq!(
        text,
        "\"bind 0000:00:02.0\" is complete and stays (vfiorun release gives the devices back)\n"
    );
    assert_eq!(tree.driver_of(DISK).as_deref(), Some("vfio-pci"));
    assert_eq!(std::fs::read_dir(state).unwrap().count(), 2, "the lock and the journal");
}

/// Runs the program as somebody who may not write to anything there, and gives what it complains of.
fn denied(tree: &Tree, words: &[&str]) -> (Option<i32>, String) {
    // Where everybody may look: the build directory may be in somebody's home.
    let place = std::env::temp_dir().join(format!("vfiorun-denied-{}", std::process::id()));
    _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir(&place).unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = |from: &Path| {
        let status = std::process::Command::new("cp").arg("-a").arg(from).arg(&place).status();
        assert!(status.unwrap().success());
        place.join(from.file_name().unwrap())
    };
    let (root, program) = (copy(&tree.root), copy(Path::new(env!("CARGO_BIN_EXE_vfiorun"))));
    let mut command = std::process::Command::new(program);
    command.arg("--sysroot").arg(&root).args(words).current_dir(&root);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    } else {
        for path in
            [root.clone(), root.join("sys/devices/pci0000:00").join(DISK).join("driver_override")]
        {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o555)).unwrap();
        }
    }
    let output = command.output().unwrap();
    _ = std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755));
    _ = std::fs::remove_dir_all(&place);
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text.replace(root.to_str().unwrap(), ""))
}

#[test]
fn other_users_are_asked_to_run_as_root() {
    let tree = tree("denied");
    assert_eq!(
        denied(&tree, &["bind", DISK]),
        (
            Some(2),
            format!(
                "vfiorun: {DISK}: lock /run/vfioboot/{DISK}.lock: permission denied: this needs root (sudo, su -c)\n"
            )
        )
    );
    std::fs::create_dir(tree.path("state")).unwrap();
    std::fs::set_permissions(tree.path("state"), std::fs::Permissions::from_mode(0o700)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(tree.path("state"), Some(65534), Some(65534)).unwrap();
    }
    let (status, text) = denied(&tree, &["bind", DISK, "--state", "state"]);
    assert_eq!(
        text,
        format!(
            "vfiorun: {DISK} (1b36:0010): write \"vfio-pci\" to /sys/bus/pci/devices/{DISK}/driver_override: permission denied; everything is as it was: this needs root (sudo, su -c)\n"
        )
    );
    assert_eq!(status, Some(2));
    // Looking is for everybody.
    assert_eq!(denied(&tree, &["bind", DISK, "--dry-run"]), (Some(0), String::new()));
    assert_eq!(denied(&tree, &["recover"]), (Some(0), String::new()));
}

#[test]
fn a_device_that_is_on_its_driver_is_released_already() {
    let tree = tree("release");
    let text = stdout(vfiorun(&tree, &["release", DISK]), 0);
    assert_eq!(text, "0000:00:02.0 (1b36:0010): is not on vfio-pci, but on nvme\n");
    tree.unlink_driver(DISK);
    tree.link_driver(DISK, "vfio-pci");
    let text = stdout(vfiorun(&tree, &["release", DISK, "--dry-run"]), 0);
    assert_eq!(
        text,
        "# 0000:00:02.0 (1b36:0010)\n\
         echo 0000:00:02.0 > /sys/bus/pci/devices/0000:00:02.0/driver/unbind\n\
         echo 1b36 0010 > /sys/bus/pci/drivers/vfio-pci/remove_id\n\
         echo 0000:00:02.0 > /sys/bus/pci/drivers_probe\n"
    );
    let mut command = vfiorun(&tree, &["release", "dead:beef"]);
    command
        .assert()
        .code(2)
        .stderr("vfiorun: dead:beef: no such device (vfiorun devices lists them)\n");
}

#[test]
fn a_wrong_command_line_says_what_is_right() {
    let tree = tree("usage");
    let output = vfiorun(&tree, &["bind", "what"]).assert().code(2).get_output().stderr.clone();
    let text = String::from_utf8(output).unwrap();
    assert!(
        text.contains("\"what\" is not a PCI device: expected VENDOR:DEVICE (1b36:0010)"),
        "{text}"
    );
    vfiorun(&tree, &[]).assert().code(2);
}

/// Every command with as few arguments as it takes, and a journal and a guest to speak of.
const COMMANDS: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["doctor"],
    &["doctor", "--json"],
    &["devices"],
    &["devices", "--json"],
    &["bind", DISK, "--dry-run"],
    &["bind", DISK, "--dry-run", "--json"],
    &["release", DISK, "--dry-run"],
    &["release", DISK, "--dry-run", "--json"],
    &["recover", "--dry-run"],
    &["recover", "--dry-run", "--json"],
    &["run", "g.toml", "--dry-run"],
    &["run", "g.toml", "--dry-run", "--json"],
    &["run", "g.toml", "--libvirt"],
    &["status"],
    &["status", "--json"],
    &["autostart", "."],
];

fn with_output(tree: &Tree, words: &[&str], out: std::fs::File) -> (Option<i32>, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_vfiorun"))
        .arg("--sysroot")
        .arg(&tree.root)
        .args(words)
        .current_dir(&tree.root)
        .stdout(out)
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_full_disk_is_an_error_and_not_a_panic() {
    let tree = killed_while_it_binds("full");
    // Its owner is gone.
    tree.process("100", 100, 8);
    tree.file("g.toml", "");
    for words in COMMANDS {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (status, errors) = with_output(&tree, words, full);
        assert_eq!(status, Some(2), "{words:?}: {errors}");
        if !words[0].starts_with("--") {
            let last = errors.lines().last();
            assert_eq!(last, Some("vfiorun: standard output: no space left"), "{words:?}");
        }
    }
}

/// A full disk stops no work that has begun, and is an error after it.
#[test]
fn on_a_full_disk_what_was_asked_for_is_done() {
    let full = |tree: &Tree, words: &[&str]| {
        let out = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (status, errors) = with_output(tree, words, out);
        let last = errors.lines().last();
        assert_eq!(
            (status, last),
            (Some(2), Some("vfiorun: standard output: no space left")),
            "{words:?}"
        );
    };
    for json in [&[][..], &["--json"]] {
        let tree = killed_while_it_binds(&format!("full-recover{}", json.len()));
        tree.process("100", 100, 8);
        full(&tree, &[&["recover"], json].concat());
        assert_eq!(tree.get_override(DISK), "\n", "undone");
        assert_eq!(stdout(vfiorun(&tree, &["recover"]), 0), "nothing to recover\n");

        let probed = probed(&tree);
        full(&tree, &[&["bind", DISK], json].concat());
        probed.join().unwrap();
        assert_eq!(tree.driver_of(DISK).as_deref(), Some("vfio-pci"));
        tree.process("100", 100, 9);
        let kept = stdout(vfiorun(&tree, &["recover"]), 0);
        assert!(
            kept.ends_with("is complete and stays (vfiorun release gives the devices back)\n"),
            "{kept}"
        );

        tree.unlink_driver(DISK);
        tree.link_driver(DISK, "nvme");
        full(&tree, &[&["release", DISK], json].concat());
    }
}

#[test]
fn a_closed_pipe_is_not_reported() {
    let tree = killed_while_it_binds("pipe");
    // Its owner is gone.
    tree.process("100", 100, 8);
    tree.file("g.toml", "");
    for words in COMMANDS {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (status, errors) =
            with_output(&tree, words, std::fs::File::from(std::os::fd::OwnedFd::from(writer)));
        assert_eq!(status, Some(2), "{words:?}: {errors}");
        assert!(!errors.contains("standard output"), "{words:?}: {errors}");
    }
}

/// Names from outside (of drivers, of journals) are shown, and never act on a terminal.
#[test]
fn control_characters_are_shown_and_not_passed_on() {
    let tree = tree("controls");
    tree.device(CARD, ("8086", "10d3"), Some("evil\u{1b}[2J\u{202e}\u{9b}"));
    let text = stdout(vfiorun(&tree, &["devices"]), 0);
    assert!(text.contains("driver: evil\\x1b[2J\\u{202e}\\u{9b}"), "{text:?}");
    let text = stdout(vfiorun(&tree, &["devices", "--json"]), 0);
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{text:?}");
    let document: Value = serde_json::from_str(&text).unwrap();
    let shown = document["groups"][1]["devices"][0]["driver"].as_str();
    assert_eq!(shown, Some("evil\u{1b}[2J\u{202e}\u{9b}"));
}
