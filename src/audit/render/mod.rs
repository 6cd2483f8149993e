//! Reports: each is a string made from one [`Run`].
//!
//! A format is a file of this folder that ends in a [`Format`], and a line of [`FORMATS`]. The
//! options of the program, its help, and the tests take it from there.

mod escape;
mod github;
mod html;
mod json;
mod junit;
mod markdown;
mod sarif;
mod style;
mod text;

use super::run::Run;

pub use style::Palette;

/// Every report that there is.
pub const FORMATS: &[Format] = &[
    text::FORMAT,
    json::DOCUMENT,
    json::LINES,
    sarif::FORMAT,
    junit::FORMAT,
    github::FORMAT,
    markdown::FORMAT,
    html::FORMAT,
];

/// A kind of report.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Format {
    /// What options call it: `sarif`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// How the names of its files end, without the dot.
    pub suffix: &'static str,
    /// Who reads it.
    pub audience: Audience,
    render: fn(&Run, Medium) -> String,
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
    /// The format of this name; see [`FORMATS`].
    pub fn named(name: &str) -> Option<&'static Format> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// The report; it ends in a newline.
    pub fn render(&self, run: &Run, medium: Medium) -> String {
        (self.render)(run, medium)
    }
}
