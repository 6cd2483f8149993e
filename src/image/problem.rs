//! What the header of an image says and the file does not bear out.

/// A header field that the file does not bear out. Parsing goes on; editing is refused.
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
