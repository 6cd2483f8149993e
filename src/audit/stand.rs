//! What stands together by name: `vmlinuz-REL`, `config-REL`, `initrd.img-REL` in one directory, and
//! `lib/modules/REL` beside it, as distributions install them.

use std::path::{Path, PathBuf};

/// The names of kernels, before a release or in the directory of its modules.
const KERNELS: [&str; 6] = ["vmlinuz", "vmlinux", "Image", "bzImage", "zImage", "kernel"];
/// Where the modules of a release are, seen from the directory of the kernel.
const TREES: [&str; 5] =
    ["lib/modules", "../lib/modules", "usr/lib/modules", "../usr/lib/modules", "modules"];
/// Any of these is in the directory of a release's modules.
const LISTS: [&str; 3] = ["modules.dep", "modules.builtin", "modules.order"];

/// The release in the name of a file: `6.1.0-57-arm64` of `config-6.1.0-57-arm64`; or in that of its
/// directory: `lib/modules/6.1.0-57-arm64/vmlinuz`.
pub(super) fn release(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let own = match name.split_once('-') {
        Some((_, rest)) => rest.strip_suffix(".img").unwrap_or(rest),
        None if name == "config" || KERNELS.contains(&name) => {
            path.parent()?.file_name()?.to_str()?
        }
        None => return None,
    };
    own.starts_with(|first: char| first.is_ascii_digit()).then_some(own)
}

/// Whether a file is a release's config by its name.
pub(super) fn is_config(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name == "config" || name.starts_with("config-"))
        && release(path).is_some()
}

/// Whether both are of one release, in one directory.
pub(super) fn together(one: &Path, other: &Path) -> bool {
    one.parent() == other.parent() && release(one).is_some() && release(one) == release(other)
}

/// The directory with the modules of this kernel, where it is beside it.
pub(super) fn modules(kernel: &Path) -> Option<PathBuf> {
    let (release, directory) = (release(kernel)?, kernel.parent()?);
    let is_tree = |path: &PathBuf| LISTS.iter().any(|list| path.join(list).is_file());
    let named = directory.file_name().is_some_and(|name| name == release);
    let own = named.then(|| directory.to_owned());
    let beside = TREES.iter().map(|place| directory.join(place).join(release));
    own.into_iter().chain(beside).find(is_tree)
}
