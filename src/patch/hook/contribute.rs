//! The contribution of the hook to a patch.

use super::choose::Hook;
use super::kind::{HookChoice, HookKind};
use super::original::Original;
use crate::bootfile::RUNTIME;
use crate::image::{Header, Image, ImageKind};
use crate::patch::context::Context;
use crate::patch::contribution::Contribution;
use crate::patch::error::Error;
use crate::patch::initramfs_files::InitramfsFiles;
use crate::patch::parameters::parameter::PlannedParameter;
use crate::patch::place::Places;
use crate::patch::runtime::is_runtime;
use crate::patch::warning::Warning;

/// Choose the hook: `rdinit=`, or the init program of the ramdisk `files` displaced.
///
/// # Errors
/// As [`Hook::choose`] and [`Original::read`]; [`Error::NoInit`] if no program could run after
/// the runtime.
pub(crate) fn contribute(
    choice: HookChoice,
    set: &Context<'_, '_>,
    places: &Places,
    files: &InitramfsFiles<'_, '_>,
) -> Result<(Hook, Contribution), Error> {
    let hook = Hook::choose(choice, set, places)?;
    let mut contribution = Contribution::default();
    match hook.kind {
        HookKind::Rdinit => {
            let generic = places.last().ok_or(Error::NoRamdisk)?;
            let generic = &set.images[generic.spot.image];
            contribution.warnings.extend(require_init(generic, files, &hook.init)?);
            let why = "starts the runtime instead of /init, which it executes when it is done";
            contribution.parameters.push(PlannedParameter::first("rdinit", RUNTIME, why));
        }
        HookKind::Init => contribution.original = Some(Original::read(files, &hook.init)?),
    }
    Ok((hook, contribution))
}

/// Much more than the runtime has, in bytes; and what the pass over a ramdisk keeps of `/init`.
const MAX_RUNTIME: u64 = 4 << 20;

/// PID 1 needs a program to execute when it is done. `generic` has the ramdisk that is unpacked last.
fn require_init(
    generic: &Image<'_>,
    files: &InitramfsFiles<'_, '_>,
    init: &str,
) -> Result<Option<Warning>, Error> {
    if let Some(found) = files.find(init.as_bytes(), false)? {
        // The runtime would start itself. Other programs are not worth unpacking the ramdisk again.
        let may_be = found.path == b"init" && found.size <= MAX_RUNTIME;
        let program = if may_be { files.entry(&found)? } else { None };
        return match program.is_some_and(|(_, program)| is_runtime(&program)) {
            true => Err(Error::InitLost { path: init.to_owned() }),
            false => Ok(None),
        };
    }
    let before_v3 = generic.header().map(Header::version).is_some_and(|version| version < 3);
    match generic.kind() {
        ImageKind::InitBoot => Err(Error::NoInit(init.to_owned())),
        ImageKind::Boot if before_v3 => Err(Error::NoInit(init.to_owned())),
        _ => Ok(Some(Warning::NoInit { init: init.to_owned() })),
    }
}
