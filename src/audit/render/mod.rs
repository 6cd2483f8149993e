//! Reports for programs and for the web, each a string from one [`Run`].

mod escape;
mod github;
mod html;
mod json;
mod junit;
mod markdown;
mod sarif;

pub use github::render as github;
pub use html::render as html;
pub use json::{lines as jsonl, render as json};
pub use junit::render as junit;
pub use markdown::render as markdown;
pub use sarif::render as sarif;

use super::run::Run;

/// The reports that are no text for a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One document.
    Json,
    /// One line an input.
    Jsonl,
    /// SARIF 2.1.0.
    Sarif,
    /// JUnit XML.
    Junit,
    /// Workflow commands of GitHub Actions.
    Github,
    /// For a comment on a pull request.
    Markdown,
    /// One self-contained page.
    Html,
}

/// The report of this kind; it ends in a newline.
pub fn render(kind: Kind, run: &Run) -> String {
    match kind {
        Kind::Json => json(run),
        Kind::Jsonl => jsonl(run),
        Kind::Sarif => sarif(run),
        Kind::Junit => junit(run),
        Kind::Github => github(run),
        Kind::Markdown => markdown(run),
        Kind::Html => html(run),
    }
}
