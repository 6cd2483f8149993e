//! Architecture, privileges, SELinux.

use super::Check;
use crate::device::sys::host::Host;
use crate::device::sys::machine;

/// Capabilities that binding and a guest need (`include/uapi/linux/capability.h`): number, name,
/// what for.
const CAPABILITIES: &[(u32, &str, &str)] = &[
    (14, "CAP_IPC_LOCK", "to pin guest memory"),
    (21, "CAP_SYS_ADMIN", "to write to sysfs and mount"),
    (CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE", "to raise the limit of locked memory"),
    (27, "CAP_MKNOD", "to make device nodes where no ueventd does"),
];

pub(super) const CAP_SYS_RESOURCE: u32 = 24;

pub(super) fn checks(host: &Host) -> Vec<Check> {
    vec![architecture(host), kernel(host), privileges(host), selinux(host)]
}

fn architecture(host: &Host) -> Check {
    let name = machine::of(host);
    match name.as_str() {
        machine::AARCH64 | machine::X86_64 => Check::ok("arch", "architecture", name),
        _ => Check::problem("arch", "architecture", name)
            .fix("PCI passthrough to KVM guests is for 64-bit ARM and x86_64"),
    }
}

fn kernel(host: &Host) -> Check {
    match host.read("proc/sys/kernel/osrelease") {
        Ok(release) => Check::ok("kernel", "kernel", release),
        Err(error) => Check::warning("kernel", "kernel", error.to_string()),
    }
}

fn privileges(host: &Host) -> Check {
    let check = |status: fn(&'static str, &'static str, String) -> Check, found| {
        status("privileges", "privileges", found)
    };
    let status = match host.read("proc/self/status") {
        Ok(status) => status,
        Err(error) => return check(Check::warning, error.to_string()),
    };
    let Some(held) = capabilities(&status) else {
        return check(Check::warning, "no CapEff in /proc/self/status".to_owned());
    };
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(bit, ..)| held & (1 << bit) == 0)
        .map(|(_, name, what)| format!("{name} ({what})"))
        .collect();
    let root = field(&status, "Uid:") == Some("0");
    match (root, missing.is_empty()) {
        (true, true) => check(Check::ok, "root with all capabilities that are needed".to_owned()),
        (false, true) => check(Check::ok, "all capabilities that are needed".to_owned()),
        (true, false) => check(Check::problem, format!("root, but without {}", missing.join(", ")))
            .fix("run it outside the container or sandbox that removed them"),
        (false, false) => {
            check(Check::problem, "not root: nothing can be bound, and some checks see less".into())
                .fix("run it as root: su -c, sudo, or adb root")
        }
    }
}

/// Whether we have the capability of that number.
pub(super) fn can(host: &Host, capability: u32) -> bool {
    let status = host.read("proc/self/status").unwrap_or_default();
    capabilities(&status).is_some_and(|held| held & (1 << capability) != 0)
}

/// The effective ones, a bit each (`/proc/self/status`, `proc(5)`).
fn capabilities(status: &str) -> Option<u64> {
    u64::from_str_radix(field(status, "CapEff:")?, 16).ok()
}

fn field<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
}

/// SELinux is examined and never changed.
fn selinux(host: &Host) -> Check {
    let check = |status: fn(&'static str, &'static str, String) -> Check, found| {
        status("selinux", "SELinux", found)
    };
    if !host.exists("sys/fs/selinux") {
        return check(Check::ok, "not in this kernel or not mounted".to_owned());
    }
    let enforcing = host.read("sys/fs/selinux/enforce");
    let domain = host.read("proc/self/attr/current").unwrap_or_default();
    let domain = domain.trim_end_matches('\0').to_owned();
    let mode = match enforcing.as_deref() {
        Ok("1") => "enforcing",
        Ok("0") => return check(Check::ok, format!("permissive, domain {domain}")),
        _ => "unknown mode",
    };
    // u:r:DOMAIN:s0
    match domain.split(':').nth(2) {
        Some("su" | "magisk" | "ksu" | "init" | "kernel_su" | "unconfined_t") => {
            check(Check::ok, format!("{mode}, domain {domain}"))
        }
        Some("kernel") => check(
            Check::problem,
            format!("{mode}, domain {domain}, which is silently denied access to sysfs"),
        )
        .fix("start it from a root shell (su of Magisk or KernelSU), not from a process that survived the ramdisk"),
        Some(_) => check(Check::warning, format!("{mode}, domain {domain}, which may lack access"))
            .fix("use a root shell of Magisk or KernelSU, whose domain may do everything; setenforce 0 is not a fix"),
        None => check(Check::ok, format!("{mode}, no domain")),
    }
}
