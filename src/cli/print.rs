//! The one writer of text, for standard output and standard error: whatever comes from an image, a
//! file name or a kernel is made visible here (see [`vfioboot::text`]), on terminals and pipes
//! alike. Only the program's own styles and the ends of its own lines pass.
//!
//! An output that takes nothing is an error and never a panic.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

use anstream::adapter::strip_str;
use serde_json::Value as Json;
use vfioboot::text;

use super::style::{self, BAD};

/// Print a line.
macro_rules! say {
    ($($argument:tt)*) => { $crate::cli::print::print_line(format_args!($($argument)*)) };
}
pub(super) use say;

/// Text of several lines that is put together before it is printed.
#[derive(Default)]
pub struct Page(String);

impl Page {
    /// Append a line; [`line!`] calls it.
    pub fn push(&mut self, line: fmt::Arguments<'_>) {
        self.0.push_str(&shown(line));
        self.0.push('\n');
    }

    /// Print the whole text.
    pub fn print(&self) -> io::Result<()> {
        styled(&self.0)
    }
}

/// Append a line to a [`Page`].
macro_rules! line {
    ($page:expr, $($argument:tt)*) => { $page.push(format_args!($($argument)*)) };
}
pub(super) use line;

/// Print a line; [`say!`] calls it.
pub fn print_line(line: fmt::Arguments<'_>) -> io::Result<()> {
    styled(&format!("{}\n", shown(line)))
}

/// A line as it is printed, without its end.
pub fn shown(line: fmt::Arguments<'_>) -> String {
    let mut visible = Visible(String::new());
    // Nothing here fails; a Display that says so has written what it could.
    let _ = fmt::write(&mut visible, line);
    without_command(visible.0)
}

fn without_command(line: String) -> String {
    if !line.contains(':') && !line.contains("##[") {
        return line;
    }
    let plain = strip_str(&line).to_string();
    match text::without_command(&plain) {
        same if same == plain => line,
        other => other.into_owned(),
    }
}

/// Makes each piece of a formatted line visible, except for styles.
struct Visible(String);

impl fmt::Write for Visible {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        match style::is_code(piece) {
            true => self.0.push_str(piece),
            false => self.0.push_str(&text::visible(piece)),
        }
        Ok(())
    }
}

/// Print a report whose text has been made visible already.
pub fn report(report: &str) -> io::Result<()> {
    let lines = report.lines().map(|line| without_command(line.to_owned()) + "\n");
    styled(&lines.collect::<String>())
}

/// Print a command that is there to be copied: on one line.
pub fn command(command: &str) -> io::Result<()> {
    as_it_is(&format!("{}\n", shown(format_args!("  {command}"))))
}

fn styled(text: &str) -> io::Result<()> {
    match terminal_width() {
        Some(width) => as_it_is(&wrapped(text, width)),
        None => as_it_is(text),
    }
}

/// The columns of the terminal that standard output is.
fn terminal_width() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| terminal_size::terminal_size_of(&stdout)).flatten();
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width >= NARROWEST)
}

/// Narrower than this, wrapped text is harder to read than what the terminal makes of long lines.
const NARROWEST: usize = 40;

/// The text with its long lines broken between words; what follows is indented below its line.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        if textwrap::core::display_width(line) <= width {
            out += line;
        } else {
            let indent = line.len() - line.trim_start().len();
            let indent = " ".repeat((indent + 2).min(width / 2));
            let options = textwrap::Options::new(width).subsequent_indent(&indent);
            out += &textwrap::fill(line, options.break_words(false));
        }
        out += end;
    }
    out
}

fn as_it_is(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Print JSON.
pub fn json(value: &Json) -> io::Result<()> {
    bytes(format!("{}\n", text::visible_json(&format!("{value:#}"))).as_bytes())
}

/// Print a file that an image holds: byte for byte, except on a terminal, where it is made
/// visible.
pub fn contents(contents: &[u8]) -> io::Result<()> {
    let mut out = Contents::new();
    out.write_all(contents)?;
    out.finish()
}

/// A file that an image holds, printed as it comes: see [`contents`].
pub struct Contents {
    out: io::StdoutLock<'static>,
    /// The line that is not complete yet; None where bytes go out as they are.
    line: Option<Vec<u8>>,
}

impl Contents {
    /// What one line may take before it is printed in parts, in bytes.
    const LINE: usize = 64 << 10;

    pub fn new() -> Self {
        let out = io::stdout().lock();
        let line = out.is_terminal().then(Vec::new);
        Contents { out, line }
    }

    /// Print what is left.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(rest) = self.line.take() {
            self.show(&rest)?;
        }
        self.out.flush()
    }

    fn show(&mut self, line: &[u8]) -> io::Result<()> {
        let (line, end) = line.strip_suffix(b"\n").map_or((line, ""), |line| (line, "\n"));
        let visible = text::visible_bytes(line).replace("\\t", "\t");
        self.out.write_all((visible + end).as_bytes())
    }
}

impl Write for Contents {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(mut line) = self.line.take() else { return self.out.write(bytes) };
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if line.ends_with(b"\n") || line.len() > Self::LINE {
                self.show(&line)?;
                line.clear();
            }
        }
        self.line = Some(line);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Write bytes to standard output as they are.
pub fn bytes(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Print a message on standard error. An error of that is ignored.
pub fn complain(message: impl Display) {
    to_stderr(&shown(format_args!("vfioboot: {message}")));
}

/// Print a message on standard error in red: the answer to what was asked is no.
pub fn alarm(message: impl Display) {
    to_stderr(&shown(format_args!("{BAD}vfioboot: {message}{BAD:#}")));
}

/// Print an error with its causes on one line. Where the first cause has several lines (an excerpt
/// of TOML), the others follow, indented.
pub fn complain_of(error: &anyhow::Error) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let Some((root, contexts)) = causes.split_last() else { return };
    let mut lines = root.trim_end().split('\n');
    let mut message = contexts.join(": ");
    if !contexts.is_empty() {
        message += ": ";
    }
    message += lines.next().unwrap_or_default();
    complain(message);
    lines.for_each(|line| to_stderr(&shown(format_args!("  {line}"))));
}

/// Print a line of text that clap has put together, which quotes what the user typed.
pub fn usage(error: &clap::Error) -> io::Result<()> {
    let text = error.render();
    let plain = text.to_string();
    let lines = plain.lines().map(|line| shown(format_args!("{line}")) + "\n");
    let visible: String = lines.collect();
    let text =
        if visible.trim_end() == plain.trim_end() { text.ansi().to_string() } else { visible };
    match error.use_stderr() {
        true => anstream::stderr().lock().write_all(text.as_bytes()),
        false => styled(&text),
    }
}

fn to_stderr(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}
