//! What the checker reports.

use std::fmt;

use crate::rc::language::Level;

/// A fault in an rc file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Line number, from 1.
    pub line: usize,
    /// Severity.
    pub level: Level,
    /// What is wrong.
    pub what: String,
    /// Why it is wrong, or the consequence.
    pub why: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        let Finding { line, what, why, fix, .. } = self;
        write!(f, "{line}: {level}: {what}: {why}; {fix}")
    }
}
