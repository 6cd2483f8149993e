//! `vfiorun service`: what is written for whichever manager runs the machine.

use crate::common::{self, device_tree};

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use device_tree::Tree;

fn tree(name: &str, mark: &str) -> Tree {
    let tree = Tree::new(&format!("service-{name}"));
    std::fs::create_dir_all(tree.path(mark)).unwrap();
    tree.file("proc/sys/kernel/osrelease", "6.1.0\n");
    tree
}

fn vfiorun(tree: &Tree, words: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfiorun"));
    let output = command.arg("--sysroot").arg(&tree.root).args(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn install(tree: &Tree, more: &[&str]) -> String {
    let words = [&["service", "install", "--guests", "/srv/guests"][..], more].concat();
    let (status, text, errors) = vfiorun(tree, &words);
    assert_eq!(status, 0, "{text}{errors}");
    text
}

const UNITS: &str = "etc/systemd/system";

#[test]
fn systemd_starts_the_guests_and_binds_devices_before_udev() {
    let tree = tree("systemd", "run/systemd/system");
    install(&tree, &["--bind", "10de:1c82", "--bind", "0000:01:00.0"]);
    let program = env!("CARGO_BIN_EXE_vfiorun");
    let unit = tree.read(&format!("{UNITS}/vfiorun.service"));
    for line in [
        &format!("ExecStart={program} autostart --at-boot --stay /srv/guests"),
        "Type=notify",
        "Slice=vfiorun.slice",
        "Delegate=yes",
        "WantedBy=multi-user.target",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}: {unit}");
    }
    let early = tree.read(&format!("{UNITS}/vfiorun-bind.service"));
    assert!(
        early.contains(&format!("ExecStart={program} bind 10de:1c82 0000:01:00.0\n")),
        "{early}"
    );
    assert!(early.contains("\nBefore=systemd-udev-trigger.service sysinit.target\n"), "{early}");
    for (target, unit) in [("multi-user", "vfiorun"), ("sysinit", "vfiorun-bind")] {
        let link = tree.path(&format!("{UNITS}/{target}.target.wants/{unit}.service"));
        let to = std::fs::read_link(link).unwrap();
        assert_eq!(to.to_str().unwrap(), format!("/{UNITS}/{unit}.service"));
    }
    // Where it can be asked, systemd itself finds nothing wrong with them.
    if let Ok(output) = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(tree.path(&format!("{UNITS}/vfiorun.service")))
        .output()
    {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("vfiorun")).collect();
        assert!(ours.is_empty(), "{said}");
    }
    assert_eq!(vfiorun(&tree, &["service", "status"]).0, 0);
    // Without the binding its unit goes.
    install(&tree, &[]);
    assert!(!tree.path(&format!("{UNITS}/vfiorun-bind.service")).exists());
    let (status, text, _) = vfiorun(&tree, &["service", "remove"]);
    assert!(status == 0 && text.contains("guests that run go on"), "{text}");
    let left: Vec<_> = std::fs::read_dir(tree.path(UNITS)).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| entry.path().is_dir()), "{left:?}");
    let (status, text, _) = vfiorun(&tree, &["service", "status"]);
    assert_eq!((status, text.as_str()), (1, "systemd: not installed\n"));
}

#[test]
fn scripts_of_openrc_and_runit_are_scripts() {
    let openrc = tree("openrc", "run/openrc");
    install(&openrc, &["--bind", "10de:1c82"]);
    let runit = tree("runit", "run/runit");
    std::fs::create_dir_all(runit.path("var/service")).unwrap();
    install(&runit, &["--bind", "10de:1c82"]);
    for (tree, script) in [
        (&openrc, "etc/init.d/vfiorun"),
        (&openrc, "etc/init.d/vfiorun-bind"),
        (&runit, "etc/sv/vfiorun/run"),
    ] {
        let mode = tree.path(script).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script}");
        common::pipe("sh", &["-n"], tree.read(script).as_bytes());
    }
    assert!(openrc.read("etc/init.d/vfiorun").starts_with("#!/sbin/openrc-run\n"));
    assert!(openrc.read("etc/init.d/vfiorun-bind").contains(" bind 10de:1c82\n"));
    let link = std::fs::read_link(openrc.path("etc/runlevels/default/vfiorun")).unwrap();
    assert_eq!(link.to_str(), Some("/etc/init.d/vfiorun"));
    let run = runit.read("etc/sv/vfiorun/run");
    assert!(run.contains(" bind 10de:1c82\nexec "), "{run}");
    let link = std::fs::read_link(runit.path("var/service/vfiorun")).unwrap();
    assert_eq!(link.to_str(), Some("/etc/sv/vfiorun"));
}

#[test]
fn modules_are_loaded_where_vfio_is_one() {
    let conf = "etc/modules-load.d/vfiorun.conf";
    let tree = tree("modules", "run/systemd/system");
    let lists = [
        ("modules.dep", "kernel/drivers/vfio/pci/vfio-pci.ko.xz: a.ko\n"),
        ("modules.builtin", ""),
    ];
    for (list, text) in lists {
        tree.file(&format!("lib/modules/6.1.0/{list}"), text);
    }
    install(&tree, &[]);
    assert!(tree.read(conf).contains("\nvfio-pci\nvfio_iommu_type1\n"));
    tree.file("lib/modules/6.1.0/modules.builtin", "kernel/drivers/vfio/pci/vfio-pci.ko\n");
    install(&tree, &[]);
    assert!(!tree.path(conf).exists(), "built in");
}

#[test]
fn what_somebody_else_wrote_stays() {
    let tree = tree("foreign", "run/systemd/system");
    let unit = format!("{UNITS}/vfiorun.service");
    tree.file(&unit, "[Service]\nExecStart=/mine\n");
    let (status, _, errors) = vfiorun(&tree, &["service", "install"]);
    assert_eq!(status, 2);
    assert!(errors.contains(&format!("/{unit}: somebody else's")), "{errors}");
    assert_eq!(vfiorun(&tree, &["service", "remove"]).0, 0);
    assert!(tree.read(&unit).contains("/mine"));
    assert!(!tree.path(&format!("{UNITS}/vfiorun.slice")).exists(), "nothing was written");
}

#[test]
fn a_machine_without_a_manager_and_android_are_told_what_to_do() {
    let tree = tree("none", "run");
    let (status, _, errors) = vfiorun(&tree, &["service", "install"]);
    assert!(status == 2 && errors.contains("autostart --stay"), "{errors}");
    tree.file("system/bin/init", "");
    let (_, _, errors) = vfiorun(&tree, &["service", "install"]);
    assert!(errors.contains("vfioboot module"), "{errors}");
}

#[test]
fn a_dry_run_writes_nothing() {
    let tree = tree("dry", "run/systemd/system");
    let text = install(&tree, &["--dry-run"]);
    assert!(text.contains("cat > /etc/systemd/system/vfiorun.service << 'EOF'\n"), "{text}");
    assert!(!tree.path("etc").exists());
}
