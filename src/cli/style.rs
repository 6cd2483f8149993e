//! The few styles of text output, and how the writer tells them from text that only looks like
//! one. anstream drops them where they do not belong: no terminal, NO_COLOR.

use std::fmt;
use std::ptr;
use std::sync::LazyLock;

use vfioboot::audit::render::Palette;

/// Titles and names.
pub const HEAD: Style = Style::Head;
/// Good results, and additions.
pub const GOOD: Style = Style::Good;
/// Bad results, and removals.
pub const BAD: Style = Style::Bad;
/// What deserves a look.
pub const NOTE: Style = Style::Note;
/// What can be skipped.
pub const DIM: Style = Style::Dim;

/// A style. `{HEAD}` begins it, `{HEAD:#}` ends it.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    Head,
    Good,
    Bad,
    Note,
    Dim,
}

/// The escape sequences of the styles.
struct Codes {
    head: String,
    good: String,
    bad: String,
    note: String,
    dim: String,
    end: String,
}

static CODES: LazyLock<Codes> = LazyLock::new(|| {
    let Palette { head, good, bad, note, dim } = Palette::TERMINAL;
    let code = |style: anstyle::Style| style.render().to_string();
    Codes {
        head: code(head),
        good: code(good),
        bad: code(bad),
        note: code(note),
        dim: code(dim),
        end: anstyle::Reset.render().to_string(),
    }
});

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            _ if f.alternate() => &CODES.end,
            Style::Head => &CODES.head,
            Style::Good => &CODES.good,
            Style::Bad => &CODES.bad,
            Style::Note => &CODES.note,
            Style::Dim => &CODES.dim,
        })
    }
}

/// Whether a piece of formatted text was written by a [`Style`]. It is known by its address: text
/// from outside can hold the same bytes, but not in the same place.
pub fn is_code(piece: &str) -> bool {
    let Codes { head, good, bad, note, dim, end } = &*CODES;
    [head, good, bad, note, dim, end].iter().any(|code| ptr::eq(code.as_str(), piece))
}
