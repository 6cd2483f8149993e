//! The tables `machine` and `boot`.

use serde::Deserialize;

use super::keys::{
    Conflict,
    Example::{Default as ByDefault, Set, Unset},
    Key, KeyConflict, Kind, row,
};
use super::needs::{NeededFile, Needs};
use super::values::Arch;
use crate::device::guest::libvirt::Xml;
use crate::device::guest::qemu::argv::{Argv, Backing, HIGH_MEMORY, Resources, value};

/// The board.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// That of the host when not given; KVM runs no other.
    pub arch: Option<Arch>,
    /// QEMU's name for it: `virt` on aarch64 and `q35` on x86_64 when not given.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The interrupt controller of an aarch64 guest (`gic-version=`): `host` when not given.
    pub gic: Option<String>,
}

/// What the guest boots: firmware, or a kernel, or (x86) what QEMU brings along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Boot {
    /// UEFI firmware as a flash image.
    pub firmware: Option<String>,
    /// The flash image that keeps the firmware's variables; written to.
    pub firmware_variables: Option<String>,
    /// A Linux kernel.
    pub kernel: Option<String>,
    /// Its initial ramdisk.
    pub initrd: Option<String>,
    /// Its command line.
    pub cmdline: Option<String>,
}

/// The keys of both.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    row("machine.arch", Kind::Choice(&["aarch64", "x86_64"]), Unset("\"aarch64\""), "default: the host's"),
    row("machine.type", Kind::Text, Unset("\"virt\""), "default: virt on aarch64, q35 on x86_64"),
    row("machine.gic", Kind::Text, ByDefault("\"host\""), "aarch64: the interrupt controller"),
    row("boot.kernel", Kind::Path, Set("\"/boot/vmlinuz\""), "a Linux kernel, unless firmware loads one"),
    row("boot.initrd", Kind::Path, Set("\"/boot/initrd.img\""), ""),
    row("boot.cmdline", Kind::Text, Set("\"console=ttyAMA0 root=/dev/vda1\""), ""),
    row("boot.firmware", Kind::Path, Unset("\"/usr/share/AAVMF/AAVMF_CODE.fd\""), "a flash image, read only"),
    row("boot.firmware_variables", Kind::Path, Unset("\"debian-vars.fd\""), "a flash image, written to"),
];

impl Machine {
    /// The board, as QEMU calls it.
    pub(crate) fn board(&self, arch: Arch) -> &str {
        self.kind.as_deref().unwrap_or(default_board(arch))
    }

    pub(super) fn without_effect(&self, arch: Arch) -> Option<&'static str> {
        (self.gic.is_some() && arch != Arch::Aarch64).then_some("machine.gic")
    }

    pub(super) fn needs(&self, needs: &mut Needs<'_>) {
        // QEMU says which boards and controllers it has.
        let Self { arch, kind: _, gic: _ } = self;
        needs.arch = *arch;
    }

    /// `arch` is that of `resources` where none is given.
    pub(super) fn arguments(&self, argv: &mut Argv, resources: &Resources<'_>) {
        let Self { arch: _, kind: _, gic } = self;
        let kind = self.board(resources.arch);
        let mut machine = match resources.arch {
            Arch::Aarch64 => format!("{kind},gic-version={}", gic.as_deref().unwrap_or("host")),
            Arch::X86_64 => kind.to_owned(),
        };
        if let Some(size) = resources.high_memory {
            machine.push_str(&format!(",{HIGH_MEMORY}={size}"));
        }
        machine.push_str(",accel=kvm");
        if let Backing::Hugetlb(_) = resources.backing {
            machine.push_str(",memory-backend=ram");
        }
        argv.pair("-machine", machine);
        argv.pair("-cpu", "host");
    }

    /// With what it boots, which libvirt has inside.
    pub(super) fn domain(&self, boot: &Boot, arch: Arch, xml: &mut Xml) {
        let Self { arch: _, kind: _, gic } = self;
        xml.within("os", &[], |xml| {
            let machine = self.board(arch);
            xml.text("type", &[("arch", arch.name()), ("machine", machine)], "hvm");
            boot.domain(xml);
        });
        xml.within("features", &[], |xml| {
            xml.empty("acpi", &[]);
            if arch == Arch::Aarch64 {
                xml.empty("gic", &[("version", gic.as_deref().unwrap_or("host"))]);
            }
        });
        xml.empty("cpu", &[("mode", "host-passthrough")]);
    }
}

fn default_board(arch: Arch) -> &'static str {
    match arch {
        Arch::Aarch64 => "virt",
        Arch::X86_64 => "q35",
    }
}

impl Boot {
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut String> {
        let Self { firmware, firmware_variables, kernel, initrd, cmdline: _ } = self;
        [firmware, firmware_variables, kernel, initrd].into_iter().flatten()
    }

    pub(super) fn conflict(&self) -> Option<KeyConflict> {
        let Self { firmware, firmware_variables, kernel, initrd, cmdline } = self;
        if kernel.is_none() && initrd.is_some() {
            Some(("boot.initrd", Conflict::InitrdAlone))
        } else if kernel.is_none() && cmdline.is_some() {
            Some(("boot.cmdline", Conflict::CmdlineAlone))
        } else if firmware.is_none() && firmware_variables.is_some() {
            Some(("boot.firmware_variables", Conflict::VariablesAlone))
        } else {
            None
        }
    }

    pub(super) fn needs<'g>(&'g self, needs: &mut Needs<'g>) {
        let Self { firmware, firmware_variables, kernel, initrd, cmdline: _ } = self;
        let files = [
            ("boot.firmware", firmware, false),
            ("boot.firmware_variables", firmware_variables, true),
            ("boot.kernel", kernel, false),
            ("boot.initrd", initrd, false),
        ];
        needs.files.extend(files.into_iter().filter_map(|(key, path, write)| {
            Some(NeededFile { key, path: path.as_deref()?, write })
        }));
    }

    pub(super) fn arguments(&self, argv: &mut Argv) {
        let Self { firmware, firmware_variables, kernel, initrd, cmdline } = self;
        let flash = [(firmware, ",readonly=on"), (firmware_variables, "")];
        for (unit, (file, readonly)) in flash.into_iter().enumerate() {
            if let Some(file) = file {
                argv.pair(
                    "-drive",
                    format!("if=pflash,unit={unit},format=raw,file={}{readonly}", value(file)),
                );
            }
        }
        for (name, text) in [("-kernel", kernel), ("-initrd", initrd), ("-append", cmdline)] {
            if let Some(text) = text {
                argv.pair(name, text);
            }
        }
    }

    fn domain(&self, xml: &mut Xml) {
        let Self { firmware, firmware_variables, kernel, initrd, cmdline } = self;
        if let Some(firmware) = firmware {
            xml.text("loader", &[("readonly", "yes"), ("type", "pflash")], firmware);
        }
        let rest = [
            ("nvram", firmware_variables),
            ("kernel", kernel),
            ("initrd", initrd),
            ("cmdline", cmdline),
        ];
        for (name, text) in rest {
            if let Some(text) = text {
                xml.text(name, &[], text);
            }
        }
    }
}
