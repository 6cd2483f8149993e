//! Android's update files: an OTA `payload.bin`, the zip file that contains it, and factory zips.
//! Partitions are located, verified and written one at a time.
//!
//! | file | subject |
//! |---|---|
//! | `payload` | `payload.bin`: its header and partitions |
//! | `manifest` | the messages of `update_metadata.proto` |
//! | `operation` | writes a partition from its operations |
//! | `archive` | zip files with a payload.bin or images |

mod archive;
mod error;
mod manifest;
mod operation;
mod payload;

pub use archive::{Archive, Contents, Member};
pub use error::{DataProblem, Error};
pub use payload::{Partition, Payload};
