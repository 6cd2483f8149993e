//! The running kernel's config against the rules of the desktop audit.
//!
//! The rules are those of [`kernel-configs/passthrough.toml`](../../../kernel-configs), as the build
//! script left them. Only those about symbols are used here: the command line, the modules and the
//! hardware are looked at themselves, which tells more than any config.

use std::io;

use super::Check;
use crate::device::sys::host::{Host, errno_text};
use crate::rulefile::Level;

/// Rules, by their ids, and what is there when the kernel has what they ask for,
/// whatever its config says (a fork may call it by another name).
const SHOWN_BY: [(&str, &str); 6] = [
    ("VB-KVM-001", "dev/kvm"),
    ("VB-KVM-002", "dev/kvm"),
    ("VB-VFIO-001", "dev/vfio/vfio"),
    ("VB-VFIO-003", "sys/bus/pci/drivers/vfio-pci"),
    ("VB-IOMMU-002", "sys/kernel/iommu_groups/0"),
    ("VB-IOMMU-003", "sys/kernel/iommu_groups/0"),
];

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
    let kernel = Kernel { config, version: version(host), host };
    let decisive = RULES.iter().filter(|rule| rule.concerns(&kernel));
    let mut passed = 0;
    let mut checks = Vec::new();
    for rule in decisive {
        match rule.judge(&kernel) {
            Some(reason) if !rule.is_shown(host) => checks.push(rule.failed(&reason)),
            _ => passed += 1,
        }
    }
    let found = format!("{passed} of {} rules pass", passed + checks.len());
    checks.insert(0, Check::ok("config", title, found));
    checks
}

/// The config's text.
fn read(host: &Host) -> Result<String, ConfigError> {
    let bytes = std::fs::read(host.path("proc/config.gz")).map_err(ConfigError::Read)?;
    let deflated = skip_gzip_header(&bytes).ok_or(ConfigError::NotGzip)?;
    let text = miniz_oxide::inflate::decompress_to_vec_with_limit(deflated, CONFIG_LIMIT)
        .map_err(|error| ConfigError::Damaged(error.to_string()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
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
    config: String,
    version: Option<(u32, u32)>,
    host: &'h Host,
}

impl Kernel<'_> {
    fn value(&self, symbol: &str) -> &str {
        // Of two lines the kernel's own reader takes the last.
        let mut lines = self.config.lines().rev();
        lines
            .find_map(|line| line.strip_prefix("CONFIG_")?.strip_prefix(symbol)?.strip_prefix('='))
            .unwrap_or("n")
    }

    /// The module that the symbol builds, as /sys/module names it.
    fn module(&self, symbol: &str) -> String {
        let named = MODULES.iter().find(|(of, _)| *of == symbol);
        named.map_or_else(|| symbol.to_ascii_lowercase(), |(_, name)| name.replace('-', "_"))
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

/// A rule about symbols, for the architecture that this is built for.
struct Rule {
    id: &'static str,
    title: &'static str,
    level: Level,
    /// All symbols of one of these have an accepted value.
    groups: &'static [&'static [&'static str]],
    /// Empty: what the level says.
    accept: &'static [&'static str],
    since: Option<(u32, u32)>,
    until: Option<(u32, u32)>,
    when: &'static [&'static str],
    vendor_module: bool,
    effect: &'static str,
    fix: &'static str,
}

// RULES, and MODULES: the names of modules that are not their symbol in lower case.
include!(concat!(env!("OUT_DIR"), "/rules.rs"));

impl Rule {
    /// It is about such a kernel.
    fn concerns(&self, kernel: &Kernel<'_>) -> bool {
        let of_version = kernel.version.is_none_or(|version| {
            self.since.is_none_or(|since| version >= since)
                && self.until.is_none_or(|until| version < until)
        });
        of_version && self.when.iter().all(|condition| holds(condition, kernel))
    }

    /// None when it passes, otherwise why not.
    fn judge(&self, kernel: &Kernel<'_>) -> Option<String> {
        let mut reasons = Vec::new();
        for group in self.groups {
            let before = reasons.len();
            reasons.extend(group.iter().filter_map(|symbol| self.symbol_fails(symbol, kernel)));
            if reasons.len() == before {
                return None;
            }
        }
        // Drivers of the hardware are vendor modules on Android, which no config knows; whether
        // they work is looked at itself.
        (!self.vendor_module).then(|| reasons.join(", "))
    }

    /// What the rule asks for is there to be seen.
    fn is_shown(&self, host: &Host) -> bool {
        SHOWN_BY.iter().any(|(id, path)| self.id == *id && host.exists(path))
    }

    fn symbol_fails(&self, symbol: &str, kernel: &Kernel<'_>) -> Option<String> {
        let value = kernel.value(symbol);
        let accepted = match self.accept {
            [] if self.level == Level::Forbidden => value == "n",
            [] => value == "y",
            values => values.contains(&value.trim_matches('"')),
        };
        let loaded = || {
            let wants_it = self.accept.is_empty() || self.accept.contains(&"y");
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
        let check = match self.level {
            Level::Recommended => Check::warning("config", "kernel config", found),
            _ => Check::problem("config", "kernel config", found),
        };
        check.fix(self.fix)
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
