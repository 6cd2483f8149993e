//! The Android init language: `.rc` files.
//!
//! | file | subject |
//! |---|---|
//! | `lexer` | lines as words, as init's tokenizer takes them apart |
//! | `language` | commands, options, events and what policy forbids: `language.toml` |
//! | `check` | what of a file init would ignore, refuse, or be forbidden to do |
//! | `import` | an `import` line put where init honours it |

pub mod check;
pub mod import;
pub mod language;
pub mod lexer;

pub use check::{Finding, Target, check};
pub use language::Level;
pub use lexer::{End, Script, Statement};
