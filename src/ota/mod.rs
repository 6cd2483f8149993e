//! Android's update files: an OTA `payload.bin`, the zip around it, and factory zips. What they
//! hold of partitions is found, checked and written, one after the other.
//!
//! | file | subject |
//! |---|---|
//! | `payload` | `payload.bin`: its header, its partitions |
//! | `manifest` | the messages of `update_metadata.proto` |
//! | `operation` | one partition from its operations |
//! | `archive` | zip files: payload.bin or images in them |

mod archive;
mod error;
mod manifest;
mod operation;
mod payload;

pub use archive::{Archive, Inside, Member};
pub use error::Error;
pub use payload::{Partition, Payload};
