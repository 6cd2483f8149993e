//! The boot flow of a set of images: what it is, what shows it, what is missing to be sure.

use crate::common;
use crate::common::flows;

use common::{cpio, edited, with_config, with_section};
use flows::{beside, boot, image};
use vfioboot::bootset::BootSet;
use vfioboot::bootset::flow::RecoveryPlace;
use vfioboot::bootset::{Flow, FlowKind, Role};
use vfioboot::image::{Image, SectionName};
use vfioboot::root_manager::Manager;

fn flow(set: &[Vec<u8>]) -> Flow {
    let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    BootSet::from_images(&images).flow().clone()
}

/// Kind, certainty and the evidence of the first statement.
fn known(set: &[Vec<u8>]) -> (FlowKind, bool, String) {
    let flow = flow(set);
    let evidence = flow.statements.first().and_then(|statement| statement.evidence.first());
    let evidence = evidence.map(|shown| format!("{}: {}", shown.place, shown.what));
    (flow.kind, flow.certain, evidence.unwrap_or_default())
}

fn about(flow: &Flow, about: &str) -> String {
    let statements = flow.statements.iter().filter(|statement| statement.about == about);
    statements.map(|statement| statement.text.clone()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_ramdisk_with_init_rc_is_the_root_file_system() {
    let expected = (FlowKind::RootfsLegacy, true, "ramdisk: init.rc".to_owned());
    assert_eq!(known(&[flows::rootfs()]), expected);
}

#[test]
fn first_stage_files_tell_two_stage_init() {
    let expected = (FlowKind::TwoStage, true, "ramdisk: first_stage_ramdisk".to_owned());
    assert_eq!(known(&[flows::two_stage()]), expected);
}

#[test]
fn skip_initramfs_on_the_line_means_legacy_system_as_root() {
    let expected = (FlowKind::LegacySystemAsRoot, true, "cmdline: skip_initramfs".to_owned());
    assert_eq!(known(&[flows::legacy_sar()]), expected);
    assert!(!flow(&[flows::legacy_sar()]).ramdisk_runs);
}

#[test]
fn recovery_alone_and_a_kernel_that_can_skip_it_are_most_likely_legacy_system_as_root() {
    let found = flow(&[flows::silent_legacy_sar()]);
    assert_eq!((found.kind, found.certain), (FlowKind::LegacySystemAsRoot, false));
    assert!(found.statements[0].evidence.iter().any(|shown| shown.place == "kernel"));
    assert!(found.missing.iter().any(|text| text.contains("/proc/cmdline decides")));
}

#[test]
fn a_kernel_that_magisk_changed_unpacks_the_ramdisk_of_legacy_system_as_root() {
    let found = flow(&[flows::magisk_legacy_sar()]);
    assert_eq!((found.kind, found.ramdisk_runs), (FlowKind::LegacySystemAsRoot, true));
    assert!(about(&found, "root_manager").contains("mounts the legacy system-as-root itself"));
}

#[test]
fn recovery_in_boot_is_reported_with_the_deciding_parameter() {
    let found = flow(&[flows::recovery_in_boot()]);
    assert_eq!((found.kind, found.recovery), (FlowKind::TwoStage, RecoveryPlace::NormalRamdisk));
    assert!(about(&found, "recovery").contains("androidboot.force_normal_boot=1"));
}

#[test]
fn recovery_in_a_fragment_is_reported() {
    let found = flow(&[image("vendor_boot-v4-fragments"), image("init_boot-v4")]);
    assert_eq!((found.kind, found.recovery), (FlowKind::TwoStage, RecoveryPlace::Fragment));
}

#[test]
fn a_recovery_image_alone_is_one() {
    for name in ["recovery-v2", "recovery-v4"] {
        let found = flow(&[beside(name)]);
        assert_eq!((found.kind, found.recovery), (FlowKind::Recovery, RecoveryPlace::OwnImage));
        assert_eq!(found.roles, [Role::Recovery]);
    }
}

#[test]
fn distributions_are_identified_by_their_initramfs_tool() {
    for (maker, image) in flows::distributions() {
        let found = flow(&[image]);
        assert_eq!((found.kind, found.maker), (FlowKind::LinuxInitramfs, Some(maker)));
    }
}

#[test]
fn an_initramfs_of_no_known_maker_is_one_all_the_same() {
    let found = flow(&[boot(&[("bin/busybox", b""), ("init", b"#!/bin/sh\n")])]);
    assert_eq!((found.kind, found.maker), (FlowKind::LinuxInitramfs, None));
    assert!(about(&found, "kind").contains("of unknown origin"));
}

#[test]
fn magisk_on_two_stage_init_is_reported_with_its_config() {
    let found = flow(&[flows::magisk_two_stage()]);
    assert_eq!(found.kind, FlowKind::TwoStage);
    let magisk = found.manager(Manager::Magisk).unwrap();
    assert_eq!(magisk.since, Some("30.3"));
    assert_eq!(magisk.config["PREINITDEVICE"], "metadata");
    assert!(!magisk.in_recovery);
    let text = about(&found, "root_manager");
    assert!(text.contains("two-stage init follows") && text.contains("PREINITDEVICE=metadata"));
}

#[test]
fn magisks_own_init_does_not_make_a_legacy_rootfs_two_stage() {
    let found = flow(&[flows::magisk_rootfs()]);
    assert_eq!(found.kind, FlowKind::RootfsLegacy);
    let way = &found.manager(Manager::Magisk).unwrap().way;
    assert!(way.contains("stays the root file system; 1 rc in overlay.d"), "{way}");
}

#[test]
fn the_version_of_magisk_is_identified_by_its_files() {
    let versions = [
        ("overlay.d/sbin/init-ld.xz", "", Some("28.0")),
        (".backup/init.xz", "", Some("27.0")),
        ("x", "PREINITDEVICE=cache\n", Some("26.0")),
        ("overlay.d/sbin/magisk32.xz", "", Some("22.0")),
        ("x", "KEEPVERITY=true\n", None),
    ];
    for (entry, config, since) in versions {
        let set = [boot(&[(".backup/.magisk", config.as_bytes()), ("init", b""), (entry, b"")])];
        assert_eq!(flow(&set).manager(Manager::Magisk).unwrap().since, since, "{entry} {config}");
    }
}

#[test]
fn magisk_in_recovery_is_reported() {
    let config: &[u8] = b"KEEPVERITY=true\nRECOVERYMODE=true\n";
    let set = [boot(&[(".backup/.magisk", config), ("init", b""), ("system/bin/recovery", b"")])];
    let found = flow(&set);
    assert!(found.manager(Manager::Magisk).unwrap().in_recovery);
    assert!(about(&found, "root_manager").contains("RECOVERYMODE=true"));
}

#[test]
fn kernelsu_is_reported_with_its_form() {
    let module = flow(&[flows::kernelsu()]);
    assert!(module.manager(Manager::KernelSu).unwrap().way.contains("(LKM)"));
    let kernel = flow(&[with_config(&flows::two_stage(), "CONFIG_KSU=y\n")]);
    assert!(
        kernel.manager(Manager::KernelSu).unwrap().way.contains("part of the kernel (GKI mode)")
    );
    assert!(flow(&[flows::two_stage()]).root_managers.is_empty());
}

#[test]
fn what_is_missing_to_be_sure_is_named() {
    let alone = flow(&[image("boot-v4")]);
    assert_eq!((alone.kind, alone.certain), (FlowKind::TwoStage, false));
    assert!(alone.missing[0].starts_with("init_boot.img not given"), "{:?}", alone.missing);
    assert!(alone.missing[1].starts_with("vendor_boot.img not given"), "{:?}", alone.missing);
    let init_boot = flow(&[image("init_boot-v4"), image("vendor_boot-v4")]);
    assert!(init_boot.certain && init_boot.missing[0].starts_with("boot.img not given"));
    let whole = flow(&[image("boot-v4"), image("init_boot-v4"), image("vendor_boot-v4")]);
    assert!(whole.certain && whole.missing.is_empty(), "{:?}", whole.missing);
}

#[test]
fn evidence_names_the_image_that_has_it() {
    let found = flow(&[image("boot-v4"), image("vendor_boot-v4"), image("init_boot-v4")]);
    assert_eq!(found.statements[0].evidence[0].image, 2);
}

#[test]
fn the_role_of_each_image_is_reported() {
    let set = [
        beside("recovery-v4"),
        image("boot-v4"),
        beside("vendor_kernel_boot-v4"),
        image("vendor_boot-v4"),
        image("init_boot-v4"),
    ];
    let roles =
        [Role::Recovery, Role::Boot, Role::VendorKernelBoot, Role::VendorBoot, Role::InitBoot];
    assert_eq!(flow(&set).roles, roles);
}

#[test]
fn recovery_and_boot_images_with_the_same_header_are_distinguished() {
    let found = flow(&[beside("recovery-v2"), flows::two_stage()]);
    assert_eq!(found.roles, [Role::Recovery, Role::Boot]);
    assert_eq!((found.kind, found.recovery), (FlowKind::TwoStage, RecoveryPlace::OwnImage));
}

#[test]
fn a_vendor_boot_without_parameters_but_with_first_stage_files_is_not_a_vendor_kernel_boot() {
    let bare = edited(&image("vendor_boot-v3"), |edit| edit.header.set_cmdline(b"").unwrap());
    let ramdisk = cpio(&[("first_stage_ramdisk/", b""), ("lib/modules/a.ko", b"")]);
    let bare = with_section(&bare, SectionName::VendorRamdisk, ramdisk);
    assert_eq!(flow(&[bare]).roles, [Role::VendorBoot]);
}

#[test]
fn an_unreadable_ramdisk_is_reported_without_guesses() {
    let mut gzip = image("boot-v0-gzip");
    let parsed = Image::parse(&gzip).unwrap();
    let at =
        parsed.section(SectionName::Ramdisk).unwrap().as_ptr() as usize - gzip.as_ptr() as usize;
    gzip[at + 20..at + 60].fill(0xff);
    let found = flow(&[gzip]);
    assert_eq!(found.kind, FlowKind::Unknown);
    assert!(about(&found, "image").starts_with("the ramdisk cannot be read: "));
}
