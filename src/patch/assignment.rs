//! Which image carries the segment, and which the kernel parameters.

use std::fmt;

use serde::{Serialize, Serializer};

use super::context::Context;
use super::error::Error;
use super::hook::kind::HookKind;
use super::hook::rdinit;
use super::place::{Place, Places};
use crate::image::ImageKind;

/// The images of a set that a patch changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Where the segment with the runtime goes.
    pub home: Place,
    /// Index of the image whose command line field takes the parameters. None for a bare ramdisk,
    /// whose command line is in the bootloader's configuration, and for init_boot alone.
    pub cmdline: Option<usize>,
    /// Why that image carries the segment.
    pub carrier_reason: Decision,
    /// Why that image has the parameters.
    pub cmdline_reason: Decision,
}

/// Why an image is changed, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Unchanged: its role does not allow a change, for this reason.
    LeftAlone(&'static str),
    /// Changed: the generic ramdisk.
    GenericRamdisk,
    /// Changed: vendor_boot or boot, in a set with init_boot.
    CmdlineOutsideInitBoot,
    /// Changed: an image with a ramdisk and the command line.
    RamdiskAndCmdline,
    /// Changed: a bare ramdisk.
    BareRamdisk,
    /// No image has the command line of a bare ramdisk.
    CmdlineOutsideRamdisk,
    /// Changed: vendor_boot, without a generic ramdisk in the set.
    OnlyRamdisk,
    /// Changed: the image whose `rdinit=` counts.
    RdinitIsThere,
    /// Changed: files that must overwrite others are unpacked after those.
    UnpackedAfter,
    /// Changed: the vbmeta image.
    Digests,
    /// Unchanged: a boot image.
    NotTheActiveImage,
    /// Unchanged: vendor_boot before the generic ramdisk.
    UnpackedBefore,
    /// Unchanged: the generic ramdisk, in a set in which another image has the command line.
    NoCmdline,
    /// Unchanged: anything else.
    NothingToChange,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Decision::LeftAlone(reason) => reason,
            Decision::GenericRamdisk => "it has the generic ramdisk, which is unpacked last",
            Decision::CmdlineOutsideInitBoot => {
                "bootloaders take the command line from vendor_boot and boot, not from init_boot"
            }
            Decision::RamdiskAndCmdline => {
                "it has a ramdisk and a command line that bootloaders read, so it boots whichever \
                 other image is flashed or replaced"
            }
            Decision::BareRamdisk => "it is the ramdisk",
            Decision::CmdlineOutsideRamdisk => "a bare ramdisk has no command line",
            Decision::OnlyRamdisk => {
                "it has the only ramdisk of the set, and a command line that bootloaders read"
            }
            Decision::RdinitIsThere => "the rdinit= that counts is on its command line",
            Decision::UnpackedAfter => {
                "files that replace others of the ramdisks must be unpacked after those"
            }
            Decision::Digests => "it has the digests and keys of the images that change",
            Decision::NotTheActiveImage => {
                "the ramdisk and the command line that count are in other images"
            }
            Decision::UnpackedBefore => "its ramdisk is unpacked before the one that is patched",
            Decision::NoCmdline => {
                "bootloaders take no command line from it: the files of the patch are in the image \
                 whose command line names them"
            }
            Decision::NothingToChange => "nothing in it has to change",
        })
    }
}

impl Serialize for Decision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Assignment {
    /// Choose the images. A word on the command line and the file that it names are in one image,
    /// so that this image boots with any other. What takes the path of the init program is unpacked
    /// last.
    ///
    /// # Errors
    /// [`Error::NoRamdisk`].
    pub(crate) fn choose(
        set: &Context<'_, '_>,
        places: &Places,
        hook: HookKind,
    ) -> Result<Self, Error> {
        let last = places.last_of_every_boot().ok_or(Error::NoRamdisk)?;
        let home = match hook {
            HookKind::Rdinit => places.together.unwrap_or(last),
            HookKind::Init => last,
        };
        let has_cmdline = |index: usize| set.images[index].kind().has_loader_cmdline();
        let cmdline = match hook {
            // Nothing on the line names a file, so any image would do.
            HookKind::Init if has_cmdline(home.spot.image) => Some(home.spot.image),
            HookKind::Rdinit | HookKind::Init => places.cmdline,
        };
        let carrier_reason = match set.images[home.spot.image].kind() {
            ImageKind::InitBoot => Decision::GenericRamdisk,
            ImageKind::Ramdisk => Decision::BareRamdisk,
            ImageKind::VendorBoot if !places.beside(home.spot.image) => Decision::OnlyRamdisk,
            _ => Decision::RamdiskAndCmdline,
        };
        let cmdline_reason = match carrier_reason {
            same if cmdline == Some(home.spot.image) => same,
            _ if rdinit::last(set).is_some_and(|(index, _)| Some(index) == cmdline) => {
                Decision::RdinitIsThere
            }
            Decision::BareRamdisk => Decision::CmdlineOutsideRamdisk,
            _ => Decision::CmdlineOutsideInitBoot,
        };
        Ok(Assignment { home, cmdline, carrier_reason, cmdline_reason })
    }
}
