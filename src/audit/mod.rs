//! The audit: whether a kernel and its images allow to pass PCI devices through.
//!
//! Rules are data: `kernel-configs/*.toml`, whose header says how to write one. A finding is
//! pass, fail, unknown or not applicable, and says where its evidence comes from.
//!
//! | file | subject |
//! |---|---|
//! | [`check()`] | the audit of one set of images |
//! | `evaluate` | what is known of a kernel, held against every rule |
//! | `content` | config files, and inputs that are nothing to check |
//! | `error` | why an input could not be checked, and what is odd about one that could |
//! | `note` | what no rule judges |
//! | [`run`] | the audits of a run: what every report is made from |
//! | [`group`] | which of many files belong together |
//! | `batch`, `workers` | a run over several groups, by a bounded number of threads |
//! | [`baseline`] | findings that are known already |
//! | [`fragment`] | the Kconfig fragment that makes failing rules pass |
//! | [`render`] | reports, in one table of formats |

pub mod baseline;
mod batch;
pub mod check;
pub mod content;
mod error;
mod evaluate;
pub mod fragment;
pub mod group;
mod note;
pub mod render;
pub mod run;
mod workers;

pub use crate::bootset::{
    Built, CmdlineMode, CmdlinePart, CmdlineWord, EffectiveCmdline, Evidence, Facts, Links, Origin,
    Provenance, Setting, sources,
};
pub use crate::rules::{
    BUILTIN, Condition, Confidence, EvidenceState, Level, Profile, ProfileError,
    RecommendedParameter, Rule, Verdict,
};
pub use batch::check_all;
pub use check::{Options, check, check_files};
pub use error::{CheckError, Problem};
pub use evaluate::{Finding, Outcome, Reason, Report, evaluate, recommended_parameters};
pub use note::Note;
