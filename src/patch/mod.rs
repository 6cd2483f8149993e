//! Plan a patch, apply it, undo it.
//!
//! [`plan()`] computes everything as data; the caller only writes [`PlannedImage::output`]. A patch
//! appends one cpio segment to the ramdisk and adds parameters to the command line; kernel, original
//! ramdisk and dtb stay byte-identical. [`unpatch()`] restores the originals.
//!
//! Each part of a patch returns a contribution (files, kernel parameters, changes, warnings…) and
//! what it shows in the plan; the plan adds them up.
//!
//! | file | subject |
//! |---|---|
//! | `options` | the options of a patch |
//! | `plan` | what is changed, where and why |
//! | `parts` | the contributions added up |
//! | `rewrite` | the images rewritten |
//! | `prove`, `materialise` | the results, read back before they are written |
//! | `context` | the set that is patched |
//! | `place` | where the kernel reaches a segment |
//! | `assignment` | which image carries the segment, and which the kernel parameters |
//! | `division` | which files go into which segment |
//! | `insertion` | the point in the image at which the segment is inserted |
//! | `contribution` | what one part adds to a patch |
//! | `hook` | how the kernel starts the runtime |
//! | `parameters` | the kernel parameters |
//! | `block` | host drivers that are kept away |
//! | `modules`, `runtime` | the modules and the executable to add |
//! | `rc` | rc files of Android's init, where the boot flow makes init read them |
//! | `avb` | AVB's metadata, and what devices do with it |
//! | `kernel_facts`, `kernel_check`, `report`, `unfit` | the kernel, and whether it allows the patch |
//! | `edit`, `warning` | the changes and warnings of a plan, and their text |
//! | `advice`, `next` | what could go wrong on the device, how to flash, and how to undo it |
//! | `segment`, `segment_file`, `initramfs_files` | the appended segment |
//! | `undo`, `undo_parts`, `hex`, `unpatch`, `original` | the undo record, and the originals |
//! | `remove` | a patch taken out of images that another program has changed since |

mod advice;
mod assignment;
mod avb;
mod block;
mod context;
mod contribution;
mod division;
mod edit;
mod error;
#[cfg(feature = "boot-test")]
mod exchange;
mod hex;
mod hook;
mod initramfs_files;
mod insertion;
mod kernel_check;
mod kernel_facts;
mod materialise;
mod modules;
mod next;
mod options;
mod original;
mod parameters;
mod parts;
mod place;
mod plan;
mod prove;
mod rc;
mod remove;
mod report;
mod rewrite;
mod runtime;
mod segment;
mod segment_file;
mod undo;
mod undo_parts;
mod unfit;
mod unpatch;
mod warning;

pub use advice::{Advice, Risk};
pub use assignment::Decision;
pub use avb::options::{AvbMode, AvbOptions};
pub use avb::outlook::{Outlook, Prospect, Reason};
pub use block::plan::{BlockedDriver, DriverPlace, NotBlocked};
pub use edit::{AvbEdit, Change, EditKind, ListEdit, PlannedEdit, PlannedFile, SegmentChange};
pub use error::{
    Error, ModuleError, RcFinding, RefusedOption, RefusedParameter, RuntimeError, UndoRecordError,
};
#[cfg(feature = "boot-test")]
pub(crate) use exchange::{boot_file, exchanged, leaves_vfio_to_init, with_boot_file};
pub use hook::choose::{Hook, HookReason, Obstacle};
pub use hook::kind::{HookChoice, HookKind, HookRow};
pub use modules::plan::{LoadedBy, ModuleOptions, ModulePlan, PlannedDriver, PlannedModule};
pub use modules::vfio_options::{
    OptionBy, OptionEvidence, PlannedVfioOption, VfioOption, VfioOptionError,
};
pub use next::{Flash, FlashTool, Next};
pub use options::Options;
pub use parameters::iommu::{IommuMode, IommuRow};
pub use parameters::parameter::PlannedParameter;
pub use plan::{Plan, PlannedImage, plan};
pub use prove::again::prove_again;
pub use prove::report::{AvbProof, Proof, Step, Undone};
pub use prove::unproven::Unproven;
pub use rc::contribute::RcPlan;
pub use rc::inert::Inert;
pub use rc::label::Label;
pub use rc::options::{RcFile, RcOptions};
pub use rc::reason::{RcPlace, RcReason};
pub use remove::{Removed, remove};
pub use report::{FailedRule, KernelReport};
pub use runtime::{Runtime, Runtimes};
pub use undo::{ImageUndo, UndoRecord};
pub use unfit::Unfit;
pub use unpatch::{changed_since, has_original, is_patched, names_our_runtime, record_of, unpatch};
pub use warning::Warning;
