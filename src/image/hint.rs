//! What a file may be, and the command that takes an image out of it.

use std::fmt;

use crate::text::shell_word;

/// Stands for the file in a text.
const PLACEHOLDER: &str = "FILE";

/// What a file may be, and what to do with it; empty when that is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    text: &'static str,
    file: Option<String>,
}

impl Hint {
    pub(super) fn new(text: &'static str) -> Self {
        Hint { text, file: None }
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Name the file in commands, unless it is named already.
    pub(super) fn for_file(&mut self, file: &str) {
        self.file.get_or_insert_with(|| file.to_owned());
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => f.write_str(&self.text.replace(PLACEHOLDER, &shell_word(file))),
            None => f.write_str(self.text),
        }
    }
}
