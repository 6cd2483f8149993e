//! Kernel modules: `finit_module(2)` and nothing else. Which ones, in which order
//! and with what parameters was decided on the desktop.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

/// `MODULE_INIT_COMPRESSED_FILE` of `include/uapi/linux/module.h`, Linux 5.17: the
/// kernel decompresses the file itself. Earlier kernels answer `EINVAL`.
const COMPRESSED_FILE: libc::c_int = 4;

/// What became of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It is loaded now.
    Now,
    /// It was there already, loaded or built in (`EEXIST`).
    Before,
}

/// Loads the module in the file `path` with the parameters `params`, written as
/// `insmod` takes them.
///
/// # Errors
/// The error of `open(2)` or `finit_module(2)`; the kernel log has more about the
/// latter. `InvalidInput` for parameters with a NUL byte.
pub fn load(path: &Path, params: &str) -> io::Result<Loaded> {
    let file = File::open(path)?;
    let params = CString::new(params)?;
    let compressed = path
        .extension()
        .is_some_and(|extension| extension == "gz" || extension == "xz" || extension == "zst");
    let flags = if compressed { COMPRESSED_FILE } else { 0 };
    match rustix::system::finit_module(&file, &params, flags) {
        Ok(()) => Ok(Loaded::Now),
        Err(rustix::io::Errno::EXIST) => Ok(Loaded::Before),
        Err(error) => Err(error.into()),
    }
}
