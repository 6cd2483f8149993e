//! The requirements on a kernel, as rules, and their evaluator, for the audit on the desktop and
//! `vfiorun doctor` on the device.
//!
//! | file | subject |
//! |---|---|
//! | `arch`, `version` | processor architectures and kernel versions |
//! | `config` | `.config` files |
//! | `language` | profiles and rules as values; the header of `kernel-configs/passthrough.toml` explains them |
//! | `builtin` | the texts of the profiles that come with the programs |
//! | `raw`, `read` | profiles as they are written in TOML, checked line by line |
//! | `known` | what a program can know about a kernel: the trait that both implement |
//! | `reason` | verdicts and their typed reasons |
//! | `text` | the text of a reason, in one place |
//! | `judge` | the evaluator |
//! | `switch` | judges kernel parameters that turn something off |
//! | `blacklist` | what `module_blacklist=` and the like keep from starting |
//!
//! The build script compiles this folder, too: it reads every built-in profile, so that a broken rule
//! breaks the build, and writes the device's profile as a constant, which needs no TOML reader.

mod arch;
mod blacklist;
mod builtin;
pub mod config;
mod judge;
mod known;
mod language;
mod raw;
mod read;
mod reason;
mod switch;
mod text;
mod version;

pub use arch::Arch;
pub use builtin::BUILTIN;
pub use builtin::Builtin;
pub use judge::Judgement;
pub(crate) use judge::judge;
pub use known::{Confidence, Evidence, Module, Place};
pub use known::{Coverage, EvidenceState, Fit};
pub(crate) use known::{Given, KernelInfo, Setting, Symbol};
pub use language::{Assignment, Note, RecommendedParameter, Rule, Scope, Switch, Test, When};
pub use language::{Condition, KconfigLine, Level, Profile, Soc, SocPart};
pub(crate) use language::{List, Text, module_name};
pub use read::ProfileError;
pub use reason::{Basis, Doubt, ModuleState, Outside, Reason, SymbolReason, SymbolState};
pub use reason::{Cause, VendorModule, Verdict};
pub use version::KernelVersion;
