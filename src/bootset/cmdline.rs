//! The command line that the kernel uses, with the origin of every parameter.
//!
//! What the bootloader adds by itself (and takes from the device tree) is not known here.

use std::fmt;

use super::facts::Facts;
use super::origin::{CmdlinePart, Origin};
use crate::cmdline::{Cmdline, Parameter, same_name};
use crate::kernel::Arch;
use crate::kernel::config::Value;

/// How the kernel uses `CONFIG_CMDLINE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CmdlineMode {
    /// There is none.
    None,
    /// Unknown, because there is no config.
    Unknown,
    /// It is used only if the bootloader passes no command line (`CMDLINE_FROM_BOOTLOADER`, which
    /// is the default).
    Fallback,
    /// It is joined with the bootloader's (`CMDLINE_EXTEND`): upstream puts it last, Android's
    /// 5.10 first.
    Extend,
    /// It comes before the bootloader's (x86).
    Front,
    /// It replaces the bootloader's (`CMDLINE_FORCE`, on x86 `CMDLINE_OVERRIDE`).
    Force,
}

impl CmdlineMode {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            CmdlineMode::None => "none",
            CmdlineMode::Unknown => "unknown",
            CmdlineMode::Fallback => "from_bootloader",
            CmdlineMode::Extend => "extend",
            CmdlineMode::Front => "front",
            CmdlineMode::Force => "force",
        }
    }

    /// An explanation for people; None if none is needed.
    pub fn explain(self) -> Option<&'static str> {
        match self {
            CmdlineMode::None => None,
            CmdlineMode::Unknown => Some(
                "without a config it is unknown whether the kernel has a built-in command line",
            ),
            CmdlineMode::Fallback => {
                Some("CONFIG_CMDLINE is used only if the bootloader passes no command line")
            }
            CmdlineMode::Extend => Some(
                "CONFIG_CMDLINE_EXTEND joins both; upstream puts CONFIG_CMDLINE last, Android's \
                 5.10 first",
            ),
            CmdlineMode::Front => Some("CONFIG_CMDLINE comes first"),
            CmdlineMode::Force => Some(
                "CONFIG_CMDLINE_FORCE: the kernel ignores the parameters of image and bootloader",
            ),
        }
    }
}

/// One parameter and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmdlineParameter {
    /// As it is written, without the quotes around it or its value.
    pub text: String,
    /// Where it is.
    pub origin: Origin,
    /// The kernel sees it.
    pub counts: bool,
    /// With its quotes.
    raw: Vec<u8>,
}

impl CmdlineParameter {
    fn of<'l>(text: &'l str, origin: &'l Origin, counts: bool) -> impl Iterator<Item = Self> + 'l {
        let line = Cmdline::new(text);
        let entries = line.all().map(|parameter| CmdlineParameter {
            text: parameter.to_string(),
            origin: origin.clone(),
            counts,
            raw: parameter.raw.to_vec(),
        });
        entries.collect::<Vec<_>>().into_iter()
    }

    /// As the kernel parses it; None if it consists of spaces.
    pub(crate) fn parameter(&self) -> Option<Parameter<'_>> {
        Parameter::first_of(&self.raw)
    }

    fn is(&self, name: &str) -> bool {
        self.parameter().is_some_and(|parameter| parameter.is(name))
    }

    /// Whether the parameters of the kernel end here.
    fn ends_parameters(&self) -> bool {
        self.parameter().is_some_and(|parameter| parameter.ends_parameters())
    }

    /// Its origin, and whether the kernel ignores it: `CONFIG_CMDLINE, ignored`.
    pub fn label(&self) -> String {
        format!("{}{}", self.origin, if self.counts { "" } else { ", ignored" })
    }
}

/// The kernel's command line as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveCmdline {
    /// In the order in which the kernel sees them; with [`CmdlineMode::Extend`] those of
    /// `CONFIG_CMDLINE` last, which may be wrong.
    pub entries: Vec<CmdlineParameter>,
    /// How the kernel uses `CONFIG_CMDLINE`.
    pub mode: CmdlineMode,
}

impl Default for EffectiveCmdline {
    /// An unknown command line.
    fn default() -> Self {
        EffectiveCmdline { entries: Vec::new(), mode: CmdlineMode::Unknown }
    }
}

/// What a parameter is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// It does not occur.
    Absent,
    /// Its values as the last parameter, with their origin: one, or two that differ where it is not
    /// known which of them comes last.
    Values(Vec<(String, Origin)>),
}

