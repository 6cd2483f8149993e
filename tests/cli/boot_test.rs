//! `vfioboot boot-test`: the verdict, and the exit status of each. A script stands in for QEMU, and says
//! what the kernel and PID 1 say; the lab has the boots.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use assert_cmd::assert::Assert;
use serde_json::Value;

use crate::common::cli::Scratch;
use crate::common::synthetic::CONFIG;
use crate::common::{AARCH64, elf, fixture, kernel, with_section};
use vfioboot::image::SectionName;

/// The log of a patched set that does what it should, with one device.
const GOOD: &str = "\
[    0.000000] Linux version 6.1.99-test (a@b) #1
[    0.185000] Run /vfioboot/init as init process
[    0.187000] vfioboot: 0.1.0 starts
[    0.427000] vfioboot: 0000:00:01.0 (1b36:0010): from nvme to vfio-pci, IOMMU group 0
[    0.428000] vfioboot: done in 240 ms: 1 on vfio-pci, 0 problems
[    0.430000] vfioboot: next program: /init
";
/// That of its originals.
const ORIGINAL: &str = "\
[    0.000000] Linux version 6.1.99-test (a@b) #1
[    0.144000] Run /init as init process
";
const PANIC: &str = "\
[    0.000000] Linux version 6.1.99-test (a@b) #1
[    0.141000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
";

/// A patched `p.img`, its original `boot.img`, and a QEMU that prints these logs.
fn scratch(patched: &str, original: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.file("rt", &elf(AARCH64));
    let image = fixture("images/boot-v2-gzip-dtbo.img");
    scratch.file("boot.img", &with_section(&image, SectionName::Kernel, kernel(CONFIG)));
    scratch.ok("patch --runtime rt --device 1b36:0010 boot.img -o p.img");
    scratch.file("patched.log", patched.as_bytes());
    scratch.file("original.log", original.as_bytes());
    let script = "printf '%s\\n' \"$@\" >> arguments\ncase \"$*\" in\n\
                  *rdinit=*) cat patched.log ;;\n*) cat original.log ;;\nesac\n";
    qemu(&scratch, script);
    scratch
}

/// Let a script stand in for QEMU.
fn qemu(scratch: &Scratch, script: &str) {
    scratch.file("bin/qemu-system-aarch64", format!("#!/bin/sh\n{script}").as_bytes());
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(scratch.path("bin/qemu-system-aarch64"), mode).unwrap();
}

fn run(scratch: &Scratch, arguments: &str) -> Assert {
    let path = format!("{}:/usr/bin:/bin", scratch.path("bin").display());
    let mut command = scratch.command(&format!("boot-test {arguments}"));
    Assert::new(command.env("PATH", path).output().unwrap())
}

fn json(scratch: &Scratch, status: i32) -> Value {
    let run = run(scratch, "p.img --json").code(status);
    serde_json::from_slice(&run.get_output().stdout).unwrap()
}

#[test]
fn what_does_its_work_is_proven() {
    let scratch = scratch(GOOD, ORIGINAL);
    let report = json(&scratch, 0);
    assert_eq!(report["verdict"], "proven");
    assert_eq!(report["devices"], serde_json::json!(["1b36:0010"]));
    assert_eq!(report["patched"]["lines"].as_array().unwrap().len(), 6);
    assert_eq!(report["original"]["lines"][1]["event"], "first_program");
}

#[test]
fn the_machine_gets_what_a_bootloader_gives() {
    let scratch = scratch(GOOD, ORIGINAL);
    run(&scratch, "p.img --keep kept").success();
    let arguments = String::from_utf8(scratch.read("arguments")).unwrap();
    assert!(arguments.lines().any(|word| word == "nvme,serial=stand-in-1,drive=drive1"));
    let kept = |name: &str| scratch.read(&format!("kept/patched/{name}"));
    let words = String::from_utf8(kept("cmdline")).unwrap();
    assert!(words.contains("rdinit=/vfioboot/init"), "{words}");
    assert!(kept("kernel") == kernel(CONFIG));
    let original = scratch.read("kept/original/initrd");
    assert!(kept("initrd").starts_with(&original) && kept("initrd").len() > original.len());
    assert_eq!(scratch.names("kept"), ["original", "patched"]);
}

#[test]
fn the_log_is_that_of_both_boots() {
    let scratch = scratch(GOOD, ORIGINAL);
    run(&scratch, "p.img --log log").success();
    assert_eq!(scratch.read("log"), [GOOD, ORIGINAL].concat().as_bytes());
}

#[test]
fn every_fault_has_its_name() {
    let failed = GOOD
        .replace("from nvme to vfio-pci, IOMMU group 0", "failed: no vfio-pci driver is registered")
        .replace("1 on vfio-pci, 0 problems", "0 on vfio-pci, 1 problems");
    let up_to = |text: &str| GOOD[..GOOD.find(text).unwrap()].to_owned();
    let unfinished = up_to("[    0.428000]");
    let idle = "[    0.187000] vfioboot: 0.1.0: doing nothing: x\n";
    let cases = [
        (failed.as_str(), "not_bound"),
        (PANIC, "panic"),
        (ORIGINAL, "no_word"),
        (&unfinished, "unfinished"),
        (&GOOD.replace("program: /init", "program: /bin/sh"), "other_program"),
        (&format!("{GOOD}[    0.5] vfioboot: /init: not executed: ENOENT\n"), "not_executed"),
        (&(up_to("[    0.187000]") + idle), "idle"),
        ("[  100.000000] still here\n", "time"),
    ];
    for (log, fault) in cases {
        let report = json(&scratch(log, ORIGINAL), 1);
        assert_eq!(report["fault"]["fault"], fault, "{report}");
        assert_eq!(report["verdict"], "fails");
    }
}

#[test]
fn a_clock_that_starts_below_zero_is_not_late() {
    // as a PC's kernel says it on a busy host: -1.745 s
    let log = GOOD.replacen("    0.000000", "18446744071.963664", 1);
    let report = json(&scratch(&log, ORIGINAL), 0);
    let seconds = report["patched"]["lines"][0]["seconds"].as_f64().unwrap();
    assert!((seconds + 1.745).abs() < 0.01, "{report}");
}

#[test]
fn a_word_without_its_file_is_named_whatever_the_kernel_says() {
    let scratch = scratch(PANIC, ORIGINAL);
    scratch.ok("cmdline boot.img --add rdinit=/vfioboot/init -o p.img");
    let report = json(&scratch, 1);
    assert_eq!(report["fault"]["fault"], "no_runtime");
    assert_eq!(report["original"], Value::Null);
}

#[test]
fn a_kernel_that_does_not_run_here_decides_nothing() {
    let report = json(&scratch(PANIC, PANIC), 3);
    assert_eq!((&report["verdict"], &report["fault"]), (&"undecided".into(), &Value::Null));
}

#[test]
fn without_qemu_nothing_is_decided_and_the_package_is_named() {
    let scratch = scratch(GOOD, ORIGINAL);
    fs::remove_file(scratch.path("bin/qemu-system-aarch64")).unwrap();
    let mut command = scratch.command("boot-test p.img --json");
    let output = command.env("PATH", scratch.path("bin")).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["reason"].as_str().unwrap().contains("qemu-system-arm"), "{report}");
}

