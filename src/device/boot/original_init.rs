//! The program that a patch put aside to start in its place (`--hook init`), put back.
//!
//! Android's first-stage init, magiskinit and others look at their own path and name, so
//! before any of them runs the ramdisk is made again what its makers built.

use std::fs;
use std::io;
use std::path::Path;

use crate::bootfile::{ORIGINAL_INIT, ORIGINAL_INIT_LINK};
use crate::device::sys::host::errno_text;

/// Whether this ramdisk starts the runtime in place of its own init.
pub fn is_hooked(ramdisk: &Path) -> bool {
    let inside = |path: &str| ramdisk.join(path.trim_start_matches('/'));
    [ORIGINAL_INIT, ORIGINAL_INIT_LINK].iter().any(|path| inside(path).symlink_metadata().is_ok())
}

/// Puts the original back at `hooked`, the path that the kernel executed. One `rename(2)`: there
/// is no moment without a program at that path.
///
/// An original with other names (hard links) is not in the segment twice: the link file names one
/// of them, and `hooked` becomes a name of the same inode again.
///
/// # Errors
/// What could not be done, as text for the log. Then the original is still at
/// [`ORIGINAL_INIT`], or at the name that the link file has.
pub fn put_back(ramdisk: &Path, hooked: &str) -> Result<(), String> {
    let inside = |path: &Path| ramdisk.join(path.strip_prefix("/").unwrap_or(path));
    let original = inside(Path::new(ORIGINAL_INIT));
    let failed = |error: io::Error| format!("{hooked} not put back: {}", errno_text(&error));
    if let Ok(other_name) = fs::read_link(inside(Path::new(ORIGINAL_INIT_LINK))) {
        fs::hard_link(inside(&other_name), &original).map_err(failed)?;
    }
    fs::rename(&original, inside(Path::new(hooked))).map_err(failed)
}
