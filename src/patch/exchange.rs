//! A patched set for other devices, without another patch: for a boot on another machine.

use super::context::Context;
use super::error::Error;
use super::insertion::Insertion;
use super::modules::lists::List;
use super::place::Places;
use super::segment;
use crate::bootfile::{BOOT_FILE, BootFile, DeviceSpec};
use crate::bootset::{BootSet, Spot};
use crate::compression;
use crate::ramdisk::cpio::CpioWriter;
use crate::ramdisk::{self, GZIP_NAME, normalise};

/// The boot file that PID 1 finds; None if the kernel unpacks none, or one that cannot be read.
///
/// # Errors
/// As [`BootSet::tree`].
pub(crate) fn boot_file(set: &BootSet<'_>) -> Result<Option<BootFile>, ramdisk::Error> {
    let Some(found) = set.tree()?.find(BOOT_FILE.as_bytes(), false) else { return Ok(None) };
    let Some((_, bytes)) = set.entry(&found)? else { return Ok(None) };
    Ok(std::str::from_utf8(&bytes).ok().and_then(|text| toml::from_str(text).ok()))
}

/// Whether the init of the set is to load VFIO by the lists of its modules, after the runtime.
pub(crate) fn leaves_vfio_to_init(file: &BootFile) -> bool {
    let is_list = |path: &String| path.rsplit('/').next() == Some(List::Load.name());
    file.modules.is_empty() && file.shadows.iter().any(is_list)
}

/// This boot file for other devices.
pub(crate) fn exchanged(mut file: BootFile, pairs: &[(DeviceSpec, DeviceSpec)]) -> BootFile {
    for (named, other) in pairs {
        let (named, other) = (named.to_string(), other.to_string());
        for device in file.devices.iter_mut().filter(|device| **device == named) {
            other.clone_into(device);
        }
        for module in &mut file.modules {
            module.params = module.params.replace(&named, &other);
        }
    }
    file
}

/// The ramdisk of a patched set in which a further segment has this boot file, at its place.
///
/// # Errors
/// As those of a patch: there is no place that the kernel reaches.
pub(crate) fn with_boot_file(set: &BootSet<'_>, file: &BootFile) -> Result<(Spot, Vec<u8>), Error> {
    let set = Context::new(set);
    let place = Places::find(&set)?.last_of_every_boot().ok_or(Error::NoRamdisk)?;
    let insertion = Insertion::find(&set, place)?;
    let point = &insertion.point;
    let text = toml::to_string(file)?;
    let write = || {
        let mut cpio = CpioWriter::with_lead_in(Vec::new(), point.lead_in)?;
        cpio.file(&normalise(BOOT_FILE.as_bytes()), 0o644, text.as_bytes())?;
        segment::at_point(point, cpio.finish()?, |format, archive| {
            compression::encode(format, archive, Some(GZIP_NAME))
        })
    };
    let mut segment = write().map_err(Error::Pack)?;
    insertion.keep_alignment(&mut segment);
    let (head, tail) = insertion.ramdisk.split_at(point.offset);
    Ok((insertion.spot, [head, &segment, tail].concat()))
}
