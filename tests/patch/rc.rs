//! rc files in a patch: where the boot flow honours them, and what happens to the original.

use crate::common;

use common::archives::read_all;
#[cfg(feature = "device")]
use common::pipe;
use common::{AARCH64, cpio, elf, fixture, with_cmdline, with_section};
use vfioboot::bootfile::BootFile;
use vfioboot::bootset::BootSet;
use vfioboot::image::{Image, SectionName};
use vfioboot::patch::{
    self, HookChoice, Options, Plan, RcFile, RcOptions, RcPlace, Runtimes, Warning,
};
use vfioboot::ramdisk::Limits;
use vfioboot::ramdisk::cpio::{CpioWriter, FileType, Header};
use vfioboot::ramdisk::tree::{Tree, TreeEntry, read_entry, read_file};

const INIT_RC: &str =
    "import /init.environ.rc\nimport /init.usb.rc\n\non early-init\n    start ueventd\n";
const IMPORT: &str = "import /init.vfioboot.rc\n";

fn with_ramdisk(ramdisk: Vec<u8>) -> Vec<u8> {
    with_section(&fixture("images/boot-v2-raw.img"), SectionName::Ramdisk, ramdisk)
}

/// A legacy rootfs with this `init.rc`.
fn legacy(init_rc: &str) -> Vec<u8> {
    with_ramdisk(cpio(&[
        ("init", b"\x7fELF"),
        ("init.rc", init_rc.as_bytes()),
        ("sbin/", b""),
        ("sbin/adbd", b"\x7fELF"),
        ("default.prop", b"ro.secure=1\nro.debuggable=1\n"),
    ]))
}

/// What Magisk leaves of a ramdisk with these entries.
fn magisk(more: &[(&str, &[u8])]) -> Vec<u8> {
    let own: [(&str, &[u8]); 6] = [
        (".backup/", b""),
        (".backup/.magisk", b"KEEPVERITY=true\n"),
        ("init", b"magiskinit"),
        ("overlay.d/", b""),
        ("overlay.d/sbin/", b""),
        ("overlay.d/sbin/magisk.xz", b"xz"),
    ];
    with_ramdisk(cpio(&[&own, more].concat()))
}

fn autostart() -> RcOptions {
    RcOptions { autostart: true, ..RcOptions::default() }
}

fn yours(name: &str, text: &str) -> RcFile {
    RcFile { name: name.to_owned(), bytes: text.as_bytes().to_vec() }
}

fn planned<T>(
    set: &[Vec<u8>],
    hook: HookChoice,
    rc: RcOptions,
    look: impl FnOnce(Result<Plan<'_>, patch::Error>) -> T,
) -> T {
    let runtime = elf(AARCH64);
    let mut options = Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(&runtime));
    options.rc = rc;
    options.hook = hook;
    let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    look(patch::plan(&BootSet::from_images(&images), &options))
}

/// The reason of the plan, its place and its label.
fn decided(image: &[u8], rc: RcOptions) -> (Option<RcPlace>, Option<String>, String) {
    planned(&[image.to_vec()], HookChoice::Auto, rc, |plan| {
        let rc = plan.unwrap_or_else(|error| panic!("{error}")).rc;
        (rc.place, rc.seclabel, rc.reason.to_string())
    })
}

fn refused(set: &[Vec<u8>], rc: RcOptions) -> String {
    planned(set, HookChoice::Auto, rc, |plan| plan.unwrap_err().to_string())
}

fn patched_by(image: &[u8], hook: HookChoice, rc: RcOptions) -> Vec<u8> {
    planned(&[image.to_vec()], hook, rc, |plan| {
        let plan = plan.unwrap_or_else(|error| panic!("{error}"));
        plan.images[0].output.as_ref().unwrap().to_vec()
    })
}

fn patched(image: &[u8], rc: RcOptions) -> Vec<u8> {
    ramdisk_of(&patched_by(image, HookChoice::Auto, rc))
}

fn ramdisk_of(image: &[u8]) -> Vec<u8> {
    Image::parse(image).unwrap().section(SectionName::Ramdisk).unwrap().to_vec()
}

