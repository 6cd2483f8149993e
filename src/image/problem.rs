//! Disagreements between the header of an image and the file.

/// A header field that disagrees with the file. Parsing continues; editing is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} at offset {offset}: {message}")]
pub struct Problem {
    /// The field's name.
    pub field: &'static str,
    /// Its offset in the file.
    pub offset: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}