impl EffectiveCmdline {
    /// The line for these facts; None when nothing is known about it.
    pub fn new(facts: &Facts) -> Option<Self> {
        let mode = mode(facts);
        let builtin = match facts.config.as_ref().and_then(|(config, _)| config.get("CMDLINE")) {
            Some(Value::Text(text)) => text.as_str(),
            _ => "",
        };
        let given = given(facts);
        if given.is_none() && builtin.is_empty() {
            return None;
        }
        let builtin_counts = match mode {
            CmdlineMode::None | CmdlineMode::Unknown => false,
            CmdlineMode::Fallback => given.is_none(),
            CmdlineMode::Extend | CmdlineMode::Front | CmdlineMode::Force => true,
        };
        let given_counts = mode != CmdlineMode::Force;
        let own = CmdlineParameter::of(builtin, &Origin::Config, builtin_counts);
        let parts = given.iter().flatten();
        let given =
            parts.flat_map(|part| CmdlineParameter::of(&part.text, &part.origin, given_counts));
        let mut entries: Vec<CmdlineParameter> = match mode {
            CmdlineMode::Front => own.chain(given).collect(),
            _ => given.chain(own).collect(),
        };
        place_bootconfig(&mut entries, facts);
        Some(EffectiveCmdline { entries, mode })
    }

    /// The entries that the kernel sees, for its own parameters: not those after `--`.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &CmdlineParameter> {
        self.entries
            .iter()
            .filter(|parameter| parameter.counts)
            .take_while(|parameter| !parameter.ends_parameters())
    }

    /// For each parameter the index of the one that overrides it: the last of its name that the kernel
    /// sees and whose value it takes, or the first for `androidboot.*` (`ro.boot.*` properties are set
    /// once). None for a parameter that takes effect, that the kernel does not see, or that may be
    /// repeated.
    pub fn overridden(&self) -> Vec<Option<usize>> {
        let seen = self.parameters().count();
        let counting = |(_, parameter): &(usize, &CmdlineParameter)| parameter.counts;
        let parameters: Vec<(usize, Parameter<'_>)> =
            (self.entries.iter().enumerate().filter(counting))
                .take(seen)
                .filter_map(|(index, parameter)| Some((index, parameter.parameter()?)))
                .filter(|(_, own)| !EVERY_ONE_COUNTS.iter().any(|known| own.is(known)))
                .collect();
        let mut overridden = vec![None; self.entries.len()];
        for (index, Parameter { name, .. }) in &parameters {
            let mut same = parameters
                .iter()
                .filter(|(_, other)| same_name(other.name, name) && other.takes_effect());
            let first_wins = name.starts_with(b"androidboot.");
            let winner = if first_wins { same.next() } else { same.next_back() };
            overridden[*index] = winner.map(|(winner, _)| *winner).filter(|w| w != index);
        }
        overridden
    }

    /// Bytes of the entries that the kernel sees, with the spaces between them.
    pub fn length(&self) -> usize {
        let seen = self.entries.iter().filter(|parameter| parameter.counts);
        seen.map(|parameter| parameter.raw.len() + 1).sum::<usize>().saturating_sub(1)
    }

    /// The values of the parameter `name`, empty without one, in each order in which the kernel may see
    /// them.
    pub(crate) fn occurrences(&self, name: &str) -> Vec<Vec<(String, Origin)>> {
        let values: Vec<(String, Origin)> = self
            .parameters()
            .filter_map(|parameter| {
                let own = Some(parameter.parameter()?).filter(|own| own.is(name))?;
                let value = String::from_utf8_lossy(own.value.unwrap_or_default());
                Some((value.into_owned(), parameter.origin.clone()))
            })
            .collect();
        let (own, given): (Vec<_>, Vec<_>) =
            values.iter().cloned().partition(|(_, origin)| *origin == Origin::Config);
        match self.mode == CmdlineMode::Extend && !own.is_empty() && !given.is_empty() {
            true => vec![values, own.into_iter().chain(given).collect()],
            false => vec![values],
        }
    }

    /// What the parameter `name` is set to; `-` and `_` are the same in names (`parameq` in
    /// `kernel/params.c`).
    pub fn setting(&self, name: &str) -> Setting {
        let last = |wanted: &dyn Fn(&CmdlineParameter) -> bool| {
            self.parameters()
                .filter(|parameter| wanted(parameter))
                .filter_map(|parameter| {
                    let own = parameter.parameter()?;
                    let own = Some(own).filter(|own| own.is(name) && own.takes_effect())?;
                    let value = String::from_utf8_lossy(own.value.unwrap_or_default());
                    Some((value.into_owned(), parameter.origin.clone()))
                })
                .last()
        };
        let mut values: Vec<_> = match self.mode {
            CmdlineMode::Extend => {
                let own = last(&|parameter| parameter.origin == Origin::Config);
                own.into_iter()
                    .chain(last(&|parameter| parameter.origin != Origin::Config))
                    .collect()
            }
            _ => last(&|_| true).into_iter().collect(),
        };
        values.dedup_by(|a, b| a.0 == b.0);
        if values.is_empty() { Setting::Absent } else { Setting::Values(values) }
    }
}

