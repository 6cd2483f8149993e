//! The keys of the guest file: the one table that its reader, `docs/guest.toml` and the tests use.

use core::fmt;

/// The longest name of a guest, in bytes: sockets are in a directory of that name, and the path of
/// a socket has at most 107 bytes.
pub(super) const NAME_LIMIT: usize = 32;
/// The first size that is too large, in bytes.
pub(super) const SIZE_END: u64 = 1 << 48;

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// With the table that it is in: `memory.size`.
    pub name: &'static str,
    /// What its value has to be.
    pub kind: Kind,
    /// Its line in `docs/guest.toml`.
    pub example: Example,
    /// What it does; empty where its name says it all.
    pub meaning: &'static str,
}

/// A value as `docs/guest.toml` shows it, in TOML.
#[derive(Clone, Copy, Debug)]
pub enum Example {
    /// Given.
    Set(&'static str),
    /// Commented out: the default.
    Default(&'static str),
    /// Commented out: an example of what is not set by default.
    Unset(&'static str),
    /// Shown with the list that it belongs to.
    Inside,
}

/// What a value has to be. As text: what an error says was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// Any text.
    Text,
    /// A list of texts.
    Texts,
    /// A path.
    Path,
    /// A path that begins with `/`.
    AbsolutePath,
    /// A name for files.
    Name,
    /// A number of bytes.
    Size,
    /// A number within these limits, both included.
    Number(u32, u32),
    /// A number of seconds.
    Seconds,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A PCI device.
    Device,
    /// A list of PCI devices.
    Devices,
    /// Processors of the host.
    Cpus,
    /// A list of forwarded ports.
    Forwards,
}

impl Kind {
    /// Whether a number is within its limits; without limits every number is.
    pub fn admits(self, number: u32) -> bool {
        if let Self::Number(first, last) = self { (first..=last).contains(&number) } else { true }
    }

    /// What one value of this kind is called.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Flag => "a flag",
            Self::Text | Self::Texts => "a text",
            Self::Path | Self::AbsolutePath => "a path",
            Self::Name => "a name",
            Self::Size => "a size",
            Self::Number(..) | Self::Seconds => "a number",
            Self::Choice(_) => "a choice",
            Self::Device | Self::Devices => "a device",
            Self::Cpus => "a choice of processors",
            Self::Forwards => "a forward",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Text => f.write_str("text in quotes"),
            Self::Texts => f.write_str("a list of texts in quotes"),
            Self::Path => f.write_str("a path in quotes"),
            Self::AbsolutePath => f.write_str("an absolute path"),
            Self::Name => write!(
                f,
                "1 to {NAME_LIMIT} letters, digits, \".\", \"_\" or \"-\", the first a letter or digit"
            ),
            Self::Size => f.write_str("a number and M or G, as in \"2G\""),
            Self::Number(first, last) => write!(f, "{first} to {last}"),
            Self::Seconds => f.write_str("a number of seconds"),
            Self::Choice(names) => {
                for (number, name) in names.iter().enumerate() {
                    write!(f, "{}\"{name}\"", if number == 0 { "" } else { " or " })?;
                }
                Ok(())
            }
            Self::Device | Self::Devices => f.write_str(
                "a device in quotes, as in \"1b36:0010\" or \"0000:00:02.0\", or a table with \"device\"",
            ),
            Self::Cpus => f.write_str("\"any\", \"big\", \"little\" or a list of CPU numbers"),
            Self::Forwards => {
                f.write_str("[tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT, as in \"2222:22\"")
            }
        }
    }
}

/// The key called `name`.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

use Example::{Default as ByDefault, Inside, Set, Unset};

const fn row(name: &'static str, kind: Kind, example: Example, meaning: &'static str) -> Key {
    Key { name, kind, example, meaning }
}

