//! Chooses the hook for a set.

use std::fmt;

use serde::{Serialize, Serializer};

use super::kind::{HookChoice, HookKind};
use super::rdinit;
use crate::bootfile::RUNTIME;
use crate::cmdline::Cmdline;
use crate::image::ImageKind;
use crate::patch::context::Context;
use crate::patch::error::Error;
use crate::patch::place::Places;

/// The program that the kernel runs in an initramfs without `rdinit=` (`init/main.c`).
const DEFAULT_INIT: &str = "/init";

/// The hook of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// How the kernel starts the runtime.
    pub kind: HookKind,
    /// The reason.
    pub reason: HookReason,
    /// The program that runs afterwards: `/init`, or what an `rdinit=` of the originals names.
    pub init: String,
}

/// Why a plan has its hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookReason {
    /// `rdinit=` would not reach the kernel, or not as the last one.
    Obstacle(Obstacle),
    /// `rdinit=` was requested in spite of that.
    RequestedDespite(Obstacle),
    /// The init hook was requested.
    Requested,
    /// `rdinit=` in the bootloader's configuration works.
    Bootloader,
    /// `rdinit=` in the images works.
    Images,
}

/// Why `rdinit=` in the images does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The kernel uses its built-in line alone, which may name a program.
    ForcedCmdline(Option<String>),
    /// The kernel appends its built-in line, which names this program.
    ExtendedCmdline(String),
    /// `/chosen/bootargs` of a device tree names this program.
    DeviceTree(String),
    /// No image has a command line that bootloaders read.
    NoCmdline,
    /// The command line is in the first image, and the kernel unpacks what is added to the second.
    Apart(ImageKind, ImageKind),
}

impl Hook {
    /// Choose for a set with these places for a segment.
    ///
    /// # Errors
    /// [`Error::CmdlineForced`] or [`Error::NoCmdline`] when `rdinit=` was asked for and would have
    /// no effect.
    pub(crate) fn choose(
        choice: HookChoice,
        set: &Context<'_, '_>,
        places: &Places,
    ) -> Result<Self, Error> {
        let obstacle = Obstacle::find(set, places);
        let kind = match (choice, &obstacle) {
            (HookChoice::Rdinit, Some(Obstacle::NoCmdline)) => return Err(Error::NoCmdline),
            (HookChoice::Rdinit, Some(Obstacle::ForcedCmdline(_))) => {
                return Err(Error::CmdlineForced);
            }
            // The other rdinit= may be ignored after all: the user knows.
            (HookChoice::Rdinit, _) | (HookChoice::Auto, None) => HookKind::Rdinit,
            (HookChoice::Init, _) | (HookChoice::Auto, Some(_)) => HookKind::Init,
        };
        let init = match &obstacle {
            // The kernel does not see the command lines of the images.
            Some(Obstacle::ForcedCmdline(init)) => init.clone(),
            Some(Obstacle::ExtendedCmdline(init) | Obstacle::DeviceTree(init)) => {
                Some(init.clone())
            }
            Some(Obstacle::NoCmdline | Obstacle::Apart(..)) | None => {
                rdinit::last(set).map(|(_, init)| init)
            }
        };
        let init = init.unwrap_or_else(|| DEFAULT_INIT.to_owned());
        let reason = match (choice, obstacle) {
            (HookChoice::Rdinit, Some(obstacle)) => HookReason::RequestedDespite(obstacle),
            (HookChoice::Auto | HookChoice::Init, Some(obstacle)) => HookReason::Obstacle(obstacle),
            (HookChoice::Init, None) => HookReason::Requested,
            (_, None) if places.cmdline.is_none() => HookReason::Bootloader,
            (_, None) => HookReason::Images,
        };
        Ok(Hook { kind, reason, init })
    }

    /// Whether the init program is one that a device tree names.
    pub(crate) fn is_from_device_tree(&self) -> bool {
        matches!(
            self.reason,
            HookReason::Obstacle(Obstacle::DeviceTree(_))
                | HookReason::RequestedDespite(Obstacle::DeviceTree(_))
        )
    }
}

impl Obstacle {
    fn find(set: &Context<'_, '_>, places: &Places) -> Option<Self> {
        let program = |line: String| rdinit::program(&Cmdline::new(line.into_bytes()));
        if let Some(line) = set.kernel.forced_cmdline() {
            return Some(Obstacle::ForcedCmdline(program(line)));
        }
        if let Some(init) = set.kernel.extending_cmdline().and_then(program) {
            return Some(Obstacle::ExtendedCmdline(init));
        }
        let mut lines = set.device_tree_lines();
        let init = lines.find_map(|line| program(line.text.clone()));
        let init = init.filter(|init| init != RUNTIME);
        if let Some(init) = init {
            return Some(Obstacle::DeviceTree(init));
        }
        let kind = |index: usize| set.images[index].kind();
        let ramdisk = kind(places.last_of_every_boot()?.spot.image);
        match (places.cmdline, places.together) {
            (None, _) if ramdisk == ImageKind::InitBoot => Some(Obstacle::NoCmdline),
            (Some(cmdline), None) => Some(Obstacle::Apart(kind(cmdline), ramdisk)),
            (Some(_), Some(_)) | (None, _) => None,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::ForcedCmdline(_) => f.write_str(
                "CONFIG_CMDLINE_FORCE=y: the kernel ignores the command line that the bootloader \
                 passes, and rdinit= with it",
            ),
            Obstacle::ExtendedCmdline(init) => write!(
                f,
                "CONFIG_CMDLINE has rdinit={init}, and with CONFIG_CMDLINE_EXTEND it comes after \
                 the bootloader's: the last rdinit= wins"
            ),
            Obstacle::DeviceTree(init) => write!(
                f,
                "the device tree's /chosen/bootargs has rdinit={init}, which no command line in an \
                 image replaces; a bootloader that keeps it puts it where it likes, and the last \
                 rdinit= wins"
            ),
            Obstacle::Apart(cmdline, ramdisk) => write!(
                f,
                "the command line is in {cmdline}, and what it would name in {ramdisk}: with only \
                 one of the two flashed the device would not boot"
            ),
            Obstacle::NoCmdline => f.write_str(
                "bootloaders take no command line from init_boot, the only image of the set: \
                 there is none to add rdinit= to",
            ),
        }
    }
}

impl fmt::Display for HookReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HookReason::Obstacle(obstacle) => obstacle.fmt(f),
            HookReason::RequestedDespite(obstacle) => {
                write!(f, "requested; the default would be the init hook: {obstacle}")
            }
            HookReason::Requested => f.write_str("requested"),
            HookReason::Bootloader => f.write_str(
                "the bootloader's configuration has the command line, and the last rdinit= on it \
                 wins",
            ),
            HookReason::Images => {
                f.write_str("the images carry a command line, and the last rdinit= on it wins")
            }
        }
    }
}

impl Serialize for HookReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
