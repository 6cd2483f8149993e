//! The running kernel's config against the rules of the desktop audit.
//!
//! The rules are the same file, [`kernel-configs/passthrough.toml`](../../../kernel-configs),
//! carried along as text. Only those about symbols are used here: the command line, the modules and
//! the hardware are looked at themselves, which tells more than any config.

use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;

use super::{ARCH, Check};
use crate::device::host::{Host, errno_text};

const RULES: &str = include_str!("../../../kernel-configs/passthrough.toml");

/// A config that takes more bytes than this is none.
const CONFIG_LIMIT: usize = 4 << 20;

/// Why there is no config to look at.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read; without CONFIG_IKCONFIG_PROC it does not exist.
    #[error("{}", errno_text(.0))]
    Read(io::Error),
    /// It is no gzip file.
    #[error("it is no gzip file")]
    NotGzip,
    /// It cannot be unpacked.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

pub(super) fn checks(host: &Host) -> Vec<Check> {
    let title = "kernel config";
    let config = match read(host) {
        Ok(config) => config,
        Err(error) => {
            let found =
                format!("/proc/config.gz: {error}; what the kernel can do is looked at itself");
            return vec![
                Check::warning("config", title, found)
                    .fix("CONFIG_IKCONFIG_PROC=y shows the config of a kernel"),
            ];
        }
    };
    let file: RuleFile = match toml::from_str(RULES) {
        Ok(file) => file,
        // A test reads the file.
        Err(error) => return vec![Check::warning("config", title, error.to_string())],
    };
    let kernel = Kernel { config, modules: file.modules, version: version(host), host };
    let decisive = file.rule.iter().filter(|rule| rule.concerns(&kernel));
    let mut passed = 0;
    let mut checks = Vec::new();
    for rule in decisive {
        match rule.judge(&kernel) {
            None => passed += 1,
            Some(reason) => checks.push(rule.failed(&reason)),
        }
    }
    let found = format!("{passed} of {} rules pass", passed + checks.len());
    checks.insert(0, Check::ok("config", title, found));
    checks
}

/// The config as symbols (without `CONFIG_`) and values.
fn read(host: &Host) -> Result<BTreeMap<String, String>, ConfigError> {
    let bytes = std::fs::read(host.path("proc/config.gz")).map_err(ConfigError::Read)?;
    let deflated = skip_gzip_header(&bytes).ok_or(ConfigError::NotGzip)?;
    let text = miniz_oxide::inflate::decompress_to_vec_with_limit(deflated, CONFIG_LIMIT)
        .map_err(|error| ConfigError::Damaged(error.to_string()))?;
    let text = String::from_utf8_lossy(&text);
    let symbol = |line: &str| {
        let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    Ok(text.lines().filter_map(symbol).collect())
}

/// What follows the header of RFC 1952, section 2.3.
fn skip_gzip_header(bytes: &[u8]) -> Option<&[u8]> {
    const HCRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let (header, mut rest) = bytes.split_at_checked(10)?;
    let [0x1f, 0x8b, 8, flags, ..] = *header else { return None };
    if flags & EXTRA != 0 {
        let length = usize::from(u16::from_le_bytes(*rest.first_chunk()?));
        rest = rest.get(2 + length..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            rest = rest.get(rest.iter().position(|byte| *byte == 0)? + 1..)?;
        }
    }
    rest.get(if flags & HCRC != 0 { 2 } else { 0 }..)
}

struct Kernel<'h> {
    config: BTreeMap<String, String>,
    /// The names of modules that are not their symbol in lower case.
    modules: BTreeMap<String, String>,
    version: Option<(u32, u32)>,
    host: &'h Host,
}

impl Kernel<'_> {
    fn value(&self, symbol: &str) -> &str {
        self.config.get(symbol).map_or("n", String::as_str)
    }

    /// The module that the symbol builds, as /sys/module names it.
    fn module(&self, symbol: &str) -> String {
        let named = self.modules.get(symbol).cloned();
        named.unwrap_or_else(|| symbol.to_ascii_lowercase()).replace('-', "_")
    }
}

fn version(host: &Host) -> Option<(u32, u32)> {
    parse_version(&host.read("proc/sys/kernel/osrelease").ok()?)
}

