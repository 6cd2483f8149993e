//! Several sets in one run.

use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};

use super::check::{Options, check};
use super::error::CheckError;
use super::files::{File, Files};
use super::group::{Group, Open};
use super::run::{Audited, Input, Run};
use super::workers;

/// Check each group, `jobs` at a time (by default one for each processor). The files of a group
/// are open only while it is checked.
pub fn check_all(
    groups: &[Group],
    options: &Options<'_>,
    jobs: Option<NonZeroUsize>,
    files: &impl Open,
) -> Run {
    let inputs = workers::map(groups, jobs, |group| Input {
        name: group.main.display().to_string(),
        key: key(&group.main),
        result: check_group(group, options, files),
    });
    Run {
        profile: options.profile.name.to_string(),
        title: options.profile.title.to_string(),
        fail_on: options.fail_on,
        inputs,
    }
}

fn check_group(
    group: &Group,
    options: &Options<'_>,
    files: &impl Open,
) -> Result<Audited, CheckError> {
    if group.main.is_dir() {
        return Err(CheckError::Directory);
    }
    let main = files.open(&group.main)?;
    let open = |path: &PathBuf| {
        let name = path.display().to_string();
        match files.open(path) {
            Ok(bytes) => Ok((name, bytes)),
            Err(error) => Err(CheckError::Beside { file: name, error }),
        }
    };
    let beside = group.beside.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let name = group.main.display().to_string();
    let set = Files {
        main: File { name: &name, bytes: main.as_ref() },
        beside: beside.iter().map(|(name, file)| File { name, bytes: file.as_ref() }).collect(),
    };
    check(&set, options)
}

/// The path as it is named from the working directory, without `./` before it.
fn key(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let path = here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    path.display().to_string()
}
