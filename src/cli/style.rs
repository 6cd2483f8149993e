//! The few styles of text output. anstream drops them where they do not belong: no terminal,
//! NO_COLOR.

use anstyle::{AnsiColor, Style};

/// Titles and names.
pub const HEAD: Style = Style::new().bold();
/// What is good, or comes in.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// What is bad, or goes away.
pub const BAD: Style = AnsiColor::Red.on_default();
/// What deserves a look.
pub const NOTE: Style = AnsiColor::Yellow.on_default();
/// What can be skipped.
pub const DIM: Style = Style::new().dimmed();
