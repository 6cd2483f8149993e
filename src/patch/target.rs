//! Which of several images gets what: one carries the segment, one the command line.

use super::Error;
use crate::cmdline::Cmdline;
use crate::image::{FragmentType, Image, ImageKind, SectionName};

/// The places that a patch changes in a set of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Index of the image whose ramdisk gets the segment.
    pub carrier: usize,
    /// Index of the fragment, where the carrier is a vendor_boot.
    pub fragment: Option<usize>,
    /// Index of the image whose command line field gets the words; None for a bare ramdisk,
    /// where the words are for the user's bootloader configuration, and for init_boot alone.
    pub line: Option<usize>,
    /// Why that image carries the segment.
    pub reason: &'static str,
    /// Why that image gets the words.
    pub line_reason: &'static str,
}

/// Choose. The generic ramdisk comes last in memory and is loaded on every boot, so it carries
/// the segment where there is one. The words go where bootloaders read them, into the image
/// that is changed anyway if that is such a one.
///
/// # Errors
/// [`Error::TwoOfAKind`], [`Error::NoRamdisk`].
pub fn choose(images: &[Image<'_>]) -> Result<Targets, Error> {
    for (i, image) in images.iter().enumerate() {
        if images[..i].iter().any(|other| other.kind() == image.kind()) {
            return Err(Error::TwoOfAKind(image.kind()));
        }
    }
    let find = |kind| images.iter().position(|image| image.kind() == kind);
    let with_ramdisk =
        |kind| find(kind).filter(|i: &usize| images[*i].section(SectionName::Ramdisk).is_some());
    let boot = find(ImageKind::Boot);
    let vendor_boot = find(ImageKind::VendorBoot);
    if let Some(carrier) = with_ramdisk(ImageKind::InitBoot) {
        // Two partitions change either way; the kernel's own stays as it is signed.
        let reason = "it has the generic ramdisk, which is unpacked last";
        let line_reason =
            "bootloaders take the command line from vendor_boot and boot, not from init_boot";
        let line = vendor_boot.or(boot);
        return Ok(Targets { carrier, fragment: None, line, reason, line_reason });
    }
    if let Some(carrier) = with_ramdisk(ImageKind::Boot) {
        let reason = "it has the ramdisk and a command line that bootloaders read";
        let line = Some(carrier);
        return Ok(Targets { carrier, fragment: None, line, reason, line_reason: reason });
    }
    if let Some(carrier) = with_ramdisk(ImageKind::Ramdisk) {
        let reason = "it is the ramdisk";
        let line_reason = "a bare ramdisk has no command line";
        let line = vendor_boot.or(boot);
        return Ok(Targets { carrier, fragment: None, line, reason, line_reason });
    }
    if let Some(carrier) = vendor_boot
        && let Some(fragment) = fragment(&images[carrier])
    {
        let reason = "it has the only ramdisk of the set, and a command line that bootloaders read";
        let (fragment, line) = (Some(fragment), Some(carrier));
        return Ok(Targets { carrier, fragment, line, reason, line_reason: reason });
    }
    Err(Error::NoRamdisk)
}

/// The last fragment that a normal boot loads.
fn fragment(image: &Image<'_>) -> Option<usize> {
    let fragments = image.fragments();
    fragments.iter().rposition(|fragment| {
        let normal = matches!(fragment.kind, FragmentType::None | FragmentType::Platform);
        normal && !fragment.bytes.is_empty()
    })
}

/// The image whose line has the last `rdinit=`, in the order in which bootloaders join the
/// lines: vendor_boot, then boot.
pub fn last_rdinit(images: &[Image<'_>]) -> Option<(usize, String)> {
    let order = [ImageKind::Boot, ImageKind::VendorBoot];
    order.into_iter().find_map(|kind| {
        let index = images.iter().position(|image| image.kind() == kind)?;
        let line = Cmdline::new(images[index].header()?.cmdline());
        Some((index, rdinit_of(&line)?))
    })
}

/// The program that the last `rdinit=` of a line names.
pub fn rdinit_of<B: AsRef<[u8]>>(line: &Cmdline<B>) -> Option<String> {
    // PID 1 starts in /, so a relative path means the same.
    let path = String::from_utf8_lossy(line.value("rdinit")?).into_owned();
    Some(if path.starts_with('/') { path } else { format!("/{path}") })
}
