//! The running kernel against the rules of the desktop audit.
//!
//! The rules are those of [`kernel-configs/passthrough.toml`](../../../kernel-configs), which the
//! build script has read; the evaluator is the desktop's. What is known of the running kernel is its
//! `/proc/config.gz`, its command line and the modules that it has loaded.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::io;

use super::check::Check;
use crate::cmdline::Cmdline;
use crate::device::sys::host::{Host, errno_text};
use crate::device::sys::machine;
use crate::rules::config::{self, KernelConfig, Value};
use crate::rules::{
    Arch, Assignment, Condition, Coverage, Fit, Given, Judgement, KernelInfo, KernelVersion, Level,
    Module, Note, Profile, Rule, Scope, Setting, Switch, Symbol, Test, Verdict, When, judge,
    module_name,
};

/// The profile that the device goes by: rules that matter, and notes about the command line.
static PROFILE: Profile = include!(concat!(env!("OUT_DIR"), "/profile.rs"));

/// Rules, by their ids, and what is there when the kernel has what they ask for,
/// whatever its config says (a fork may call it by another name).
const SHOWN_BY: &[(&str, Sign)] = &[
    ("VB-KVM-001", Sign::Path("dev/kvm")),
    ("VB-KVM-002", Sign::Path("dev/kvm")),
    ("VB-KVM-003", Sign::Path("dev/kvm")),
    ("VB-VFIO-001", Sign::Path("dev/vfio/vfio")),
    ("VB-VFIO-001", Sign::Path("sys/class/vfio-dev")),
    ("VB-VFIO-003", Sign::Path("sys/bus/pci/drivers/vfio-pci")),
    ("VB-IOMMU-002", Sign::Path("sys/kernel/iommu_groups/0")),
    ("VB-IOMMU-003", Sign::Path("sys/kernel/iommu_groups/0")),
    ("VB-PCI-002", Sign::Entries("sys/bus/pci/devices")),
];

/// What shows that the kernel has something.
enum Sign {
    /// This path exists.
    Path(&'static str),
    /// There is something in this directory.
    Entries(&'static str),
}

/// A config that takes more bytes than this is not one.
const CONFIG_LIMIT: usize = 4 << 20;

/// Why there is no config to look at.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read; without CONFIG_IKCONFIG_PROC it does not exist.
    #[error("{}", errno_text(.0))]
    Read(io::Error),
    /// It is not a gzip file.
    #[error("it is not a gzip file")]
    NotGzip,
    /// It cannot be unpacked.
    #[error("it is damaged: {0}")]
    Damaged(miniz_oxide::inflate::DecompressError),
    /// What is in it is something else.
    #[error(transparent)]
    NotConfig(#[from] config::ConfigError),
}

/// A rule held against the running kernel.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// Whether it is satisfied, and why.
    pub judgement: Judgement<BootCmdline, Infallible>,
}

/// `/proc/cmdline`, the one place where the running kernel's parameters are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootCmdline;

impl fmt::Display for BootCmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/proc/cmdline")
    }
}

/// Hold the running kernel against every rule. The second value says why nothing is known of its
/// config.
pub fn findings(host: &Host) -> (Vec<Finding>, Option<ConfigError>) {
    let (kernel, error) = RunningKernel::read(host);
    (kernel.findings(), error)
}

pub(super) fn checks(
    host: &Host,
    kernel: &RunningKernel,
    error: Option<ConfigError>,
) -> Vec<Check> {
    let title = "kernel config";
    let findings = kernel.findings();
    let (mut passed, mut unknown) = (0, 0);
    let mut failed = Vec::new();
    for finding in &findings {
        match finding.judgement.verdict {
            Verdict::NotApplicable => {}
            Verdict::Pass => passed += 1,
            Verdict::Unknown | Verdict::Fail if finding.is_shown(host) => passed += 1,
            Verdict::Unknown => unknown += 1,
            Verdict::Fail => failed.push(finding.check()),
        }
    }
    let summary = match error {
        Some(error) => {
            let found = format!("/proc/config.gz: {error}; its features are tested instead");
            Check::warning("config", title, found)
                .fix("CONFIG_IKCONFIG_PROC=y shows the config of a kernel")
        }
        None => {
            let mut found = format!("{passed} of {} rules pass", passed + unknown + failed.len());
            if unknown > 0 {
                found += &format!(", {unknown} cannot be decided");
            }
            Check::ok("config", title, found)
        }
    };
    std::iter::once(summary).chain(failed).collect()
}

