//! Collections of kernel modules in ramdisks, directories and archives.
//!
//! [`crate::kernel::module`] reads a single `.ko`. This folder combines several modules and the lists
//! that depmod and Android's build add.
//!
//! | module | subject |
//! |---|---|
//! | [`survey`] | finds modules and lists in directories, images and archives |
//! | [`depmod`] | the lists: `modules.dep`, `.alias`, `.softdep`, `.load`… |
//! | [`files`] | collects those of a ramdisk in a pass over it |
//! | `problem` | problems with a source |
//! | `role` | the roles of drivers |
//! | [`tree`] | the modules of one device, with their lists |
//! | [`closure`] | the modules to load for a module, and their order |
//! | [`alias`] | which drivers match a PCI device |
//! | [`fit`] | whether a kernel will load a module |

pub mod alias;
pub mod closure;
pub mod depmod;
pub mod files;
pub mod fit;
mod problem;
mod role;
pub mod survey;
pub mod tree;

pub use closure::{ClosureError, Dependencies, Step};
pub use depmod::Lists;
pub use files::{ListFile, ModuleFile, ModuleFiles, ModuleRequest};
pub use fit::{Misfit, TargetKernel, misfits};
pub use problem::{ModuleProblem, ProblemCause};
pub use survey::{ModuleSource, Survey, SurveyError, gather};
pub use tree::ModuleTree;
