//! The command line of `vfiorun` as data: what it reads, its help, and what `vfioboot` makes its completions
//! and manual pages from.
//!
//! | file | subject |
//! |---|---|
//! | `argument` | what a subcommand and an argument are |
//! | `table` | every subcommand with its arguments |
//! | `help` | the text of `--help` |
//! | `parse` | the words of a command line, taken by the table |

mod argument;
mod help;
#[cfg(feature = "vfiorun")]
mod parse;
mod table;

pub use argument::{Argument, Kind, PROGRAM, Subcommand};
pub use help::help;
#[cfg(feature = "vfiorun")]
pub use parse::{Matches, Parsed, UsageError, parse};
pub use table::{ABOUT, GLOBAL, GROUPS, MORE, SUBCOMMANDS};
