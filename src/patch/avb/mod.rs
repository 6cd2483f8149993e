//! AVB's metadata of the images that change, and what devices do with the result.
//!
//! | file | subject |
//! |---|---|
//! | `options` | what to do with the metadata |
//! | `signing` | what is signed when certain images change |
//! | `vbmeta_image` | the vbmeta.img for them |
//! | `changes` | what changed in an image that was rebuilt |
//! | `outlook` | which devices boot the result |

pub(crate) mod changes;
pub(crate) mod options;
pub(crate) mod outlook;
pub(crate) mod signing;
pub(crate) mod vbmeta_image;