/// `6.1` and `6.1.192-android14` are (6, 1).
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The part of a profile that is of use here; see the file's own header.
#[derive(Deserialize)]
struct RuleFile {
    rule: Vec<Rule>,
    #[serde(default)]
    modules: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Rule {
    id: String,
    title: String,
    level: String,
    symbol: Option<String>,
    #[serde(default)]
    all: Vec<String>,
    #[serde(default)]
    any: Vec<Group>,
    accept: Option<Vec<String>>,
    since: Option<String>,
    until: Option<String>,
    #[serde(default)]
    arch: Vec<String>,
    #[serde(default)]
    when: Vec<String>,
    #[serde(default)]
    vendor_module: bool,
    effect: String,
    fix: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Group {
    One(String),
    All(Vec<String>),
}

impl Group {
    fn symbols(&self) -> &[String] {
        match self {
            Group::One(symbol) => std::slice::from_ref(symbol),
            Group::All(symbols) => symbols,
        }
    }
}

impl Rule {
    /// It is about symbols of such a kernel, and matters enough to be said.
    fn concerns(&self, kernel: &Kernel<'_>) -> bool {
        let about_symbols = self.symbol.is_some() || !self.all.is_empty() || !self.any.is_empty();
        let arch = if ARCH == "aarch64" { "arm64" } else { ARCH };
        let here = self.arch.is_empty() || self.arch.iter().any(|name| name == arch);
        let bound = |text: &Option<String>| text.as_deref().and_then(parse_version);
        let of_version = kernel.version.is_none_or(|version| {
            bound(&self.since).is_none_or(|since| version >= since)
                && bound(&self.until).is_none_or(|until| version < until)
        });
        about_symbols
            && here
            && of_version
            && self.level != "optional"
            && self.when.iter().all(|condition| holds(condition, kernel))
    }

    /// None when it passes, otherwise why not.
    fn judge(&self, kernel: &Kernel<'_>) -> Option<String> {
        let groups: Vec<&[String]> = match &self.symbol {
            Some(symbol) => vec![std::slice::from_ref(symbol)],
            None if !self.all.is_empty() => vec![&self.all],
            None => self.any.iter().map(Group::symbols).collect(),
        };
        let failing = |symbols: &[String]| -> Vec<String> {
            symbols.iter().filter_map(|symbol| self.symbol_fails(symbol, kernel)).collect()
        };
        let mut reasons = Vec::new();
        for group in groups {
            let failed = failing(group);
            if failed.is_empty() {
                return None;
            }
            reasons.extend(failed);
        }
        // Drivers of the hardware are vendor modules on Android, which no config knows; whether
        // they work is looked at itself.
        (!self.vendor_module).then(|| reasons.join(", "))
    }

    fn symbol_fails(&self, symbol: &str, kernel: &Kernel<'_>) -> Option<String> {
        let value = kernel.value(symbol);
        let accepted = match &self.accept {
            Some(values) => values.iter().any(|accepted| accepted == value.trim_matches('"')),
            None if self.level == "forbidden" => value == "n",
            None => value == "y",
        };
        let loaded = || {
            let wants_it =
                self.accept.as_ref().is_none_or(|values| values.iter().any(|v| v == "y"));
            wants_it
                && value == "m"
                && kernel.host.exists(&format!("sys/module/{}", kernel.module(symbol)))
        };
        match (accepted || loaded(), value) {
            (true, _) => None,
            (false, "m") => Some(format!("{symbol}=m and {} is not loaded", kernel.module(symbol))),
            (false, "n") => Some(format!("{symbol} is not set")),
            (false, value) => Some(format!("{symbol}={value}")),
        }
    }

    fn failed(&self, reason: &str) -> Check {
        let found = format!("{}: {}: {reason}. {}", self.id, self.title, self.effect);
        let check = match self.level.as_str() {
            "recommended" => Check::warning("config", "kernel config", found),
            _ => Check::problem("config", "kernel config", found),
        };
        check.fix(self.fix.clone())
    }
}

/// `SYMBOL`, `SYMBOL=y`, `SYMBOL!=y`.
fn holds(condition: &str, kernel: &Kernel<'_>) -> bool {
    if let Some((symbol, value)) = condition.split_once("!=") {
        kernel.value(symbol) != value
    } else if let Some((symbol, value)) = condition.split_once('=') {
        kernel.value(symbol) == value
    } else {
        kernel.value(condition) != "n"
    }
}
