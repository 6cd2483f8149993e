//! Files around images: compressed streams, zip and tar archives, OTA payloads, sparse images and
//! super images, also within each other. What a file is, its contents decide, never its name.
//!
//! | file | subject |
//! |---|---|
//! | `form`, `recognise` | what a file is |
//! | `open` | opens a file down to its images, and reads them |
//! | `entry` | the images in a container, and which of them a device boots with |
//! | `given` | the files that a command works with: plain, or out of a container |
//! | `zip`, `tar` | archives |
//! | `stream` | a compressed stream |
//! | `sparse` | Android sparse images |
//! | `super_image` | super images: logical partitions |
//! | `blocks` | bytes at offsets, in memory or in a sparse image |
//! | `limits` | how much is unpacked |
//! | `spill` | where what is unpacked is kept |

mod blocks;
mod entry;
mod error;
mod form;
mod given;
mod limits;
mod open;
mod recognise;
mod sparse;
mod spill;
mod stream;
mod super_image;
mod tar;
mod zip;

pub use entry::{BOOT_SET, EXTRACTED, Entry, EntryKind};
pub use error::Error;
pub use form::Form;
pub use given::{Choice, Given, Inside, read};
pub use open::{Fill, Opened, open};
pub use recognise::recognise;
pub use spill::{Kept, Memory, Spill};
