//! Every prerequisite of passthrough, looked at on the running system: what is there, whether that
//! is enough, and what to do where it is not.
//!
//! | file | subject |
//! |---|---|
//! | `system` | architecture, root, SELinux |
//! | `kernel_config` | `/proc/config.gz` against the rules of the desktop audit |
//! | `cmdline` | words of the kernel command line |
//! | `virtualisation` | KVM, and who else may own EL2 |
//! | `iommu` | groups, the IOMMU's driver, isolated interrupts |
//! | `vfio` | the VFIO interface |
//! | `guest` | memory, processors and QEMU |
//! | `boot_log` | what PID 1 did in this boot |
//!
//! Nothing is changed. A check that cannot be made says so and why; none stops the others.

mod boot_log;
mod cmdline;
mod guest;
mod iommu;
mod kernel_config;
mod system;
mod vfio;
mod virtualisation;

use crate::cmdline::Cmdline;
use crate::device::sys::host::Host;
use crate::device::sys::kernel_log;

pub use kernel_config::{BootCmdline, ConfigError, Finding, findings};

/// How a prerequisite is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It is there.
    Ok,
    /// Passthrough works without it, or it could not be looked at.
    Warning,
    /// Passthrough does not work like this.
    Problem,
}

impl Status {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Problem => "problem",
        }
    }
}

/// One prerequisite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Stable: `kvm`, `iommu-groups`.
    pub id: &'static str,
    /// What it is about, for people.
    pub title: &'static str,
    /// How it is.
    pub status: Status,
    /// What was seen, and what that means.
    pub found: String,
    /// What to do; None where there is nothing to be done.
    pub fix: Option<String>,
}

impl Check {
    fn ok(id: &'static str, title: &'static str, found: impl Into<String>) -> Self {
        Check { id, title, status: Status::Ok, found: found.into(), fix: None }
    }

    fn warning(id: &'static str, title: &'static str, found: impl Into<String>) -> Self {
        Check { status: Status::Warning, ..Check::ok(id, title, found) }
    }

    fn problem(id: &'static str, title: &'static str, found: impl Into<String>) -> Self {
        Check { status: Status::Problem, ..Check::ok(id, title, found) }
    }

    fn fix(self, fix: impl Into<String>) -> Self {
        Check { fix: Some(fix.into()), ..self }
    }
}

/// Look at everything.
pub fn examine(host: &Host) -> Vec<Check> {
    let log = kernel_log::read(host);
    let cmdline = Cmdline::new(host.read("proc/cmdline").unwrap_or_default());
    let mut checks = system::checks(host);
    checks.extend(kernel_config::checks(host));
    checks.extend(cmdline::checks(&cmdline));
    checks.extend(virtualisation::checks(host, &cmdline, log.as_deref().ok()));
    checks.extend(iommu::checks(host, log.as_deref().ok()));
    checks.extend(vfio::checks(host));
    checks.extend(guest::checks(host));
    checks.push(boot_log::check(&log));
    checks
}

/// The worst of them.
pub fn verdict(checks: &[Check]) -> Status {
    checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok)
}

/// What `uname -m` says of the machine this program was built for.
const ARCH: &str = std::env::consts::ARCH;
