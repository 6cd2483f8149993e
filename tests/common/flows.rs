//! Sets of images for each boot flow, made from what is publicly said of it.
//!
//! | Flow | Where its entries are described |
//! |---|---|
//! | legacy rootfs, two-stage, recovery in boot, legacy system-as-root | AOSP's documentation of partitions ("Ramdisk partitions", "System-as-root"), `system/core/init` |
//! | Magisk | its `scripts/boot_patch.sh` and `native/src/init` |
//! | KernelSU | `ksud boot-patch` |
//! | Debian | mkinitramfs(8) of initramfs-tools |
//! | dracut, mkinitcpio, Alpine, postmarketOS, Buildroot | dracut.sh; mkinitcpio's install/base; initfs_base of mkinitfs; postmarketos-initramfs; fs/cpio of Buildroot |

use vfioboot::compression::{Format, encode};
use vfioboot::image::SectionName;

use super::{cpio, fixture, kernel, with_cmdline, with_section};

/// An image of `fixtures/images`.
pub fn image(name: &str) -> Vec<u8> {
    fixture(&format!("images/{name}.img"))
}

/// An image of `fixtures/beside`.
pub fn beside(name: &str) -> Vec<u8> {
    fixture(&format!("beside/{name}.img"))
}

/// A boot image of header v2 with this ramdisk.
pub fn boot(entries: &[(&str, &[u8])]) -> Vec<u8> {
    with_section(&image("boot-v2-raw"), SectionName::Ramdisk, cpio(entries))
}

/// The same with a kernel that has this string.
pub fn boot_with_string(entries: &[(&str, &[u8])], text: &str) -> Vec<u8> {
    let mut kernel = kernel("");
    let at = kernel.len() - 64;
    kernel[at..at + text.len()].copy_from_slice(text.as_bytes());
    with_section(&boot(entries), SectionName::Kernel, kernel)
}

pub const TWO_STAGE_INIT: &[u8] = b"\x7fELF selinux_setup second_stage";

pub fn rootfs() -> Vec<u8> {
    boot(&[("default.prop", b""), ("init", b"\x7fELF"), ("init.rc", b"on boot\n"), ("sbin/", b"")])
}

pub fn two_stage() -> Vec<u8> {
    boot(&[("first_stage_ramdisk/", b""), ("init", TWO_STAGE_INIT)])
}

pub const RECOVERY: &[(&str, &[u8])] =
    &[("init", b"\x7fELF"), ("init.rc", b"on boot\n"), ("sbin/recovery", b"\x7fELF")];

/// The parameter of the bootloader is in the header.
pub fn legacy_sar() -> Vec<u8> {
    with_cmdline(&boot(RECOVERY), "console=ttyMSM0 skip_initramfs rootwait ro init=/init")
}

/// The parameter of the bootloader is in no image.
pub fn silent_legacy_sar() -> Vec<u8> {
    boot_with_string(RECOVERY, "skip_initramfs\0")
}

/// With the kernel that Magisk changes.
pub fn magisk_legacy_sar() -> Vec<u8> {
    let entries: &[(&str, &[u8])] = &[
        (".backup/", b""),
        (".backup/.magisk", b"KEEPVERITY=true\nRECOVERYMODE=false\n"),
        (".backup/init", b"\x7fELF"),
        ("init", b"\x7fELF selinux_setup"),
        ("init.rc", b"on boot\n"),
        ("overlay.d/", b""),
        ("sbin/recovery", b"\x7fELF"),
    ];
    with_cmdline(&boot_with_string(entries, "want_initramfs\0"), "skip_initramfs ro init=/init")
}

pub fn recovery_in_boot() -> Vec<u8> {
    boot(&[
        ("first_stage_ramdisk/", b""),
        ("first_stage_ramdisk/fstab.device", b""),
        ("init", TWO_STAGE_INIT),
        ("system/", b""),
        ("system/bin/", b""),
        ("system/bin/recovery", b"\x7fELF"),
    ])
}

pub fn magisk(init: (&str, &[u8]), rest: &[(&str, &[u8])]) -> Vec<u8> {
    let mut entries: Vec<(&str, &[u8])> = vec![
        (".backup/", b""),
        (
            ".backup/.magisk",
            b"KEEPVERITY=true\nKEEPFORCEENCRYPT=true\nRECOVERYMODE=false\nVENDORBOOT=false\n\
              PREINITDEVICE=metadata\nSHA1=0123456789abcdef0123456789abcdef01234567\n",
        ),
        init,
        ("init", b"\x7fELF magiskinit selinux_setup"),
        ("overlay.d/", b""),
        ("overlay.d/sbin/", b""),
        ("overlay.d/sbin/init-ld.xz", b""),
        ("overlay.d/sbin/magisk.xz", b""),
        ("overlay.d/sbin/stub.xz", b""),
    ];
    entries.extend_from_slice(rest);
    boot(&entries)
}

pub fn magisk_two_stage() -> Vec<u8> {
    let packed = encode(Format::Xz, TWO_STAGE_INIT, None).unwrap();
    magisk((".backup/init.xz", &packed), &[("dev/", b"")])
}

pub fn magisk_rootfs() -> Vec<u8> {
    magisk((".backup/init", b"\x7fELF"), &[("init.rc", b"on boot\n"), ("overlay.d/my.rc", b"")])
}

pub fn kernelsu() -> Vec<u8> {
    boot(&[
        ("first_stage_ramdisk/", b""),
        ("init", b"\x7fELF ksuinit"),
        ("init.real", TWO_STAGE_INIT),
        ("kernelsu.ko", b"\x7fELF"),
    ])
}

/// Initramfs of distributions, by their maker.
pub fn distributions() -> Vec<(&'static str, Vec<u8>)> {
    let init: (&str, &[u8]) = ("init", b"#!/bin/sh\n");
    let busybox: (&str, &[u8]) = ("bin/busybox", b"\x7fELF");
    vec![
        (
            "Debian initramfs-tools",
            boot(&[busybox, ("conf/initramfs.conf", b""), init, ("scripts/functions", b"")]),
        ),
        (
            "dracut",
            boot(&[("etc/initrd-release", b""), init, ("usr/lib/dracut/build-parameter.txt", b"")]),
        ),
        (
            "mkinitcpio",
            boot(&[
                ("buildconfig", b""),
                busybox,
                ("hooks/udev", b""),
                init,
                ("init_functions", b""),
            ]),
        ),
        (
            "Alpine mkinitfs",
            boot(&[(".modloop/", b""), busybox, ("etc/apk/keys/key.pub", b""), init]),
        ),
        (
            "postmarketOS",
            boot(&[
                busybox,
                init,
                ("init_functions.sh", b""),
                ("usr/share/misc/source_deviceinfo", b""),
            ]),
        ),
        (
            "Buildroot",
            boot(&[
                busybox,
                init,
                ("usr/lib/os-release", b"NAME=Buildroot\nVERSION=2024.02\nID=buildroot\n"),
            ]),
        ),
    ]
}
