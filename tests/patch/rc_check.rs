//! The checker of rc files: what it reports, where, and that it accepts AOSP's own style.

use proptest::prelude::*;
use vfioboot::rc::language::Language;
use vfioboot::rc::{Level, Platform, check};
use vfioboot::root_manager::{Autostart, Manager};

/// Any Android, no Magisk.
const ANY: Platform = Platform { overlay: None, oldest: None, newest: None };
/// A legacy rootfs of unknown version.
const LEGACY: Platform = Platform { newest: Some(9), ..ANY };

fn magisk() -> Platform {
    let Autostart::Overlay(overlay) = Manager::Magisk.autostart() else { panic!("no overlay") };
    Platform { overlay: Some(overlay), ..ANY }
}

fn findings(text: &str, platform: Platform) -> Vec<String> {
    check(text.as_bytes(), platform).iter().map(ToString::to_string).collect()
}

/// Assert that there is one finding and that it starts with `start`.
fn expect_finding(text: &str, platform: Platform, start: &str) {
    let found = findings(text, platform);
    assert!(found.len() == 1 && found[0].starts_with(start), "{text:?}: {found:#?}, not {start:?}");
}

#[test]
fn the_language_is_readable() {
    let language = Language::built_in().unwrap();
    let keywords = language.commands.iter().chain(&language.options);
    for (name, keyword) in keywords {
        assert!(keyword.max.is_none_or(|max| max >= keyword.min), "{name}");
        let until = keyword.until;
        assert!(keyword.since.is_none_or(|since| until.is_none_or(|u| u >= since)), "{name}");
    }
    for (name, meant) in &language.triggers.mistakes {
        assert!(!language.triggers.has(name), "{name}");
        assert!(meant.starts_with("property:") || language.triggers.has(meant), "{name}");
    }
}

/// In the style of AOSP's own files: every section, option and command is valid.
#[test]
fn valid_files_have_no_findings() {
    let text = r#"
import /init.environ.rc
import /init.${ro.hardware}.rc

on early-init
    # a comment \
    start ueventd
    write /proc/1/oom_score_adj -1000
    mkdir /mnt 0775 root system

on post-fs-data && property:ro.crypto.state=encrypted && property:persist.x=*
    mkdir /data/misc/x 0770 system system encryption=Require
    exec u:r:vdc:s0 root root -- /system/bin/vdc --wait \
        cryptfs init_user0
    exec - system system -- /system/bin/boringssl_self_test64
    setprop vendor.text "a b"
    trigger my-event

on my-event
    class_start main

service zygote /system/bin/app_process64 -Xzygote /system/bin --zygote
    class main
    priority -20
    user root
    group root readproc reserved_disk
    socket zygote stream 660 root system
    onrestart write /sys/power/state on
    onrestart restart audioserver
    critical window=${zygote.critical_window.minute:-off} target=zygote-fatal
"#;
    // init may write below /sys/power: that is only a warning.
    let found = findings(text, ANY);
    assert!(
        found.len() == 1 && found[0].starts_with("28: warning: write /sys/power/state"),
        "{found:#?}"
    );
}

