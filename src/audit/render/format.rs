//! The definition of a report format.

use crate::audit::run::Run;

/// A report format.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Format {
    /// The name in options: `sarif`.
    pub name: &'static str,
    /// A short description.
    pub about: &'static str,
    /// The intended reader.
    pub audience: Audience,
    pub(super) render: fn(&Run, Medium) -> String,
}

/// The intended reader of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Humans: on a terminal it may have colours.
    People,
    /// Programs: the output follows the format exactly.
    Programs,
}

/// The destination of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A terminal: reports for humans have escape sequences for colours, and omit the inputs that
    /// could not be checked, which the caller reports separately.
    Terminal,
    /// A file: without escape sequences, and complete.
    File,
}

impl Format {
    /// Render the report, which ends with a newline.
    pub fn render(&self, run: &Run, medium: Medium) -> String {
        (self.render)(run, medium)
    }
}
