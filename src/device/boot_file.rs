//! Reads the boot file.
//!
//! With a reader of its own for the part of TOML that a [`BootFile`] is written
//! in, because the `toml` crate made the program 128 KiB larger (aarch64; 13 % of
//! it), for the sake of four keys and a list, and ramdisks live in small
//! partitions. Known are comments, bare keys, decimal integers, strings of all
//! four kinds, arrays of strings over any number of lines, and `[[modules]]`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::host::errno_text;
use crate::bootfile::{BootFile, BootModule};

/// The largest boot file that is read, in bytes. A real one has a few hundred.
pub const SIZE_LIMIT: usize = 64 * 1024;

/// A boot file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BootFileError {
    /// It cannot be read.
    #[error("{}", errno_text(.0))]
    Io(io::Error),
    /// It is larger than [`SIZE_LIMIT`].
    #[error("larger than {SIZE_LIMIT} bytes")]
    TooLarge,
    /// It is no text.
    #[error("not UTF-8 at byte {0}")]
    NotText(usize),
    /// It is for another version of this program.
    #[error("version {0}, but only version {version} is known", version = BootFile::VERSION)]
    Version(u32),
    /// It is no boot file.
    #[error("line {line}: {what}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
    /// A key that must be there is not.
    #[error("no \"{0}\"")]
    Missing(&'static str),
    /// What it names as the next program is no absolute path.
    #[error("init is \"{0}\", not an absolute path")]
    Init(String),
}

/// Reads and checks the boot file at `path`.
///
/// # Errors
/// See [`BootFileError`].
pub fn read(path: &Path) -> Result<BootFile, BootFileError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SIZE_LIMIT as u64 + 1).read_to_end(&mut bytes))
        .map_err(BootFileError::Io)?;
    if bytes.len() > SIZE_LIMIT {
        return Err(BootFileError::TooLarge);
    }
    parse(str::from_utf8(&bytes).map_err(|e| BootFileError::NotText(e.valid_up_to()))?)
}

