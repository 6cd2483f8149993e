//! One prerequisite, its state and its remedy.

/// The state of a prerequisite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Present.
    Ok,
    /// Passthrough works without it, or it could not be examined.
    Warning,
    /// Passthrough does not work.
    Problem,
}

impl Status {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Problem => "problem",
        }
    }
}

/// One prerequisite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable: `kvm`, `iommu-groups`.
    pub id: &'static str,
    /// What it is about, for people.
    pub title: &'static str,
    /// Its state.
    pub status: Status,
    /// What was found, and what that means.
    pub found: String,
    /// What to do; `None` when nothing is needed.
    pub fix: Option<String>,
}

impl Check {
    pub(super) fn ok(id: &'static str, title: &'static str, found: impl Into<String>) -> Self {
        Check { id, title, status: Status::Ok, found: found.into(), fix: None }
    }

    pub(super) fn warning(id: &'static str, title: &'static str, found: impl Into<String>) -> Self {
        Check { status: Status::Warning, ..Check::ok(id, title, found) }
    }

    pub(super) fn problem(id: &'static str, title: &'static str, found: impl Into<String>) -> Self {
        Check { status: Status::Problem, ..Check::ok(id, title, found) }
    }

    pub(super) fn fix(self, fix: impl Into<String>) -> Self {
        Check { fix: Some(fix.into()), ..self }
    }
}

/// The worst status of all checks.
pub fn verdict(checks: &[Check]) -> Status {
    checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok)
}

/// The architecture this program was built for, as `uname -m` names it.
pub(super) const ARCH: &str = std::env::consts::ARCH;
