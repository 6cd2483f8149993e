//! Reports: each is a string rendered from a [`Run`](super::run::Run), or from one input after the other.
//!
//! A format is a file in this folder that defines a [`Format`], and a line in [`FORMATS`], which the
//! options of the program, its help and the tests use.

mod data;
mod escape;
mod format;
mod github;
mod gitlab;
mod html;
mod json;
mod junit;
mod markdown;
mod rules;
mod sarif;
mod style;
mod tap;
mod text;

pub(crate) use escape::hex;
pub use format::{Audience, Format, Medium, Stream};
#[cfg(feature = "boot-test")]
pub(crate) use html::STYLE as PAGE_STYLE;
pub(crate) use rules::JSON_FORMAT;
pub use rules::{rules_json, rules_text};
pub use style::Palette;

/// All report formats.
pub const FORMATS: &[Format] = &[
    text::FORMAT,
    json::DOCUMENT,
    json::LINES,
    sarif::FORMAT,
    junit::FORMAT,
    tap::FORMAT,
    github::FORMAT,
    gitlab::FORMAT,
    markdown::FORMAT,
    html::FORMAT,
];

impl Format {
    /// The format of this name; see [`FORMATS`].
    pub fn named(name: &str) -> Option<&'static Format> {
        FORMATS.iter().find(|format| format.name == name)
    }

    /// Whether it names the inputs by their content.
    pub fn has_contents(&self) -> bool {
        [json::DOCUMENT.name, json::LINES.name].contains(&self.name)
    }
}