#[test]
fn each_finding_names_line_and_reason_and_what_to_do() {
    expect_finding(
        "on boot\n    strat foo\n",
        ANY,
        "2: error: unknown command \"strat\": no init since Android 5 knows it: init ignores the line; \
         did you mean start?",
    );
    for (text, start) in [
        ("on boot\n    setenforce 0\n", "2: error: unknown command \"setenforce\""),
        (
            "on boot\n    oneshot\n",
            "2: error: \"oneshot\" in an action: it is an option of services",
        ),
        ("on boot\n    setprop a\n", "2: error: setprop with 1 arguments: it takes 2:"),
        ("on boot\n    bootchart\n", "2: error: bootchart with 0 arguments"),
        ("start foo\n", "1: error: \"start\" outside of a section"),
        ("import /a.rc\nstart foo\n", "2: error: \"start\" outside of a section"),
        ("import\n", "1: error: import takes one path"),
        ("import a.rc\n", "1: error: import a.rc: the path is not absolute"),
        ("on\n    start foo\n", "1: error: \"on\" without a trigger"),
        ("on boot fs\n", "1: error: \"fs\" instead of &&"),
        ("on boot &&\n", "1: error: && at the end"),
        ("on boot && fs\n", "1: error: two events in one section"),
        ("on property:a\n", "1: error: property:a: a property trigger is property:NAME=VALUE"),
        ("on property:=1\n", "1: error: property:=1"),
        (
            "on boot_completed\n",
            "1: error: no event is called boot_completed: init never triggers it, so the section \
             never runs; write on property:sys.boot_completed=1",
        ),
        ("on vendor-thing\n", "1: warning: event vendor-thing: neither init nor AOSP's init.rc"),
        ("service a\n", "1: error: a service needs a name and a program"),
        ("service a/b /system/bin/b\n  user root\n", "1: error: service name \"a/b\""),
        ("service a b\n  user root\n", "1: error: service a: the path b is not absolute"),
        ("service a /system/bin/a\n", "1: warning: service a has no user"),
        (
            "service a /system/bin/a\n  user root\n  start b\n",
            "3: error: \"start\" in a service: it is a command",
        ),
        ("service a /system/bin/a\n  user root\n  seclable x\n", "3: error: unknown option"),
        (
            "service a /system/bin/a\n  user root\n  critical\n  oneshot\n",
            "1: error: service a is critical and oneshot",
        ),
        (
            "service a /system/bin/a\n  user root\n  onrestart strat b\n",
            "3: error: unknown command",
        ),
        (
            "service a /system/bin/a\n  user root\nservice a /system/bin/a\n  user root\n",
            "3: error: service a is defined a second time: line 1 defines it",
        ),
        (
            "service a /sbin/a\n  user root\n",
            "1: error: service a: no seclabel: the policy has no domain transition for a file outside \
             of the system's partitions",
        ),
        (
            "service a /system/bin/sh\n  user root\n",
            "1: error: service a: no seclabel: the policy has no domain transition from init for a shell",
        ),
        ("service a /sbin/a\n  user root\n  seclabel su\n", "3: error: seclabel \"su\""),
        (
            "on boot\n  exec -- /system/bin/sh -c true\n",
            "2: error: exec /system/bin/sh: no seclabel",
        ),
        ("on boot\n  exec u:r:x:s0 --\n", "2: error: exec without a program"),
        ("on boot\n  exec u:r:x:s0 -- ls\n", "2: error: exec: the path ls is not absolute"),
        ("on boot\n  load_all_props\n", "2: warning: load_all_props was removed after Android 6"),
        ("on boot\n  start \"a\n", "2: error: a quote that is not closed"),
        ("on boot\n\0", "2: error: a NUL byte at offset 8"),
        ("on boot\n  start a \\", "2: error: a backslash at the end of the file"),
    ] {
        expect_finding(text, ANY, start);
    }
}

#[test]
fn an_override_is_not_a_duplicate() {
    let text =
        "service a /system/bin/a\n  user root\nservice a /system/bin/b\n  user root\n  override\n";
    assert_eq!(findings(text, ANY), [""; 0]);
}

#[test]
fn a_forbidden_write_is_an_error_from_the_android_version_that_forbids_it() {
    let text = "on boot\n    write /sys/bus/pci/drivers_probe 0000:01:00.0\n";
    let error = "2: error: write /sys/bus/pci/drivers_probe: the policy forbids init to open sysfs \
                 files without a specific label: neverallow init sysfs:file";
    expect_finding(text, ANY, error);
    expect_finding(text, magisk(), error);
    expect_finding(text, Platform { oldest: Some(9), newest: Some(9), ..ANY }, error);
    // Android 8 allows it, and this rootfs may be one.
    for platform in [LEGACY, Platform { oldest: Some(8), newest: Some(8), ..ANY }] {
        expect_finding(text, platform, "2: warning: write /sys/bus/pci/drivers_probe");
    }
    expect_finding(
        "on boot\n    copy /a /sys/module/kvm/x\n",
        ANY,
        "2: error: copy /sys/module/kvm/x",
    );
    expect_finding(
        "on boot\n    write /sys/fs/selinux/enforce 0\n",
        LEGACY,
        "2: error: write /sys/fs/selinux",
    );
    assert_eq!(findings("on boot\n    write /proc/sys/kernel/panic 5\n", ANY), [""; 0]);
}

