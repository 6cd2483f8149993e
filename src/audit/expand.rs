//! Expands a config with a kernel tree's own `make olddefconfig`, in a scratch directory.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

use crate::kernel::Arch;

/// Why a config could not be expanded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExpandError {
    /// It is not known for which architecture.
    #[error("the config does not tell its architecture, which olddefconfig needs: give --arch")]
    Architecture,
    /// The directory is something else.
    #[error("{} is not a kernel source tree: it has no Kconfig and Makefile", .0.display())]
    NotTree(PathBuf),
    /// A file in the scratch directory.
    #[error("the scratch directory of olddefconfig: {0}")]
    Scratch(#[source] io::Error),
    /// There is no make.
    #[error("make cannot be started: {0}")]
    Make(#[source] io::Error),
    /// It failed.
    #[error("make olddefconfig in {}: {last}", .tree.display())]
    Failed {
        /// The tree.
        tree: PathBuf,
        /// The last line that make wrote.
        last: String,
    },
}

/// What the tree's olddefconfig makes of a config. Nothing in the tree changes.
///
/// # Errors
/// [`ExpandError`].
pub(super) fn olddefconfig(tree: &Path, config: &[u8], arch: Arch) -> Result<Vec<u8>, ExpandError> {
    let tree = fs::canonicalize(tree).map_err(|_| ExpandError::NotTree(tree.to_owned()))?;
    if !["Kconfig", "Makefile"].iter().all(|name| tree.join(name).is_file()) {
        return Err(ExpandError::NotTree(tree));
    }
    let scratch = tempfile::tempdir().map_err(ExpandError::Scratch)?;
    let file = scratch.path().join(".config");
    fs::write(&file, config).map_err(ExpandError::Scratch)?;
    let mut output = OsString::from("O=");
    output.push(scratch.path());
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(&tree).arg(output).arg("olddefconfig");
    make.env("ARCH", directory(arch)).env("LC_ALL", "C").stdin(Stdio::null());
    // A make above this one must not pass its jobs on.
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "KCONFIG_CONFIG", "KCONFIG_ALLCONFIG"] {
        make.env_remove(name);
    }
    if env::var_os("CROSS_COMPILE").is_none()
        && env::var_os("LLVM").is_none()
        && let Some(prefix) = cross_compiler(arch)
    {
        make.env("CROSS_COMPILE", prefix);
    }
    let done = make.output().map_err(ExpandError::Make)?;
    if !done.status.success() {
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let error = lines.clone().find(|line| line.contains("***"));
        let last = error.or_else(|| lines.next_back()).unwrap_or("it failed").to_owned();
        return Err(ExpandError::Failed { tree, last });
    }
    fs::read(&file).map_err(ExpandError::Scratch)
}

/// The value of `ARCH=`: for both word sizes of one directory Kconfig takes the config's.
fn directory(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "x86_64",
        Arch::X86 => "i386",
        Arch::Riscv64 | Arch::Riscv32 => "riscv",
        Arch::Loongarch64 | Arch::Loongarch32 => "loongarch",
        other => other.name(),
    }
}

/// The prefix of Debian's cross compiler, if this machine needs it and has it: Kconfig asks the
/// compiler what it can do.
fn cross_compiler(arch: Arch) -> Option<&'static str> {
    let (native, prefix) = match arch {
        Arch::Arm64 => ("aarch64", "aarch64-linux-gnu-"),
        Arch::X86_64 => ("x86_64", "x86_64-linux-gnu-"),
        _ => return None,
    };
    let paths = env::var_os("PATH")?;
    let there = |dir: PathBuf| dir.join(format!("{prefix}gcc")).is_file();
    (env::consts::ARCH != native && env::split_paths(&paths).any(there)).then_some(prefix)
}
