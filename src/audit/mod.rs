//! The audit: whether a kernel and its images support PCI passthrough.
//!
//! Rules are data: `kernel-configs/*.toml`; the header of `passthrough.toml` describes the format. A
//! finding is pass, fail, unknown or not applicable, and has the source of its evidence.
//!
//! | file | subject |
//! |---|---|
//! | [`check()`] | the audit of one set of images |
//! | `evaluate` | evaluates every rule for a kernel |
//! | `advice` | what to do about a finding, for the board's SoC and config |
//! | `content` | config files, and inputs that cannot be checked |
//! | `expand` | a config expanded by a kernel tree's own `olddefconfig` |
//! | `follow` | rules that apply when others are mended |
//! | `error` | errors and problems of an input |
//! | `given` | what a run was given beside its inputs |
//! | `note` | notes beside the findings |
//! | `report` | the report on one input |
//! | [`run`] | several inputs in one run, with the report on each |
//! | [`group`], `stand` | groups files that belong together; by their names |
//! | `tree` | the modules beside a kernel |
//! | [`batch`], `workers` | a run over several groups, with a bounded number of threads and of results |
//! | [`resume`] | what an earlier run wrote before it ended |
//! | [`baseline`] | known findings |
//! | [`fragment`] | the Kconfig fragment that makes failing rules pass |
//! | [`render`] | the reports, in one table of formats |

mod advice;
pub mod baseline;
pub mod batch;
pub mod check;
pub(crate) mod content;
mod error;
mod evaluate;
mod expand;
mod follow;
pub mod fragment;
mod given;
pub mod group;
mod note;
pub mod render;
pub mod report;
pub mod resume;
pub mod run;
mod stand;
mod tree;
mod workers;

pub use crate::bootset::sources;
pub use crate::bootset::{
    Built, CmdlinePart, EffectiveCmdline, Evidence, Facts, Origin, Provenance, Setting,
};
pub use crate::rules::{BUILTIN, Condition, EvidenceState, Level, Profile, Verdict};
pub use crate::rules::{RecommendedParameter, Rule};
pub use batch::Batch;
pub use check::{Options, check, check_files};
pub use error::{CheckError, Problem};
pub use evaluate::{Evaluation, Finding, Outcome, evaluate, recommended_parameters};
pub use expand::ExpandError;
pub use given::Given;
pub use note::Note;
pub use report::Report;
