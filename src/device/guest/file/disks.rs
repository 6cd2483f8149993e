//! The tables `disks`.

use serde::Deserialize;

use super::keys::{
    Example::{Default as ByDefault, Set},
    Key, Kind, row,
};
use super::needs::{NeededFile, Needs};
use crate::device::guest::libvirt::{Unsupported, Xml};
use crate::device::guest::qemu::argv::{Argv, value};

/// A disk that QEMU emulates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// An image file or a block device.
    pub path: String,
    /// What is in it. Never guessed: a guest could write a qcow2 header to a raw disk and so
    /// reach any file of the host.
    pub format: DiskFormat,
    /// Whether the guest can only read it.
    #[serde(default)]
    pub readonly: bool,
    /// The controller that the guest sees.
    #[serde(default)]
    pub interface: DiskInterface,
}

/// A format of disk images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// QEMU's own.
    Qcow2,
    /// The bytes of the disk.
    Raw,
}

impl DiskFormat {
    /// As QEMU and libvirt call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// The controller of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskInterface {
    /// virtio-blk.
    #[default]
    Virtio,
    /// An NVMe controller of its own.
    Nvme,
}

/// Its keys.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    row("disks.path", Kind::Path, Set("\"/data/debian.qcow2\""), "a file or a block device"),
    row("disks.format", Kind::Choice(&["qcow2", "raw"]), Set("\"qcow2\""), "or \"raw\""),
    row("disks.readonly", Kind::Flag, ByDefault("false"), ""),
    row("disks.interface", Kind::Choice(&["virtio", "nvme"]), ByDefault("\"virtio\""), "or \"nvme\""),
];

impl Disk {
    pub(super) fn needs<'g>(&'g self, needs: &mut Needs<'g>) {
        let Self { path, format: _, readonly, interface: _ } = self;
        needs.files.push(NeededFile { key: "disks.path", path, write: !readonly });
    }

    /// `number` tells the disks apart.
    pub(super) fn arguments(&self, argv: &mut Argv, number: usize) {
        let Self { path, format, readonly, interface } = self;
        let readonly = if *readonly { ",readonly=on" } else { "" };
        let (format, path) = (format.name(), value(path));
        argv.pair(
            "-drive",
            format!("if=none,id=disk{number},format={format},file={path}{readonly}"),
        );
        argv.pair(
            "-device",
            match interface {
                DiskInterface::Virtio => format!("virtio-blk-pci,drive=disk{number}"),
                DiskInterface::Nvme => format!("nvme,drive=disk{number},serial=disk{number}"),
            },
        );
    }

    /// An NVMe disk becomes a virtio one: libvirt before 11.5 has no such bus.
    pub(super) fn domain(&self, number: usize, xml: &mut Xml, unsupported: &mut Unsupported) {
        let Self { path, format, readonly, interface } = self;
        unsupported.when(*interface == DiskInterface::Nvme, "disks.interface");
        xml.within("disk", &[("type", "file"), ("device", "disk")], |xml| {
            xml.empty("driver", &[("name", "qemu"), ("type", format.name())]);
            xml.empty("source", &[("file", path)]);
            xml.empty("target", &[("dev", &target(number)), ("bus", "virtio")]);
            if *readonly {
                xml.empty("readonly", &[]);
            }
        });
    }
}

/// libvirt's name of a disk: `vda` to `vdz`, `vdaa` and so on.
fn target(number: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = number + 1;
    while rest > 0 {
        rest -= 1;
        letters.extend(('a'..='z').nth(rest % 26));
        rest /= 26;
    }
    letters.iter().rev().fold("vd".to_owned(), |name, letter| name + &letter.to_string())
}
