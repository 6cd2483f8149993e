//! The set of images that a patch is planned for.

use super::error::Error;
use super::flow::roles::Role;
use super::flow::{Flow, Ramdisks};
use super::kernel_facts::KernelFacts;
use crate::image::{Image, ImageKind};

/// A set of unpatched images, and what is known about it. Indices are those of `images`.
pub struct Context<'s, 'a> {
    /// All of them, in the order they were given.
    pub images: &'s [Image<'a>],
    /// The role of each.
    pub roles: &'s [Role],
    /// How a device with these images boots.
    pub flow: &'s Flow,
    /// The ramdisks of the set.
    pub ramdisks: &'s Ramdisks,
    /// The kernel of the set.
    pub kernel: &'s KernelFacts,
}

impl<'s, 'a> Context<'s, 'a> {
    /// The images that a patch may change, with their indices.
    pub fn active(&self) -> impl Iterator<Item = (usize, &'s Image<'a>)> + use<'s, 'a> {
        active(self.images, self.roles)
    }

    /// The image of a kind that a patch may change.
    pub fn find(&self, kind: ImageKind) -> Option<usize> {
        self.active().find(|(_, image)| image.kind() == kind).map(|(index, _)| index)
    }

    /// The vendor_kernel_boot images, whose modules are read.
    pub fn vendor_kernel_boots(&self) -> impl Iterator<Item = &'s Image<'a>> + use<'s, 'a> {
        let pairs = std::iter::zip(self.images, self.roles);
        pairs.filter(|(_, role)| **role == Role::VendorKernelBoot).map(|(image, _)| image)
    }

    /// Refuse a set in which two images of a kind may change.
    ///
    /// # Errors
    /// [`Error::TwoOfAKind`].
    pub fn require_one_of_each(&self) -> Result<(), Error> {
        let twice = |(index, image): &(usize, &Image<'_>)| {
            self.find(image.kind()).is_some_and(|first| first != *index)
        };
        match self.active().find(twice) {
            Some((_, image)) => Err(Error::TwoOfAKind(image.kind())),
            None => Ok(()),
        }
    }
}

/// The images that a patch may change. A recovery image alone is all there is.
pub fn active<'s, 'a>(
    images: &'s [Image<'a>],
    roles: &'s [Role],
) -> impl Iterator<Item = (usize, &'s Image<'a>)> + use<'s, 'a> {
    let only_recovery = roles.iter().all(|role| matches!(role, Role::Recovery | Role::Other));
    std::iter::zip(images, roles).enumerate().filter_map(move |(index, (image, role))| {
        let may_change = role.left_alone().is_none() || only_recovery && *role == Role::Recovery;
        may_change.then_some((index, image))
    })
}
