//! Kernel modules where they stand together: in ramdisks, directories, archives.
//!
//! One `.ko` by itself is [`crate::kernel::module`]'s subject; here is what only several of them,
//! and the lists that depmod and Android's build put beside them, can tell.
//!
//! | module | subject |
//! |---|---|
//! | [`survey`] | find modules and lists in whatever holds them |
//! | [`depmod`] | the lists: `modules.dep`, `.alias`, `.softdep`, `.load`… |
//! | [`files`] | those of a ramdisk, out of the pass over it |
//! | `problem` | what could not be read |
//! | `role` | what drivers are for |
//! | [`tree`] | the modules of one device, with their lists |
//! | [`closure`] | what must be loaded for a module, and in which order |
//! | [`alias`] | which drivers want a PCI device |
//! | [`fit`] | whether a kernel will take a module |

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
pub use fit::{Misfit, Target, misfits};
pub use problem::{ModuleProblem, ProblemCause};
pub use survey::{Gathered, Source, SurveyError, gather};
pub use tree::ModuleTree;