#[test]
fn an_id_that_qemu_does_not_have_is_exchanged_in_a_copy() {
    let scratch = scratch(GOOD, ORIGINAL);
    scratch.ok("patch --runtime rt --device 10de:1c82 boot.img -o p.img");
    let before = scratch.read("p.img");
    let run = run(&scratch, "p.img --json --keep kept").success();
    let report: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    let stand_in = serde_json::json!([{ "device": "10de:1c82", "stand_in": "1b36:0010" }]);
    assert_eq!(report["stand_ins"], stand_in);
    assert!(scratch.read("p.img") == before);
    scratch.ok("ramdisk kept/patched/initrd cat /vfioboot/boot.toml");
    let file = scratch.ok("ramdisk kept/patched/initrd cat /vfioboot/boot.toml");
    assert!(file.contains("1b36:0010") && !file.contains("10de:1c82"), "{file}");
}

#[test]
fn images_without_a_patch_are_refused_with_what_to_do() {
    let scratch = scratch(GOOD, ORIGINAL);
    let error = crate::common::cli::error_of(run(&scratch, "boot.img"));
    assert!(error.contains("--device"), "{error}");
}

#[test]
fn an_address_that_no_stand_in_can_have_is_named() {
    let scratch = scratch(GOOD, ORIGINAL);
    scratch.ok("patch --runtime rt --device 0000:00:00.0 boot.img -o p.img");
    let report = json(&scratch, 3);
    assert!(report["reason"].as_str().unwrap().contains("0000:00:00.0"), "{report}");
}

