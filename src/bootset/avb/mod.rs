//! AVB over a set: the vbmeta images as a tree, and whether the images are what these say.
//!
//! | file | subject |
//! |---|---|
//! | `tree` | which descriptor covers which image |
//! | `verify` | digests, signatures and chains |
//! | `changed` | what was changed in a vbmeta image since it was signed |

mod changed;
mod tree;
mod verify;

pub use tree::Cover;
pub(super) use tree::{cover, is_chained, leads_to};
pub use verify::{Check, ImageVerification, Outcome, Verification, verify};
