//! The images of a set that a patch may change.

use crate::bootset::Role;
use crate::image::Image;

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
        let only_recovery = pairs().all(|(_, role)| *role == Role::Recovery || !role.boots());
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
