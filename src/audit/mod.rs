//! A kernel config and rules in, findings out.
//!
//! Rules are data: `kernel-configs/*.toml`, whose header says how to write one. A finding is
//! pass, fail, unknown or not applicable, and says where its evidence comes from. Nothing here
//! reads files: the caller gathers [`Facts`] from wherever it has them.

pub mod baseline;
mod batch;
pub mod check;
pub mod content;
mod error;
pub mod evidence;
mod files;
pub mod fragment;
pub mod group;
mod judge;
pub mod links;
mod profile;
pub mod render;
pub mod run;
pub(crate) mod words;
mod workers;

use crate::kernel::config::{KernelConfig, KernelVersion, Value};
use crate::kernel::module::Module;
use crate::kernel::{Arch, Scan};

pub use crate::bootset::{
    CmdlineMode, CmdlinePart, CmdlineWord, EffectiveCmdline, Origin, Setting, sources,
};
pub use crate::rulefile::Level;
pub use batch::check_all;
pub use check::{Options, check};
pub use error::{CheckError, Problem};
pub use evidence::{Confidence, Evidence};
pub use files::{File, Files};
pub use links::Links;
pub use profile::{Condition, Profile, ProfileError, Rule, When};
pub use words::{Word, recommended_words};

impl Level {
    /// As it is written in profiles and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Level::Required => "required",
            Level::Forbidden => "forbidden",
            Level::Recommended => "recommended",
            Level::Optional => "optional",
        }
    }

    /// It decides the outcome of a report.
    pub fn decides(self) -> bool {
        matches!(self, Level::Required | Level::Forbidden)
    }
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Satisfied, by evidence.
    Pass,
    /// Not satisfied, by evidence.
    Fail,
    /// The evidence does not decide it.
    Unknown,
    /// A rule for other kernels.
    NotApplicable,
}

impl Verdict {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Unknown => "unknown",
            Verdict::NotApplicable => "not_applicable",
        }
    }
}

/// What became of all rules that decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every one passed or does not apply.
    Pass,
    /// At least one failed.
    Fail,
    /// None failed, at least one is unknown.
    Inconclusive,
}

impl Outcome {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Inconclusive => "inconclusive",
        }
    }
}

/// Where a value was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The config embedded in a kernel.
    Ikconfig {
        /// What the kernel was called (`boot.img`).
        what: String,
        /// Where `IKCFG_ST` stands in the unpacked kernel, in bytes.
        offset: u64,
    },
    /// A config file by this name.
    File(String),
    /// The kernel command line.
    Cmdline,
    /// Names in the kernel's own symbol table.
    Kallsyms {
        /// What the kernel was called.
        what: String,
        /// How many names there are.
        count: usize,
        /// How sure it is.
        confidence: Confidence,
    },
    /// Nothing is known.
    NotKnown,
}

impl std::fmt::Display for Provenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Provenance::Ikconfig { what, offset } => {
                write!(f, "IKCONFIG at offset {offset:#x} of the unpacked kernel in {what}")
            }
            Provenance::File(name) => write!(f, "config file {name}"),
            Provenance::Cmdline => f.write_str("kernel command line"),
            Provenance::Kallsyms { what, count, confidence } => {
                let sure = confidence.name();
                write!(f, "{count} names in the symbol table of the kernel in {what} ({sure})")
            }
            Provenance::NotKnown => f.write_str("not known"),
        }
    }
}

/// How a feature is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Built {
    /// `=y`.
    In,
    /// `=m`.
    Module,
    /// Not at all.
    Off,
    /// There is no config to tell.
    Unknown,
}

/// What is known about a kernel. Everything may be missing; rules that need it are then unknown.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The config and where it comes from.
    pub config: Option<(KernelConfig, Provenance)>,
    /// The release: `6.1.192-android14-11-g0a1b2c3`.
    pub release: Option<String>,
    /// The architecture.
    pub arch: Option<Arch>,
    /// The command line as far as it is known, without the one built into the kernel.
    pub cmdline: Option<String>,
    /// The same in pieces, when it is known where they come from; see [`Facts::set_cmdline`].
    pub cmdline_parts: Vec<CmdlinePart>,
    /// The modules that will be there at boot; None when nobody looked.
    pub modules: Option<Vec<Module>>,
    /// There may be more modules than these: they are those in the ramdisks of the images, and
    /// nobody looked at the other partitions.
    pub modules_partial: bool,
    /// Whether the modules find the symbols they need; None where that was not compared.
    pub links: Option<Links>,
    /// What the kernel's symbol table tells; counts only where there is no config.
    pub evidence: Option<Evidence>,
}

impl Facts {
    /// The facts that a search of a kernel gives, with what the kernel is called in messages.
    /// Its embedded config is left out when it is not one.
    pub fn from_scan(scan: &Scan, arch: Option<Arch>, what: &str) -> Self {
        let mut facts = Facts { release: scan.version.clone(), arch, ..Facts::default() };
        if let Some(ikconfig) = &scan.ikconfig
            && let Ok(config) = KernelConfig::parse(&ikconfig.text)
        {
            let offset = ikconfig.offset;
            facts.set_config(config, Provenance::Ikconfig { what: what.to_owned(), offset });
        }
        facts
    }

    /// Take this config. Its header tells release and architecture where nothing else did.
    pub fn set_config(&mut self, config: KernelConfig, provenance: Provenance) {
        self.release = self.release.take().or_else(|| config.release().map(str::to_owned));
        self.arch = self.arch.or(config.arch());
        self.config = Some((config, provenance));
    }

