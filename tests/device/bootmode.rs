//! In which boots nothing is done.

use crate::common::device_tree;

use device_tree::Tree;
use vfioboot::device::boot::apply;
use vfioboot::device::boot::mode::{Facts, Skip, decide};

#[test]
fn decision_table() {
    let normal = "androidboot.force_normal_boot=1";
    let table: &[(&str, Option<&str>, bool, Option<Skip>)] = &[
        // command line, bootconfig, recovery program, decision
        ("", None, false, None),
        ("console=ttyS0 rdinit=/vfioboot/init", None, false, None),
        ("a vfioboot.disable b", None, false, Some(Skip::Disabled)),
        ("vfioboot.disable=1", None, false, Some(Skip::Disabled)),
        ("vfioboot.disable=0", None, false, None),
        ("vfioboot.disabled", None, false, None),
        ("xvfioboot.disable", None, false, None),
        ("x=\"a vfioboot.disable b\"", None, false, None),
        ("x=\"a b\" vfioboot.disable", None, false, Some(Skip::Disabled)),
        ("androidboot.mode=charger", None, false, Some(Skip::Charger)),
        (
            "androidboot.mode=charger androidboot.force_normal_boot=1",
            None,
            true,
            Some(Skip::Charger),
        ),
        ("androidboot.mode=normal", None, false, None),
        ("", Some("androidboot.mode = \"charger\"\n"), false, Some(Skip::Charger)),
        ("", Some("xandroidboot.mode = \"charger\"\n"), false, None),
        ("", Some("androidboot.mode = \"chargers\"\n"), false, None),
        ("androidboot.mode=recovery", None, false, Some(Skip::Recovery)),
        (
            "androidboot.mode=recovery androidboot.force_normal_boot=1",
            None,
            false,
            Some(Skip::Recovery),
        ),
        ("", None, true, Some(Skip::Recovery)),
        ("androidboot.force_normal_boot=0", None, true, Some(Skip::Recovery)),
        (normal, None, true, None),
        ("", Some("a = \"b\"\nandroidboot.force_normal_boot = \"1\"\n"), true, None),
        ("", Some("androidboot.force_normal_boot = \"0\"\n"), true, Some(Skip::Recovery)),
        ("", Some("androidboot.force_normal_boot\n"), true, Some(Skip::Recovery)),
    ];
    for &(cmdline, bootconfig, recovery_program, expected) in table {
        let facts = Facts { cmdline: Some(cmdline), bootconfig, recovery_program };
        assert_eq!(decide(facts), expected, "{facts:?}");
    }
}

#[test]
fn without_a_command_line_nothing_is_done() {
    for recovery_program in [false, true] {
        let facts = Facts { cmdline: None, bootconfig: Some(""), recovery_program };
        assert_eq!(decide(facts), Some(Skip::Unknown));
    }
}

#[test]
fn facts_come_from_proc_and_the_ramdisk() {
    let tree = Tree::new("mode-facts");
    let mode = || apply::mode(&tree.host(), &tree.root);
    assert_eq!(mode(), None);
    tree.file("system/bin/recovery", "");
    assert_eq!(mode(), Some(Skip::Recovery));
    tree.file("proc/bootconfig", "androidboot.force_normal_boot = \"1\"\n");
    assert_eq!(mode(), None);
    std::fs::remove_file(tree.path("proc/cmdline")).unwrap();
    assert_eq!(mode(), Some(Skip::Unknown));
}
