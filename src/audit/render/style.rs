//! The few styles of text for people.

use anstyle::{AnsiColor, Style};

/// A style for each purpose.
#[derive(Clone, Copy, Debug)]
pub struct Palette {
    /// Titles and names.
    pub head: Style,
    /// What is good, or comes in.
    pub good: Style,
    /// What is bad, or goes away.
    pub bad: Style,
    /// What deserves a look.
    pub note: Style,
    /// What can be skipped.
    pub dim: Style,
}

impl Palette {
    /// Escape sequences that terminals understand.
    pub const TERMINAL: Palette = Palette {
        head: Style::new().bold(),
        good: AnsiColor::Green.on_default(),
        bad: AnsiColor::Red.on_default(),
        note: AnsiColor::Yellow.on_default(),
        dim: Style::new().dimmed(),
    };

    /// No escape sequences.
    pub const PLAIN: Palette = Palette {
        head: Style::new(),
        good: Style::new(),
        bad: Style::new(),
        note: Style::new(),
        dim: Style::new(),
    };
}
