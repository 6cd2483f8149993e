//! The SELinux context of the service that starts the guests.

use crate::cmdline::Cmdline;
use crate::image::Header;
use crate::patch::context::Context;
use crate::patch::error::Error;
use crate::patch::initramfs_files::InitramfsFiles;
use crate::root_manager::Manager;

/// AOSP's `su.te`: a domain with rules in userdebug and eng builds only.
pub(crate) const SU: &str = "u:r:su:s0";
/// Much more than any default.prop has, in bytes.
const MAX_PROP: u64 = 4 << 20;

/// The reason for the context of the service, or for its absence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Label {
    /// The domain of a root manager, or the user's instead of it.
    #[error("{context}: the domain that {manager}'s policy adds")]
    Manager {
        /// The context.
        context: String,
        /// The root manager.
        manager: Manager,
    },
    /// SELinux does not enforce.
    #[error("{SU}: androidboot.selinux=permissive on the command line")]
    Permissive,
    /// A build whose policy has the domain.
    #[error("{SU}: ro.debuggable=1 in default.prop: a userdebug or eng build")]
    Debuggable,
    /// A build whose policy has no such domain: there is no service.
    #[error(
        "ro.debuggable=0 in default.prop: a user build, whose policy lets no domain start vfiorun \
         as root from there, so no service is added: use the module that vfioboot module makes, or \
         a domain that this ROM has"
    )]
    UserBuild,
    /// The kind of build is unknown.
    #[error("{SU}: no default.prop says whether this is a userdebug or a user build")]
    UnknownBuild,
}

impl Label {
    /// For a ROM without a root manager that adds a domain.
    ///
    /// # Errors
    /// [`Error::Ramdisk`].
    pub(crate) fn of_rom(
        set: &Context<'_, '_>,
        files: &InitramfsFiles<'_, '_>,
    ) -> Result<Self, Error> {
        let headers = set.active().filter_map(|(_, image)| image.header());
        let permissive = headers
            .map(Header::cmdline)
            .any(|line| Cmdline::new(line).value("androidboot.selinux") == Some(b"permissive"));
        if permissive {
            return Ok(Label::Permissive);
        }
        Ok(match debuggable(files)? {
            Some(true) => Label::Debuggable,
            Some(false) => Label::UserBuild,
            None => Label::UnknownBuild,
        })
    }

    /// The context; None if there is no service.
    pub(crate) fn context(&self) -> Option<&str> {
        match self {
            Label::Manager { context, .. } => Some(context),
            Label::Permissive | Label::Debuggable | Label::UnknownBuild => Some(SU),
            Label::UserBuild => None,
        }
    }
}

/// `ro.debuggable`, if the ramdisk has it (up to Android 8).
fn debuggable(files: &InitramfsFiles<'_, '_>) -> Result<Option<bool>, Error> {
    let Some(found) = files.find(b"default.prop", true)? else { return Ok(None) };
    if found.size > MAX_PROP {
        return Ok(None);
    }
    let Some((_, bytes)) = files.entry(&found)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix("ro.debuggable="));
    // A ro. property keeps its first value.
    Ok(lines.next().map(|value| value.trim() == "1"))
}
