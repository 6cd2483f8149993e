//! Checks several sets in one run.

use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};

use super::check::{Options, check_files};
use super::error::CheckError;
use super::group::{Group, Open};
use super::run::{Input, Report, Run};
use super::workers;
use crate::bootset::File;

/// Check the groups, `jobs` at a time (by default one per processor). The files of a group are open
/// only while it is checked.
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
) -> Result<Report, CheckError> {
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
    let mut set = vec![file(group.main.display().to_string(), &main, files)];
    set.extend(beside.iter().map(|(name, bytes)| file(name.clone(), bytes, files)));
    check_files(&set, options)
}

fn file<'b, O: Open>(name: String, bytes: &'b O::Bytes, files: &O) -> File<'b> {
    File { identity: files.identity(bytes), ..File::new(name, bytes.as_ref()) }
}

/// The path relative to the working directory, without a leading `./`.
fn key(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let path = here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    path.display().to_string()
}
