//! Root managers: what each leaves in a ramdisk and in a kernel, and how programs are started at
//! boot where it is installed.
//!
//! One table. A new root manager is a row of it, and nothing else: kinds of ramdisk, boot flow, rc
//! files and advice go by its fields.

use serde::{Serialize, Serializer};

use crate::compression::Format;

/// What is known of a root manager.
struct Row {
    name: &'static str,
    /// None for one that leaves ramdisks alone.
    ramdisk: Option<PatchedRamdisk>,
    /// None for one that is never part of a kernel, or leaves no sign of it.
    kernel: Option<InKernel>,
    autostart: Autostart,
}

/// A ramdisk that a root manager has patched.
#[derive(Debug)]
pub(crate) struct PatchedRamdisk {
    /// The kind of ramdisk as it is written in JSON.
    pub kind: &'static str,
    /// The kind of ramdisk for people.
    pub title: &'static str,
    /// Entries each of which shows it alone.
    pub signs: &'static [&'static str],
    /// The same, for entries whose path starts with one of these.
    pub sign_prefixes: &'static [&'static str],
    /// Entries that show it together.
    pub joint_signs: &'static [&'static str],
    /// The program that it installs as `/init`.
    pub init: &'static str,
    /// What that program executes.
    pub next: &'static str,
    /// How it starts, for people.
    pub way: &'static str,
    /// The boot flows that it works on.
    pub flows: Flows,
    /// Where it keeps the `/init` that was there before.
    pub originals: &'static [Original],
    /// The file with its settings.
    pub config: Option<ManagerConfig>,
    /// What tells the release that patched the ramdisk, the newest first.
    pub releases: &'static [Release],
}

/// A kernel that a root manager is part of.
#[derive(Debug)]
pub(crate) struct InKernel {
    /// The symbol without `CONFIG_`.
    pub symbol: &'static str,
    /// How it starts, for people.
    pub way: &'static str,
}

/// The boot flows that a root manager can patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flows {
    /// Each of Android's.
    Any,
    /// Two-stage init alone.
    TwoStage,
}

/// A path at which the original `/init` is kept.
#[derive(Debug)]
pub(crate) struct Original {
    /// Without a leading slash.
    pub path: &'static str,
    /// How it is compressed.
    pub compression: Option<Format>,
}

/// A file of `KEY=VALUE` lines in a ramdisk.
#[derive(Debug)]
pub(crate) struct ManagerConfig {
    /// Without a leading slash.
    pub path: &'static str,
    /// Keys that are worth showing.
    pub shown: &'static [&'static str],
    /// The key that is `true` where the manager boots the system from the recovery ramdisk.
    pub in_recovery: &'static str,
}

/// What the first release of a root manager that does something leaves by it.
#[derive(Debug)]
pub(crate) struct Release {
    /// What is left.
    pub sign: ReleaseSign,
    /// The version of that release.
    pub since: &'static str,
}

/// What a release of a root manager leaves in a ramdisk.
#[derive(Debug)]
pub(crate) enum ReleaseSign {
    /// An entry of the ramdisk.
    Entry(&'static str),
    /// A key of [`ManagerConfig`].
    Key(&'static str),
}

/// How programs are started at boot where a root manager is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autostart {
    /// By rc files in the ramdisk.
    Overlay(&'static RcOverlay),
    /// By a module that is installed on the device.
    Module,
}

/// A directory of a ramdisk whose rc files a root manager appends to `init.rc`.
#[derive(Debug, PartialEq, Eq)]
pub struct RcOverlay {
    /// Whose it is.
    pub manager: Manager,
    /// As it is written in JSON.
    pub name: &'static str,
    /// The directory of the rc files, without a leading slash.
    pub directory: &'static str,
    /// The directory of files that the manager copies into its own, without a leading slash.
    pub programs: &'static str,
    /// What stands for the manager's own directory in an rc file.
    pub variable: &'static str,
    /// The SELinux context that the manager's policy adds.
    pub context: &'static str,
    /// On a legacy rootfs the manager mounts over `/sbin` once `/data` is mounted, and links only
    /// what the ramdisk has in `/sbin` itself.
    pub covers_sbin: bool,
}

impl RcOverlay {
    /// Those of all root managers.
    pub fn all() -> impl Iterator<Item = &'static RcOverlay> {
        Manager::ALL.iter().filter_map(|manager| match manager.autostart() {
            Autostart::Overlay(overlay) => Some(overlay),
            Autostart::Module => None,
        })
    }

    /// The program that appends them.
    pub(crate) fn init(&self) -> &'static str {
        self.manager.ramdisk().map_or(self.manager.name(), |ramdisk| ramdisk.init)
    }

    /// Whether an SELinux context (USER:ROLE:TYPE:LEVEL) has the type that the manager's policy
    /// adds.
    pub(crate) fn has_type_of(&self, context: &str) -> bool {
        self.context.splitn(4, ':').take(3).eq(context.splitn(4, ':').take(3))
    }
}

