//! The images of one device, as that device will use them.
//!
//! A [`BootSet`] is built once from the files of a set, and every command uses it. Each answer is
//! computed when it is first needed, and only once: no ramdisk is decompressed twice. The library
//! reads no files: the caller passes their bytes.
//!
//! | file | subject |
//! |---|---|
//! | `set` | the set itself |
//! | `successor` | the set with other bytes in some images |
//! | `members` | its images and their ramdisks |
//! | `file` | a file of the set; the same file given twice |
//! | `role` | what each image is for |
//! | `ramdisks` | the ramdisks of the images, and where each is |
//! | `initramfs` | the ramdisks in memory order, and what the kernel does at each segment |
//! | `kernel` | the kernel that a normal boot starts |
//! | `facts`, `provenance` | what is known about it, and where that was read |
//! | `evidence` | what its symbol table implies if it has no config |
//! | `links` | whether modules find the symbols that they need |
//! | `known` | all this as the rule evaluator needs it |
//! | [`sources`] | where kernel parameters are in the images |
//! | `origin` | where kernel parameters come from |
//! | `cmdline` | the effective command line, with the origin of every parameter |
//! | [`flow`] | how a device with these images boots |
//! | [`avb`] | the vbmeta images as a tree, and whether the images match them |
//! | `mark` | the mark that a patch leaves in a ramdisk |

pub mod avb;
mod cmdline;
mod complete;
mod evidence;
mod facts;
mod file;
pub mod flow;
mod initramfs;
mod kernel;
mod known;
mod links;
mod mark;
mod members;
mod origin;
mod provenance;
mod ramdisks;
mod role;
mod set;
pub mod sources;
mod successor;

pub use avb::Cover;
pub use cmdline::{CmdlineMode, CmdlineParameter};
pub use cmdline::{EffectiveCmdline, Setting};
pub use complete::Incomplete;
pub use evidence::Evidence;
pub use facts::{Built, Facts};
pub use file::{Error, File, Identity, Pages};
pub use flow::{Flow, FlowKind};
pub use initramfs::Initramfs;
pub use initramfs::{Part, Step, Stop};
pub use kernel::KernelState;
pub use kernel::SetKernel;
pub(crate) use known::Known;
pub use links::Links;
pub use mark::PatchMark;
pub(crate) use mark::UNDO_FORMAT;
pub(crate) use members::parse;
pub use origin::{CmdlinePart, Origin};
pub use provenance::Provenance;
pub use ramdisks::{Ramdisk, Spot};
pub use role::Role;
pub use set::BootSet;
pub(crate) use set::Original;
