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
#[non_exhaustive]
pub struct Check {
    /// Stable: `kvm`, `iommu-groups`.
    pub id: &'static str,
    /// The rule that it is about, of a check of the kernel's config: `VB-KVM-001`.
    pub rule: Option<&'static str>,
    /// What it is about, for people.
    pub title: &'static str,
    /// Its state.
    pub status: Status,
    /// What was found, and what that means.
    pub found: String,
    /// What to do; `None` when nothing is needed.
    pub fix: Option<String>,
    /// The check that this one only follows from: its [`key`](Check::key). Once that is mended,
    /// this one is likely to be gone.
    pub follows_from: Option<&'static str>,
}

impl Check {
    /// What names it among all checks: the rule, or the id.
    pub fn key(&self) -> &'static str {
        self.rule.unwrap_or(self.id)
    }

    pub(super) fn ok(id: &'static str, title: &'static str, found: impl Into<String>) -> Self {
        Check {
            id,
            rule: None,
            title,
            status: Status::Ok,
            found: found.into(),
            fix: None,
            follows_from: None,
        }
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

    /// If that check has a problem, this one is a part of it.
    pub(super) fn follows(self, key: &'static str) -> Self {
        Check { follows_from: Some(key), ..self }
    }
}

/// The worst status of all checks.
pub fn verdict(checks: &[Check]) -> Status {
    checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok)
}
