//! What a QEMU was built with, from its own lists.

use std::ffi::CString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What passthrough needs of a QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abilities {
    /// It can use KVM.
    pub kvm: bool,
    /// It has vfio-pci.
    pub vfio_pci: bool,
}

/// What the QEMU at `program` has; `chroot` is its root directory. `None` when it does not run.
///
/// Starting it for its lists takes longer than all the rest of a guest's start.
pub(crate) fn abilities(program: &str, chroot: Option<&Path>) -> Option<Abilities> {
    let kvm = ask(program, chroot, "-accel")?.lines().any(|line| line.trim() == "kvm");
    let vfio_pci = ask(program, chroot, "-device")?.contains("\"vfio-pci\"");
    Some(Abilities { kvm, vfio_pci })
}

/// What QEMU's vfio-pci can do that not every version can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VfioAbilities {
    /// It opens devices through iommufd.
    pub iommufd: bool,
    /// It gives the token of a physical function.
    pub vf_token: bool,
}

/// What vfio-pci of the QEMU at `program` can do. `None` when it does not run, or has none.
pub(crate) fn vfio_abilities(program: &str, chroot: Option<&Path>) -> Option<VfioAbilities> {
    let text = ask_for(program, chroot, ["-device", "vfio-pci,help"])?;
    // "  iommufd=<link<iommufd>>"
    let has =
        |name: &str| text.lines().any(|line| line.trim().split(['=', ' ']).next() == Some(name));
    Some(VfioAbilities { iommufd: has("iommufd"), vf_token: has("vf-token") })
}

/// Whether the board of the QEMU at `program` has a property. `None` when it does not run.
pub(crate) fn board_has(
    program: &str,
    chroot: Option<&Path>,
    board: &str,
    property: &str,
) -> Option<bool> {
    let text = ask_for(program, chroot, ["-machine", &format!("{board},help")])?;
    Some(text.lines().any(|line| line.trim_start().starts_with(&format!("{property}="))))
}

/// What it lists for `OPTION help`.
fn ask(program: &str, chroot: Option<&Path>, option: &str) -> Option<String> {
    ask_for(program, chroot, [option, "help"])
}

fn ask_for(program: &str, chroot: Option<&Path>, arguments: [&str; 2]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    if let Some(chroot) = chroot.filter(|chroot| *chroot != Path::new("/")) {
        let root = CString::new(chroot.as_os_str().as_encoded_bytes()).ok()?;
        let enter = move || -> io::Result<()> {
            rustix::process::chroot(root.as_c_str())?;
            Ok(rustix::process::chdir("/")?)
        };
        // SAFETY: two system calls and no memory of the parent's are used.
        unsafe { command.pre_exec(enter) };
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Abilities {
    /// What is missing for a guest, with or without devices of the host.
    pub(crate) fn missing(self, devices: bool) -> Option<&'static str> {
        match (self.kvm, self.vfio_pci || !devices) {
            (true, true) => None,
            (false, true) => Some("KVM"),
            (true, false) => Some("vfio-pci"),
            (false, false) => Some("KVM and vfio-pci"),
        }
    }
}

/// Why the QEMU at `program`, which ended before its guest ran, could not run one. `None` when it has
/// what it takes, or says nothing.
pub fn explain(program: &str, chroot: Option<&Path>, devices: bool) -> Option<String> {
    let lacks = abilities(program, chroot)?.missing(devices)?;
    Some(format!("{program} was built without {lacks}: {FIX}"))
}

/// What to do about a QEMU that lacks something.
pub(crate) const FIX: &str = "take another, as Debian's is (Termux's has no KVM); in a chroot, with chroot in the guest file";
