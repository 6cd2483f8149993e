//! KVM, and who else may own EL2.

use super::boot_log::Message;
use super::cmdline::value;
use super::{ARCH, Check};
use crate::device::host::Host;
use crate::device::kvm::{self, Kvm, KvmError};

/// Hypervisors that leave no room for KVM, by their node.
const OTHERS: [(&str, &str); 2] = [
    ("dev/gunyah", "Gunyah, the hypervisor of Qualcomm's firmware"),
    ("dev/gzvm", "GenieZone, the hypervisor of MediaTek's firmware"),
];

/// What the kernel says when KVM does not come up (`arch/arm64/kvm/arm.c`,
/// `arch/x86/kvm/vmx/vmx.c`, `svm/svm.c`), and what to do.
const REASONS: [(&str, &str); 6] = [
    (
        "HYP mode not available",
        "the kernel was started in EL1: the bootloader, the firmware or another hypervisor keeps EL2, and only they can change that (under an emulator: virtualization=on)",
    ),
    ("KVM disabled from command line", "remove kvm-arm.mode=none from the command line"),
    ("disabled by bios", "turn on VT-x or SVM in the firmware"),
    ("VMX not enabled", "turn on VT-x in the firmware"),
    ("no hardware support", "this processor has no virtualisation"),
    ("error initializing Hyp mode", "the kernel log says why"),
];

pub(super) fn checks(host: &Host, cmdline: &str, log: Option<&[Message]>) -> Vec<Check> {
    let mut checks = vec![kvm(host, log)];
    checks.extend(mode(cmdline, log));
    checks
}

fn kvm(host: &Host, log: Option<&[Message]>) -> Check {
    let problem = |found: String| Check::problem("kvm", "KVM", found);
    let vm = match Kvm::open(&host.path("dev/kvm")) {
        Ok(kvm) => kvm,
        Err(error @ KvmError::Open(_)) if !host.exists("dev/kvm") => {
            return absent(host, log, &error);
        }
        Err(error) => return problem(error.to_string()).fix(error.fix()),
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
    if let Some((_, who)) = OTHERS.iter().find(|(node, _)| host.exists(node)) {
        return problem(format!("there is no /dev/kvm: EL2 belongs to {who}")).fix(
            "KVM cannot run beside it; only a firmware that starts the kernel in EL2 changes that",
        );
    }
    let said = REASONS.iter().find_map(|(words, fix)| {
        let line = log?.iter().find(|message| message.text.contains(words))?;
        Some((line.text.as_str(), *fix))
    });
    match said {
        Some((line, fix)) => problem(format!("there is no /dev/kvm: the kernel said \"{line}\"")).fix(fix),
        None => problem(error.to_string())
            .fix("the kernel needs CONFIG_KVM, and must have been started with access to the processor's virtualisation"),
    }
}

/// Protected mode keeps the host away from guest memory.
fn mode(cmdline: &str, log: Option<&[Message]>) -> Option<Check> {
    if ARCH != "aarch64" {
        return None;
    }
    let logged = |words: &str| log.is_some_and(|log| log.iter().any(|m| m.text.contains(words)));
    let asked = value(cmdline, "kvm-arm.mode");
    if asked == Some("protected")
        || logged("Protected hVHE mode initialized")
        || logged("Protected nVHE mode initialized")
    {
        return Some(
            Check::problem("kvm-mode", "KVM mode", "protected (kvm-arm.mode=protected): the host has no access to guest memory, and passing a device through is not expected to work")
                .fix("put kvm-arm.mode=nvhe on the command line, behind any other; or vfiorun run --allow-protected to try it"),
        );
    }
    let found = ["VHE mode initialized", "hVHE mode initialized", "Hyp mode initialized"]
        .iter()
        .find(|words| logged(words))
        .map(|words| (*words).to_owned());
    let found = found.or_else(|| asked.map(|mode| format!("kvm-arm.mode={mode}")))?;
    Some(Check::ok("kvm-mode", "KVM mode", found))
}