fn find(ramdisk: &[u8], path: &str) -> Option<TreeEntry> {
    Tree::read(ramdisk, Limits::default()).unwrap().find(path.as_bytes(), false)
}

fn read(ramdisk: &[u8], path: &str) -> String {
    let mut bytes = Vec::new();
    read_file(ramdisk, path.as_bytes(), &mut bytes, Limits::default()).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn header(ramdisk: &[u8], path: &str) -> Header {
    let found = find(ramdisk, path).unwrap();
    read_entry(ramdisk, found.source, Limits::default()).unwrap().unwrap().0
}

#[test]
fn init_rc_of_a_legacy_rootfs_has_one_line_after_its_imports() {
    let ramdisk = patched(&legacy(INIT_RC), autostart());
    let expected = INIT_RC.replace("usb.rc\n", &format!("usb.rc\n{IMPORT}"));
    assert_eq!(read(&ramdisk, "/init.rc"), expected);
}

#[test]
fn what_init_rc_imports_starts_the_guests_when_android_is_up() {
    let text = read(&patched(&legacy(INIT_RC), autostart()), "/init.vfioboot.rc");
    for line in [
        "on property:sys.boot_completed=1\n    start vfiorun\n",
        "service vfiorun /sbin/vfiorun autostart\n",
        "    seclabel u:r:su:s0\n",
        "    disabled\n",
        "    oneshot\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn vfiorun_is_a_command_that_takes_no_room() {
    for hook in [HookChoice::Rdinit, HookChoice::Init] {
        let ramdisk = ramdisk_of(&patched_by(&legacy(INIT_RC), hook, autostart()));
        let command = find(&ramdisk, "/sbin/vfiorun").unwrap();
        assert_eq!(
            (command.file_type, &command.target[..]),
            (FileType::Symlink, &b"/vfioboot/init"[..])
        );
        let file: BootFile = toml::from_str(&read(&ramdisk, "/vfioboot/boot.toml")).unwrap();
        assert_eq!(file.runtime_names, ["/sbin/vfiorun"]);
    }
}

/// magiskboot keeps the bytes of each entry and no hard links, and the last entry of a name.
#[test]
fn a_tool_that_keeps_no_hard_links_loses_nothing() {
    let overlay = magisk(&[("init.rc", INIT_RC.as_bytes()), ("sbin/", b"")]);
    for image in [legacy(INIT_RC), overlay] {
        for hook in [HookChoice::Rdinit, HookChoice::Init] {
            let before = ramdisk_of(&image);
            let after = ramdisk_of(&patched_by(&image, hook, autostart()));
            let own = read_all(&after[before.len()..]).unwrap();
            for (entry, data) in &own {
                let twice = own.iter().filter(|(other, _)| other.name == entry.name).count();
                let name = String::from_utf8_lossy(&entry.name);
                assert_eq!(twice, 1, "{name}");
                let directory = entry.file_type() == FileType::Directory;
                assert!(directory || entry.is_trailer() || entry.header.nlink == 1, "{name}");
                assert!(directory || entry.is_trailer() || !data.is_empty(), "{name}");
            }
        }
    }
}

#[test]
fn a_rootfs_without_sbin_has_the_command_in_its_root() {
    let image = with_ramdisk(cpio(&[("init", b"\x7fELF"), ("init.rc", INIT_RC.as_bytes())]));
    let ramdisk = patched(&image, autostart());
    assert!(read(&ramdisk, "/init.vfioboot.rc").contains("service vfiorun /vfiorun autostart\n"));
    assert!(find(&ramdisk, "/vfiorun").is_some());
}

#[test]
fn the_original_stays_below_and_undo_is_exact() {
    for hook in [HookChoice::Rdinit, HookChoice::Init] {
        for image in [legacy(INIT_RC), magisk(&[("init.rc", b"on boot\n")])] {
            let after = patched_by(&image, hook, autostart());
            assert!(ramdisk_of(&after).starts_with(&ramdisk_of(&image)));
            let images = [Image::parse(&after).unwrap()];
            let original =
                patch::unpatch(&BootSet::from_images(&images)).unwrap().remove(0).unwrap();
            assert!(original.to_vec() == image);
        }
    }
}

#[cfg(feature = "device")]
/// Every file below `directory`: path, mode, contents or target; without what PID 1 removes.
fn listing(directory: &std::path::Path) -> Vec<String> {
    let script = "find . -path ./vfioboot -prune -o -type f -printf '%p %m ' -exec md5sum {} ';' \
                  -o -printf '%p %m %l\\n' | sort";
    let output =
        std::process::Command::new("sh").args(["-c", script]).current_dir(directory).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[cfg(feature = "device")]
/// Debian's cpio takes a raw ramdisk, or several archives in a row, apart.
fn unpacked(ramdisk: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display().to_string();
    // One archive at a time: `cpio -i` stops at a TRAILER.
    let script = format!(
        "cat > {path}.cpio; cd {path}; (while cpio -idmu --quiet --no-absolute-filenames; do :; done) \
         < {path}.cpio 2>/dev/null; rm {path}.cpio"
    );
    pipe("sh", &["-c", &script], ramdisk);
    directory
}

#[cfg(feature = "device")]
#[test]
fn pid_1_makes_the_ramdisk_of_its_makers_again_where_it_is_to_leave_things_alone() {
    use vfioboot::device::boot::apply;
    use vfioboot::device::sys::kmsg::Level;
    let image = legacy(INIT_RC);
    let rc = RcOptions { files: vec![yours("a.rc", "on boot\n")], ..autostart() };
    let ramdisk = patched(&image, rc);
    let directory = unpacked(&ramdisk);
    let file = std::fs::read_to_string(directory.path().join("vfioboot/boot.toml")).unwrap();
    assert_ne!(listing(directory.path()), listing(unpacked(&ramdisk_of(&image)).path()));
    let mut messages = Vec::new();
    apply::put_back(
        &toml::from_str(&file).unwrap(),
        directory.path(),
        &mut |_: Level, text: &str| messages.push(text.to_owned()),
    );
    assert_eq!(messages, [""; 0]);
    assert_eq!(listing(directory.path()), listing(unpacked(&ramdisk_of(&image)).path()));
}

#[test]
fn mode_and_owner_of_init_rc_are_kept() {
    let mut archive = CpioWriter::new(Vec::new());
    archive.file(b"init", 0o750, b"\x7fELF").unwrap();
    let like = Header { mode: 0o100_750, uid: 0, gid: 2000, ..Header::default() };
    archive.like(b"init.rc", &like, INIT_RC.as_bytes()).unwrap();
    let ramdisk = patched(&with_ramdisk(archive.finish().unwrap()), autostart());
    for path in ["/init.rc", "/init.vfioboot.rc", "/vfioboot/original/init.rc"] {
        let header = header(&ramdisk, path);
        assert_eq!((header.mode, header.uid, header.gid), (0o100_750, 0, 2000), "{path}");
    }
}

#[test]
fn an_init_rc_that_is_a_symbolic_link_stays_one() {
    let mut archive = CpioWriter::new(Vec::new());
    archive.file(b"init", 0o750, b"\x7fELF").unwrap();
    archive.dir(b"etc", 0o755).unwrap();
    archive.file(b"etc/real.rc", 0o640, INIT_RC.as_bytes()).unwrap();
    archive.symlink(b"init.rc", b"etc/real.rc").unwrap();
    let ramdisk = patched(&with_ramdisk(archive.finish().unwrap()), autostart());
    assert_eq!(find(&ramdisk, "/init.rc").unwrap().file_type, FileType::Symlink);
    assert!(read(&ramdisk, "/etc/real.rc").contains(IMPORT));
}

#[test]
fn another_name_of_init_rc_keeps_the_original() {
    let mut archive = CpioWriter::new(Vec::new());
    archive.file(b"init", 0o750, b"\x7fELF").unwrap();
    archive.linked(&[b"init.rc", b"init.backup.rc"], 0o750, INIT_RC.as_bytes()).unwrap();
    let ramdisk = patched(&with_ramdisk(archive.finish().unwrap()), autostart());
    assert_eq!(read(&ramdisk, "/init.backup.rc"), INIT_RC);
    assert!(read(&ramdisk, "/init.rc").contains(IMPORT));
}

#[test]
fn an_init_rc_that_leads_out_of_the_ramdisk_is_left_alone() {
    let mut archive = CpioWriter::new(Vec::new());
    archive.file(b"init", 0o750, b"\x7fELF").unwrap();
    archive.symlink(b"init.rc", b"/system/etc/init.rc").unwrap();
    let image = with_ramdisk(archive.finish().unwrap());
    let (place, _, reason) = decided(&image, autostart());
    assert_eq!(place, None);
    assert!(reason.contains("a file that is not in the ramdisk"), "{reason}");
}

#[test]
fn a_file_of_our_name_is_put_aside() {
    let image = with_ramdisk(cpio(&[
        ("init", b"\x7fELF"),
        ("init.rc", b"import /init.vfioboot.rc\n"),
        ("init.vfioboot.rc", b"# by hand\n"),
    ]));
    let ramdisk = patched(&image, autostart());
    assert!(read(&ramdisk, "/init.vfioboot.rc").contains("service vfiorun"));
    assert_eq!(read(&ramdisk, "/vfioboot/original/init.vfioboot.rc"), "# by hand\n");
    // It is imported already: nothing of init.rc has to change.
    assert_eq!(find(&ramdisk, "/vfioboot/original/init.rc"), None);
}

#[test]
fn a_directory_where_the_file_would_go_is_refused() {
    let image = with_ramdisk(cpio(&[
        ("init", b"\x7fELF"),
        ("init.rc", INIT_RC.as_bytes()),
        ("init.vfioboot.rc/", b""),
    ]));
    let error = refused(&[image], autostart());
    assert!(error.starts_with("/init.vfioboot.rc is in the ramdisk and neither a file"), "{error}");
}

#[test]
fn the_label_follows_what_the_ramdisk_says_of_its_build() {
    let image = |prop: &str| {
        with_ramdisk(cpio(&[
            ("init", b"\x7fELF"),
            ("init.rc", INIT_RC.as_bytes()),
            ("default.prop", prop.as_bytes()),
        ]))
    };
    let debug = decided(&image("ro.debuggable=1\n"), autostart());
    assert_eq!(debug.1.as_deref(), Some("u:r:su:s0"));
    assert!(debug.2.contains("ro.debuggable=1 in default.prop"), "{}", debug.2);
    let user = decided(&image("ro.debuggable=0\nro.debuggable=1\n"), autostart());
    assert_eq!(user.1, None);
    assert!(
        user.2.contains("a user build, whose policy lets no domain start vfiorun"),
        "{}",
        user.2
    );
    let permissive = with_cmdline(&image("ro.debuggable=0\n"), "androidboot.selinux=permissive");
    assert_eq!(decided(&permissive, autostart()).1.as_deref(), Some("u:r:su:s0"));
    let own = RcOptions { seclabel: Some("u:r:sudaemon:s0".to_owned()), ..autostart() };
    assert_eq!(decided(&image("ro.debuggable=0\n"), own).1.as_deref(), Some("u:r:sudaemon:s0"));
}

#[test]
fn an_unknown_build_type_is_a_warning() {
    let image = with_ramdisk(cpio(&[("init", b"\x7fELF"), ("init.rc", INIT_RC.as_bytes())]));
    let warnings = planned(&[image], HookChoice::Auto, autostart(), |plan| plan.unwrap().warnings);
    let label = "u:r:su:s0".to_owned();
    assert!(warnings.contains(&Warning::AutostartUncertain { label }), "{warnings:?}");
}

#[test]
fn nothing_is_added_unless_requested() {
    let ramdisk = patched(&legacy(INIT_RC), RcOptions::default());
    assert_eq!(read(&ramdisk, "/init.rc"), INIT_RC);
    assert_eq!(find(&ramdisk, "/sbin/vfiorun"), None);
}

#[test]
fn magiskinit_finds_the_fragment_and_the_program_in_its_overlay() {
    let ramdisk = patched(&magisk(&[("first_stage_ramdisk/", b"")]), autostart());
    let text = read(&ramdisk, "/overlay.d/vfioboot.rc");
    assert!(text.contains("service vfiorun ${MAGISKTMP}/vfiorun autostart\n"), "{text}");
    assert!(text.contains("    seclabel u:r:magisk:s0\n"), "{text}");
    assert_eq!(header(&ramdisk, "/overlay.d/vfioboot.rc").mode, 0o100_644);
    assert_eq!(find(&ramdisk, "/overlay.d/sbin/vfiorun").unwrap().target, b"/vfioboot/init");
    assert_eq!(find(&ramdisk, "/sbin/vfiorun"), None);
}

#[test]
fn on_a_rootfs_with_magisk_the_program_is_also_where_it_survives_the_tmpfs() {
    let image = magisk(&[("init.rc", INIT_RC.as_bytes()), ("sbin/", b"")]);
    let ramdisk = patched(&image, autostart());
    let file: BootFile = toml::from_str(&read(&ramdisk, "/vfioboot/boot.toml")).unwrap();
    assert_eq!(file.runtime_names, ["/overlay.d/sbin/vfiorun", "/sbin/vfiorun"]);
    // magiskinit edits init.rc itself.
    assert_eq!(read(&ramdisk, "/init.rc"), INIT_RC);
}

#[test]
fn an_overlay_is_added_to_a_magisk_ramdisk_without_one() {
    let image = with_ramdisk(cpio(&[
        (".backup/", b""),
        (".backup/.magisk", b"KEEPVERITY=true\n"),
        ("init", b"magiskinit"),
    ]));
    let ramdisk = patched(&image, autostart());
    for directory in ["/overlay.d", "/overlay.d/sbin"] {
        assert_eq!(header(&ramdisk, directory).mode, 0o040_750, "{directory}");
    }
}

#[test]
fn elsewhere_nothing_is_put_in_and_the_plan_says_why() {
    let kernel_su = with_ramdisk(cpio(&[
        ("init", b"ksuinit"),
        ("init.real", b"\x7fELF selinux_setup"),
        ("kernelsu.ko", b""),
    ]));
    let two_stage =
        with_ramdisk(cpio(&[("init", b"\x7fELF selinux_setup"), ("init.rc", b"on boot\n")]));
    let recovery =
        with_ramdisk(cpio(&[("init", b"\x7fELF"), ("init.rc", b""), ("sbin/recovery", b"")]));
    let linux = with_ramdisk(cpio(&[("init", b"#!/bin/sh"), ("bin/busybox", b"")]));
    for (image, why) in [
        (kernel_su, "KernelSU reads no rc files from the ramdisk"),
        (two_stage, "the module that vfioboot module makes for Magisk, KernelSU and APatch"),
        (recovery, "its init.rc is read in recovery mode only"),
        (linux, "let the system's own service manager call vfiorun autostart"),
    ] {
        let (place, label, reason) = decided(&image, autostart());
        assert_eq!((place, label), (None, None));
        assert!(reason.contains(why), "{reason}");
        let rc = RcOptions { files: vec![yours("my.rc", "on boot\n")], ..RcOptions::default() };
        let error = refused(&[image], rc);
        assert!(
            error.starts_with("my.rc: init would not read an rc file in this ramdisk: ")
                && error.contains(why),
            "{error}"
        );
    }
}

#[test]
fn images_of_a_two_stage_device_say_so_where_the_ramdisk_does_not() {
    let init_boot = with_section(
        &fixture("images/init_boot-v4.img"),
        SectionName::Ramdisk,
        cpio(&[("init", b"?"), ("init.rc", b"on boot\n")]),
    );
    let (place, _, reason) = decided(&init_boot, autostart());
    assert_eq!(place, None);
    assert!(reason.starts_with("two-stage init"), "{reason}");
}

#[test]
fn files_of_the_user_are_imported_by_ours() {
    let rc = RcOptions {
        files: vec![yours("b.rc", "on boot\n"), yours("init.rc", "on init\n")],
        ..RcOptions::default()
    };
    let ramdisk = patched(&legacy(INIT_RC), rc);
    let own = read(&ramdisk, "/init.vfioboot.rc");
    let imports = "import /init.vfioboot.b.rc\nimport /init.vfioboot.init.rc\n";
    assert!(own.ends_with(imports), "{own}");
    assert_eq!(read(&ramdisk, "/init.vfioboot.b.rc"), "on boot\n");
    assert_eq!(read(&ramdisk, "/init.vfioboot.init.rc"), "on init\n");
}

#[test]
fn files_of_the_user_are_in_magisks_overlay_with_separate_names() {
    let rc = RcOptions { files: vec![yours("init.rc", "on init\n")], ..RcOptions::default() };
    let ramdisk = patched(&magisk(&[]), rc);
    assert_eq!(read(&ramdisk, "/overlay.d/vfioboot.init.rc"), "on init\n");
    assert_eq!(find(&ramdisk, "/overlay.d/init.rc"), None);
    assert_eq!(find(&ramdisk, "/overlay.d/vfioboot.rc"), None);
}

#[test]
fn names_that_nothing_reads_are_refused() {
    for (names, why) in [
        (&["guest.txt"][..], "guest.txt: init and magiskinit read files whose name ends in .rc"),
        (&[".rc"], ".rc: init and magiskinit read"),
        (&["my guest.rc"], "my guest.rc: the name may have letters, digits"),
        (&["a.rc", "a.rc"], "a.rc: two files of this name were given"),
    ] {
        let files = names.iter().map(|name| yours(name, "on boot\n")).collect();
        let error = refused(&[legacy(INIT_RC)], RcOptions { files, ..RcOptions::default() });
        assert!(error.starts_with(why), "{error}");
    }
}

#[test]
fn the_same_options_give_the_same_bytes() {
    let rc = || RcOptions { files: vec![yours("a.rc", "on boot\n")], ..autostart() };
    assert!(patched(&legacy(INIT_RC), rc()) == patched(&legacy(INIT_RC), rc()));
}

#[test]
fn what_patch_writes_itself_passes_its_own_checker() {
    use vfioboot::rc::{Level, Platform, check};
    use vfioboot::root_manager::{Manager, RcOverlay};
    for (image, path, magisk) in [
        (legacy(INIT_RC), "/init.vfioboot.rc", false),
        (magisk(&[]), "/overlay.d/vfioboot.rc", true),
    ] {
        let text = read(&patched(&image, autostart()), path);
        let overlay = RcOverlay::all().find(|own| magisk && own.manager == Manager::Magisk);
        let target = Platform { overlay, oldest: None, newest: None };
        let findings = check(text.as_bytes(), target);
        assert!(findings.iter().all(|finding| finding.level == Level::Warning), "{findings:?}");
    }
}

#[test]
fn a_file_with_errors_is_refused_with_every_line() {
    let text = "on boot\n    strat a\n    write /sys/module/kvm/parameters/x 1\n";
    let rc = RcOptions { files: vec![yours("bad.rc", text)], ..RcOptions::default() };
    let error = refused(&[magisk(&[])], rc);
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines[0], "rc files with errors, which init would not carry out as written:");
    assert!(lines[1].starts_with("bad.rc:2: error: unknown command \"strat\""), "{error}");
    assert!(lines[2].starts_with("bad.rc:3: error: write /sys/module/kvm/parameters/x"), "{error}");
    assert_eq!(lines.len(), 3);
}

#[test]
fn warnings_about_a_file_are_in_the_plan() {
    let rc = RcOptions { files: vec![yours("odd.rc", "on odd\n    start a\n")], ..autostart() };
    let warnings = planned(&[legacy(INIT_RC)], HookChoice::Auto, rc, |plan| plan.unwrap().warnings);
    let about = warnings.iter().map(ToString::to_string);
    let mut about = about.filter(|text| text.starts_with("odd.rc:1: warning: event odd"));
    assert!(about.next().is_some(), "{warnings:?}");
}