impl fmt::Display for EffectiveCmdline {
    /// One line, with each origin before its parameters:
    /// `boot.img: quiet; CONFIG_CMDLINE, ignored: ro`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = None;
        for parameter in &self.entries {
            let label = parameter.label();
            if before.as_ref() != Some(&label) {
                let between = if before.is_some() { "; " } else { "" };
                write!(f, "{between}{label}:")?;
                before = Some(label);
            }
            let quote = if parameter.text.contains(char::is_whitespace) { "\"" } else { "" };
            write!(f, " {quote}{}{quote}", parameter.text)?;
        }
        match self.mode.explain() {
            Some(explained) => write!(f, " ({explained})"),
            None => Ok(()),
        }
    }
}

/// Parameters that may be repeated, each with an effect of its own
/// (`Documentation/admin-guide/kernel-parameters.txt`).
const EVERY_ONE_COUNTS: &[&str] =
    &["console", "dyndbg", "earlycon", "hugepages", "hugepagesz", "initcall_blacklist", "memmap"];

/// Insert the entries of the bootconfig as the kernel does: those below `kernel` before everything
/// else, with or without `CMDLINE_FORCE`, and those below `init` after a `--`. The kernel reads the
/// bootconfig only with the parameter `bootconfig`, or if its config says so.
fn place_bootconfig(entries: &mut Vec<CmdlineParameter>, facts: &Facts) {
    let config = facts.config.as_ref().map(|(config, _)| config.as_ref());
    let able = config.is_none_or(|config| config.is_set("BOOT_CONFIG"));
    let forced = config.is_some_and(|config| config.is_set("BOOT_CONFIG_FORCE"));
    let mut seen = entries
        .iter()
        .filter(|parameter| parameter.counts)
        .take_while(|parameter| !parameter.ends_parameters());
    let asked = seen.any(|parameter| parameter.is("bootconfig"));
    let of_bootconfig =
        |parameter: &CmdlineParameter| matches!(parameter.origin, Origin::Bootconfig(_));
    let (mut placed, others): (Vec<_>, Vec<_>) = entries.drain(..).partition(of_bootconfig);
    placed.iter_mut().for_each(|parameter| parameter.counts = able && (asked || forced));
    let end = placed.iter().position(CmdlineParameter::ends_parameters).unwrap_or(placed.len());
    let init = placed.split_off(end);
    entries.extend(placed);
    entries.extend(others);
    entries.extend(init);
}

/// The parts of the bootloader's line; None when nothing is known about it.
fn given(facts: &Facts) -> Option<Vec<CmdlinePart>> {
    if !facts.cmdline_parts.is_empty() {
        return Some(facts.cmdline_parts.clone());
    }
    let text = facts.cmdline.clone()?;
    Some(vec![CmdlinePart { origin: Origin::Given, text }])
}

fn mode(facts: &Facts) -> CmdlineMode {
    let Some((config, _)) = &facts.config else { return CmdlineMode::Unknown };
    let set = |symbol| config.is_set(symbol);
    let x86 = matches!(facts.arch, Some(Arch::X86_64 | Arch::X86)) || set("CMDLINE_BOOL");
    match config.get("CMDLINE") {
        Some(Value::Text(text)) if !text.is_empty() => {}
        _ => return CmdlineMode::None,
    }
    if set("CMDLINE_FORCE") || set("CMDLINE_OVERRIDE") {
        CmdlineMode::Force
    } else if set("CMDLINE_EXTEND") {
        CmdlineMode::Extend
    } else if x86 {
        CmdlineMode::Front
    } else {
        CmdlineMode::Fallback
    }
}

impl Facts {
    /// Take the pieces of the bootloader's command line, in its order.
    pub fn set_cmdline(&mut self, parts: Vec<CmdlinePart>) {
        let texts = parts.iter().map(|part| part.text.trim()).filter(|text| !text.is_empty());
        self.cmdline = Some(texts.collect::<Vec<_>>().join(" "));
        self.cmdline_parts = parts;
    }
}
