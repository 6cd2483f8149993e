//! The kernel of the set, as the plan shows it.

use serde::Serialize;

use crate::audit::Outcome;
use crate::kernel::Arch;

/// The kernel as far as the images show it, and the result of the passthrough audit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KernelReport {
    /// Its release, `6.1.192-android14`; without the local part if only the config has it.
    pub version: Option<String>,
    /// The architecture.
    pub arch: Option<Arch>,
    /// The outcome of the passthrough audit; None without a readable kernel.
    pub audit: Option<Outcome>,
    /// The required rules that failed.
    pub failed: Vec<FailedRule>,
}

/// A required rule of the audit that the kernel does not satisfy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedRule {
    /// Its stable id.
    pub id: String,
    /// What is required.
    pub title: String,
    /// Why it failed.
    pub reason: String,
    /// What to do.
    pub fix: String,
}
