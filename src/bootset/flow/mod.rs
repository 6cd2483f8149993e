//! How a device with these images boots: what the kernel starts, from which ramdisk, and who has
//! changed it before. From the images alone, each statement with its evidence.
//!
//! | file | subject |
//! |---|---|
//! | `detect` | the flow |
//! | `managers` | root managers, and in which way each is there |

mod detect;
mod managers;

use serde::Serialize;

use super::{Ramdisk, Role};

pub(super) use detect::detect;
pub use managers::{Autostart, Manager, RootManager};

/// What the kernel starts, and what becomes of the ramdisk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowKind {
    /// The ramdisk is Android's root file system; its `init.rc` is read (launched before
    /// Android 9, not A/B).
    RootfsLegacy,
    /// The kernel skips the ramdisk and mounts the system partition as root (A/B devices
    /// launched with Android 7.1 to 9).
    LegacySystemAsRoot,
    /// First-stage init in the ramdisk mounts the system and starts init from there (Android 10
    /// and later).
    TwoStage,
    /// A Linux distribution's initramfs.
    LinuxInitramfs,
    /// The images only start recovery.
    Recovery,
    /// Nothing tells.
    Unknown,
}

impl FlowKind {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            FlowKind::RootfsLegacy => "legacy rootfs",
            FlowKind::LegacySystemAsRoot => "legacy system-as-root (SAR)",
            FlowKind::TwoStage => "two-stage init (2SI)",
            FlowKind::LinuxInitramfs => "Linux initramfs",
            FlowKind::Recovery => "recovery",
            FlowKind::Unknown => "unknown",
        }
    }

    /// What its `/init` is, for people.
    pub fn init(self) -> &'static str {
        match self {
            FlowKind::TwoStage => "first-stage init",
            FlowKind::LinuxInitramfs => "the initramfs",
            FlowKind::RootfsLegacy
            | FlowKind::LegacySystemAsRoot
            | FlowKind::Recovery
            | FlowKind::Unknown => "the original",
        }
    }

    /// What runs after that, where it is another program.
    pub fn after_init(self) -> Option<&'static str> {
        match self {
            FlowKind::TwoStage => Some("/system/bin/init"),
            FlowKind::LinuxInitramfs => Some("the root file system"),
            FlowKind::RootfsLegacy
            | FlowKind::LegacySystemAsRoot
            | FlowKind::Recovery
            | FlowKind::Unknown => None,
        }
    }
}

impl std::fmt::Display for FlowKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where recovery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryPlace {
    /// In none of the images.
    NotSeen,
    /// In a ramdisk that normal boots unpack too: `androidboot.force_normal_boot=1` makes the
    /// difference.
    NormalRamdisk,
    /// In a fragment of vendor_boot that only recovery boots load.
    Fragment,
    /// In an image of its own.
    OwnImage,
}

/// How a device boots.
#[derive(Clone, Debug, Serialize)]
pub struct Flow {
    /// What the kernel starts.
    pub kind: FlowKind,
    /// For [`FlowKind::LinuxInitramfs`]: the program that made it.
    pub maker: Option<&'static str>,
    /// Whether the images prove it; what would is in `missing`.
    pub certain: bool,
    /// The kernel unpacks the ramdisk and starts a program from it. False for legacy
    /// system-as-root, unless a root manager has changed the kernel.
    pub ramdisk_runs: bool,
    /// Where recovery is.
    pub recovery: RecoveryPlace,
    /// Who has rooted it.
    pub root_managers: Vec<RootManager>,
    /// Name and version of the vfioboot that patched it.
    pub patched_by: Option<String>,
    /// What is known and what shows it, the kind first.
    pub statements: Vec<Statement>,
    /// What would make it certain, for people.
    pub missing: Vec<String>,
    /// What each image is for, in the order they were given.
    pub roles: Vec<Role>,
}

impl Flow {
    /// The kind, and who made it where that is known.
    pub fn title(&self) -> String {
        match self.maker {
            Some(maker) => format!("{} ({maker})", self.kind),
            None => self.kind.to_string(),
        }
    }

    /// This root manager, where it is there.
    pub fn manager(&self, manager: Manager) -> Option<&RootManager> {
        self.root_managers.iter().find(|own| own.manager == manager)
    }
}

/// Something that is known of the flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// `kind`, `recovery`, `root_manager`, `patched` or `image`.
    pub about: &'static str,
    /// For people.
    pub text: String,
    /// What shows it.
    pub evidence: Vec<Evidence>,
}

/// Where something was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Index of the image.
    pub image: usize,
    /// Where in it: `ramdisk`, `fragment 1`, `cmdline`, `kernel`…
    pub place: String,
    /// The entry or word.
    pub what: String,
}

impl Evidence {
    fn new(image: usize, place: &str, what: &str) -> Self {
        Evidence { image, place: place.to_owned(), what: what.to_owned() }
    }

    fn at(ramdisk: &Ramdisk<'_>, what: &str) -> Self {
        Evidence::new(ramdisk.spot.image, &ramdisk.spot.to_string(), what)
    }
}