#[test]
fn what_qemu_refuses_is_said() {
    let scratch = scratch("", "");
    qemu(&scratch, "echo 'no such machine' >&2\nexit 1\n");
    let error = crate::common::cli::error_of(run(&scratch, "p.img"));
    assert!(error.contains("no such machine"), "{error}");
}

/// `patch --boot-test` of the original, which writes to `out.img`.
fn patch(scratch: &Scratch, arguments: &str) -> Assert {
    let path = format!("{}:/usr/bin:/bin", scratch.path("bin").display());
    let patch = "patch --runtime rt --device 1b36:0010 boot.img -o out.img --boot-test";
    let mut command = scratch.command(&format!("{patch} {arguments}"));
    Assert::new(command.env("PATH", path).output().unwrap())
}

#[test]
fn a_patch_is_written_when_it_is_proven_and_not_when_it_fails() {
    let proven = scratch(GOOD, ORIGINAL);
    let run = patch(&proven, "--json").code(0);
    let report: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    assert_eq!(report["boot_test"]["verdict"], "proven");
    assert!(proven.exists("out.img"));
    let failing = scratch(PANIC, ORIGINAL);
    patch(&failing, "").code(1);
    assert!(!failing.exists("out.img"));
    let undecided = scratch(PANIC, PANIC);
    patch(&undecided, "").code(3);
    assert!(undecided.exists("out.img"));
}

#[test]
fn a_dry_run_boots_and_writes_nothing() {
    let scratch = scratch(GOOD, ORIGINAL);
    patch(&scratch, "--dry-run").code(0);
    assert!(scratch.exists("arguments") && !scratch.exists("out.img"));
}

#[test]
fn the_page_has_the_timeline_and_fetches_nothing() {
    let scratch = scratch(&GOOD.replace("nvme", "<nvme>"), ORIGINAL);
    run(&scratch, "p.img --report html=out/page.html").code(2);
    run(&scratch, "p.img --report html=page.html").success();
    let page = String::from_utf8(scratch.read("page.html")).unwrap();
    assert!(
        page.contains("from &lt;nvme&gt; to vfio-pci") && page.contains("class=\"verdict pass\"")
    );
    assert_eq!(page.matches("<section>").count(), 2);
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("<script"));
}

#[test]
fn an_old_kernel_that_does_not_name_its_first_program_is_a_control_too() {
    let line = "[    0.144000] Freeing unused kernel memory: 1216K\n";
    let original = ORIGINAL.replace("[    0.144000] Run /init as init process\n", line);
    assert_ne!(original, ORIGINAL);
    assert_eq!(json(&scratch(PANIC, &original), 1)["fault"]["fault"], "panic");
    let panics = original + "[    0.2] Kernel panic - not syncing: No working init found.\n";
    assert_eq!(json(&scratch(PANIC, &panics), 3)["verdict"], "undecided");
}

#[test]
fn a_kernel_that_says_nothing_is_booted_once() {
    let scratch = scratch("\n", "\n");
    let report = json(&scratch, 3);
    assert_eq!((&report["verdict"], &report["original"]), (&"undecided".into(), &Value::Null));
    let arguments = String::from_utf8(scratch.read("arguments")).unwrap();
    assert_eq!(arguments.lines().filter(|word| *word == "-kernel").count(), 1);
}

/// The log of a kernel before 5.10 in its memory: `struct printk_log`.
fn in_memory(log: &str) -> Vec<u8> {
    let mut memory = Vec::new();
    for line in log.lines() {
        let (time, text) = line[1..].split_once("] ").unwrap();
        let (seconds, micros) = time.trim().split_once('.').unwrap();
        let nanos = seconds.parse::<u64>().unwrap() * 1_000_000_000;
        memory.extend((nanos + micros.parse::<u64>().unwrap() * 1000).to_le_bytes());
        let size = (16 + text.len()).next_multiple_of(4);
        memory.extend((size as u16).to_le_bytes());
        memory.extend((text.len() as u16).to_le_bytes());
        memory.extend([0; 4]);
        memory.extend(text.as_bytes());
        memory.resize(memory.len().next_multiple_of(4), 0);
    }
    memory.resize(memory.len() + 64, 0);
    memory
}

