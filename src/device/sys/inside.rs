//! Paths as a process sees them whose root directory is another.

use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// As many links as the kernel follows (`MAXSYMLINKS`).
const LINKS: usize = 40;

/// What `path` leads to for a process in `root`: links are followed there, as far as there is anything,
/// but none in the directories `hidden`, in which that process finds others. The result is an absolute
/// path, seen from inside.
pub(crate) fn resolve(root: &Path, path: &str, hidden: &[&str]) -> PathBuf {
    let mut left: Vec<OsString> = components(Path::new(path));
    left.reverse();
    let mut done = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        done.push(&part);
        if hidden.iter().any(|directory| done.starts_with(directory)) {
            continue;
        }
        let Ok(target) = fs::read_link(root.join(done.strip_prefix("/").unwrap_or(&done))) else {
            continue;
        };
        links += 1;
        if links > LINKS {
            break;
        }
        done.pop();
        if target.is_absolute() {
            done = PathBuf::from("/");
        }
        left.extend(components(&target).into_iter().rev());
    }
    done
}

/// The names of a path, and where it goes up.
fn components(path: &Path) -> Vec<OsString> {
    let named = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(named).map(|part| part.as_os_str().to_owned()).collect()
}
