//! What can be wrong with a bootconfig or an edit of one.

/// A bootconfig that the kernel would refuse, or an edit that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text does not follow the grammar.
    #[error("bootconfig line {line} (offset {offset}): {reason}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Bytes from the beginning of the text.
        offset: usize,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A key is given a second value by `=`.
    #[error(
        "bootconfig line {line}: {key} has a value already, from line {first}: the kernel would ignore the whole bootconfig; \"{key} := …\" replaces a value, \"{key} += …\" adds one"
    )]
    Redefined {
        /// The key.
        key: String,
        /// The line of its second value.
        line: usize,
        /// The line of its first value.
        first: usize,
    },
    /// More than the kernel takes.
    #[error("the bootconfig has {found} {what}, the kernel takes {limit} at most ({} too many)", found - limit)]
    TooLarge {
        /// `bytes` or `nodes`.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A key to remove that is not there.
    #[error("the bootconfig has no key {key}{}", hint(.similar))]
    NoKey {
        /// The key.
        key: String,
        /// Keys below it.
        similar: Vec<String>,
    },
    /// Something to set that is no key.
    #[error(
        "\"{0}\" is no bootconfig key: expected words of letters, digits, - and _ with dots between them"
    )]
    Key(String),
    /// Something to set that is not one value, or several with commas between them.
    #[error("\"{value}\" is no bootconfig value: {reason}")]
    Value {
        /// As it was given.
        value: String,
        /// Why not, and what to do.
        reason: String,
    },
}

fn hint(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        _ => format!(" itself, only {}", similar.join(", ")),
    }
}
