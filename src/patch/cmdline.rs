//! A kernel command line as words, edited without touching the words that stay.
//!
//! Grammar as `next_arg` in the kernel's `lib/cmdline.c`: words end at whitespace outside of
//! double quotes; a bare `--` ends the kernel's own parameters. Bytes, because nothing promises
//! UTF-8.

use std::ops::Range;

/// `COMMAND_LINE_SIZE` of arm64 and x86, NUL included (`arch/*/include/uapi/asm/setup.h`).
pub const COMMAND_LINE_SIZE: usize = 2048;

/// A command line. What is not edited keeps its bytes, doubled spaces included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmdline(Vec<u8>);

impl Cmdline {
    /// Take over a line.
    pub fn new(line: Vec<u8>) -> Self {
        Cmdline(line)
    }

    /// The line's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The line for people.
    pub fn display(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }

    /// All words, those behind `--` included.
    pub fn words(&self) -> Vec<&[u8]> {
        self.spans().into_iter().map(|span| &self.0[span]).collect()
    }

    /// The value of the last `key=value` before `--`; the kernel lets the last one win for
    /// most parameters. Dashes and underscores in the key are the same, as for the kernel.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        let span = self.last(key)?;
        let word = &self.0[span];
        let start = word.iter().position(|byte| *byte == b'=')? + 1;
        Some(unquote(&word[start..]))
    }

    /// Whether the word stands before `--`, exactly.
    pub fn has_word(&self, word: &str) -> bool {
        self.has_bytes(word.as_bytes())
    }

    fn has_bytes(&self, word: &[u8]) -> bool {
        self.parameters().into_iter().any(|span| &self.0[span] == word)
    }

    /// Set `key=value`: the last such word is replaced in place, or one is added. A value with
    /// spaces gets quotes, unless it has some.
    pub fn set(&mut self, key: &str, value: &str) {
        let bare = value.bytes().any(is_space) && !value.contains('"');
        let quote = if bare { "\"" } else { "" };
        let word = format!("{key}={quote}{value}{quote}");
        match self.last(key) {
            Some(span) => drop(self.0.splice(span, word.into_bytes())),
            None => self.insert_at_end(word.as_bytes()),
        }
    }

    /// Add a word behind all kernel parameters, unless it stands there already. Several words
    /// are added one by one.
    pub fn add(&mut self, words: &str) {
        // Bytes, not characters: the kernel's spaces include 0xa0, which is half of an "à".
        let words = words.as_bytes();
        for span in spans(words) {
            let word = &words[span];
            if !self.has_bytes(word) {
                self.insert_at_end(word);
            }
        }
    }

    /// Put a word in front of all others.
    pub fn prepend(&mut self, word: &str) {
        let separator = if self.0.is_empty() { "" } else { " " };
        self.0.splice(0..0, format!("{word}{separator}").into_bytes());
    }

    /// Take out every parameter that is `key` or starts with `key=`, with one neighbouring
    /// space. Tells how many there were.
    pub fn remove(&mut self, key: &str) -> usize {
        let spans: Vec<_> = self
            .parameters()
            .into_iter()
            .filter(|span| is_key(&self.0[span.clone()], key))
            .collect();
        for span in spans.iter().rev() {
            let end = if self.0.get(span.end) == Some(&b' ') { span.end + 1 } else { span.end };
            let start =
                match end == span.end && self.0.get(span.start.wrapping_sub(1)) == Some(&b' ') {
                    true => span.start - 1,
                    false => span.start,
                };
            self.0.drain(start..end);
        }
        spans.len()
    }

    fn insert_at_end(&mut self, word: &[u8]) {
        let spans = self.spans();
        let separator = spans.iter().find(|span| &self.0[(*span).clone()] == b"--");
        // A quote that nobody closes: the last word would swallow what stands behind it.
        let open = spans.last().filter(|span| !closes_quotes(&self.0[(*span).clone()]));
        if let Some(next) = separator.or(open) {
            self.0.splice(next.start..next.start, [word, b" "].concat());
            return;
        }
        if self.0.last().is_some_and(|byte| !is_space(*byte)) {
            self.0.push(b' ');
        }
        self.0.extend_from_slice(word);
    }

    fn last(&self, key: &str) -> Option<Range<usize>> {
        self.parameters().into_iter().rfind(|span| {
            let word = &self.0[span.clone()];
            word.contains(&b'=') && is_key(word, key)
        })
    }

    /// The words before `--`.
    fn parameters(&self) -> Vec<Range<usize>> {
        let mut spans = self.spans();
        if let Some(end) = spans.iter().position(|span| &self.0[span.clone()] == b"--") {
            spans.truncate(end);
        }
        spans
    }

    fn spans(&self) -> Vec<Range<usize>> {
        spans(&self.0)
    }
}

/// Where the words of a line stand.
fn spans(line: &[u8]) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let (mut start, mut quoted) = (None, false);
    for (i, byte) in line.iter().enumerate() {
        let space = is_space(*byte) && !quoted;
        match (space, start) {
            (false, None) => start = Some(i),
            (true, Some(from)) => {
                spans.push(from..i);
                start = None;
            }
            _ => {}
        }
        quoted ^= *byte == b'"';
    }
    spans.extend(start.map(|from| from..line.len()));
    spans
}

/// `isspace` of the kernel's `lib/ctype.c`, which knows Latin-1's no-break space.
fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

/// Whether every quote in `text` has its partner.
fn closes_quotes(text: &[u8]) -> bool {
    text.iter().filter(|byte| **byte == b'"').count().is_multiple_of(2)
}

fn is_key(word: &[u8], key: &str) -> bool {
    let name = word.split(|byte| *byte == b'=').next().unwrap_or_default();
    let same = |(a, b): (&u8, u8)| dash(*a) == dash(b);
    let name = name.strip_prefix(b"\"").unwrap_or(name);
    name.len() == key.len() && name.iter().zip(key.bytes()).all(same)
}

/// `parameq` of the kernel's `kernel/params.c` takes `-` and `_` for the same.
fn dash(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

fn unquote(value: &[u8]) -> &[u8] {
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    value.strip_suffix(b"\"").unwrap_or(value)
}
