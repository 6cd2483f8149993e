//! The places in the ramdisks of a set at which the kernel reaches a segment.

use super::context::Context;
use super::error::Error;
use super::hook::rdinit;
use crate::bootset::{Part, Spot, Stop};
use crate::image::{FragmentType, ImageKind};
use crate::ramdisk::{Limits, Ramdisk};

/// A place for a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The ramdisk.
    pub spot: Spot,
    /// The number of its segments that come before.
    pub after: usize,
    /// Which of the ramdisks it is, in memory order.
    pub position: usize,
    /// Every boot loads the ramdisk.
    every_boot: bool,
}

/// The places of a set.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// In memory order.
    all: Vec<Place>,
    /// Index of the image that takes the parameters, where there is a choice: the one with the last
    /// `rdinit=`, or one with a ramdisk as well.
    pub cmdline: Option<usize>,
    /// A place in that image.
    pub together: Option<Place>,
}

impl Places {
    /// Find the places in the images that a patch may change.
    ///
    /// # Errors
    /// [`Error::TwoOfAKind`], [`Error::NoRamdisk`], [`Error::NotReached`]; [`Error::Ramdisk`] for a
    /// damaged ramdisk, [`Error::Image`] for a fragment in a vendor's wrapper.
    pub(crate) fn find(set: &Context<'_, '_>) -> Result<Self, Error> {
        set.require_one_of_each()?;
        let parts = set.initramfs().parts.iter().enumerate();
        let parts =
            parts.filter(|(_, part)| set.active().any(|(index, _)| index == part.spot.image));
        let (mut all, mut refused) = (Vec::new(), None);
        for (position, part) in parts.clone() {
            match place(set, part, position) {
                Ok(place) => all.push(place),
                Err(error) => drop(refused.get_or_insert(error)),
            }
        }
        if all.is_empty() {
            return Err(refused.unwrap_or(Error::NoRamdisk));
        }
        let mut places = Places { all, cmdline: None, together: None };
        let replaced = rdinit::last(set).map(|(index, _)| index);
        let (boot, vendor_boot) = (set.find(ImageKind::Boot), set.find(ImageKind::VendorBoot));
        // Not two images where one will do.
        let generic_in_boot = boot.is_some_and(|boot| places.in_image(boot).is_some());
        let preferred = match generic_in_boot {
            true => [boot, vendor_boot],
            false => [vendor_boot, boot],
        };
        let candidates = match replaced {
            Some(index) => [Some(index), None],
            None => preferred,
        };
        let together = candidates.iter().flatten().find_map(|index| places.in_image(*index));
        places.together = together;
        let image = together.map(|place| place.spot.image);
        places.cmdline = image.or(replaced).or(vendor_boot).or(boot);
        Ok(places)
    }

    /// The last place of an image in a ramdisk that every boot loads.
    fn in_image(&self, image: usize) -> Option<Place> {
        self.all.iter().rfind(|place| place.spot.image == image && place.every_boot).copied()
    }

    /// The place that is unpacked last, of those in ramdisks that every boot loads.
    pub(crate) fn last_of_every_boot(&self) -> Option<Place> {
        self.all.iter().rfind(|place| place.every_boot).copied()
    }

    /// The place that is unpacked last.
    pub(crate) fn last(&self) -> Option<Place> {
        self.all.last().copied()
    }

    /// Whether other images than this one have places.
    pub(crate) fn beside(&self, image: usize) -> bool {
        self.all.iter().any(|place| place.spot.image != image)
    }
}

/// The place in a ramdisk after everything that the kernel unpacks of it.
fn place(set: &Context<'_, '_>, part: &Part, position: usize) -> Result<Place, Error> {
    let spot = part.spot;
    let not_reached = |(spot, stop): (Spot, Stop)| Error::NotReached {
        image: set.images[spot.image].kind(),
        stop,
    };
    let ramdisk = set.ramdisk(spot).ok_or(Error::NoRamdisk)?;
    if let Some(fragment) = spot.fragment {
        let fragments = set.images[spot.image].fragments();
        fragments.get(fragment).ok_or(Error::NoRamdisk)?.require_bare()?;
    }
    let Ok(inventory) = ramdisk.inventory() else {
        // The reason is that of the reader.
        Ramdisk::parse(ramdisk.bytes, Limits::default())?;
        return Err(not_reached((spot, Stop::Damaged)));
    };
    let initramfs = set.initramfs();
    // Of several ramdisks, the error must say which.
    if let Some(stop @ Stop::Junk(_)) = part.stops.filter(|_| initramfs.parts.len() > 1) {
        return Err(not_reached((spot, stop)));
    }
    let Some(after) = initramfs.reached(spot) else {
        inventory.append_point()?;
        let stop = initramfs.stop_before_end_of(spot).unwrap_or((spot, Stop::Damaged));
        return Err(not_reached(stop));
    };
    let every_boot =
        matches!(ramdisk.fragment, None | Some(FragmentType::None | FragmentType::Platform));
    inventory.append_point_after(after)?;
    Ok(Place { spot, after, position, every_boot })
}