/// Reads and checks the text of a boot file.
///
/// # Errors
/// See [`BootFileError`].
pub fn parse(text: &str) -> Result<BootFile, BootFileError> {
    let mut reader = Reader { rest: text, line: 1 };
    let (mut version, mut init, mut deadline_ms, mut devices) = (None, None, None, None);
    let mut wait_ms = None;
    let mut shadows = None;
    let mut modules: Vec<(Option<String>, Option<String>)> = Vec::new();
    loop {
        reader.skip_blank();
        if reader.rest.is_empty() {
            break;
        }
        if reader.take("[[") {
            reader.expect("modules")?;
            reader.expect("]]")?;
            modules.push((None, None));
        } else {
            let key = reader.key()?;
            reader.skip_spaces();
            reader.expect("=")?;
            reader.skip_spaces();
            let fresh = match (key, modules.last_mut()) {
                ("version", None) => {
                    let found = reader.integer()?;
                    // At once: what follows may be unknown to this version.
                    if found != BootFile::VERSION {
                        return Err(BootFileError::Version(found));
                    }
                    version.replace(found).is_none()
                }
                ("init", None) => init.replace(reader.string()?).is_none(),
                ("deadline_ms", None) => deadline_ms.replace(reader.integer()?).is_none(),
                ("wait_ms", None) => wait_ms.replace(reader.integer()?).is_none(),
                ("devices", None) => devices.replace(reader.strings()?).is_none(),
                ("shadows", None) => shadows.replace(reader.strings()?).is_none(),
                ("path", Some((path, _))) => path.replace(reader.string()?).is_none(),
                ("params", Some((_, params))) => params.replace(reader.string()?).is_none(),
                _ => return Err(reader.error(format!("unknown key \"{key}\""))),
            };
            if !fresh {
                return Err(reader.error(format!("\"{key}\" a second time")));
            }
        }
        reader.end_of_line()?;
    }
    let mut list = Vec::new();
    for (path, params) in modules {
        list.push(BootModule {
            path: path.ok_or(BootFileError::Missing("path"))?,
            params: params.unwrap_or_default(),
        });
    }
    let file = BootFile {
        version: version.ok_or(BootFileError::Missing("version"))?,
        init: init.ok_or(BootFileError::Missing("init"))?,
        deadline_ms: deadline_ms.ok_or(BootFileError::Missing("deadline_ms"))?,
        wait_ms: wait_ms.unwrap_or_default(),
        devices: devices.ok_or(BootFileError::Missing("devices"))?,
        shadows: shadows.unwrap_or_default(),
        modules: list,
    };
    if !file.init.starts_with('/') || file.init.contains(['\0', '\n']) {
        return Err(BootFileError::Init(file.init));
    }
    Ok(file)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, what: impl Into<String>) -> BootFileError {
        BootFileError::Syntax { line: self.line, what: what.into() }
    }

    /// What stands here, for an error.
    fn expected(&self, what: &str) -> BootFileError {
        let found: String = self.rest.chars().take_while(|c| *c != '\n').take(20).collect();
        match found.as_str() {
            "" => self.error(format!("expected {what} before the end of the line")),
            _ => self.error(format!("expected {what}, found {found:?}")),
        }
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), BootFileError> {
        if self.take(token) { Ok(()) } else { Err(self.expected(&format!("\"{token}\""))) }
    }

    /// The longest run of characters of a kind.
    fn run(&mut self, kind: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !kind(c)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    fn skip_spaces(&mut self) {
        self.run(|c| c == ' ' || c == '\t');
    }

    /// Spaces, comments and line ends.
    fn skip_blank(&mut self) {
        loop {
            self.skip_spaces();
            if self.rest.starts_with('#') {
                self.run(|c| c != '\n');
            }
            if !(self.take("\r\n") || self.take("\n")) {
                return;
            }
            self.line += 1;
        }
    }

    fn end_of_line(&mut self) -> Result<(), BootFileError> {
        self.skip_spaces();
        let ended = ["\n", "\r\n", "#"].iter().any(|end| self.rest.starts_with(end));
        if ended || self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.expected("the end of the line"))
        }
    }

    fn key(&mut self) -> Result<&'a str, BootFileError> {
        match self.run(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            "" => Err(self.expected("a key")),
            key => Ok(key),
        }
    }

    fn integer(&mut self) -> Result<u32, BootFileError> {
        match self.run(|c| c.is_ascii_digit()) {
            "" => Err(self.expected("a number")),
            zero if zero.len() > 1 && zero.starts_with('0') => {
                Err(self.error(format!("{zero} begins with a zero")))
            }
            digits => digits.parse().map_err(|_| self.error(format!("{digits} is too large"))),
        }
    }

    fn string(&mut self) -> Result<String, BootFileError> {
        // The toml crate writes a text that has both kinds of quotes as """...""".
        for quotes in ["\"\"\"", "'''", "\"", "'"] {
            if self.take(quotes) {
                return self.string_until(quotes);
            }
        }
        Err(self.expected("a string"))
    }

    /// The rest of a string that began with `quotes`.
    fn string_until(&mut self, quotes: &str) -> Result<String, BootFileError> {
        let one_line = quotes.len() == 1;
        let quote = if quotes.starts_with('"') { '"' } else { '\'' };
        let mut text = String::new();
        // A line end right behind three quotes does not count.
        if !one_line && (self.take("\r\n") || self.take("\n")) {
            self.line += 1;
        }
        loop {
            text += self.run(|c| c != quote && c != '\n' && (c != '\\' || quote == '\''));
            if self.take(quotes) {
                // Up to two quotes may stand before the closing three.
                for _ in 0..2 {
                    if !one_line && self.rest.starts_with(quote) {
                        text.extend(self.run_one());
                    }
                }
                return Ok(text);
            } else if self.take("\\") {
                text.push(self.escape()?);
            } else if one_line || self.rest.is_empty() {
                return Err(self.expected(quotes));
            } else {
                self.line += usize::from(self.rest.starts_with('\n'));
                text.extend(self.run_one());
            }
        }
    }

    /// The next character.
    fn run_one(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, BootFileError> {
        const PLAIN: [(&str, char); 8] = [
            ("\"", '"'),
            ("\\", '\\'),
            ("n", '\n'),
            ("t", '\t'),
            ("r", '\r'),
            ("b", '\x08'),
            ("f", '\x0c'),
            ("e", '\x1b'),
        ];
        for (letter, c) in PLAIN {
            if self.take(letter) {
                return Ok(c);
            }
        }
        for (letter, digits) in [("x", 2), ("u", 4), ("U", 8)] {
            let Some(rest) = self.rest.strip_prefix(letter) else { continue };
            let code =
                rest.get(..digits).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
            let c = code.and_then(|code| char::from_u32(u32::from_str_radix(code, 16).ok()?));
            if let Some(c) = c {
                self.rest = rest.get(digits..).unwrap_or_default();
                return Ok(c);
            }
        }
        Err(self.expected("an escape"))
    }

    fn strings(&mut self) -> Result<Vec<String>, BootFileError> {
        self.expect("[")?;
        let mut list = Vec::new();
        loop {
            self.skip_blank();
            if self.take("]") {
                return Ok(list);
            }
            list.push(self.string()?);
            self.skip_blank();
            if !self.take(",") {
                return self.expect("]").map(|()| list);
            }
        }
    }
}