impl Finding {
    /// What the rule asks for can be seen.
    fn is_shown(&self, host: &Host) -> bool {
        let shows = |sign: &Sign| match sign {
            Sign::Path(path) => host.exists(path),
            Sign::Entries(path) => host.list(path).is_ok_and(|entries| !entries.is_empty()),
        };
        SHOWN_BY.iter().any(|(id, sign)| self.rule.id == *id && shows(sign))
    }

    fn check(&self) -> Check {
        let Rule { id, title, effect, fix, level, .. } = self.rule;
        let found = format!("{id}: {title}: {}. {effect}", self.judgement.reason);
        let check = match level {
            Level::Required | Level::Forbidden => Check::problem,
            Level::Recommended | Level::Optional => Check::warning,
        };
        Check { rule: Some(id), ..check("config", "kernel config", found).fix(fix.as_ref()) }
    }
}

/// The config.
fn read(host: &Host) -> Result<KernelConfig, ConfigError> {
    let bytes = std::fs::read(host.path("proc/config.gz")).map_err(ConfigError::Read)?;
    let deflated = skip_gzip_header(&bytes).ok_or(ConfigError::NotGzip)?;
    let text = miniz_oxide::inflate::decompress_to_vec_with_limit(deflated, CONFIG_LIMIT)
        .map_err(ConfigError::Damaged)?;
    Ok(KernelConfig::parse(&text)?)
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

/// What is known of the running kernel.
pub(super) struct RunningKernel {
    config: Option<KernelConfig>,
    release: Option<String>,
    cmdline: Option<Cmdline<String>>,
    arch: Option<Arch>,
    /// By the names in `/sys/module`: those that are loaded, and some that are built in.
    modules: Vec<String>,
}

impl RunningKernel {
    /// The second value says why nothing is known of its config.
    pub(super) fn read(host: &Host) -> (Self, Option<ConfigError>) {
        let (config, error) = match read(host) {
            Ok(config) => (Some(config), None),
            Err(error) => (None, Some(error)),
        };
        let release = host.read("proc/sys/kernel/osrelease").ok();
        let kernel = RunningKernel {
            config,
            release: release.map(|text| text.trim_end().to_owned()),
            cmdline: host.read("proc/cmdline").ok().map(Cmdline::new),
            arch: Arch::from_name(&machine::of(host)),
            modules: host.list("sys/module").unwrap_or_default(),
        };
        (kernel, error)
    }

    fn findings(&self) -> Vec<Finding> {
        let finding = |rule| Finding { rule, judgement: judge(&PROFILE, rule, self) };
        PROFILE.rules.iter().map(finding).collect()
    }

    /// The notes of the profile that are for this kernel.
    pub(super) fn notes(&self) -> Vec<&'static Note> {
        PROFILE.notes.iter().filter(|note| note.scope.includes(self)).collect()
    }
}

impl KernelInfo for RunningKernel {
    type Origin = BootCmdline;
    type Misfit = Infallible;

    /// By its config, or what else shows it.
    fn arch(&self) -> Option<Arch> {
        let by_config = self.config.as_ref().and_then(KernelConfig::arch);
        by_config.or(self.arch)
    }

    fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    fn has_config(&self) -> bool {
        self.config.is_some()
    }

    fn symbol(&self, name: &str) -> Symbol<'_> {
        match &self.config {
            Some(config) => Symbol::Value(config.get(name).unwrap_or(&Value::No)),
            None => Symbol::NoConfig,
        }
    }

    fn coverage(&self) -> Coverage {
        Coverage::Loaded
    }

    fn find_module(&self, accept: &dyn Fn(&str) -> bool) -> Option<Module<Infallible>> {
        let name = self.modules.iter().map(|name| module_name(name)).find(|name| accept(name))?;
        Some(Module { name, file: None, fit: Fit::Loaded })
    }

    fn occurrences(&self, name: &str) -> Option<Vec<Vec<Given<BootCmdline>>>> {
        let own = self.cmdline.as_ref()?.parameters().filter(|parameter| parameter.is(name));
        let value = |value: Option<&[u8]>| {
            (String::from_utf8_lossy(value.unwrap_or_default()).into_owned(), BootCmdline)
        };
        Some(vec![own.map(|parameter| value(parameter.value)).collect()])
    }

    fn parameter(&self, name: &str) -> Setting<BootCmdline> {
        let Some(cmdline) = &self.cmdline else { return Setting::NoCommandLine };
        match cmdline.effective(name) {
            None => Setting::Absent,
            Some(parameter) => {
                let value = String::from_utf8_lossy(parameter.value.unwrap_or_default());
                Setting::Value(value.into_owned(), BootCmdline)
            }
        }
    }
}
