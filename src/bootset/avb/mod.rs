//! AVB over a set: the vbmeta images as a tree, and whether the images match them.
//!
//! | file | subject |
//! |---|---|
//! | `names`, `partition` | the partitions that the images are for |
//! | `tree` | which descriptor covers which image |
//! | `verify` | which of them decides for which image |
//! | `digest` | the digest of an image, and how much of it that covers |
//! | `signature` | hash, signature and key of a vbmeta image |
//! | `report` | the checks of an image |
//! | `changed` | changes to a vbmeta image since it was signed |

mod changed;
mod digest;
mod names;
mod partition;
mod report;
mod signature;
mod tree;
mod verify;

pub(super) use names::names;
pub(super) use partition::{Names, stem};
pub use report::{Check, ImageVerification, NotVerified, Outcome, Verification};
pub use tree::Cover;
pub(super) use tree::{chain_to, cover, is_chained, leads_to};
pub use verify::{verify, verify_as};
