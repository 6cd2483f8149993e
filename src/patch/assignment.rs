//! Which image carries the segment, and which the kernel parameters.

use std::fmt;

use serde::{Serialize, Serializer};

use super::context::Context;
use super::error::Error;
use crate::image::{FragmentType, Image, ImageKind, SectionName};

/// The images of a set that a patch changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Index of the image whose ramdisk the segment is appended to.
    pub carrier: usize,
    /// Index of the fragment, of a vendor_boot image.
    pub fragment: Option<usize>,
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
    /// Changed: init_boot.
    GenericRamdisk,
    /// Changed: vendor_boot or boot, in a set with init_boot.
    CmdlineOutsideInitBoot,
    /// Changed: a boot image with a ramdisk.
    RamdiskAndCmdline,
    /// Changed: a bare ramdisk.
    BareRamdisk,
    /// No image has the command line of a bare ramdisk.
    CmdlineOutsideRamdisk,
    /// Changed: vendor_boot, without a generic ramdisk in the set.
    OnlyRamdisk,
    /// Changed: the vbmeta image.
    Digests,
    /// Unchanged: a boot image.
    NotTheActiveImage,
    /// Unchanged: vendor_boot before the generic ramdisk.
    UnpackedBefore,
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
                "it has the ramdisk and a command line that bootloaders read"
            }
            Decision::BareRamdisk => "it is the ramdisk",
            Decision::CmdlineOutsideRamdisk => "a bare ramdisk has no command line",
            Decision::OnlyRamdisk => {
                "it has the only ramdisk of the set, and a command line that bootloaders read"
            }
            Decision::Digests => "it has the digests and keys of the images that change",
            Decision::NotTheActiveImage => {
                "the ramdisk and the command line that count are in other images"
            }
            Decision::UnpackedBefore => "its ramdisk is unpacked before the one that is patched",
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
    /// Choose the images. The generic ramdisk comes last in memory and every boot loads it, so it
    /// carries the segment if there is one. The parameters go into an image whose command line
    /// bootloaders read, preferably one that changes anyway.
    ///
    /// # Errors
    /// [`Error::TwoOfAKind`], [`Error::NoRamdisk`].
    pub(crate) fn choose(set: &Context<'_, '_>) -> Result<Self, Error> {
        set.require_one_of_each()?;
        let with_ramdisk = |kind| {
            let index = set.find(kind)?;
            set.images[index].section(SectionName::Ramdisk).map(|_| index)
        };
        let vendor_boot = set.find(ImageKind::VendorBoot);
        let cmdline = vendor_boot.or(set.find(ImageKind::Boot));
        if let Some(carrier) = with_ramdisk(ImageKind::InitBoot) {
            // Two partitions change either way; the kernel's own stays as it is signed.
            return Ok(Assignment {
                carrier,
                fragment: None,
                cmdline,
                carrier_reason: Decision::GenericRamdisk,
                cmdline_reason: Decision::CmdlineOutsideInitBoot,
            });
        }
        if let Some(carrier) = with_ramdisk(ImageKind::Boot) {
            return Ok(Assignment::one(carrier, None, Decision::RamdiskAndCmdline));
        }
        if let Some(carrier) = with_ramdisk(ImageKind::Ramdisk) {
            return Ok(Assignment {
                carrier,
                fragment: None,
                cmdline,
                carrier_reason: Decision::BareRamdisk,
                cmdline_reason: Decision::CmdlineOutsideRamdisk,
            });
        }
        let fragment = vendor_boot.and_then(|index| last_normal_fragment(&set.images[index]));
        match (vendor_boot, fragment) {
            (Some(carrier), Some(fragment)) => {
                Ok(Assignment::one(carrier, Some(fragment), Decision::OnlyRamdisk))
            }
            _ => Err(Error::NoRamdisk),
        }
    }

    /// One image for both.
    fn one(carrier: usize, fragment: Option<usize>, reason: Decision) -> Self {
        Assignment {
            carrier,
            fragment,
            cmdline: Some(carrier),
            carrier_reason: reason,
            cmdline_reason: reason,
        }
    }
}

/// The last fragment that a normal boot loads.
fn last_normal_fragment(image: &Image<'_>) -> Option<usize> {
    let fragments = image.fragments();
    fragments.iter().rposition(|fragment| {
        let normal = matches!(fragment.kind, FragmentType::None | FragmentType::Platform);
        normal && !fragment.bytes.is_empty()
    })
}
