//! Splits lines into words, as the tokenizer of AOSP's init does (`next_token` in
//! `system/core/init/tokenizer.cpp`; `init_parser.c` before Android 7 does the same).
//!
//! - Words are separated by spaces, tabs and carriage returns.
//! - `#` at the start of a word begins a comment, which ends with its line; a final `\` does not
//!   continue it.
//! - `"` keeps everything up to the next `"`, line ends included; there is no escape inside.
//! - `\` outside of quotes: `\n`, `\r`, `\t` and `\\` are as in C; at the end of a line it joins
//!   the next line; before any other byte it is dropped.
//! - A NUL byte ends the file, too. A line is lost when it ends at a NUL byte, inside an open quote
//!   or with a backslash as the last byte of the file. A last line without a line end is not lost.

use std::ops::Range;

/// One logical line that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Number of its first line, from 1.
    pub line: usize,
    /// Its bytes, from the start of that line up to and including its line end.
    pub range: Range<usize>,
    /// Whether it has a line end; the last line of a text may have none.
    pub closed: bool,
    /// Its words, quotes and escapes resolved; never empty. Bytes that are not UTF-8 are
    /// replaced.
    pub words: Vec<String>,
}

/// How the text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its last byte.
    Whole,
    /// At a NUL byte; init reads nothing after it.
    Nul {
        /// Line of the byte.
        line: usize,
        /// Its offset in bytes.
        offset: usize,
    },
    /// In quotes; init drops the line and everything after it.
    OpenQuote {
        /// Line of the opening quote.
        line: usize,
    },
    /// With a backslash. Init appends a line end to the text, which the backslash consumes: the
    /// line is dropped.
    Backslash {
        /// Line of the backslash.
        line: usize,
    },
}

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its lines in order.
    pub statements: Vec<Statement>,
    /// How it ends.
    pub end: End,
}

impl Script {
    /// Parse `text`. Any bytes are a script.
    pub fn read(text: &[u8]) -> Self {
        let mut lexer = Lexer { text, at: 0, line: 1 };
        let mut script = Script { statements: Vec::new(), end: End::Whole };
        while let Some(end) = lexer.statement(&mut script.statements) {
            script.end = end;
            if end != End::Whole || lexer.at >= text.len() {
                break;
            }
        }
        script
    }
}

struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    line: usize,
}

/// What ended a word.
enum Stop {
    Space,
    Line,
    Text(End),
}

impl Lexer<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// How the text ends, when the lexer is at its end.
    fn end(&self) -> Option<End> {
        match self.peek() {
            None => Some(End::Whole),
            Some(0) => Some(End::Nul { line: self.line, offset: self.at }),
            Some(_) => None,
        }
    }

    /// Read one logical line. `Some(Whole)` also when more text follows.
    fn statement(&mut self, statements: &mut Vec<Statement>) -> Option<End> {
        let (start, line) = (self.at, self.line);
        let mut words = Vec::new();
        let (end, closed) = loop {
            if let Some(end) = self.end() {
                break (end, false);
            }
            match self.peek()? {
                b'\n' => {
                    self.newline();
                    break (End::Whole, true);
                }
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'#' => {
                    while self.end().is_none() && self.peek() != Some(b'\n') {
                        self.at += 1;
                    }
                }
                _ => match self.word(&mut words) {
                    Stop::Space => {}
                    Stop::Line => break (End::Whole, true),
                    Stop::Text(end) => break (end, false),
                },
            }
        };
        if !words.is_empty() && end == End::Whole {
            statements.push(Statement { line, range: start..self.at, closed, words });
        }
        Some(end)
    }

    fn newline(&mut self) {
        self.at += 1;
        self.line += 1;
    }

    fn word(&mut self, words: &mut Vec<String>) -> Stop {
        let mut word = Vec::new();
        let stop = loop {
            if let Some(end) = self.end() {
                break Stop::Text(end);
            }
            let Some(byte) = self.peek() else { break Stop::Line };
            match byte {
                b' ' | b'\t' | b'\r' => {
                    self.at += 1;
                    break Stop::Space;
                }
                b'\n' => {
                    self.newline();
                    break Stop::Line;
                }
                b'"' => {
                    if let Some(end) = self.quoted(&mut word) {
                        return Stop::Text(end);
                    }
                }
                b'\\' => {
                    if let Some(end) = self.escaped(&mut word) {
                        return Stop::Text(end);
                    }
                }
                _ => {
                    word.push(byte);
                    self.at += 1;
                }
            }
        };
        words.push(String::from_utf8_lossy(&word).into_owned());
        stop
    }

    /// Read a quoted part, up to and including the closing quote.
    fn quoted(&mut self, word: &mut Vec<u8>) -> Option<End> {
        let line = self.line;
        self.at += 1;
        loop {
            match self.end() {
                Some(End::Whole) => return Some(End::OpenQuote { line }),
                Some(end) => return Some(end),
                None => {}
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return None;
                }
                Some(byte) => {
                    word.push(byte);
                    self.line += usize::from(byte == b'\n');
                    self.at += 1;
                }
                None => return Some(End::OpenQuote { line }),
            }
        }
    }

    /// Read a backslash and the byte that it escapes.
    fn escaped(&mut self, word: &mut Vec<u8>) -> Option<End> {
        let line = self.line;
        self.at += 1;
        if self.text[self.at..].starts_with(b"\r\n") {
            self.at += 1;
        }
        match self.peek() {
            None => return Some(End::Backslash { line }),
            Some(0) => return None,
            Some(b'n') => word.push(b'\n'),
            Some(b'r') => word.push(b'\r'),
            Some(b't') => word.push(b'\t'),
            // A carriage return without a line feed after it.
            Some(b'\r') => {}
            Some(b'\n') => {
                self.newline();
                while matches!(self.peek(), Some(b' ' | b'\t')) {
                    self.at += 1;
                }
                return None;
            }
            Some(byte) => word.push(byte),
        }
        self.at += 1;
        None
    }
}
