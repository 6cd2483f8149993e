//! The few styles of text output. anstream drops them where they do not belong: no terminal,
//! NO_COLOR.

use anstyle::Style;
use vfioboot::audit::render::Palette;

/// Titles and names.
pub const HEAD: Style = Palette::TERMINAL.head;
/// What is good, or comes in.
pub const GOOD: Style = Palette::TERMINAL.good;
/// What is bad, or goes away.
pub const BAD: Style = Palette::TERMINAL.bad;
/// What deserves a look.
pub const NOTE: Style = Palette::TERMINAL.note;
/// What can be skipped.
pub const DIM: Style = Palette::TERMINAL.dim;
