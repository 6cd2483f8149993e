//! The bootconfig of vendor_boot v4: keys and values in the kernel's grammar. An edit keeps all
//! other bytes.
//!
//! Grammar and limits are those of the kernel's `lib/bootconfig.c` and `include/linux/bootconfig.h`;
//! `Documentation/admin-guide/bootconfig.rst` explains them. The bootloader appends its own keys and
//! the trailer (size, checksum, `#BOOTCONFIG\n`); the section itself has neither.
//!
//! The kernel accepts the bootconfig as a whole or not at all: assigning a second value to a key
//! with `=` voids everything, including the keys that the bootloader appends.

mod error;
mod limits;
mod parse;

use std::collections::HashMap;
use std::ops::Range;

pub use error::Error;
pub use limits::Limits;
pub use parse::{Operator, Statement};

/// What ends a bootconfig in memory, after its size and its checksum.
pub(crate) const MAGIC: &[u8] = b"#BOOTCONFIG\n";

/// A bootconfig text that follows the grammar. [`Bootconfig::validate`] checks whether the kernel
/// accepts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootconfig {
    text: Vec<u8>,
    statements: Vec<Statement>,
    keys: Vec<String>,
    nodes: usize,
}

/// A key and its values after the kernel has read the whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The whole key, such as `androidboot.hardware`.
    pub key: String,
    /// Its values, several for an array; none for a key without a value.
    pub values: Vec<String>,
}

impl Bootconfig {
    /// Parse a text. As in the kernel, a NUL byte ends it; zeros after it are padding.
    ///
    /// # Errors
    /// [`Error::Syntax`]; [`Error::TooLarge`] for more than [`Limits::READ`].
    pub fn parse(section: &[u8]) -> Result<Self, Error> {
        let end = section.iter().position(|byte| *byte == 0).unwrap_or(section.len());
        if end > Limits::READ {
            return Err(Error::TooLarge { what: "bytes", found: end, limit: Limits::READ });
        }
        let text = section[..end].to_vec();
        let parse::Parsed { statements, keys, nodes } = parse::parse(&text)?;
        Ok(Bootconfig { text, statements, keys, nodes })
    }

    /// The text, without padding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The statements in the order of the text.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// The number of nodes that the kernel needs for it.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Check whether the kernel accepts the text.
    ///
    /// # Errors
    /// [`Error::Redefined`], [`Error::TooLarge`].
    pub fn validate(&self, limits: Limits) -> Result<(), Error> {
        let mut valued: HashMap<&str, usize> = HashMap::new();
        for statement in self.statements.iter().filter(|statement| statement.operator.is_some()) {
            let line = statement.line;
            match valued.get(statement.key.as_str()) {
                Some(first) if statement.operator == Some(Operator::Set) => {
                    return Err(Error::Redefined {
                        key: statement.key.clone(),
                        line,
                        first: *first,
                    });
                }
                Some(_) => {}
                None => drop(valued.insert(&statement.key, line)),
            }
        }
        let counts =
            [("bytes", self.text.len(), limits.bytes), ("nodes", self.nodes, limits.nodes)];
        match counts.into_iter().find(|(_, found, limit)| found > limit) {
            Some((what, found, limit)) => Err(Error::TooLarge { what, found, limit }),
            None => Ok(()),
        }
    }

    /// The keys with their values as the kernel lists them: those below one key together, in the order
    /// in which they come first. A key without a value is listed if there is none below it.
    pub fn entries(&self) -> Vec<Entry> {
        let mut values = self.values();
        let mut below: HashMap<&str, Vec<&str>> = HashMap::new();
        for key in &self.keys {
            let parent = key.rsplit_once('.').map_or("", |(parent, _)| parent);
            below.entry(parent).or_default().push(key);
        }
        let mut entries = Vec::new();
        let mut todo = vec![""];
        while let Some(key) = todo.pop() {
            let children = below.remove(key).unwrap_or_default();
            let own = values.remove(key);
            if own.is_some() || children.is_empty() && !key.is_empty() {
                entries.push(Entry { key: key.to_owned(), values: own.unwrap_or_default() });
            }
            todo.extend(children.into_iter().rev());
        }
        entries
    }

    /// The values of the keys that have any.
    fn values(&self) -> HashMap<&str, Vec<String>> {
        let mut all: HashMap<&str, Vec<String>> = HashMap::new();
        for Statement { key, operator, values, .. } in &self.statements {
            match operator {
                None => {}
                Some(Operator::Append) => {
                    all.entry(key).or_default().extend_from_slice(values);
                }
                Some(Operator::Set | Operator::Override) => {
                    all.insert(key, values.clone());
                }
            }
        }
        all
    }

    /// Set `key` to `value`, which is bootconfig text. The value in the first statement for the key
    /// is replaced and later statements for it are removed; a new key is appended as a new line.
    /// Comments and all other bytes are kept.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Value`].
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        if !parse::is_key(key) {
            return Err(Error::Key(key.to_owned()));
        }
        let value = parse::whole_value(value)?;
        let matching = |statement: &&Statement| statement.key == key;
        let Some(first) = self.statements.iter().find(matching).cloned() else {
            if self.text.last().is_some_and(|byte| *byte != b'\n') {
                self.text.push(b'\n');
            }
            if self.statements.last().is_some_and(|last| last.open) {
                self.text.extend_from_slice(b";\n");
            }
            self.text.extend_from_slice(format!("{key} = {value}\n").as_bytes());
            return self.read_again();
        };
        let later = self.statements.iter().filter(matching).skip(1).cloned().collect::<Vec<_>>();
        for statement in later.iter().rev() {
            self.cut(statement);
        }
        // The first operator can stay: without a previous value, all three assign.
        let assign = if first.operator.is_none() { " = " } else { "" };
        self.text.splice(first.values_span, format!("{assign}{value}").bytes());
        self.read_again()
    }

    /// Remove every statement with exactly this key. A line that becomes empty is removed as well.
    ///
    /// # Errors
    /// [`Error::NoKey`].
    pub fn remove(&mut self, key: &str) -> Result<(), Error> {
        let named = |statement: &&Statement| statement.key == key;
        let found: Vec<_> = self.statements.iter().filter(named).cloned().collect();
        if found.is_empty() {
            let below = format!("{key}.");
            let keys = self.statements.iter().map(|statement| &statement.key);
            let mut similar: Vec<_> = keys.filter(|k| k.starts_with(&below)).cloned().collect();
            similar.dedup();
            return Err(Error::NoKey { key: key.to_owned(), similar });
        }
        for statement in found.iter().rev() {
            self.cut(statement);
        }
        self.read_again()
    }

    /// Cut out a statement and its semicolon or its line.
    fn cut(&mut self, statement: &Statement) {
        let Range { mut start, mut end } = statement.span;
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r');
        end += self.text[end..].iter().take_while(blank).count();
        if self.text.get(end) == Some(&b';') {
            end += 1;
            end += self.text[end..].iter().take_while(blank).count();
        }
        let indent = self.text[..start].iter().rev().take_while(blank).count();
        let begins_line = start == indent || self.text[start - indent - 1] == b'\n';
        match self.text.get(end) {
            Some(b'\n') if begins_line => {
                start -= indent;
                end += 1;
            }
            None if begins_line => start -= indent,
            _ => {}
        }
        self.text.drain(start..end);
    }

    /// The statements of the edited text.
    fn read_again(&mut self) -> Result<(), Error> {
        *self = Bootconfig::parse(&self.text)?;
        Ok(())
    }
}
