//! `.config` files (`scripts/kconfig/confdata.c` writes and reads them).

use std::collections::BTreeMap;
use std::fmt;

use super::{Arch, KernelVersion};

/// U+FEFF in UTF-8, which editors of other systems put at the start of a text.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The value of a symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `=y`.
    Yes,
    /// `=m`.
    Module,
    /// `# CONFIG_… is not set`, or `=n`.
    No,
    /// A string, without its quotes and escapes.
    Text(String),
    /// A decimal or `0x` number, as it is written.
    Number(String),
}

impl Value {
    /// As it is written after the `=`; strings without quotes.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Value::Yes => "y",
            Value::Module => "m",
            Value::No => "n",
            Value::Text(text) | Value::Number(text) => text,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A symbol that is set more than once. The last one counts, as for the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The symbol, without `CONFIG_`.
    pub symbol: String,
    /// The line of the later setting, from 1.
    pub line: usize,
    /// The value it replaces.
    pub before: Value,
}

/// Why a file is not a config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No line sets a symbol.
    #[error("not a kernel config: no line sets a CONFIG_ symbol")]
    NoSymbols,
    /// More lines that are not part of a config than lines that are.
    #[error(
        "not a kernel config: line {line} and {others} more are neither a symbol nor a comment"
    )]
    Foreign {
        /// The first such line, from 1.
        line: usize,
        /// The number of further lines.
        others: usize,
    },
}

/// A kernel's build configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelConfig {
    values: BTreeMap<String, Value>,
    duplicate: Option<Duplicate>,
    duplicates: usize,
    strange_lines: Vec<usize>,
    release: Option<String>,
    arch: Option<Arch>,
}

impl KernelConfig {
    /// Read `.config` text: one setting per line, LF or CRLF, any encoding.
    ///
    /// # Errors
    /// [`ConfigError`] when it is something else altogether. Single lines that make no sense are
    /// kept in [`KernelConfig::strange_lines`].
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let mut config = KernelConfig::default();
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        for (index, line) in String::from_utf8_lossy(text).split('\n').enumerate() {
            match setting(line.trim_end()) {
                Line::Nothing => {}
                Line::Strange => config.strange_lines.push(index + 1),
                Line::Set(symbol, value) => config.set(symbol, value, index + 1),
            }
        }
        let strange = &config.strange_lines;
        if let Some(first) = strange.first()
            && strange.len() > config.values.len()
        {
            return Err(ConfigError::Foreign { line: *first, others: strange.len() - 1 });
        }
        if config.values.is_empty() {
            return Err(ConfigError::NoSymbols);
        }
        let (release, arch) = Self::header(text);
        config.release = release.map(str::to_owned);
        config.arch = config.arch_of(arch);
        Ok(config)
    }

    /// The config with these values of symbols too, as `scripts/kconfig/merge_config.sh -m` merges them: without
    /// what Kconfig makes of that.
    pub(crate) fn merged<'a>(&self, values: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        let mut config = self.clone();
        let values = values.into_iter().map(|(symbol, value)| (symbol.to_owned(), value));
        config.values.extend(values);
        config
    }

    /// The architecture by the name in the comment at the top, or by the symbol that only one has.
    fn arch_of(&self, name: Option<&str>) -> Option<Arch> {
        let set = |symbol: &str| self.is_set(symbol);
        let by_symbol = Arch::by_symbol(set);
        if by_symbol == Some(Arch::Um) {
            return by_symbol;
        }
        let narrow = set("32BIT") || self.get("64BIT") == Some(&Value::No);
        match name.and_then(Arch::from_name).or(by_symbol)? {
            // One name for both word sizes.
            Arch::X86 if !narrow && !set("X86_32") => Some(Arch::X86_64),
            Arch::X86_64 if narrow || set("X86_32") => Some(Arch::X86),
            Arch::Riscv64 if narrow => Some(Arch::Riscv32),
            Arch::Loongarch64 if narrow => Some(Arch::Loongarch32),
            arch => Some(arch),
        }
    }

    fn set(&mut self, symbol: &str, value: Value, line: usize) {
        if let Some(before) = self.values.insert(symbol.to_owned(), value) {
            self.duplicates += 1;
            self.duplicate.get_or_insert_with(|| Duplicate {
                symbol: symbol.to_owned(),
                line,
                before,
            });
        }
    }

    /// The release and the architecture that the comment at the top of a config names:
    /// `# Linux/arm64 6.1.192 Kernel Configuration`.
    pub fn header(text: &[u8]) -> (Option<&str>, Option<&str>) {
        let lines = text.split(|byte| *byte == b'\n').take(8);
        for line in lines.filter_map(|line| std::str::from_utf8(line).ok()) {
            let Some(rest) = line.strip_prefix("# Linux/") else { continue };
            let mut words = rest.split_ascii_whitespace();
            let (arch, release) = (words.next(), words.next());
            let release = release.filter(|text| KernelVersion::parse(text).is_some());
            return (release, arch);
        }
        (None, None)
    }

    /// The value of `symbol` (without `CONFIG_`); None if the config does not mention it, which the
    /// kernel treats as `n`.
    pub fn get(&self, symbol: &str) -> Option<&Value> {
        self.values.get(symbol)
    }

    /// Whether `symbol` is `y`.
    pub fn is_set(&self, symbol: &str) -> bool {
        self.get(symbol) == Some(&Value::Yes)
    }

    /// Every symbol that is mentioned, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(symbol, value)| (symbol.as_str(), value))
    }

    /// The first line that sets a symbol again, and how many there are; None if there is none.
    pub fn duplicates(&self) -> Option<(&Duplicate, usize)> {
        Some((self.duplicate.as_ref()?, self.duplicates))
    }

    /// Lines (from 1) that are neither a setting nor a comment; the kernel ignores them.
    pub fn strange_lines(&self) -> &[usize] {
        &self.strange_lines
    }

    /// The release in the header comment (`6.1.192`), without the local part.
    pub fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    /// The version in the header comment.
    pub fn version(&self) -> Option<KernelVersion> {
        KernelVersion::parse(self.release()?)
    }

    /// The architecture in the header comment, or that of the symbol that only one has.
    pub fn arch(&self) -> Option<Arch> {
        self.arch
    }
}

