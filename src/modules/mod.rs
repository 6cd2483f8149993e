//! Collections of kernel modules in ramdisks, directories and archives.
//!
//! [`crate::kernel::module`] reads a single `.ko`. This folder combines several modules and the lists
//! that depmod and Android's build add.
//!
//! | module | subject |
//! |---|---|
//! | [`survey`] | finds modules and lists in directories, images and archives |
//! | [`depmod`] | the lists: `modules.dep`, `.alias`, `.softdep`, `.load`… |
//! | `files` | collects those of a ramdisk in a pass over it |
//! | `problem` | problems with a source |
//! | `role` | the roles of drivers |
//! | `supply` | modules that are read only when they are wanted |
//! | [`tree`] | the modules of one device, with their lists |
//! | `closure` | the modules to load for a module, and their order |
//! | [`alias`] | which drivers match a PCI device |
//! | `fit` | whether a kernel will load a module |

pub mod alias;
pub(crate) mod closure;
pub mod depmod;
pub(crate) mod files;
pub(crate) mod fit;
mod problem;
mod role;
pub(crate) mod supply;
pub mod survey;
pub mod tree;

pub use closure::ClosureError;
pub use closure::{Dependencies, Step};
pub use depmod::Lists;
pub use files::{ListFile, ModuleRequest};
pub use files::{ModuleFile, ModuleFiles};
pub use fit::{Misfit, TargetKernel, misfits};
pub use problem::{ModuleProblem, ProblemCause};
pub use survey::SurveyError;
pub use survey::{ModuleArchive, ModuleSource};
pub(crate) use survey::{Survey, gather};
pub use tree::ModuleTree;
