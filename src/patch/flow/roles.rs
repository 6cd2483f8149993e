//! What each image of a set is for, where its header does not tell.

use serde::Serialize;

use crate::image::{Image, ImageKind, SectionName};
use crate::ramdisk::kind::Survey;
use crate::ramdisk::{Limits, RamdiskKind};

/// What an image of a set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Kernel, and on older devices the ramdisk.
    Boot,
    /// The generic ramdisk.
    InitBoot,
    /// Ramdisk fragments and the vendor's command line.
    VendorBoot,
    /// More ramdisk fragments, with kernel modules; no command line.
    VendorKernelBoot,
    /// Only started to get into recovery.
    Recovery,
    /// A ramdisk without an image around it.
    Ramdisk,
    /// Nothing that is unpacked or started: vbmeta, dtbo, a bare kernel.
    Other,
}

impl Role {
    /// The partition's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Boot => "boot",
            Role::InitBoot => "init_boot",
            Role::VendorBoot => "vendor_boot",
            Role::VendorKernelBoot => "vendor_kernel_boot",
            Role::Recovery => "recovery",
            Role::Ramdisk => "ramdisk",
            Role::Other => "other",
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
            _ => None,
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The role of each image. Ramdisks are read only where there is a question: of two images of a
/// kind, of an init_boot (a recovery without a kernel has the same header), and of a vendor_boot
/// without a command line.
pub fn of(images: &[Image<'_>]) -> Vec<Role> {
    let count = |kind| images.iter().filter(|image| image.kind() == kind).count();
    let several_boots = count(ImageKind::Boot) > 1;
    let one = |image: &Image<'_>| match image.kind() {
        ImageKind::Boot if several_boots && is_recovery(image) => Role::Recovery,
        ImageKind::Boot => Role::Boot,
        ImageKind::InitBoot if is_recovery(image) => Role::Recovery,
        ImageKind::InitBoot => Role::InitBoot,
        ImageKind::VendorBoot if is_kernel_boot(image) => Role::VendorKernelBoot,
        ImageKind::VendorBoot => Role::VendorBoot,
        ImageKind::Ramdisk => Role::Ramdisk,
        ImageKind::Kernel | ImageKind::Vbmeta | ImageKind::Dtbo => Role::Other,
    };
    images.iter().map(one).collect()
}

/// Its ramdisk is recovery's, and not one that a normal boot uses as well (recovery in boot has
/// the normal boot's root below `first_stage_ramdisk`).
fn is_recovery(image: &Image<'_>) -> bool {
    let ramdisk = image.section(SectionName::Ramdisk);
    let survey = ramdisk.and_then(|bytes| Survey::read(bytes, Limits::default()).ok());
    survey.is_some_and(|survey| {
        survey.kinds.has(RamdiskKind::Recovery) && !survey.has("first_stage_ramdisk")
    })
}

/// AOSP's build makes vendor_kernel_boot from modules (and a dtb) alone: no command line, no
/// bootconfig, and nothing but modules in its ramdisk.
fn is_kernel_boot(image: &Image<'_>) -> bool {
    let line = image.header().map(crate::image::Header::cmdline).unwrap_or_default();
    if !line.is_empty() || image.section(SectionName::Bootconfig).is_some() {
        return false;
    }
    let surveys: Vec<_> = image
        .fragments()
        .iter()
        .map(|fragment| Survey::read(fragment.bytes, Limits::default()).ok())
        .collect();
    !surveys.is_empty()
        && surveys.iter().all(|survey| {
            survey.as_ref().is_some_and(|survey| {
                let only =
                    |f: &crate::ramdisk::kind::Finding| f.kind == RamdiskKind::VendorFragment;
                survey.kinds.findings().iter().all(only) && survey.telling.is_empty()
            })
        })
}

/// A set without the images that a patch leaves alone.
pub struct Active<'a> {
    /// Those that it may change.
    pub images: Vec<Image<'a>>,
    /// Where each of them stands in the whole set.
    pub indices: Vec<usize>,
    /// Those of which it reads the modules.
    pub beside: Vec<Image<'a>>,
}

impl<'a> Active<'a> {
    /// The part of `images` that a patch may change. A recovery image alone is all there is.
    pub fn of(images: &[Image<'a>], roles: &[Role]) -> Self {
        let role = |wanted| move |(_, role): &(&Image<'a>, &Role)| **role == wanted;
        let pairs = || std::iter::zip(images, roles);
        let only_recovery = pairs().all(|(_, role)| matches!(role, Role::Recovery | Role::Other));
        let mut active = Active { images: Vec::new(), indices: Vec::new(), beside: Vec::new() };
        for (index, (image, role)) in pairs().enumerate() {
            if role.left_alone().is_none() || (only_recovery && *role == Role::Recovery) {
                active.images.push(image.clone());
                active.indices.push(index);
            }
        }
        let beside = pairs().filter(role(Role::VendorKernelBoot));
        active.beside = beside.map(|(image, _)| image.clone()).collect();
        active
    }
}
