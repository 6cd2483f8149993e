//! Kernel modules: `finit_module(2)` and nothing else. Which ones, in which order
//! and with what parameters was decided on the desktop.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

use crate::device::sys::host::errno_text;

/// `MODULE_INIT_COMPRESSED_FILE` of `include/uapi/linux/module.h`, Linux 5.17: the
/// kernel decompresses the file itself. Earlier kernels answer `EINVAL`.
const COMPRESSED_FILE: libc::c_int = 4;

/// The state of a module after loading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoadResult {
    /// It is loaded now.
    Now,
    /// It was there already, loaded or built in (`EEXIST`).
    Before,
}

/// Why a module is not loaded. The kernel uses `ENOENT` for an unknown symbol, so
/// it matters which call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModuleError {
    /// Its file cannot be opened.
    #[error("cannot open the file: {}", errno_text(.0))]
    Open(#[source] io::Error),
    /// Its parameters contain a NUL byte.
    #[error("a NUL byte in its parameters")]
    Params,
    /// `finit_module(2)` failed; the kernel log has more about it.
    #[error("finit_module: {}{}", errno_text(.0), hint(.0))]
    Load(#[source] io::Error),
}

/// What the error numbers mean that come up in practice (`kernel/module/main.c`).
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOENT) => " (unknown symbol: it needs another module first)",
        Some(libc::ENOEXEC) => " (made for another kernel, or not a module)",
        Some(libc::EOPNOTSUPP) => " (this kernel cannot decompress modules)",
        Some(libc::EKEYREJECTED | libc::ENOKEY) => " (not signed for this kernel)",
        _ => "",
    }
}

/// Loads the module in the file `path` with the parameters `params`, written as
/// `insmod` takes them.
///
/// # Errors
/// See [`ModuleError`].
pub(crate) fn load(path: &Path, params: &str) -> Result<LoadResult, ModuleError> {
    let file = File::open(path).map_err(ModuleError::Open)?;
    let params = CString::new(params).map_err(|_| ModuleError::Params)?;
    let compressed = path
        .extension()
        .is_some_and(|extension| extension == "gz" || extension == "xz" || extension == "zst");
    let flags = if compressed { COMPRESSED_FILE } else { 0 };
    match rustix::system::finit_module(&file, &params, flags) {
        Ok(()) => Ok(LoadResult::Now),
        Err(rustix::io::Errno::EXIST) => Ok(LoadResult::Before),
        Err(error) => Err(ModuleError::Load(error.into())),
    }
}
