//! The one place where text leaves the program. Control characters of whatever was read (names in
//! sysfs, journals, the kernel log) are shown and never passed on; see [`vfioboot::text`].

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock};

use serde_json::Value;
use vfioboot::device::guest::log::LogFile;
use vfioboot::device::sys::host::errno_text;
use vfioboot::text;

/// Standard output that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("standard output: {}", errno_text(.0))]
pub struct OutputError(#[source] pub io::Error);

/// Writes text to standard output.
///
/// # Errors
/// When standard output is closed or full.
pub fn print(text: &str) -> Result<(), OutputError> {
    let mut page = Page { text: String::new(), coloured: false };
    page.put(text);
    page.print()
}

/// Lines for standard output while work goes on that must not stop when they cannot be written.
#[derive(Debug)]
pub struct StepWriter(Result<(), OutputError>);

impl StepWriter {
    /// Nothing is written yet.
    pub fn new() -> Self {
        Self(Ok(()))
    }

    /// Writes text, unless writing has failed before.
    pub fn print(&mut self, text: &str) {
        if self.0.is_ok() {
            self.0 = print(text);
        }
    }

    /// The end of the work.
    ///
    /// # Errors
    /// When standard output was closed or full.
    pub fn finish(self) -> Result<(), OutputError> {
        self.0
    }
}

/// Writes a JSON document to standard output.
///
/// # Errors
/// When standard output is closed or full.
pub fn print_json(document: &Value) -> Result<(), OutputError> {
    write(&format!("{}\n", text::visible_json(&format!("{document:#}"))))
}

/// Each as text, for JSON.
pub fn texts<T: Display>(items: &[T]) -> Vec<String> {
    items.iter().map(T::to_string).collect()
}

/// Writes a message to standard error. There is nobody to report a failure to.
pub fn complain(message: &str) {
    write_error(&format!("vfiorun: {}\n", text::visible_lines(message)));
}

/// Writes a line of another program to standard error.
pub fn pass_on(line: &str) {
    write_error(&format!("{}\n", text::visible_lines(line)));
}

/// From now on all output goes to the log of a guest, and what its guest writes to its console as well.
pub fn to_log(log: LogFile) {
    _ = LOG.set(Mutex::new(log));
}

/// Passes on what a guest wrote to its console.
pub fn console(bytes: &[u8]) {
    if !logged(bytes) {
        let mut out = io::stdout().lock();
        _ = out.write_all(bytes).and_then(|()| out.flush());
    }
}

static LOG: OnceLock<Mutex<LogFile>> = OnceLock::new();

/// Whether output goes to a log; then it has. There is nobody to report a failure to.
fn logged(bytes: &[u8]) -> bool {
    let log = LOG.get().and_then(|log| log.lock().ok());
    log.map(|mut log| _ = log.write(bytes)).is_some()
}

fn write_error(text: &str) {
    if !logged(text.as_bytes()) {
        _ = io::stderr().write_all(text.as_bytes());
    }
}

fn write(text: &str) -> Result<(), OutputError> {
    if logged(text.as_bytes()) {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(OutputError)
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug)]
pub enum Style {
    /// As it should be.
    Good,
    /// Worth a look.
    Note,
    /// Not as it should be.
    Bad,
    /// The subject.
    Head,
    /// A label.
    Label,
}

impl Style {
    /// The escape sequence that turns it on (ECMA-48, SGR).
    fn escape(self) -> &'static str {
        match self {
            Self::Good => "\x1b[32m",
            Self::Note => "\x1b[33m",
            Self::Bad => "\x1b[1;31m",
            Self::Head => "\x1b[1m",
            Self::Label => "\x1b[2m",
        }
    }
}

/// Text for standard output, in colour on a terminal.
#[derive(Debug)]
pub struct Page {
    text: String,
    coloured: bool,
}

impl Page {
    /// An empty page. `NO_COLOR` turns colours off (<https://no-color.org>).
    pub fn new() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { text: String::new(), coloured: !unwanted && !dumb && io::stdout().is_terminal() }
    }

    /// Appends text.
    pub fn put(&mut self, text: &str) -> &mut Self {
        self.text.push_str(&text::visible_lines(text));
        self
    }

    /// Appends text in a style.
    pub fn styled(&mut self, style: Style, text: &str) -> &mut Self {
        if !self.coloured {
            return self.put(text);
        }
        self.text.push_str(style.escape());
        self.put(text);
        self.text.push_str("\x1b[0m");
        self
    }

    /// Writes the page.
    ///
    /// # Errors
    /// When standard output is closed or full.
    pub fn print(&self) -> Result<(), OutputError> {
        write(&self.text)
    }
}
