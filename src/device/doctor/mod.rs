//! Every prerequisite of passthrough, examined on the running system: what is present, whether that
//! is enough, and what to do when it is not.
//!
//! | file | subject |
//! |---|---|
//! | `check` | one prerequisite, its state and its remedy |
//! | `system` | architecture, root, SELinux |
//! | `kernel_config` | `/proc/config.gz` against the rules of the desktop audit |
//! | `cmdline` | what the profile notes about the kernel command line |
//! | `virtualisation` | KVM, and who else may own EL2 |
//! | `iommu` | groups, the IOMMU's driver, the device tree, isolated interrupts |
//! | `order` | the first cause first, and what follows from it |
//! | `vfio` | the VFIO interface |
//! | `guest` | memory, processors and QEMU |
//! | [`device`] | everything about one device |
//! | [`bundle`] | what is read here, packed for another machine to judge |
//! | `recorded` | what only the running system can answer, from a bundle |
//! | `boot_log` | what PID 1 did in this boot |
//!
//! Nothing is changed. A check that cannot be made says why; no check stops the others.

mod boot_log;
pub mod bundle;
mod check;
mod cmdline;
pub mod device;
mod guest;
mod iommu;
mod kernel_config;
mod order;
mod recorded;
mod system;
mod vfio;
mod virtualisation;

use crate::cmdline::Cmdline;
use crate::device::causes::facts::Surroundings;
use crate::device::sys::host::Host;
use crate::device::sys::kernel_log;

pub use check::{Check, Status, verdict};
use kernel_config::RunningKernel;

pub use kernel_config::{BootCmdline, ConfigError, Finding, findings};

/// Examines every prerequisite. The problems that nothing explains come first, each with those that
/// follow from it.
pub fn examine(host: &Host) -> Vec<Check> {
    let mut checks = look(host);
    recorded::replay(host, &mut checks);
    order::causes_first(checks)
}

/// Every prerequisite, in the order of the examination.
fn look(host: &Host) -> Vec<Check> {
    let log = kernel_log::read(host);
    let cmdline = Cmdline::new(host.read("proc/cmdline").unwrap_or_default());
    let mut checks = system::checks(host);
    let (kernel, no_config) = RunningKernel::read(host);
    checks.extend(kernel_config::checks(host, &kernel, no_config));
    checks.extend(cmdline::checks(&cmdline, &kernel.notes()));
    checks.extend(virtualisation::checks(host, &cmdline, log.as_deref().ok()));
    checks.extend(iommu::checks(host, &Surroundings::default(), log.as_deref().ok()));
    checks.extend(vfio::checks(host));
    checks.extend(guest::checks(host));
    checks.push(boot_log::check(&log));
    checks
}
