//! TOML into a type, with errors that name the line and the key.

use core::ops::Range;

use serde::de::DeserializeOwned;
use toml::de::DeTable;

use super::toml_value::Node;

/// An error in a TOML text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TomlError {
    /// Counted from 1.
    pub line: usize,
    /// The key with the tables around it, `memory.size`; empty when there is none.
    pub key: String,
    /// What is wrong, and what was expected; one line.
    pub message: String,
}

/// Reads `text`.
///
/// # Errors
/// When it is not TOML, or not that of a `T`.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, TomlError> {
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => return Err(located(text, error.span(), error.message())),
    };
    let span = table.span();
    T::deserialize(Node::Table(table.get_ref()))
        .map_err(|error| located(text, error.span.or(Some(span)), &error.message))
}

/// An error with its line and its key.
fn located(text: &str, span: Option<Range<usize>>, message: &str) -> TomlError {
    let span = span.unwrap_or(0..text.len());
    let (line, mut key) = position(text, span.start);
    // An error at the start that is neither about the first key nor about a table there is about
    // the text as a whole, which does not have a required key.
    if span.start == 0 && !text.starts_with('[') && text.get(span) != Some(key.as_str()) {
        key.clear();
    }
    // The parser puts what it expected on a second line.
    TomlError { line, key, message: message.trim_end().replace('\n', ", ") }
}

/// The line of a byte of the text, from 1, and the key that is given a value there.
fn position(text: &str, offset: usize) -> (usize, String) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count();
    let mut table = String::new();
    let mut key = "";
    for text in text.lines().take(line + 1).map(str::trim) {
        if let Some(name) = text.strip_prefix('[').and_then(|rest| rest.split(']').next())
            && text.contains(']')
            && !text.contains('=')
            && !text.contains('"')
        {
            table = format!("{}.", name.trim_start_matches('['));
            key = "";
        } else if let Some((name, _)) = text.split_once('=')
            && !text.starts_with(['#', '{', '"'])
        {
            key = name.trim();
        }
    }
    if key.is_empty() {
        return (line + 1, table.trim_end_matches('.').to_owned());
    }
    (line + 1, format!("{table}{key}"))
}

/// A key as the prefix of a message: `memory.size: `, nothing for no key.
pub(crate) fn key_prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}
