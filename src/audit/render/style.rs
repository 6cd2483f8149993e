//! The styles of text reports.

use anstyle::{AnsiColor, Style};

/// A style for each purpose.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    /// Titles and names.
    pub head: Style,
    /// Good results, and additions.
    pub good: Style,
    /// Bad results, and removals.
    pub bad: Style,
    /// Notes and warnings.
    pub note: Style,
    /// Less important text.
    pub dim: Style,
}

impl Palette {
    /// Escape sequences for terminals.
    pub const TERMINAL: Palette = Palette {
        head: Style::new().bold(),
        good: AnsiColor::Green.on_default(),
        bad: AnsiColor::Red.on_default(),
        note: AnsiColor::Yellow.on_default(),
        dim: Style::new().dimmed(),
    };

    /// No escape sequences.
    pub(crate) const PLAIN: Palette = Palette {
        head: Style::new(),
        good: Style::new(),
        bad: Style::new(),
        note: Style::new(),
        dim: Style::new(),
    };
}