#[test]
fn a_kernel_that_says_nothing_on_the_serial_line_is_read_in_memory() {
    let scratch = scratch("", "");
    scratch.file("patched.memory", &in_memory(GOOD));
    scratch.file("original.memory", &in_memory(ORIGINAL));
    let script = "for word; do case $word in *mem-path=*) memory=${word##*mem-path=} ;; esac; done\n\
                  case \"$*\" in *rdinit=*) log=patched ;; *) log=original ;; esac\n\
                  dd if=$log.memory of=$memory bs=4096 seek=99999 conv=notrunc 2> dd.log\n";
    qemu(&scratch, script);
    let report = json(&scratch, 0);
    assert_eq!(
        (&report["verdict"], &report["patched"]["source"]),
        (&"proven".into(), &"memory".into())
    );
    assert_eq!(report["patched"]["lines"][1]["seconds"], 0.185);
    let text = run(&scratch, "p.img").success();
    let text = String::from_utf8(text.get_output().stdout.clone()).unwrap();
    assert!(text.contains("the log in the memory of the machine"), "{text}");
}

#[test]
fn a_machine_that_is_stuck_is_not_waited_for() {
    let scratch = scratch("", "");
    qemu(&scratch, "exec sleep 50\n");
    let started = Instant::now();
    assert_eq!(json(&scratch, 3)["verdict"], "undecided");
    assert!(started.elapsed() < Duration::from_secs(40));
}

#[test]
fn a_silent_machine_that_writes_to_its_memory_gets_on() {
    let scratch = scratch(GOOD, ORIGINAL);
    let script = "for word; do case $word in *mem-path=*) memory=${word##*mem-path=} ;; esac; done\n\
                  case \"$*\" in *rdinit=*) log=patched ;; *) cat original.log; exit ;; esac\n\
                  for step in 1 2 3 4 5 6 7 8; do\n\
                  echo $step | dd of=$memory bs=4096 seek=99999 conv=notrunc 2> dd.log\n\
                  sleep 1\ndone\ncat $log.log\n";
    qemu(&scratch, script);
    assert_eq!(json(&scratch, 0)["verdict"], "proven");
}

#[test]
fn a_terminal_shows_how_far_the_boots_are_and_a_pipe_does_not() {
    let scratch = scratch(GOOD, ORIGINAL);
    let script = "case \"$*\" in\n*rdinit=*) cat patched.log ;;\n\
                  *) head -n 1 original.log ;;\nesac\nsleep 1\ncat original.log\n";
    qemu(&scratch, script);
    let path = format!("{}:/usr/bin:/bin", scratch.path("bin").display());
    let command = format!("{} boot-test p.img > report", env!("CARGO_BIN_EXE_vfioboot"));
    let mut terminal = std::process::Command::new("script");
    terminal.args(["-qec", &command, "/dev/null"]).current_dir(scratch.dir());
    let output = terminal.env("PATH", path).env("TERM", "xterm").output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    for step in [
        "patched 0.4 s  vfiorun: next program: /init",
        "original 0.0 s  kernel: Linux version 6.1.99",
    ] {
        assert!(shown.contains(step), "{shown}");
    }
    let report = String::from_utf8(scratch.read("report")).unwrap();
    assert!(report.contains("proven") && !report.contains('\r'), "{report}");
    let piped = run(&scratch, "p.img").success();
    assert_eq!(piped.get_output().stderr, b"");
}

#[test]
fn an_interrupt_ends_qemu_and_leaves_nothing() {
    let scratch = scratch(GOOD, ORIGINAL);
    qemu(&scratch, "echo booting\necho $$ > pid.new\nmv pid.new pid\nexec sleep 300\n");
    let before = scratch.names(".");
    let mut vfioboot = std::process::Command::new(env!("CARGO_BIN_EXE_vfioboot"))
        .args(["boot-test", "p.img", "--log", "log"])
        .current_dir(scratch.dir())
        .env("PATH", format!("{}:/usr/bin:/bin", scratch.path("bin").display()))
        .spawn()
        .unwrap();
    let waited = |until: &dyn Fn() -> bool| {
        (0..600).any(|_| until() || (std::thread::sleep(Duration::from_millis(50)), false).1)
    };
    assert!(waited(&|| scratch.exists("pid")));
    let pid = String::from_utf8(scratch.read("pid")).unwrap();
    // SIGINT is ignored below a shell in the background.
    let interrupt = ["-TERM".to_owned(), vfioboot.id().to_string()];
    assert!(std::process::Command::new("kill").args(interrupt).status().unwrap().success());
    assert!(!vfioboot.wait().unwrap().success());
    let stat = format!("/proc/{}/stat", pid.trim());
    // Nobody may have asked for the status of what has ended.
    let ended = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    assert!(waited(&ended));
    fs::remove_file(scratch.path("pid")).unwrap();
    assert_eq!(scratch.names("."), before);
}
