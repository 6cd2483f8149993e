//! KVM, and other hypervisors that may own EL2.

use super::Check;
use crate::cmdline::Cmdline;
use crate::device::sys::host::Host;
use crate::device::sys::kernel_log::Message;
use crate::device::sys::kvm::{self, Kvm, KvmError};
use crate::device::sys::machine;

pub(super) fn checks(
    host: &Host,
    cmdline: &Cmdline<String>,
    log: Option<&[Message]>,
) -> Vec<Check> {
    let mut checks = vec![kvm(host, log)];
    checks.extend(mode(host, cmdline, log));
    checks
}

fn kvm(host: &Host, log: Option<&[Message]>) -> Check {
    let problem = |found: String| Check::problem("kvm", "KVM", found);
    let vm = match Kvm::open(&host.path("dev/kvm")) {
        Ok(kvm) => kvm,
        Err(error @ KvmError::Open(_)) if !host.exists("dev/kvm") => {
            return absent(host, log, &error);
        }
        Err(error) => {
            let check = problem(error.to_string()).fix(error.fix());
            return if error.is_denied() { check.follows("privileges") } else { check };
        }
    };
    let created = match vm.create_vm() {
        Ok(created) => created,
        Err(error) => return problem(error.to_string()).fix(error.fix()),
    };
    let version = kvm::API_VERSION;
    let bits = created.ipa_bits.map(|bits| format!(", {bits} bits of guest physical addresses"));
    let found = format!("API version {version}, a VM can be created{}", bits.unwrap_or_default());
    Check::ok("kvm", "KVM", found)
}

/// Without a node: who or what keeps KVM away.
fn absent(host: &Host, log: Option<&[Message]>, error: &KvmError) -> Check {
    let problem = |found: String| Check::problem("kvm", "KVM", found);
    if let Some((_, who, vendor)) = kvm::OTHERS.iter().find(|(node, ..)| host.exists(node)) {
        return problem(format!(
            "there is no /dev/kvm: EL2 belongs to {who}, the hypervisor of {vendor}'s firmware"
        ))
        .fix(
            "KVM cannot run alongside it; only a firmware that starts the kernel in EL2 changes that",
        );
    }
    if host.exists(kvm::IN_SYSFS) {
        let found = "there is no /dev/kvm, though the kernel has KVM: its node is missing";
        return Check::warning("kvm", "KVM", found).fix("vfiorun run makes the node itself");
    }
    match log.and_then(kvm::reason) {
        Some((line, fix)) => {
            problem(format!("there is no /dev/kvm: the kernel said \"{line}\"")).fix(fix)
        }
        None => problem(error.to_string()).fix(error.fix()),
    }
}

/// Protected mode keeps the host away from guest memory.
fn mode(host: &Host, cmdline: &Cmdline<String>, log: Option<&[Message]>) -> Option<Check> {
    if !machine::is_arm(host) {
        return None;
    }
    let logged = |words: &str| log.is_some_and(|log| log.iter().any(|m| m.text.contains(words)));
    let asked = kvm::mode(cmdline);
    if asked == Some(kvm::PROTECTED)
        || logged("Protected hVHE mode initialized")
        || logged("Protected nVHE mode initialized")
    {
        return Some(
            Check::problem("kvm-mode", "KVM mode", "protected (kvm-arm.mode=protected): the host has no access to guest memory, and passing a device through is not expected to work")
                .fix("add kvm-arm.mode=nvhe to the kernel command line, after any other; or let vfiorun run try a protected KVM"),
        );
    }
    let found = ["VHE mode initialized", "hVHE mode initialized", "Hyp mode initialized"]
        .iter()
        .find(|words| logged(words))
        .map(|words| (*words).to_owned());
    // Where it is off there is no mode, and that is said above.
    let found = found.or_else(|| {
        let asked = asked.filter(|mode| *mode != b"none").map(String::from_utf8_lossy);
        asked.map(|mode| format!("kvm-arm.mode={mode}"))
    })?;
    Some(Check::ok("kvm-mode", "KVM mode", found))
}
