//! The parser, after `xbc_parse_tree` in the kernel's `lib/bootconfig.c`.

use std::collections::HashMap;
use std::ops::Range;

use super::{Error, Limits};
use crate::cmdline::ctype::{is_alnum, is_print, is_space};

/// How a value is assigned to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`: assigns a value; an error if the key has one.
    Set,
    /// `:=`: replaces the values.
    Override,
    /// `+=`: appends to the values.
    Append,
}

/// A key, with or without a value, and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The whole key, including those of the enclosing braces.
    pub key: String,
    /// None for a key without a value.
    pub operator: Option<Operator>,
    /// Its values without quotes; more than one for an array.
    pub values: Vec<String>,
    /// Its range in the text: from its key to its last value, without the delimiter.
    pub span: Range<usize>,
    /// Line number, from 1.
    pub line: usize,
    /// The range of its values, including their quotes; empty if there are none.
    pub(super) values_span: Range<usize>,
    /// The text ends where its last value is expected: appended text would become that value.
    pub(super) open: bool,
}

pub(super) struct Parsed {
    pub statements: Vec<Statement>,
    /// Every key that has a node, in the order in which they got it.
    pub keys: Vec<String>,
    pub nodes: usize,
}

pub(super) fn parse(text: &[u8]) -> Result<Parsed, Error> {
    let mut parser = Parser {
        text,
        at: 0,
        braces: Vec::new(),
        nodes: 0,
        keys: HashMap::new(),
        order: Vec::new(),
        statements: Vec::new(),
        counted: (0, 1),
    };
    parser.run()?;
    Ok(Parsed { statements: parser.statements, keys: parser.order, nodes: parser.nodes })
}

/// Whether the kernel accepts all words of `key`, and can put them together again.
pub(super) fn is_key(key: &str) -> bool {
    let count = key.split('.').count();
    valid_words(key.as_bytes()) && count <= Limits::KEY_WORDS && key.len() <= Limits::KEY_BYTES
}

/// Whether a key consists of words that `xbc_valid_keyword` accepts, separated by dots.
fn valid_words(key: &[u8]) -> bool {
    let valid = |byte: &u8| is_alnum(*byte) || *byte == b'-' || *byte == b'_';
    key.split(|byte| *byte == b'.').all(|word| !word.is_empty() && word.iter().all(valid))
}

/// `text` without the spaces around it, if all of it is one value or a comma-separated list.
pub(super) fn whole_value(text: &str) -> Result<&str, Error> {
    let trimmed = text.trim();
    let refuse = |reason: &str| Error::Value { value: text.to_owned(), reason: reason.to_owned() };
    if trimmed.starts_with('#') {
        return Err(refuse("# begins a comment: quote the value"));
    }
    let parsed = parse(format!("k={trimmed}\n").as_bytes()).map_err(|error| match error {
        Error::Syntax { reason, .. } => refuse(&reason),
        other => other,
    })?;
    let whole = match parsed.statements.as_slice() {
        [one] => one.span == (0.."k=".len() + trimmed.len()),
        _ => false,
    };
    // An empty text is an empty value.
    if whole || trimmed.is_empty() {
        Ok(if trimmed.is_empty() { "\"\"" } else { trimmed })
    } else {
        Err(refuse("it contains ; # } or a line break, which ends a value: quote the value"))
    }
}

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    /// Keys of the open braces, each with the position of the brace.
    braces: Vec<(String, usize)>,
    nodes: usize,
    /// Whole keys that have a node, each with whether it has a value.
    keys: HashMap<String, bool>,
    /// The same keys in order.
    order: Vec<String>,
    statements: Vec<Statement>,
    /// An offset and its line number.
    counted: (usize, usize),
}

struct Value {
    /// The value without quotes.
    text: String,
    /// Its range, including quotes.
    span: Range<usize>,
    /// The delimiter after it; None at the end of the text.
    delimiter: Option<u8>,
}

/// The bytes that end a value.
const ENDS_VALUE: &[u8] = b",;\n#}";

