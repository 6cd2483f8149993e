//! What `/dev/kvm` answers (`Documentation/virt/kvm/api.rst`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use crate::cmdline::Cmdline;
use crate::device::sys::host::errno_text;
use crate::device::sys::kernel_log::Message;

/// The only version of the API (`KVM_API_VERSION`).
pub(crate) const API_VERSION: i32 = 12;

/// There when the kernel has a KVM that works, whether or not anybody made a node for it.
pub(crate) const IN_SYSFS: &str = "sys/class/misc/kvm/dev";

/// `_IO(KVMIO, n)` of `include/uapi/linux/kvm.h`.
const KVM_GET_API_VERSION: libc::c_int = 0xae00;
const KVM_CREATE_VM: libc::c_int = 0xae01;
const KVM_CHECK_EXTENSION: libc::c_int = 0xae03;
/// `KVM_CAP_ARM_VM_IPA_SIZE`: how many bits a guest physical address may have.
const KVM_CAP_ARM_VM_IPA_SIZE: libc::c_ulong = 165;

/// Hypervisors that exclude KVM: the node of each, its name, and whose firmware has it.
pub(crate) const OTHERS: &[(&str, &str, &str)] =
    &[("dev/gunyah", "Gunyah", "Qualcomm"), ("dev/gzvm", "GenieZone", "MediaTek")];

/// The mode in which the host has no access to the memory of guests.
pub(crate) const PROTECTED: &[u8] = b"protected";

/// The mode that the command line asks for.
pub fn mode<B: AsRef<[u8]>>(line: &Cmdline<B>) -> Option<&[u8]> {
    line.effective("kvm-arm.mode")?.value
}

/// Why there can be no VM.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// The node is not there, or may not be opened.
    #[error("/dev/kvm: {}", errno_text(.0))]
    Open(#[source] io::Error),
    /// The node is not KVM's.
    #[error("/dev/kvm is not KVM: {}", errno_text(.0))]
    NotKvm(#[source] io::Error),
    /// A KVM from before 2007, or of the future.
    #[error("/dev/kvm has API version {0}, expected {API_VERSION}")]
    Version(i32),
    /// KVM refuses.
    #[error("/dev/kvm: no VM can be created: {}", errno_text(.0))]
    CreateVm(#[source] io::Error),
}

impl KvmError {
    /// Whether it is this user who may not.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, KvmError::Open(error) if error.kind() == io::ErrorKind::PermissionDenied)
    }

    /// What to do about it.
    pub(crate) fn fix(&self) -> &'static str {
        match self {
            KvmError::Open(error) => match error.raw_os_error() {
                Some(libc::EACCES | libc::EPERM) => {
                    "run it as root, or as a member of the group that owns /dev/kvm"
                }
                Some(libc::ENOENT) => {
                    "the kernel needs CONFIG_KVM, and must have been started with access to the processor's virtualisation"
                }
                Some(libc::ENODEV | libc::ENXIO) => {
                    "the node exists, but the kernel has no KVM for it: the kernel log says why"
                }
                _ => "the kernel log says why",
            },
            KvmError::NotKvm(_) | KvmError::Version(_) => {
                "another program made a file with this name: remove it and start again"
            }
            KvmError::CreateVm(_) => {
                "another hypervisor may own the processor's virtualisation: the kernel log says why"
            }
        }
    }
}

/// What the kernel says when KVM does not come up (`arch/arm64/kvm/arm.c`,
/// `arch/x86/kvm/vmx/vmx.c`, `svm/svm.c`), and what to do.
const REASONS: &[(&str, &str)] = &[
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

/// What the kernel log says about why there is no KVM, and what to do about that.
pub(crate) fn reason(log: &[Message]) -> Option<(&str, &'static str)> {
    REASONS.iter().find_map(|(words, fix)| {
        let line = log.iter().find(|message| message.text.contains(words))?;
        Some((line.text.as_str(), *fix))
    })
}

/// KVM, opened.
#[derive(Debug)]
pub(crate) struct Kvm(File);

/// What is known of a VM that was made and is gone again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CreatedVm {
    /// How many bits a guest physical address may have; None where KVM does not say (x86, and
    /// arm64 before Linux 4.20, which means 40).
    pub ipa_bits: Option<u32>,
}

impl Kvm {
    /// Opens the node at `path` and asks for its version.
    ///
    /// # Errors
    /// [`KvmError::Open`], [`KvmError::NotKvm`], [`KvmError::Version`].
    pub(crate) fn open(path: &Path) -> Result<Self, KvmError> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(KvmError::Open)?;
        let kvm = Kvm(file);
        match kvm.call(KVM_GET_API_VERSION, 0) {
            Ok(API_VERSION) => Ok(kvm),
            Ok(other) => Err(KvmError::Version(other)),
            Err(error) => Err(KvmError::NotKvm(error)),
        }
    }

    /// Makes a VM and closes it: whether the processor and the owner of EL2 allow one.
    ///
    /// # Errors
    /// [`KvmError::CreateVm`].
    pub(crate) fn create_vm(&self) -> Result<CreatedVm, KvmError> {
        let fd = self.call(KVM_CREATE_VM, 0).map_err(KvmError::CreateVm)?;
        // SAFETY: KVM_CREATE_VM returned a descriptor that nobody else knows of.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        let bits = self.call(KVM_CHECK_EXTENSION, KVM_CAP_ARM_VM_IPA_SIZE);
        let ipa_bits = bits.ok().and_then(|bits| u32::try_from(bits).ok()).filter(|bits| *bits > 0);
        Ok(CreatedVm { ipa_bits })
    }

    fn call(&self, request: libc::c_int, argument: libc::c_ulong) -> io::Result<i32> {
        // SAFETY: each of the requests above takes a number, and touches no memory of ours.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, argument) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }
}
