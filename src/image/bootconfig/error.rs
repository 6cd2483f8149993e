//! Errors of a bootconfig or an edit of one.

use super::Limits;

/// A bootconfig that the kernel would reject, or an edit that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text does not follow the grammar.
    #[error("bootconfig line {line} (offset {offset}): {reason}")]
    Syntax {
        /// Line number, from 1.
        line: usize,
        /// Offset in the text, in bytes.
        offset: usize,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A key that is too long. Below a key with a value the kernel takes it, but cannot read it out.
    #[error("bootconfig line {line}: {key} has {found} {what}, the limit is {limit}")]
    LongKey {
        /// The key.
        key: String,
        /// Its line.
        line: usize,
        /// `words` or `bytes`.
        what: &'static str,
        /// The actual number.
        found: usize,
        /// The maximum.
        limit: usize,
    },
    /// A second value is assigned to a key with `=`.
    #[error(
        "bootconfig line {line}: {key} has a value already, from line {first}: the kernel would ignore the whole bootconfig; \"{key} := …\" replaces the value, \"{key} += …\" adds one"
    )]
    Redefined {
        /// The key.
        key: String,
        /// The line of its second value.
        line: usize,
        /// The line of its first value.
        first: usize,
    },
    /// More than the kernel accepts.
    #[error("the bootconfig has {found} {what}, the kernel accepts at most {limit} ({} too many)", found - limit)]
    TooLarge {
        /// `bytes` or `nodes`.
        what: &'static str,
        /// The actual number.
        found: usize,
        /// The maximum.
        limit: usize,
    },
    /// A key to remove that does not exist.
    #[error("the bootconfig has no key {key}{}", hint(.similar))]
    NoKey {
        /// The key.
        key: String,
        /// Existing keys below it.
        similar: Vec<String>,
    },
    /// A key to set that is not valid.
    #[error(
        "\"{0}\" is not a bootconfig key: expected at most {max} words of letters, digits, - and _, separated by dots", max = Limits::KEY_WORDS
    )]
    Key(String),
    /// A value to set that is not one value or a comma-separated list.
    #[error("\"{value}\" is not a bootconfig value: {reason}")]
    Value {
        /// The given value.
        value: String,
        /// What is wrong, and what to do.
        reason: String,
    },
}

fn hint(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        _ => format!(" itself, only {}", similar.join(", ")),
    }
}
