//! Files around images: compressed streams, zip and tar archives, OTA payloads, sparse images and
//! super images, also within each other. What a file is, its contents decide, never its name.
//!
//! | file | subject |
//! |---|---|
//! | `form`, `recognise` | what a file is |
//! | `open` | opens a file down to its images |
//! | `opened` | these images: chosen, and read |
//! | `nested` | the images among the files of an archive, and an archive within it |
//! | `unpack` | the files of archives, copied |
//! | `entry` | the images in a container, and which of them a device boots with |
//! | `given` | the files that a command works with: plain, or out of a container |
//! | `modules` | where the kernel modules in a file are |
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
mod modules;
mod nested;
mod open;
mod opened;
mod recognise;
mod sparse;
mod spill;
mod stream;
mod super_image;
mod tar;
mod unpack;
mod zip;

pub use entry::{BOOT_SET, EXTRACTED, Entry, EntryKind};
pub use error::Error;
pub use form::Form;
pub use given::{Choice, Given, Inside, read};
pub use modules::{Archive, Modules, modules};
pub use open::open;
pub use opened::{Fill, Opened};
pub use recognise::{kind_inside, recognise};
pub use spill::{Kept, Memory, Spill};
