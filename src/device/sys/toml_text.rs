//! TOML into a type, with errors that name the line and the key.

use serde::de::DeserializeOwned;

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
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
/// When it is no TOML, or not that of a `T`.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Wrong> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let (line, mut key) = place(text, start);
        // Of what is missing in the text as a whole, its first key is not the place.
        if start == 0 && !text.starts_with('[') && error.message().starts_with("missing field") {
            key.clear();
        }
        // The parser puts what it expected on a second line.
        Wrong { line, key, message: error.message().trim_end().replace('\n', ", ") }
    })
}

/// The line of a byte of the text, from 1, and the key that is given a value there.
fn place(text: &str, offset: usize) -> (usize, String) {
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

/// The key as it stands before a message.
pub fn in_key(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}
