//! Which program is QEMU, and what is wrong with one that does not start.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::device::guest::{Arch, Guest};

/// Where programs are when nobody says otherwise; the last is Termux's.
const DIRECTORIES: [&str; 6] = [
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
    "/usr/libexec",
    "/system/bin",
    "/data/data/com.termux/files/usr/bin",
];

/// A QEMU that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// The guest file names a path, and no program is there.
    #[error("qemu: there is no program {0}")]
    NotThere(String),
    /// The chroot is not there.
    #[error("chroot: there is no directory {0}")]
    NoChroot(String),
    /// Nowhere.
    #[error(
        "there is no {name} in {places}: install it (Debian: {package}), or say where it is with qemu or chroot in the guest file"
    )]
    Nowhere {
        /// Its name.
        name: String,
        /// Where it was looked for.
        places: String,
        /// The package of Debian that has it.
        package: &'static str,
    },
}

/// The path of QEMU, as it is inside of the guest's chroot if it has one. `path` is `PATH`.
///
/// # Errors
/// See [`FindError`].
pub fn find(guest: &Guest, arch: Arch, path: Option<&str>) -> Result<String, FindError> {
    let chroot = guest.chroot.as_deref().unwrap_or("/");
    let root = Path::new(chroot);
    if !root.is_dir() {
        return Err(FindError::NoChroot(chroot.to_owned()));
    }
    let name = guest.qemu.clone().unwrap_or_else(|| format!("qemu-system-{}", arch.name()));
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    if name.contains('/') {
        return match is_program(&inside(&name)) {
            true => Ok(name),
            false => Err(FindError::NotThere(shown(&guest.chroot, &name))),
        };
    }
    // The PATH is that of the system outside.
    let outside = path.filter(|_| guest.chroot.is_none()).unwrap_or_default();
    let directories: Vec<&str> =
        outside.split(':').filter(|d| d.starts_with('/')).chain(DIRECTORIES).collect();
    directories
        .iter()
        .map(|directory| format!("{directory}/{name}"))
        .find(|path| is_program(&inside(path)))
        .ok_or_else(|| FindError::Nowhere {
            places: match &guest.chroot {
                Some(chroot) => format!("the usual directories of {chroot}"),
                None => "PATH and the usual directories".to_owned(),
            },
            package: match arch {
                Arch::Aarch64 => "qemu-system-arm",
                Arch::X86_64 => "qemu-system-x86",
            },
            name,
        })
}

fn shown(chroot: &Option<String>, path: &str) -> String {
    format!("{}{path}", chroot.as_deref().unwrap_or("").trim_end_matches('/'))
}

/// Whether it is there to be executed. A link whose target is absolute is believed: in a chroot
/// it leads elsewhere than here.
fn is_program(path: &PathBuf) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let executable =
        |meta: std::fs::Metadata| meta.is_file() && meta.permissions().mode() & 0o111 != 0;
    match std::fs::read_link(path) {
        Ok(target) if target.is_absolute() => true,
        _ => path.metadata().is_ok_and(executable),
    }
}

/// What a QEMU that ended before the guest ran was built without, if it is that.
///
/// Asked only then: starting QEMU for its lists takes longer than all the rest of a start.
pub fn complaint(program: &str, chroot: Option<&str>) -> Option<String> {
    let ask = |arguments: [&str; 2]| -> Option<String> {
        let mut command = match chroot {
            Some(chroot) => {
                let mut command = Command::new("chroot");
                command.arg(Path::new(chroot)).arg(program);
                command
            }
            None => Command::new(program),
        };
        let output = command.args(arguments).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let accelerators = ask(["-accel", "help"])?;
    if !accelerators.lines().any(|line| line.trim() == "kvm") {
        return Some(format!(
            "{program} was built without KVM (Termux's is): use another, as Debian's in a chroot"
        ));
    }
    let devices = ask(["-device", "help"])?;
    (!devices.contains("\"vfio-pci\"")).then(|| format!("{program} was built without vfio-pci"))
}