enum Line<'a> {
    Nothing,
    Strange,
    Set(&'a str, Value),
}

fn setting(line: &str) -> Line<'_> {
    if let Some(comment) = line.strip_prefix('#') {
        // Other comments are not settings, whatever they look like.
        let parts = comment.strip_prefix(" CONFIG_").and_then(|rest| rest.split_once(' '));
        return match parts {
            Some((symbol, rest)) if rest.starts_with("is not set") && is_symbol(symbol) => {
                Line::Set(symbol, Value::No)
            }
            _ => Line::Nothing,
        };
    }
    if line.is_empty() {
        return Line::Nothing;
    }
    let parts = line.strip_prefix("CONFIG_").and_then(|rest| rest.split_once('='));
    match parts {
        Some((symbol, text)) if is_symbol(symbol) => match value(text) {
            Some(value) => Line::Set(symbol, value),
            None => Line::Strange,
        },
        _ => Line::Strange,
    }
}

fn is_symbol(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// As `conf_set_sym_val` reads it: of a tristate the first letter, of a string what is between its first
/// quote and the next that has no backslash before it.
fn value(text: &str) -> Option<Value> {
    Some(match text.as_bytes() {
        [b'y', ..] => Value::Yes,
        [b'm', ..] => Value::Module,
        [b'n', ..] => Value::No,
        [b'"', ..] => Value::Text(quoted(&text[1..])?),
        _ if is_number(text) => Value::Number(text.to_owned()),
        _ => return None,
    })
}

fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (digits, hex) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let valid = |byte: u8| if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
    !digits.is_empty() && digits.bytes().all(valid)
}

/// The text before the closing quote; a backslash takes the next character literally. None without a
/// closing quote.
fn quoted(text: &str) -> Option<String> {
    let mut characters = text.chars();
    let mut out = String::with_capacity(text.len());
    loop {
        match characters.next()? {
            '"' => return Some(out),
            '\\' => out.extend(characters.next()),
            other => out.push(other),
        }
    }
}
