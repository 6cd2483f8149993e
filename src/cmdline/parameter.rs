//! One parameter of the line, and a line cut into them.

use std::fmt;
use std::ops::Range;

use super::ctype::is_space;

/// Parameters of which the kernel takes these values and no others (`early_kvm_mode_cfg` in
/// `arch/arm64/kvm/arm.c`).
const ONLY_THESE: &[(&str, &[&[u8]])] =
    &[("kvm-arm.mode", &[b"none", b"nvhe", b"protected", b"nested"])];

/// What `next_arg` of the kernel's `lib/cmdline.c` makes of one piece of the line: `name` or
/// `name=value`.
#[derive(Clone, Copy, Debug)]
pub struct Parameter<'l> {
    /// As it is written, quotes included.
    pub raw: &'l [u8],
    /// Its name. A quote that begins the whole parameter does not belong to it.
    pub name: &'l [u8],
    /// What follows the first `=`, without the quotes around it; None without a `=`. Quotes inside
    /// a value belong to it.
    pub value: Option<&'l [u8]>,
    /// Offset of `raw` in the line.
    start: usize,
}

impl<'l> Parameter<'l> {
    /// The first parameter of `text`; None when there are only spaces.
    pub fn first_of(text: &'l [u8]) -> Option<Self> {
        Parameters::new(text).next()
    }

    /// Whether this is its name, for the kernel.
    pub(crate) fn is(&self, name: &str) -> bool {
        same_name(self.name, name.as_bytes())
    }

    /// Whether the kernel cannot tell the two apart: the same name and the same value.
    pub(crate) fn same_as(&self, other: &Parameter<'_>) -> bool {
        same_name(self.name, other.name) && self.value == other.value
    }

    /// The truth value of a boolean parameter, as `kstrtobool` of `lib/kstrtox.c` reads it: a
    /// parameter without a value is true. None for anything else.
    pub fn truth(&self) -> Option<bool> {
        match self.value {
            None | Some([b'y' | b'Y' | b't' | b'T' | b'1', ..]) => Some(true),
            Some([b'n' | b'N' | b'f' | b'F' | b'0', ..]) => Some(false),
            Some([b'o' | b'O', b'n' | b'N', ..]) => Some(true),
            Some([b'o' | b'O', b'f' | b'F', ..]) => Some(false),
            Some(_) => None,
        }
    }

    /// Whether the kernel takes the value. One that it does not know leaves what an earlier
    /// parameter of the name has set.
    pub(crate) fn takes_effect(&self) -> bool {
        let known = ONLY_THESE.iter().find(|(name, _)| self.is(name));
        known.is_none_or(|(_, values)| self.value.is_some_and(|value| values.contains(&value)))
    }

    /// Where it is in the line.
    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    /// Whether it is `--`, which ends the kernel's own parameters (`parse_args` of
    /// `kernel/params.c`).
    pub(crate) fn ends_parameters(&self) -> bool {
        self.name == b"--" && self.value.is_none()
    }
}

/// Without the outer quotes. What is not UTF-8 is replaced.
impl fmt::Display for Parameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.name))?;
        match self.value {
            Some(value) => write!(f, "={}", String::from_utf8_lossy(value)),
            None => Ok(()),
        }
    }
}

/// Whether the kernel takes two names for the same: `parameq` of `kernel/params.c`, for which `-`
/// is `_`.
pub fn same_name(a: &[u8], b: &[u8]) -> bool {
    let dash = |byte: &u8| if *byte == b'-' { b'_' } else { *byte };
    a.len() == b.len() && a.iter().map(dash).eq(b.iter().map(dash))
}

/// Whether every quote in `text` has its partner. One that has none takes in whatever follows it
/// on the line.
pub fn closes_quotes(text: &[u8]) -> bool {
    text.iter().filter(|byte| **byte == b'"').count() % 2 == 0
}

/// The parameters of a line in order, `--` and what follows it included.
#[derive(Clone, Debug)]
pub(super) struct Parameters<'l> {
    line: &'l [u8],
    at: usize,
}

impl<'l> Parameters<'l> {
    pub(crate) fn new(line: &'l [u8]) -> Self {
        Parameters { line, at: 0 }
    }
}

impl<'l> Iterator for Parameters<'l> {
    type Item = Parameter<'l>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.line;
        let start = self.at + line[self.at..].iter().position(|byte| !is_space(*byte))?;
        let mut in_quote = false;
        let ends = |byte: &u8| {
            let end = is_space(*byte) && !in_quote;
            in_quote ^= *byte == b'"';
            end
        };
        let end = line[start..].iter().position(ends).map_or(line.len(), |length| start + length);
        self.at = end;
        let (name, value) = split(&line[start..end]);
        Some(Parameter { raw: &line[start..end], name, value, start })
    }
}

/// Name and value. The kernel strips a quote at the very beginning, one that begins the value, and
/// for either of the two one at the end. A `=` in the first place belongs to the name.
fn split(raw: &[u8]) -> (&[u8], Option<&[u8]>) {
    let (quoted, text) = match raw {
        [b'"', rest @ ..] => (true, rest),
        _ => (false, raw),
    };
    let without_quote = |text| <[u8]>::strip_suffix(text, b"\"").unwrap_or(text);
    let equals = text.iter().skip(1).position(|byte| *byte == b'=').map(|at| at + 1);
    let Some(equals) = equals else {
        return (if quoted { without_quote(text) } else { text }, None);
    };
    let value = match &text[equals + 1..] {
        [b'"', rest @ ..] => without_quote(rest),
        value if quoted => without_quote(value),
        value => value,
    };
    (&text[..equals], Some(value))
}
