//! Reports: each is a string rendered from a [`Run`](super::run::Run).
//!
//! A format is a file in this folder that defines a [`Format`], and a line in [`FORMATS`], which the
//! options of the program, its help and the tests use.

mod escape;
mod format;
mod github;
mod html;
mod json;
mod junit;
mod markdown;
mod sarif;
mod style;
mod text;

#[cfg(feature = "boot-test")]
pub(crate) use escape::xml;
pub use format::{Audience, Format, Medium};
#[cfg(feature = "boot-test")]
pub(crate) use html::STYLE as PAGE_STYLE;
pub use style::Palette;

/// All report formats.
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

impl Format {
    /// The format of this name; see [`FORMATS`].
    pub fn named(name: &str) -> Option<&'static Format> {
        FORMATS.iter().find(|format| format.name == name)
    }
}
