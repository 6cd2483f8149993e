//! The kernel parameters that a patch adds besides the hook's.

use super::iommu::{self, IommuMode};
use super::parameter::{LineEdit, PlannedParameter};
use super::x86;
use crate::bootfile::{self, DeviceSpec};
use crate::cmdline::Cmdline;
use crate::image::{Header, Image};
use crate::patch::context::Context;
use crate::patch::contribution::Contribution;
use crate::patch::error::{Error, RefusedParameter};

/// The ids of the devices for a vfio-pci that is part of the kernel, what the audit `recommends`,
/// those of the IOMMU's mode, and what the user `requested`.
///
/// # Errors
/// As [`iommu::contribute`].
pub(crate) fn contribute(
    set: &Context<'_, '_>,
    devices: &[DeviceSpec],
    recommends: Vec<PlannedParameter>,
    iommu: IommuMode,
    requested: &[String],
) -> Result<Contribution, Error> {
    let mut contribution = Contribution::default();
    let ids: Vec<String> = devices
        .iter()
        .filter(|device| matches!(device, DeviceSpec::Id { .. }))
        .map(DeviceSpec::to_string)
        .collect();
    // A module reads them through libmodprobe only, not from the command line.
    if set.kernel.vfio_pci_built_in() && !ids.is_empty() {
        let why = "vfio-pci is part of the kernel and binds these by itself when they appear";
        contribution.parameters.push(PlannedParameter::merged("vfio-pci.ids", ids, why));
    }
    contribution.parameters.extend(recommends.into_iter().filter(|p| !x86::knows(p)));
    let headers = set.active().filter_map(|(_, image)| Image::header(image));
    let mut lines: Vec<Cmdline> = headers.map(Header::cmdline).map(Cmdline::new).collect();
    lines.extend(requested.iter().map(|text| Cmdline::new(text.clone().into_bytes())));
    contribution.add(iommu::contribute(iommu, set.kernel, &lines)?);
    let requested = requested.iter().map(|text| PlannedParameter::last(text, "requested"));
    contribution.parameters.extend(requested);
    Ok(contribution)
}

/// Refuse parameters that say otherwise than the others of the patch.
///
/// # Errors
/// [`Error::Parameter`].
pub(crate) fn check_against(requested: &[String], edit: LineEdit<'_>) -> Result<(), Error> {
    let contradicts =
        |text: &&String| Cmdline::new(text.as_str()).parameters().any(|own| edit.replaces(&own));
    match requested.iter().find(contradicts) {
        Some(text) => {
            Err(Error::Parameter { text: text.clone(), reason: RefusedParameter::Contradicts })
        }
        None => Ok(()),
    }
}

/// Refuse parameters that the patch sets itself, or that would turn it off.
///
/// # Errors
/// [`Error::Parameter`].
pub(crate) fn check(requested: &[String]) -> Result<(), Error> {
    for text in requested {
        let line = Cmdline::new(text);
        let reason = if line.value("rdinit").is_some() {
            RefusedParameter::Rdinit
        } else if line.value("vfio-pci.ids").is_some() {
            RefusedParameter::Ids
        } else if bootfile::is_disabled(&line) {
            RefusedParameter::Disable
        } else {
            continue;
        };
        return Err(Error::Parameter { text: text.clone(), reason });
    }
    Ok(())
}
