//! The Android init language: `.rc` files.
//!
//! | file | subject |
//! |---|---|
//! | `lexer` | splits lines into words, as init's tokenizer does |
//! | `language` | commands, options, events and the writes that the policy forbids: `language.toml` |
//! | `check` | reports what init ignores, refuses, or may not do |
//! | `import` | adds an `import` line where init honours it |

pub mod check;
pub mod import;
pub mod language;
pub(crate) mod lexer;

pub use check::{Finding, Platform, check};
pub use language::Level;
pub use lexer::{End, Script, Statement};
