//! Where the words go.

use std::error::Error;
use std::io::{self, Write};

use serde_json::Value;

/// Writes text to standard output.
///
/// # Errors
/// When standard output is closed or full.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a JSON document to standard output.
///
/// # Errors
/// When standard output is closed or full.
pub fn print_json(document: &Value) -> io::Result<()> {
    print(&format!("{document:#}\n"))
}

/// A message on standard error. There is nobody to tell that it failed.
pub fn complain(message: &str) {
    _ = writeln!(io::stderr(), "vfiorun: {message}");
}

/// Whether an error is that of a reader that went away.
pub fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
