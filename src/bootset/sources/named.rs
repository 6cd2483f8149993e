//! An image with its name.

use crate::image::Image;

/// An image and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'i, 'b> {
    /// The name of its file.
    pub file: &'i str,
    /// The image.
    pub image: &'i Image<'b>,
}
