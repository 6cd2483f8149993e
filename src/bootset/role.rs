//! What each image of a set is for.

use serde::{Serialize, Serializer};

use super::avb::{is_chained, stem};
use super::members::Members;
use super::ramdisks::Spot;
use crate::image::{Header, Image, ImageKind, SectionName};
use crate::ramdisk::RamdiskKind;

/// What an image of a set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Kernel, and on older devices the ramdisk.
    Boot,
    /// The generic ramdisk.
    InitBoot,
    /// Ramdisk fragments and the vendor's command line.
    VendorBoot,
    /// More ramdisk fragments, with kernel modules; no command line.
    VendorKernelBoot,
    /// Started only for recovery.
    Recovery,
    /// Device tree overlays.
    Dtbo,
    /// The vbmeta image that the bootloader reads first.
    Vbmeta,
    /// A vbmeta image to which another one chains, such as vbmeta_system.
    ChainedVbmeta,
    /// A bare kernel.
    Kernel,
    /// A bare ramdisk.
    Ramdisk,
    /// A kernel config, used instead of the one embedded in the kernel.
    Config,
}

impl Role {
    /// The partition's name, or what the file is.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Boot => "boot",
            Role::InitBoot => "init_boot",
            Role::VendorBoot => "vendor_boot",
            Role::VendorKernelBoot => "vendor_kernel_boot",
            Role::Recovery => "recovery",
            Role::Dtbo => "dtbo",
            Role::Vbmeta => "vbmeta",
            Role::ChainedVbmeta => "chained vbmeta",
            Role::Kernel => "kernel",
            Role::Ramdisk => "ramdisk",
            Role::Config => "config",
        }
    }

    /// As it is written in JSON: `other` for an image that is not unpacked and has no ramdisk.
    pub fn name(self) -> &'static str {
        match self {
            Role::Dtbo | Role::Vbmeta | Role::ChainedVbmeta | Role::Kernel | Role::Config => {
                "other"
            }
            Role::Boot
            | Role::InitBoot
            | Role::VendorBoot
            | Role::VendorKernelBoot
            | Role::Recovery
            | Role::Ramdisk => self.as_str(),
        }
    }

    /// Whether an image in this role can have a ramdisk.
    pub fn boots(self) -> bool {
        match self {
            Role::Boot
            | Role::InitBoot
            | Role::VendorBoot
            | Role::VendorKernelBoot
            | Role::Recovery
            | Role::Ramdisk => true,
            Role::Dtbo | Role::Vbmeta | Role::ChainedVbmeta | Role::Kernel | Role::Config => false,
        }
    }

    /// Why a patch never changes such an image.
    pub fn left_alone(self) -> Option<&'static str> {
        match self {
            Role::Recovery => Some(
                "recovery stays as it is: it must boot whatever else is broken, and no guest runs \
                 in it",
            ),
            Role::VendorKernelBoot => Some(
                "its modules are read; the segment goes into the ramdisk that is unpacked last, \
                 and it has no command line that bootloaders read",
            ),
            Role::Boot
            | Role::InitBoot
            | Role::VendorBoot
            | Role::Dtbo
            | Role::Vbmeta
            | Role::ChainedVbmeta
            | Role::Kernel
            | Role::Ramdisk
            | Role::Config => None,
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The role of each image. Ramdisks are read only where the headers do not decide: for two images
/// of one kind, for an init_boot (a recovery without a kernel has the same header), and for a
/// vendor_boot without a command line. The name of a file decides only where two images are left.
pub(super) fn decide(set: &Members<'_>) -> Vec<Role> {
    let images = &set.images;
    let boots = images.iter().enumerate().filter(|(_, image)| image.kind() == ImageKind::Boot);
    let boots: Vec<usize> = boots.map(|(index, _)| index).collect();
    let several = boots.len() > 1;
    let by_contents = several && boots.iter().any(|boot| is_recovery(set, *boot));
    let is_second = |index| match by_contents {
        true => is_recovery(set, index),
        false => stem(set.name(index)) == "recovery",
    };
    let one = |(index, image): (usize, &Image<'_>)| match image.kind() {
        ImageKind::Boot if several && is_second(index) => Role::Recovery,
        ImageKind::Boot => Role::Boot,
        ImageKind::InitBoot if is_recovery(set, index) => Role::Recovery,
        ImageKind::InitBoot => Role::InitBoot,
        ImageKind::VendorBoot if is_kernel_boot(set, index) => Role::VendorKernelBoot,
        ImageKind::VendorBoot => Role::VendorBoot,
        ImageKind::Vbmeta if is_chained(set, index) => Role::ChainedVbmeta,
        ImageKind::Vbmeta => Role::Vbmeta,
        ImageKind::Ramdisk => Role::Ramdisk,
        ImageKind::Kernel => Role::Kernel,
        ImageKind::Dtbo => Role::Dtbo,
        ImageKind::Config => Role::Config,
    };
    images.iter().enumerate().map(one).collect()
}

/// Whether its ramdisk is for recovery only. (Where recovery is in boot, the ramdisk has the root of
/// the normal boot below `first_stage_ramdisk`.)
fn is_recovery(set: &Members<'_>, image: usize) -> bool {
    let ramdisk = set.ramdisk(Spot { image, fragment: None });
    let survey = ramdisk.and_then(|ramdisk| ramdisk.survey().ok());
    survey.is_some_and(|survey| {
        survey.kinds.has(RamdiskKind::Recovery) && !survey.has("first_stage_ramdisk")
    })
}

/// AOSP's build makes vendor_kernel_boot from modules (and a dtb) alone: no command line, no
/// bootconfig, and only modules in its ramdisk.
fn is_kernel_boot(set: &Members<'_>, image: usize) -> bool {
    let own = &set.images[image];
    let line = own.header().map(Header::cmdline).unwrap_or_default();
    if !line.is_empty() || own.section(SectionName::Bootconfig).is_some() {
        return false;
    }
    let mut ramdisks = set.ramdisks.iter().filter(|own| own.spot.image == image).peekable();
    ramdisks.peek().is_some()
        && ramdisks.all(|ramdisk| {
            ramdisk.survey().is_ok_and(|survey| {
                let findings = survey.kinds.findings();
                findings.iter().all(|finding| finding.kind == RamdiskKind::VendorFragment)
                    && survey.telling.is_empty()
            })
        })
}
