//! AVB over a set: the vbmeta images as a tree, and whether the images match them.
//!
//! | file | subject |
//! |---|---|
//! | `tree` | which descriptor covers which image |
//! | `verify` | digests and chains |
//! | `signature` | hash, signature and key of a vbmeta image |
//! | `report` | the checks of an image |
//! | `changed` | changes to a vbmeta image since it was signed |

mod changed;
mod report;
mod signature;
mod tree;
mod verify;

pub use report::{Check, ImageVerification, Outcome, Verification};
pub use tree::Cover;
pub(super) use tree::{cover, is_chained, leads_to};
pub use verify::verify;
