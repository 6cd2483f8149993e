//! What is known about how a device boots.

use serde::Serialize;

use super::kind::FlowKind;
use super::managers::RootManager;
use super::statement::Statement;
use crate::bootset::role::Role;
use crate::root_manager::Manager;

/// Where recovery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryPlace {
    /// In none of the images.
    NotSeen,
    /// In a ramdisk that normal boots unpack, too: `androidboot.force_normal_boot=1` distinguishes
    /// them.
    NormalRamdisk,
    /// In a fragment of vendor_boot that only recovery boots load.
    Fragment,
    /// In a separate image.
    OwnImage,
}

/// How a device boots.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Flow {
    /// What the kernel starts.
    pub kind: FlowKind,
    /// For [`FlowKind::LinuxInitramfs`]: the program that made it.
    pub maker: Option<&'static str>,
    /// Whether the images prove it; if not, see `missing`.
    pub certain: bool,
    /// The kernel unpacks the ramdisk and starts a program from it. False for legacy
    /// system-as-root, unless a root manager has changed the kernel.
    pub ramdisk_runs: bool,
    /// Where recovery is.
    pub recovery: RecoveryPlace,
    /// The root manager that patched it.
    pub root_managers: Vec<RootManager>,
    /// Name and version of the vfioboot that patched it.
    pub patched_by: Option<String>,
    /// The statements with their evidence, the kind first.
    pub statements: Vec<Statement>,
    /// The images that would make it certain, for people.
    pub missing: Vec<String>,
    /// What each image is for, in the order they were given.
    pub roles: Vec<Role>,
}

impl Flow {
    /// The kind, and the maker if known.
    pub fn title(&self) -> String {
        match self.maker {
            Some(maker) => format!("{} ({maker})", self.kind),
            None => self.kind.to_string(),
        }
    }

    /// This root manager, if present.
    pub fn manager(&self, manager: Manager) -> Option<&RootManager> {
        self.root_managers.iter().find(|own| own.manager == manager)
    }
}
