//! `vfioboot module`: the zip, by independent programs that read it, and its scripts, run with
//! stubs for what root managers provide.

use crate::common;
use crate::common::cli;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cli::Scratch;
use common::{AARCH64, X86_64, dynamic_elf, elf};

const MODULE: &str = "module --runtime rt";

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("rt", &elf(AARCH64));
    scratch
}

fn run(program: &str, arguments: &[&str], directory: &Path) -> Output {
    let output = Command::new(program).args(arguments).current_dir(directory).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn text(program: &str, arguments: &[&str], directory: &Path) -> String {
    let output = run(program, arguments, directory);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

#[test]
fn unzip_and_python_read_it() {
    let scratch = scratch();
    let said = scratch.ok(&format!("{MODULE} -o m.zip"));
    let size = scratch.read("m.zip").len();
    let wrote = format!(
        "wrote m.zip, {size} bytes: install it in Magisk, KernelSU or APatch, and reboot\n"
    );
    // the program under test is no static one for arm64
    assert!(said.starts_with(&wrote) && said.contains("--vfioboot"), "{said}");
    text("unzip", &["-tq", "m.zip"], scratch.dir());
    let script = "import zipfile; z = zipfile.ZipFile('m.zip'); assert z.testzip() is None\n\
                  for i in z.infolist(): print(i.filename, oct(i.external_attr >> 16), i.date_time[0])";
    let listed = text("python3", &["-c", script], scratch.dir());
    assert_eq!(
        listed,
        "module.prop 0o100644 1980\n\
         META-INF/com/google/android/update-binary 0o100755 1980\n\
         META-INF/com/google/android/updater-script 0o100644 1980\n\
         customize.sh 0o100644 1980\n\
         service.sh 0o100755 1980\n\
         uninstall.sh 0o100755 1980\n\
         system/bin/vfiorun 0o100755 1980\n\
         guests/example.toml 0o100644 1980\n"
    );
}

#[test]
fn vfioboot_is_in_it_when_it_runs_on_the_device() {
    let scratch = scratch();
    let program = [elf(AARCH64), b"vfioboot".to_vec()].concat();
    scratch.file("boot-arm64", &program);
    scratch.ok(&format!("{MODULE} --vfioboot boot-arm64 -o m.zip"));
    let packed = run("unzip", &["-p", "m.zip", "system/bin/vfioboot"], scratch.dir());
    assert!(packed.stdout == program);
    let said = scratch.ok(&format!("{MODULE} --without-vfioboot -o small.zip"));
    assert!(!said.contains("no vfioboot"), "{said}");
    assert!(scratch.read("small.zip").len() < scratch.read("m.zip").len());
    // one that cannot run there
    for (name, bytes) in [("x86", elf(X86_64)), ("dynamic", dynamic_elf(AARCH64))] {
        scratch.file(name, &bytes);
        let error = scratch.error(&format!("{MODULE} --vfioboot {name} -o bad.zip"));
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn the_same_arguments_give_the_same_bytes() {
    let scratch = scratch();
    scratch.ok(&format!("{MODULE} -o one.zip"));
    scratch.ok(&format!("{MODULE} -o two.zip"));
    assert!(scratch.read("one.zip") == scratch.read("two.zip"));
}

#[test]
fn module_prop_has_what_each_manager_demands() {
    let scratch = scratch();
    scratch.ok(&format!("{MODULE} -o m.zip"));
    let prop = text("unzip", &["-p", "m.zip", "module.prop"], scratch.dir());
    assert!(prop.ends_with('\n') && !prop.contains(['\r', '@']), "{prop}");
    let pairs: Vec<(&str, &str)> = prop.lines().map(|line| line.split_once('=').unwrap()).collect();
    let keys: Vec<&str> = pairs.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, ["id", "name", "version", "versionCode", "author", "description"]);
    assert_eq!(pairs[0].1, "vfiorun");
    assert_eq!(pairs[2].1, env!("CARGO_PKG_VERSION"));
    assert!(pairs[3].1.parse::<u32>().unwrap() > 0);
}

#[test]
fn magisk_knows_it_by_its_updater_script() {
    let scratch = scratch();
    scratch.ok(&format!("{MODULE} -o m.zip"));
    let path = "META-INF/com/google/android/updater-script";
    assert_eq!(text("unzip", &["-p", "m.zip", path], scratch.dir()), "#MAGISK\n");
}

#[test]
fn the_program_is_the_one_for_the_architecture() {
    let scratch = scratch();
    scratch.file("rt", &elf(X86_64));
    scratch.ok(&format!("{MODULE} --arch x86_64 -o m.zip"));
    let program = run("unzip", &["-p", "m.zip", "system/bin/vfiorun"], scratch.dir()).stdout;
    assert!(program == elf(X86_64));
    let error = scratch.error(&format!("{MODULE} -o n.zip"));
    assert!(error.contains("rt: the runtime is built for"), "{error}");
    scratch.file("rt", &dynamic_elf(AARCH64));
    let error = scratch.error(&format!("{MODULE} -o n.zip"));
    assert!(error.contains("rt: the runtime is dynamically linked"), "{error}");
    assert!(!scratch.exists("n.zip"));
}

#[test]
fn guest_files_of_the_user_take_the_place_of_the_example() {
    let scratch = scratch();
    scratch.file("debian.toml", b"autostart = true\n");
    scratch.ok(&format!("{MODULE} --guest debian.toml -o m.zip"));
    assert_eq!(text("unzip", &["-p", "m.zip", "guests/*"], scratch.dir()), "autostart = true\n");
}

#[test]
fn guest_files_that_vfiorun_would_not_take_are_refused() {
    let scratch = scratch();
    scratch.file("sub/a.toml", b"");
    for (name, bytes, why) in [
        ("a.txt", &b""[..], "a.txt: vfiorun autostart reads files whose name ends in .toml"),
        ("a$b.toml", b"", "a$b.toml: the name may have letters"),
        ("bad.toml", b"autostart = \n", "bad.toml: TOML parse error at line 1, column 13"),
        ("bin.toml", b"\xff", "bin.toml: invalid utf-8"),
        ("a.toml", b"", "a.toml: two guest files of this name were given"),
    ] {
        scratch.file(name, bytes);
        let second = if name == "a.toml" { "--guest sub/a.toml" } else { "" };
        let error = scratch.error(&format!("{MODULE} --guest {name} {second} -o m.zip"));
        assert!(error.contains(why), "{error}");
    }
    assert!(!scratch.exists("m.zip"));
}

#[test]
fn what_is_read_is_not_written_to() {
    let scratch = scratch();
    let error = scratch.error(&format!("{MODULE} -o rt"));
    assert!(error.contains("rt"), "{error}");
    assert!(scratch.read("rt") == elf(AARCH64));
}

/// A device: `adb/`, and `bin/` with stubs that are found first.
struct Device {
    scratch: Scratch,
    shell: Vec<String>,
}

/// dash is here always; the managers' own shell is busybox's.
fn shells() -> Vec<Vec<String>> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let there = |shell: &Vec<String>| {
        Command::new(&shell[0]).args(&shell[1..]).args(["-c", ":"]).output().is_ok()
    };
    ["dash", "busybox sh"].map(words).into_iter().filter(there).collect()
}

impl Device {
    /// With the module's files where an installer has put them.
    fn new(shell: Vec<String>, module: &str, more: &str) -> Self {
        let scratch = scratch();
        let device = Device { scratch, shell };
        device.scratch.ok(&format!("{MODULE} {more} -o m.zip"));
        let directory = device.path(module);
        fs::create_dir_all(&directory).unwrap();
        let zip = device.path("m.zip").display().to_string();
        run("unzip", &["-q", &zip, "-x", "META-INF/*"], &directory);
        device.program(
            &format!("{module}/system/bin/vfiorun"),
            "echo \"vfiorun $*\" >> \"$RAN\"; exit 0",
        );
        // Android is up at the second look.
        device.program("bin/getprop", "cat \"$BOOTED\" 2>/dev/null; echo 1 > \"$BOOTED\"");
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    fn program(&self, name: &str, script: &str) {
        self.scratch.file(name, format!("#!/bin/sh\n{script}\n").as_bytes());
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.shell[0]);
        command.args(&self.shell[1..]).current_dir(self.scratch.dir());
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command.env("PATH", path);
        command.env("RAN", self.path("ran")).env("BOOTED", self.path("booted"));
        command
    }

    /// Source `customize.sh` as the installers do; what it says, and whether it went through.
    fn customize(&self, arch: &str) -> (String, bool) {
        let module = self.path("adb/modules_update/vfiorun");
        let script = "ui_print() { echo \"$1\"; }; abort() { echo \"$1\"; exit 1; }
            set_perm() { chmod \"$4\" \"$1\" && echo \"$2:$3 $4 ${1#\"$MODPATH\"/}\" >> perms; }
            . \"$MODPATH/customize.sh\"; echo done";
        let mut command = self.command();
        let output = command.args(["-u", "-c", script]).env("MODPATH", module).env("ARCH", arch);
        let output = output.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    }

    /// Run a script of the module as a manager does; give up after ten seconds of waiting for
    /// `last` in its log.
    fn service(&self, last: &str) -> String {
        let script = self.path("adb/modules/vfiorun/service.sh");
        let output = self.command().arg(script).output().unwrap();
        assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
        let started = Instant::now();
        loop {
            let log =
                fs::read_to_string(self.path("adb/vfioboot/autostart.log")).unwrap_or_default();
            if log.contains(last) {
                return log;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn ran(&self) -> String {
        fs::read_to_string(self.path("ran")).unwrap_or_default()
    }
}

#[test]
fn its_scripts_are_right_to_shells_and_to_shellcheck() {
    let device = Device::new(vec!["sh".to_owned()], "m", "");
    let zip = device.path("m.zip").display().to_string();
    run("unzip", &["-q", "-o", &zip], &device.path("m"));
    for name in
        ["customize.sh", "service.sh", "uninstall.sh", "META-INF/com/google/android/update-binary"]
    {
        for shell in shells() {
            let arguments = [&shell[1..], &["-n".to_owned(), name.to_owned()]].concat();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            text(&shell[0], &arguments, &device.path("m"));
        }
        text("shellcheck", &["-s", "sh", name], &device.path("m"));
    }
}

#[test]
fn customize_sets_permissions_and_installs_the_guest_files() {
    for shell in shells() {
        let device = Device::new(shell, "adb/modules_update/vfiorun", "");
        let (said, done) = device.customize("arm64");
        assert!(done && said.ends_with("done\n"), "{said}");
        let guests = device.path("adb/vfioboot/guests");
        assert!(
            said.contains(&format!("- Guest file: {}/example.toml", guests.display())),
            "{said}"
        );
        let reference = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guest.toml"));
        assert!(fs::read(guests.join("example.toml")).unwrap() == reference.unwrap());
        assert_eq!(
            String::from_utf8(device.scratch.read("perms")).unwrap(),
            "0:2000 0755 system/bin/vfiorun\n0:0 0755 service.sh\n0:0 0755 uninstall.sh\n"
        );
        assert_eq!(device.ran(), "vfiorun --version\n");
    }
}

#[test]
fn customize_keeps_a_guest_file_that_is_there() {
    for shell in shells() {
        let device = Device::new(shell, "adb/modules_update/vfiorun", "");
        device.scratch.file("adb/vfioboot/guests/example.toml", b"# mine\n");
        let (said, done) = device.customize("arm64");
        assert!(done && said.contains("is kept; the file"), "{said}");
        assert_eq!(device.scratch.read("adb/vfioboot/guests/example.toml"), b"# mine\n");
        assert!(device.scratch.exists("adb/vfioboot/guests/example.toml.new"));
    }
}

#[test]
fn customize_refuses_another_processor_and_a_program_that_does_not_run() {
    for shell in shells() {
        let device = Device::new(shell, "adb/modules_update/vfiorun", "");
        let (said, done) = device.customize("arm");
        assert!(!done, "{said}");
        assert!(said.starts_with("! This module is for arm64, the device is arm:"), "{said}");
        device.program("adb/modules_update/vfiorun/system/bin/vfiorun", "exit 126");
        let (said, done) = device.customize("arm64");
        assert_eq!((said.as_str(), done), ("! vfiorun does not run on this device\n", false));
    }
}

#[test]
fn service_waits_for_android_and_starts_the_guests() {
    for shell in shells() {
        let device = Device::new(shell, "adb/modules/vfiorun", "");
        device.scratch.file("adb/vfioboot/autostart.log", b"of the boot before\n");
        let log = device.service("ended with status 0");
        assert!(log.starts_with("Android is up after 2 seconds of waiting\n"), "{log}");
        let guests = device.path("adb/vfioboot/guests");
        assert_eq!(device.ran(), format!("vfiorun autostart --at-boot {}\n", guests.display()));
        assert_eq!(device.scratch.read("adb/vfioboot/autostart.log.old"), b"of the boot before\n");
    }
}

#[test]
fn the_command_is_linked_where_nothing_is_mounted_and_the_link_goes_with_the_module() {
    for shell in shells() {
        for manager in ["ksu", "ap"] {
            let device = Device::new(shell.clone(), "adb/modules/vfiorun", "");
            device.scratch.file("booted", b"1\n");
            device.scratch.file(&format!("adb/{manager}/bin/busybox"), b"");
            device.service("ended with status 0");
            let link = device.path(&format!("adb/{manager}/bin/vfiorun"));
            assert_eq!(
                fs::read_link(&link).unwrap(),
                device.path("adb/modules/vfiorun/system/bin/vfiorun")
            );
            let script = device.path("adb/modules/vfiorun/uninstall.sh");
            assert!(device.command().arg(&script).output().unwrap().status.success());
            assert!(!device.scratch.exists(&format!("adb/{manager}/bin/vfiorun")));
            assert!(device.scratch.exists("adb/vfioboot/autostart.log"));
        }
    }
}

#[test]
fn uninstall_keeps_a_program_that_is_not_its_link() {
    let device = Device::new(shells().remove(0), "adb/modules/vfiorun", "");
    device.scratch.file("adb/ksu/bin/vfiorun", b"someone's");
    let script = device.path("adb/modules/vfiorun/uninstall.sh");
    assert!(device.command().arg(&script).output().unwrap().status.success());
    assert_eq!(device.scratch.read("adb/ksu/bin/vfiorun"), b"someone's");
}