/// Declares [`Manager`] and its table together, so that each has a row.
macro_rules! managers {
    ($($(#[$meta:meta])* $variant:ident $row:tt)*) => {
        /// A root manager that leaves signs in images.
        ///
        /// APatch is not among them: it changes the kernel's code, and leaves neither an entry in a
        /// ramdisk nor a symbol in a config.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Manager {
            $($(#[$meta])* $variant,)*
        }

        impl Manager {
            /// All of them.
            pub(crate) const ALL: &[Manager] = &[$(Manager::$variant,)*];

            fn row(self) -> &'static Row {
                match self {
                    $(Manager::$variant => {
                        const ROW: &Row = &Row $row;
                        ROW
                    })*
                }
            }
        }
    };
}

managers! {
    /// <https://github.com/topjohnwu/Magisk>: `scripts/boot_patch.sh` and `native/src/init`; the
    /// releases by its changelog.
    Magisk {
        name: "Magisk",
        ramdisk: Some(PatchedRamdisk {
            kind: "magisk_patched",
            title: "Magisk-patched",
            signs: &[".backup/.magisk"],
            sign_prefixes: &["overlay.d/sbin/magisk"],
            joint_signs: &[],
            init: "magiskinit",
            next: "the init that Magisk kept",
            way: "magiskinit is /init",
            flows: Flows::Any,
            originals: &[
                Original { path: ".backup/init", compression: None },
                Original { path: ".backup/init.xz", compression: Some(Format::Xz) },
            ],
            config: Some(ManagerConfig {
                path: ".backup/.magisk",
                shown: &["PREINITDEVICE"],
                in_recovery: "RECOVERYMODE",
            }),
            releases: &[
                Release { sign: ReleaseSign::Key("VENDORBOOT"), since: "30.3" },
                Release { sign: ReleaseSign::Entry("overlay.d/sbin/init-ld.xz"), since: "28.0" },
                Release { sign: ReleaseSign::Entry(".backup/init.xz"), since: "27.0" },
                Release { sign: ReleaseSign::Key("PREINITDEVICE"), since: "26.0" },
                Release { sign: ReleaseSign::Entry("overlay.d/sbin/magisk32.xz"), since: "22.0" },
            ],
        }),
        kernel: None,
        autostart: Autostart::Overlay(&RcOverlay {
            manager: Manager::Magisk,
            name: "magisk_overlay",
            directory: "overlay.d",
            programs: "overlay.d/sbin",
            variable: "${MAGISKTMP}",
            context: "u:r:magisk:s0",
            covers_sbin: true,
        }),
    }
    /// <https://kernelsu.org>: `ksud boot-patch` (LKM mode), or built into the kernel (GKI mode).
    KernelSu {
        name: "KernelSU",
        ramdisk: Some(PatchedRamdisk {
            kind: "kernel_su_patched",
            title: "KernelSU-patched",
            signs: &[],
            sign_prefixes: &[],
            joint_signs: &["init.real", "kernelsu.ko"],
            init: "ksuinit",
            next: "/init.real",
            way: "kernelsu.ko is loaded by its /init, which then runs init.real (LKM)",
            flows: Flows::TwoStage,
            originals: &[Original { path: "init.real", compression: None }],
            config: None,
            releases: &[],
        }),
        kernel: Some(InKernel { symbol: "KSU", way: "it is part of the kernel (GKI mode)" }),
        autostart: Autostart::Module,
    }
}

impl Manager {
    /// `Magisk`, `KernelSU`.
    pub(crate) fn name(self) -> &'static str {
        self.row().name
    }

    /// What a ramdisk is like that it has patched.
    pub(crate) fn ramdisk(self) -> Option<&'static PatchedRamdisk> {
        self.row().ramdisk.as_ref()
    }

    /// How it shows in a kernel that it is part of.
    pub(crate) fn kernel(self) -> Option<&'static InKernel> {
        self.row().kernel.as_ref()
    }

    /// How programs are started at boot.
    pub fn autostart(self) -> Autostart {
        self.row().autostart
    }

    /// The entries of a ramdisk's root directory at or below which it leaves something.
    pub(crate) fn tops(self) -> impl Iterator<Item = &'static str> {
        let overlay = match self.autostart() {
            Autostart::Overlay(overlay) => Some([overlay.directory, overlay.programs]),
            Autostart::Module => None,
        };
        let own = self.ramdisk().into_iter().flat_map(PatchedRamdisk::paths);
        let paths = overlay.into_iter().flatten().chain(own);
        paths.map(|path| path.split('/').next().unwrap_or_default())
    }
}

impl std::fmt::Display for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Manager {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The ramdisks that root managers patch.
pub(crate) fn patched_ramdisks() -> impl Iterator<Item = (Manager, &'static PatchedRamdisk)> {
    Manager::ALL.iter().filter_map(|manager| Some((*manager, manager.ramdisk()?)))
}

impl PatchedRamdisk {
    /// Whether an entry of this path shows it alone.
    pub(crate) fn is_shown_by(&self, path: &str) -> bool {
        self.signs.contains(&path) || self.sign_prefixes.iter().any(|start| path.starts_with(start))
    }

    /// Whether the manager keeps its settings or the original `/init` at this path.
    pub(crate) fn keeps(&self, path: &str) -> bool {
        self.config.as_ref().is_some_and(|config| config.path == path)
            || self.original(path).is_some()
    }

    /// The original `/init` at this path.
    pub(crate) fn original(&self, path: &str) -> Option<&'static Original> {
        self.originals.iter().find(|original| original.path == path)
    }

    fn paths(&self) -> impl Iterator<Item = &'static str> {
        let signs = [self.signs, self.sign_prefixes, self.joint_signs].into_iter().flatten();
        let originals = self.originals.iter().map(|original| original.path);
        let config = self.config.iter().map(|config| config.path);
        let entries = self.releases.iter().filter_map(|release| match release.sign {
            ReleaseSign::Entry(path) => Some(path),
            ReleaseSign::Key(_) => None,
        });
        signs.copied().chain(originals).chain(config).chain(entries)
    }
}
