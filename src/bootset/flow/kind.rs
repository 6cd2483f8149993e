//! The kinds of boot flow.

use serde::Serialize;

/// What the kernel starts, and what happens to the ramdisk.
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
    /// Unknown.
    Unknown,
}

impl FlowKind {
    /// For people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            FlowKind::RootfsLegacy => "legacy rootfs",
            FlowKind::LegacySystemAsRoot => "legacy system-as-root (SAR)",
            FlowKind::TwoStage => "two-stage init (2SI)",
            FlowKind::LinuxInitramfs => "Linux initramfs",
            FlowKind::Recovery => "recovery",
            FlowKind::Unknown => "unknown",
        }
    }
}

impl FlowKind {
    /// A name for its `/init`.
    pub(crate) fn init(self) -> &'static str {
        match self {
            FlowKind::TwoStage => "first-stage init",
            FlowKind::LinuxInitramfs => "the initramfs",
            FlowKind::RootfsLegacy
            | FlowKind::LegacySystemAsRoot
            | FlowKind::Recovery
            | FlowKind::Unknown => "the original",
        }
    }

    /// The program that `/init` starts, if it is another one.
    pub(crate) fn after_init(self) -> Option<&'static str> {
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
