//! Checks the user's rc files.

use super::options::RcFile;
use super::reason::RcPlace;
use crate::image::{Header, Image, OsVersion};
use crate::patch::context::Context;
use crate::patch::error::{Error, RcFinding};
use crate::patch::warning::Warning;
use crate::rc::{self, Level};

/// The last Android version with a legacy rootfs: 10 requires system-as-root.
const LAST_LEGACY: u32 = 9;

/// Refuse files with errors. The warnings are returned.
///
/// # Errors
/// [`Error::RcFaulty`].
pub(crate) fn check(
    files: &[RcFile],
    place: RcPlace,
    set: &Context<'_, '_>,
) -> Result<Vec<Warning>, Error> {
    let platform = platform(place, set);
    let findings = files.iter().flat_map(|file| {
        let findings = rc::check(&file.bytes, platform).into_iter();
        findings.map(|finding| RcFinding { file: file.name.clone(), finding })
    });
    let findings: Vec<RcFinding> = findings.collect();
    if findings.iter().any(|finding| finding.finding.level == Level::Error) {
        return Err(Error::RcFaulty(findings));
    }
    let warning = |RcFinding { file, finding }| Warning::RcFile { file, finding };
    Ok(findings.into_iter().map(warning).collect())
}

/// What is known about the Android that reads the files.
fn platform(place: RcPlace, set: &Context<'_, '_>) -> rc::Platform {
    let headers = set.active().filter_map(|(_, image)| Image::header(image));
    let version = headers.filter_map(Header::os_version).filter_map(OsVersion::major).max();
    let legacy = place == RcPlace::InitRc;
    rc::Platform {
        overlay: match place {
            RcPlace::InitRc => None,
            RcPlace::Overlay(overlay) => Some(overlay),
        },
        oldest: version,
        newest: version.or(legacy.then_some(LAST_LEGACY)),
    }
}

/// Check the names, which become part of file names in the ramdisk.
///
/// # Errors
/// [`Error::RcName`].
pub(crate) fn names(files: &[RcFile]) -> Result<(), Error> {
    for (number, file) in files.iter().enumerate() {
        let refuse = |reason| Error::RcName { name: file.name.clone(), reason };
        let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let stem = file.name.strip_suffix(".rc").unwrap_or_default();
        if stem.is_empty() {
            return Err(refuse("init and magiskinit read files whose name ends in .rc"));
        }
        if !file.name.chars().all(usual) {
            return Err(refuse("the name may have letters, digits, '.', '_' and '-'"));
        }
        if files[..number].iter().any(|other| other.name == file.name) {
            return Err(refuse("two files of this name were given"));
        }
    }
    Ok(())
}