impl Parser<'_> {
    fn run(&mut self) -> Result<(), Error> {
        loop {
            let start = self.at;
            let delimiter = |byte: &u8| b"{}=+;:\n#".contains(byte);
            let Some(length) = self.text[start..].iter().position(delimiter) else {
                let rest = trim(self.text, start..self.text.len());
                if !rest.is_empty() {
                    return Err(
                        self.error(rest.start, "expected =, {, ; or a line break after the key")
                    );
                }
                break;
            };
            let at = start + length;
            let name = trim(self.text, start..at);
            self.at = at + 1;
            match self.text[at] {
                b'=' => self.assignment(name, Operator::Set)?,
                operator @ (b':' | b'+') => {
                    if self.text.get(self.at) != Some(&b'=') {
                        let reason =
                            format!("expected {0}= and not {0} alone", char::from(operator));
                        return Err(self.error(at, &reason));
                    }
                    self.at += 1;
                    let operator =
                        if operator == b':' { Operator::Override } else { Operator::Append };
                    self.assignment(name, operator)?;
                }
                b'{' => {
                    let key = self.key(name.clone())?;
                    self.add_key(&key, name.start)?;
                    // One less than the number of words: `open_brace` is full before it overflows.
                    if self.braces.len() + 1 >= Limits::DEPTH {
                        return Err(self.error(at, "too many braces within each other"));
                    }
                    self.braces.push((key, at));
                }
                b'}' => {
                    self.bare_key(name)?;
                    self.close_brace(at)?;
                }
                b'#' => {
                    self.bare_key(name)?;
                    self.skip_comment();
                }
                _ => self.bare_key(name)?,
            }
        }
        match self.braces.last() {
            Some((key, at)) => Err(self.error(*at, &format!("the brace of {key} is not closed"))),
            None => Ok(()),
        }
    }

    /// Add a key without a value, or nothing.
    fn bare_key(&mut self, name: Range<usize>) -> Result<(), Error> {
        if name.is_empty() {
            return Ok(());
        }
        let key = self.key(name.clone())?;
        self.add_key(&key, name.start)?;
        let line = self.line(name.start);
        self.statements.push(Statement {
            key,
            operator: None,
            values: Vec::new(),
            line,
            values_span: name.end..name.end,
            open: false,
            span: name,
        });
        Ok(())
    }

    fn assignment(&mut self, name: Range<usize>, operator: Operator) -> Result<(), Error> {
        let key = self.key(name.clone())?;
        self.add_key(&key, name.start)?;
        let first = self.value()?;
        let (start, mut last) = (first.span.start, first);
        let mut values = Vec::new();
        while last.delimiter == Some(b',') {
            values.push(last.text);
            last = self.value()?;
        }
        values.push(last.text);
        let end = last.span.end;
        // An override reuses the node of the first existing value.
        let had_value = self.keys.insert(key.clone(), true) == Some(true);
        let reused = usize::from(had_value && operator == Operator::Override);
        self.nodes += values.len() - reused;
        let line = self.line(name.start);
        self.statements.push(Statement {
            key,
            operator: Some(operator),
            values,
            line,
            values_span: start..end,
            open: last.span.is_empty() && last.delimiter.is_none(),
            span: name.start..end,
        });
        if last.delimiter == Some(b'}') {
            self.close_brace(self.at - 1)?;
        }
        Ok(())
    }

    /// Read the next value and the delimiter after it, and skip comments.
    fn value(&mut self) -> Result<Value, Error> {
        self.skip_spaces();
        while self.text.get(self.at) == Some(&b'#') {
            self.skip_comment();
            self.skip_spaces();
        }
        let start = self.at;
        let quote = self.text.get(start).copied().filter(|byte| matches!(byte, b'"' | b'\''));
        let body = start + usize::from(quote.is_some());
        let ends = |byte: &u8| match quote {
            Some(quote) => *byte == quote,
            None => ENDS_VALUE.contains(byte),
        };
        let end = self.text[body..].iter().position(ends).map(|length| body + length);
        let strange = |byte: &u8| !is_print(*byte) && !is_space(*byte);
        let stop = end.unwrap_or(self.text.len());
        if let Some(at) = self.text[body..stop].iter().position(strange) {
            return Err(self.error(body + at, "a value has a byte that cannot be printed"));
        }
        let (value, mut at) = match (quote, end) {
            (Some(quote), None) => {
                let reason = format!("the quote {} is not closed", char::from(quote));
                return Err(self.error(start, &reason));
            }
            (Some(_), Some(end)) => (body..end, end + 1),
            (None, Some(end)) => (trim(self.text, body..end), end),
            // At the end of the text the kernel keeps the spaces of a value.
            (None, None) => (body..stop, stop),
        };
        let span = if quote.is_some() { start..at } else { value.clone() };
        if quote.is_some() {
            at += self.text[at..].iter().take_while(|b| is_space(**b) && **b != b'\n').count();
            if self.text.get(at).is_some_and(|byte| !ENDS_VALUE.contains(byte)) {
                return Err(
                    self.error(at, "expected , ; # } or a line break after the closing quote")
                );
            }
        }
        let delimiter = self.text.get(at).copied();
        self.at = (at + 1).min(self.text.len());
        if delimiter == Some(b'#') {
            self.skip_comment();
        }
        let text = String::from_utf8_lossy(&self.text[value]).into_owned();
        Ok(Value { text, span, delimiter })
    }

    fn close_brace(&mut self, at: usize) -> Result<(), Error> {
        match self.braces.pop() {
            Some(_) => Ok(()),
            None => Err(self.error(at, "a closing brace without an opening one")),
        }
    }

    /// The whole key of the name at `name`.
    fn key(&self, name: Range<usize>) -> Result<String, Error> {
        let bytes = &self.text[name.clone()];
        if bytes.is_empty() {
            return Err(self.error(name.start, "expected a key"));
        }
        if !valid_words(bytes) {
            let reason = format!(
                "\"{}\" is not a key: expected words of letters, digits, - and _, separated by dots",
                String::from_utf8_lossy(bytes).escape_debug()
            );
            return Err(self.error(name.start, &reason));
        }
        // The kernel's isalnum() accepts the letters of Latin-1.
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        Ok(match self.braces.last() {
            Some((parent, _)) => format!("{parent}.{text}"),
            None => text,
        })
    }

    /// Add a node for each word of the key that has none.
    fn add_key(&mut self, key: &str, at: usize) -> Result<(), Error> {
        let words = key.split('.').count();
        // Each character is one byte of the text.
        let bytes = key.chars().count();
        let sizes = [("words", words, Limits::DEPTH), ("bytes", bytes, Limits::KEY_BYTES)];
        if let Some((what, found, limit)) = sizes.into_iter().find(|(_, own, limit)| own > limit) {
            let line = 1 + breaks(&self.text[..at]);
            return Err(Error::LongKey { key: key.to_owned(), line, what, found, limit });
        }
        let ends = key.match_indices('.').map(|(dot, _)| dot).chain([key.len()]);
        for end in ends {
            if !self.keys.contains_key(&key[..end]) {
                self.keys.insert(key[..end].to_owned(), false);
                self.order.push(key[..end].to_owned());
                self.nodes += 1;
            }
        }
        Ok(())
    }

    fn skip_spaces(&mut self) {
        self.at += self.text[self.at..].iter().take_while(|byte| is_space(**byte)).count();
    }

    /// Skip the comment including its line break.
    fn skip_comment(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
    }

    /// The number of the line that `at` is in, which is not before that of the last statement.
    fn line(&mut self, at: usize) -> usize {
        let (before, line) = self.counted;
        self.counted = (at, line + breaks(&self.text[before..at]));
        self.counted.1
    }

    fn error(&self, offset: usize, reason: &str) -> Error {
        let line = 1 + breaks(&self.text[..offset]);
        Error::Syntax { line, offset, reason: reason.to_owned() }
    }
}

fn breaks(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// `range` without the spaces at both ends; if it is empty, its position is where the text would
/// begin.
fn trim(text: &[u8], range: Range<usize>) -> Range<usize> {
    let inside = &text[range.clone()];
    let start = inside.iter().take_while(|byte| is_space(**byte)).count();
    let end = inside.iter().rev().take_while(|byte| is_space(**byte)).count();
    range.start + start..(range.end - end).max(range.start + start)
}
