//! AVB's metadata of the images that change, and what devices do with the result.
//!
//! | file | subject |
//! |---|---|
//! | `options` | what to do with the metadata |
//! | `signing` | which images are signed when certain images change |
//! | `vbmeta_image` | the vbmeta.img for the images that change |
//! | `changes` | the changes in a rebuilt image |
//! | `outlook` | which devices boot the result |

pub(crate) mod changes;
pub(crate) mod options;
pub(crate) mod outlook;
pub(crate) mod signing;
pub(crate) mod vbmeta_image;
