//! The kernel command line, read and edited the way the kernel reads it: the one grammar for both
//! programs.
//!
//! | file | subject |
//! |---|---|
//! | `ctype` | `isspace`, `isalnum` and `isprint` of the kernel's `lib/ctype.c` |
//! | `parameter` | one parameter, and a line cut into them: `next_arg` of `lib/cmdline.c` |
//! | `line` | [`Cmdline`], and what is asked of it |
//! | `edit` | edits, which leave every other byte alone |
//!
//! Everything works on bytes, because nothing promises that a command line is UTF-8. A NUL is an
//! ordinary byte here: whoever takes a line out of a field ends it there.

pub(crate) mod ctype;
mod edit;
mod line;
mod parameter;

pub use line::Cmdline;
pub use parameter::{Parameter, closes_quotes, same_name};

/// `COMMAND_LINE_SIZE` of arm64 and x86, the final NUL included
/// (`arch/*/include/uapi/asm/setup.h`). The kernel silently cuts a longer line.
pub const COMMAND_LINE_SIZE: usize = 2048;
