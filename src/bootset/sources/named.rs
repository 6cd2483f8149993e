//! An image with its name.

use crate::image::Image;

/// An image and what it is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'i, 'b> {
    /// Its file.
    pub file: &'i str,
    /// What is in it.
    pub image: &'i Image<'b>,
}
