//! The Android init language: `.rc` files.
//!
//! | file | subject |
//! |---|---|
//! | `lexer` | lines as words, as init's tokenizer takes them apart |
//! | `import` | an `import` line put where init honours it |

pub mod import;
pub mod lexer;

pub use lexer::{End, Script, Statement};
