//! OTA payloads: partitions are located, verified and written one at a time.
//!
//! | file | subject |
//! |---|---|
//! | `payload` | `payload.bin`: its header and partitions |
//! | `manifest` | the messages of `update_metadata.proto` |
//! | `operation` | writes a partition from its operations |

mod error;
mod manifest;
mod operation;
mod payload;

pub use error::{DataProblem, Error};
pub use payload::{Partition, Payload};
