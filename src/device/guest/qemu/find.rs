//! Finds the QEMU program.

use std::path::{Path, PathBuf};

use crate::device::guest::file::{Arch, Guest};

/// Where programs are searched after `PATH`; the last is Termux's.
const DIRECTORIES: &[&str] = &[
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
    "/usr/libexec",
    "/system/bin",
    "/data/data/com.termux/files/usr/bin",
];

/// Why QEMU is not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// The guest file names a path, and no program is there.
    #[error("qemu: {0} is not a program")]
    NotThere(String),
    /// The chroot is not there.
    #[error("chroot: {0} is not a directory")]
    NoChroot(String),
    /// Found nowhere.
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
    if name.contains('/') {
        return match is_program(&inside(root, &name)) {
            true => Ok(name),
            false => Err(FindError::NotThere(shown(&guest.chroot, &name))),
        };
    }
    // The PATH is that of the system outside.
    in_root(root, &name, path.filter(|_| guest.chroot.is_none())).ok_or_else(|| {
        FindError::Nowhere {
            places: match &guest.chroot {
                Some(chroot) => format!("the usual directories of {chroot}"),
                None => "PATH and the usual directories".to_owned(),
            },
            package: match arch {
                Arch::Aarch64 => "qemu-system-arm",
                Arch::X86_64 => "qemu-system-x86",
            },
            name,
        }
    })
}

/// The path below `root` of the program called `name`: in `path`, which is `PATH`, else in the usual
/// directories.
pub(crate) fn in_root(root: &Path, name: &str, path: Option<&str>) -> Option<String> {
    let path = path.unwrap_or_default().split(':').filter(|directory| directory.starts_with('/'));
    path.chain(DIRECTORIES.iter().copied())
        .map(|directory| format!("{directory}/{name}"))
        .find(|path| is_program(&inside(root, path)))
}

fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn shown(chroot: &Option<String>, path: &str) -> String {
    format!("{}{path}", chroot.as_deref().unwrap_or("").trim_end_matches('/'))
}

/// Whether it is there to be executed. A link whose target is absolute is believed: in a chroot
/// it leads elsewhere than here.
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let executable =
        |meta: std::fs::Metadata| meta.is_file() && meta.permissions().mode() & 0o111 != 0;
    match std::fs::read_link(path) {
        Ok(target) if target.is_absolute() => true,
        _ => path.metadata().is_ok_and(executable),
    }
}
