//! The guest file: what a virtual machine is to be, in TOML.
//!
//! `docs/guest.toml` is the commented example, README the reference. Everything here is as the
//! user wrote it; what is found on the machine (which CPUs, which devices, which pages) is
//! decided when it is started.

mod read;
mod values;

use serde::Deserialize;

pub use read::{GuestError, parse, read};
pub use values::{Cluster, Device, Forward, Name, Protocol, Size};

/// A guest file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// What it is called; the name of the file without `.toml` when not given.
    #[serde(default)]
    pub name: Name,
    /// Whether `vfiorun autostart` starts it.
    #[serde(default)]
    pub autostart: bool,
    /// The devices of the host that it gets.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// What becomes of the devices when the guest has ended.
    #[serde(default)]
    pub on_exit: OnExit,
    /// What a reboot of the guest does.
    #[serde(default)]
    pub on_reboot: OnReboot,
    /// Whether devices whose interrupts the platform does not isolate may be used: a guest can
    /// then send the host any interrupt (`vfio_iommu_type1.allow_unsafe_interrupts`).
    #[serde(default)]
    pub allow_unsafe_interrupts: bool,
    /// The QEMU program: a path, or a name to be looked up. `qemu-system-ARCH` when not given.
    pub qemu: Option<String>,
    /// A directory to run QEMU in as its root. All other paths are then those inside of it.
    pub chroot: Option<String>,
    /// More arguments for QEMU, after all others.
    #[serde(default)]
    pub qemu_arguments: Vec<String>,
    /// The board.
    #[serde(default)]
    pub machine: Machine,
    /// What it boots.
    #[serde(default)]
    pub boot: Boot,
    /// Its memory.
    #[serde(default)]
    pub memory: Memory,
    /// Its processors.
    #[serde(default)]
    pub cpus: Cpus,
    /// Its disks, apart from those behind passed-through controllers.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// Its network.
    #[serde(default)]
    pub network: Network,
    /// Its screen.
    #[serde(default)]
    pub display: Display,
    /// How it is ended.
    #[serde(default)]
    pub shutdown: Shutdown,
}

/// What becomes of the devices when the guest has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExit {
    /// Driver and override as they were found.
    #[default]
    Restore,
    /// To the host's own driver, also where they were found on vfio-pci.
    Host,
}

/// What a reboot of the guest does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnReboot {
    /// The guest starts again.
    #[default]
    Restart,
    /// QEMU ends.
    Exit,
}

/// A processor architecture that has KVM and VFIO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit ARM.
    Aarch64,
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
}

impl Arch {
    /// That of a machine as `uname -m` has it.
    pub fn of_machine(name: &str) -> Option<Self> {
        match name {
            "aarch64" => Some(Self::Aarch64),
            "x86_64" => Some(Self::X86_64),
            _ => None,
        }
    }

    /// As QEMU and `uname -m` call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
            Self::X86_64 => "x86_64",
        }
    }
}

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

/// The guest's memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// How much.
    pub size: Size,
    /// Of what pages.
    pub hugepages: Hugepages,
    /// Whether the rest of QEMU is locked into memory too. The guest's memory is pinned anyhow
    /// as soon as there is a device that may write to it.
    pub locked: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self { size: Size(1 << 30), hugepages: Hugepages::default(), locked: false }
    }
}

/// Of what pages the guest's memory is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hugepages {
    /// The best there is: hugetlb, else transparent, else ordinary pages.
    #[default]
    Auto,
    /// hugetlb pages, or no start.
    Hugetlb,
    /// Transparent huge pages where the kernel has some left.
    Transparent,
    /// Whatever the system is set to.
    None,
}

/// The guest's processors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cpus {
    /// How many.
    pub count: u32,
    /// On which of the host's they run.
    pub cluster: Cluster,
}

impl Default for Cpus {
    fn default() -> Self {
        Self { count: 1, cluster: Cluster::default() }
    }
}

/// A disk that QEMU emulates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// An image file or a block device.
    pub path: String,
    /// What is in it. Never guessed: a guest could write a qcow2 header to a raw disk and so
    /// reach any file of the host.
    pub format: DiskFormat,
    /// Whether the guest may not write.
    #[serde(default)]
    pub readonly: bool,
    /// As what the guest sees it.
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
    pub fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

/// As what the guest sees a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskInterface {
    /// virtio-blk.
    #[default]
    Virtio,
    /// An NVMe controller of its own.
    Nvme,
}

/// The guest's network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Of what kind.
    pub mode: NetworkMode,
    /// Ports of the host that lead into a `user` network.
    pub forwards: Vec<Forward>,
    /// The host's interface for `tap`, which must be there.
    pub tap: Option<String>,
    /// The guest's MAC address; QEMU's choice when not given.
    pub mac: Option<String>,
}

/// A kind of network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Outwards through QEMU itself; needs nothing of the host.
    #[default]
    User,
    /// A tap interface of the host.
    Tap,
    /// None.
    None,
}

/// The guest's screen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Display {
    /// Of what kind.
    #[serde(rename = "type")]
    pub kind: DisplayKind,
    /// The Unix socket that VNC listens on; `vnc.sock` in the guest's state directory when not
    /// given.
    pub socket: Option<String>,
}

/// A kind of screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DisplayKind {
    /// None: the console is all there is.
    #[default]
    None,
    /// VNC on a Unix socket, with keyboard and tablet.
    Vnc,
}

/// How the guest is ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// Seconds it has after it was asked to power down, until QEMU is told to quit.
    pub timeout: u32,
    /// Seconds QEMU has to quit, until it is killed.
    pub quit_timeout: u32,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { timeout: 60, quit_timeout: 5 }
    }
}