    /// What reports tell of them: where config and evidence come from, without their symbols and
    /// without the modules. It takes little memory, however many kernels there are.
    #[must_use]
    pub fn outline(self) -> Facts {
        let config = self.config.map(|(_, provenance)| (KernelConfig::default(), provenance));
        let evidence = self.evidence.map(Evidence::outline);
        Facts { config, evidence, modules: None, links: None, ..self }
    }

    /// The module of that name (with `_`); of several the one that fits the kernel.
    fn module(&self, name: &str) -> Option<&Module> {
        let mut named = self.modules.iter().flatten().filter(|module| module.name == name);
        let first = named.clone().next();
        let fits = |module: &&Module| {
            self.release.as_deref().is_some_and(|release| module.vermagic_matches(release))
        };
        named.find(fits).or(first)
    }

    /// The version, by the release.
    pub fn version(&self) -> Option<KernelVersion> {
        KernelVersion::parse(self.release.as_deref()?)
    }

    /// How the feature of `symbol` (without `CONFIG_`) is built.
    pub fn built(&self, symbol: &str) -> Built {
        let Some((config, _)) = &self.config else {
            return match self.sign(symbol).map(|sign| sign.state) {
                Some(evidence::State::BuiltIn) => Built::In,
                Some(evidence::State::Off) => Built::Off,
                Some(evidence::State::NotBuiltIn) | None => Built::Unknown,
            };
        };
        match config.get(symbol) {
            Some(Value::Yes) => Built::In,
            Some(Value::Module) => Built::Module,
            _ => Built::Off,
        }
    }

    /// An Android Generic Kernel Image, whose drivers for the hardware are vendor modules: by
    /// its release (`-android14-`) or its config.
    pub fn is_gki(&self) -> bool {
        let by_config = self.config.as_ref().is_some_and(|(config, _)| {
            config.is_set("GKI_HACKS_TO_FIX")
                || matches!(config.get("LOCALVERSION"), Some(Value::Text(t)) if names_gki(t))
        });
        by_config || self.release.as_deref().is_some_and(names_gki)
    }
}

/// `-android` and two digits, as a whole word of a release.
fn names_gki(release: &str) -> bool {
    release.split('-').skip(1).any(|word| {
        let digits = word.strip_prefix("android").unwrap_or_default();
        digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// A rule and what became of it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, in one line: `VFIO_PCI is not set`.
    pub reason: String,
    /// Where the evidence comes from.
    pub provenance: Provenance,
    /// Where the word of the command line stands that decided it, whatever the config says.
    pub word: Option<Origin>,
}

impl Finding {
    /// A module decided it; the reason names its file.
    pub fn by_module(&self) -> bool {
        self.reason.contains(judge::MODULE_IS_THERE)
    }
}

/// What an audit gives.
#[derive(Clone, Debug)]
pub struct Report {
    /// One for each rule of the profile, in its order.
    pub findings: Vec<Finding>,
    /// What the rules that decide come to.
    pub verdict: Outcome,
    /// What does not fit together among the facts.
    pub notes: Vec<String>,
    /// Words for the kernel command line.
    pub words: Vec<Word>,
    /// The kernel's command line with the origin of every word; None when nothing is known.
    pub cmdline: Option<EffectiveCmdline>,
}

impl Report {
    /// The findings with this verdict, the most important first.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Finding> {
        let mut found: Vec<&Finding> =
            self.findings.iter().filter(|finding| finding.verdict == verdict).collect();
        found.sort_by_key(|finding| finding.rule.level);
        found.into_iter()
    }

    /// The finding of the rule `id`.
    pub fn finding(&self, id: &str) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.rule.id == id)
    }
}

/// Hold the facts against every rule of the profile.
pub fn evaluate(profile: &Profile, facts: &Facts) -> Report {
    let findings: Vec<Finding> =
        profile.rules.iter().map(|rule| judge::judge(profile, rule, facts)).collect();
    let deciding = |verdict| {
        findings.iter().any(|finding| finding.rule.level.decides() && finding.verdict == verdict)
    };
    let verdict = if deciding(Verdict::Fail) {
        Outcome::Fail
    } else if deciding(Verdict::Unknown) {
        Outcome::Inconclusive
    } else {
        Outcome::Pass
    };
    let cmdline = EffectiveCmdline::new(facts);
    let mut notes = notes(facts);
    notes.extend(profile.remarks(facts, cmdline.as_ref()));
    Report { findings, verdict, notes, words: profile.recommended_words(facts), cmdline }
}

/// What does not fit together among the facts, and what is odd about the config.
fn notes(facts: &Facts) -> Vec<String> {
    let mut notes = Vec::new();
    let Some((config, provenance)) = &facts.config else { return notes };
    if let (Some(kernel), Some(config)) = (facts.arch, config.arch())
        && kernel != config
    {
        notes.push(format!("the config is for {config}, the kernel for {kernel}"));
    }
    if let (Some(kernel), Some(config)) = (facts.version(), config.version())
        // Distributions call every 6.1.x 6.1.0.
        && (kernel.major, kernel.minor) != (config.major, config.minor)
    {
        notes.push(format!("the config is of Linux {config}, the kernel is {kernel}"));
    }
    for duplicate in config.duplicates() {
        let (symbol, line) = (&duplicate.symbol, duplicate.line);
        notes.push(format!("{provenance}: {symbol} is set again in line {line}; that one counts"));
    }
    if let Some(first) = config.strange_lines().first() {
        let count = config.strange_lines().len();
        notes.push(format!("{provenance}: {count} line(s) are no setting, the first is {first}"));
    }
    notes
}