#[test]
fn keywords_that_are_newer_than_the_device_are_reported() {
    let text = "service a /system/bin/a\n    user root\n    task_profiles X\n";
    expect_finding(
        text,
        LEGACY,
        "3: warning: task_profiles needs Android 11 or later: this device has at most Android 9",
    );
    assert_eq!(findings(text, ANY), [""; 0]);
    let name = "service longer_than_sixteen /system/bin/a\n    user root\n";
    expect_finding(
        name,
        LEGACY,
        "1: warning: service name \"longer_than_sixteen\" of 19 characters",
    );
    assert_eq!(findings(name, ANY), [""; 0]);
}

#[test]
fn labels_and_paths_of_magisk_are_valid_only_with_magisk() {
    let text = |path: &str, label: &str| {
        format!("service a {path}\n    user root\n    seclabel {label}\n")
    };
    let own = text("${MAGISKTMP}/a", "u:r:magisk:s0");
    assert_eq!(findings(&own, magisk()), [""; 0]);
    let elsewhere = findings(&own, ANY);
    assert!(elsewhere[0].starts_with("1: error: ${MAGISKTMP}: only magiskinit"), "{elsewhere:#?}");
    assert!(
        elsewhere[1].starts_with("3: warning: u:r:magisk:s0: Magisk's policy"),
        "{elsewhere:#?}"
    );
    expect_finding(&text("/sbin/a", "u:r:su:s0"), ANY, "3: warning: u:r:su:s0: only userdebug");
    expect_finding(
        "service a ${MAGISKTMP}/a\n    user root\n",
        magisk(),
        "1: error: service a: no seclabel: the policy has no domain transition for a file in Magisk's tmpfs",
    );
}

proptest! {
    /// For any input, findings are in order and within the file.
    #[test]
    fn findings_are_in_order_and_within_the_file(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "on", "service", "import", "write", "exec", "--", "seclabel", "&&", "boot", "a", "/b",
                "property:a=b", "\n", "\n", "\\\n", "\"", "#", "\0", "onrestart", "oneshot",
            ]),
            0..40,
        ),
    ) {
        let text = words.join(" ");
        let findings = check(text.as_bytes(), LEGACY);
        prop_assert!(findings.is_sorted_by_key(|finding| finding.line));
        let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
        for finding in &findings {
            prop_assert!((1..=lines).contains(&finding.line));
            prop_assert!(!finding.what.is_empty() && !finding.why.is_empty() && !finding.fix.is_empty());
        }
        // A comment after it changes nothing.
        if !text.contains(['"', '\0', '\\']) {
            let more = format!("{text}\n# a comment\n");
            prop_assert_eq!(check(more.as_bytes(), LEGACY), findings);
        }
    }

    #[test]
    fn a_known_command_with_the_right_number_of_arguments_is_not_an_error(
        index in any::<prop::sample::Index>(),
    ) {
        let language = Language::built_in().unwrap();
        let (name, keyword) =
            language.commands.iter().nth(index.index(language.commands.len())).unwrap();
        let arguments = "/x ".repeat(keyword.min);
        let text = match name.as_str() {
            "exec" | "exec_background" => format!("on boot\n    {name} u:r:x:s0 -- /x\n"),
            _ => format!("on boot\n    {name} {arguments}\n"),
        };
        let errors = check(text.as_bytes(), ANY);
        prop_assert!(errors.iter().all(|finding| finding.level == Level::Warning), "{:?}", errors);
    }
}
