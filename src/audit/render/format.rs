//! What a format of reports is.

use crate::audit::run::Run;

/// A kind of report.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Format {
    /// What options call it: `sarif`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Who reads it.
    pub audience: Audience,
    pub(super) render: fn(&Run, Medium) -> String,
}

/// Who reads a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// People: on a terminal it may have colours.
    People,
    /// Programs: every byte is as their format has it.
    Programs,
}

/// Where a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A terminal: reports for people have escape sequences for their colours, and leave out the
    /// inputs that could not be checked, which the caller reports separately.
    Terminal,
    /// A file: without escape sequences, and complete.
    File,
}

impl Format {
    /// The report; it ends in a newline.
    pub fn render(&self, run: &Run, medium: Medium) -> String {
        (self.render)(run, medium)
    }
}