/// All keys, in the order of `docs/guest.toml`.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    row("name", Kind::Name, Set("\"debian\""), "default: the name of this file"),
    row("autostart", Kind::Flag, ByDefault("false"), "whether `vfiorun autostart` starts it"),
    row("devices", Kind::Devices, Set("[\n    \"1b36:0010\",\n    { device = \"0000:01:00.0\", root_port = true, romfile = \"gpu.rom\", options = [\"x-no-kvm-intx=on\"] },\n]"),
        "Devices of the host: VENDOR:DEVICE (every such device) or DOMAIN:BUS:DEVICE.FUNCTION, alone or\nin a table with options."),
    row("devices.device", Kind::Device, Inside, "which device"),
    row("devices.romfile", Kind::Path, Inside, "a file with an option ROM, instead of the device's own"),
    row("devices.root_port", Kind::Flag, Inside, "whether it is behind a root port of its own, for drivers that expect a link above their device"),
    row("devices.options", Kind::Texts, Inside, "more properties of QEMU's vfio-pci, each NAME=VALUE"),
    row("on_exit", Kind::Choice(&["restore", "host"]), ByDefault("\"restore\""), "or \"host\": to the host's own driver, also from vfio-pci"),
    row("on_reboot", Kind::Choice(&["restart", "exit"]), ByDefault("\"restart\""), "or \"exit\": a reboot of the guest ends QEMU"),
    row("allow_unsafe_interrupts", Kind::Flag, ByDefault("false"), "use devices whose interrupts the platform does not isolate"),
    row("qemu", Kind::Text, Unset("\"qemu-system-aarch64\""), "a path, or a name to look up; default: that of the architecture"),
    row("chroot", Kind::AbsolutePath, Unset("\"/data/debian\""), "the root directory of QEMU; all paths are then those inside"),
    row("qemu_arguments", Kind::Texts, ByDefault("[]"), "more arguments, as they are"),
    row("machine.arch", Kind::Choice(&["aarch64", "x86_64"]), Unset("\"aarch64\""), "default: the host's"),
    row("machine.type", Kind::Text, Unset("\"virt\""), "default: virt on aarch64, q35 on x86_64"),
    row("machine.gic", Kind::Text, ByDefault("\"host\""), "aarch64: the interrupt controller"),
    row("boot.kernel", Kind::Path, Set("\"/boot/vmlinuz\""), "a Linux kernel, unless firmware loads one"),
    row("boot.initrd", Kind::Path, Set("\"/boot/initrd.img\""), ""),
    row("boot.cmdline", Kind::Text, Set("\"console=ttyAMA0 root=/dev/vda1\""), ""),
    row("boot.firmware", Kind::Path, Unset("\"/usr/share/AAVMF/AAVMF_CODE.fd\""), "a flash image, read only"),
    row("boot.firmware_variables", Kind::Path, Unset("\"debian-vars.fd\""), "a flash image, written to"),
    row("memory.size", Kind::Size, Set("\"2G\""), "default: 1G"),
    row("memory.hugepages", Kind::Choice(&["auto", "hugetlb", "transparent", "none"]), ByDefault("\"auto\""), "or \"hugetlb\", \"transparent\", \"none\""),
    row("memory.locked", Kind::Flag, ByDefault("false"), "lock the rest of QEMU into memory as well"),
    row("cpus.count", Kind::Number(1, 512), Set("4"), "default: 1"),
    row("cpus.cluster", Kind::Cpus, Set("\"big\""), "default: \"any\"; or \"little\", or CPUs: [4, 5, 6, 7]"),
    row("disks.path", Kind::Path, Set("\"/data/debian.qcow2\""), "a file or a block device"),
    row("disks.format", Kind::Choice(&["qcow2", "raw"]), Set("\"qcow2\""), "or \"raw\""),
    row("disks.readonly", Kind::Flag, ByDefault("false"), ""),
    row("disks.interface", Kind::Choice(&["virtio", "nvme"]), ByDefault("\"virtio\""), "or \"nvme\""),
    row("network.mode", Kind::Choice(&["user", "tap", "none"]), ByDefault("\"user\""), "or \"tap\", \"none\""),
    row("network.forwards", Kind::Forwards, Set("[\"2222:22\"]"), "[tcp:|udp:][ADDRESS:]HOSTPORT:GUESTPORT"),
    row("network.tap", Kind::Text, Unset("\"tap0\""), "with mode = \"tap\": an interface that exists"),
    row("network.mac", Kind::Text, Unset("\"52:54:00:12:34:56\""), "default: QEMU's choice"),
    row("display.type", Kind::Choice(&["none", "vnc"]), ByDefault("\"none\""), "or \"vnc\", on a Unix socket"),
    row("display.socket", Kind::Path, Unset("\"/run/debian.vnc\""), "default: vnc.sock in the guest's state directory"),
    row("shutdown.timeout", Kind::Seconds, ByDefault("60"), "seconds the guest has to power down, until QEMU is asked to quit"),
    row("shutdown.quit_timeout", Kind::Seconds, ByDefault("5"), "seconds QEMU has then, until it is killed"),
];
